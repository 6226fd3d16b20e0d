"""The engine in another process: asked of `svc serve-inference`, at several addresses in order.

After an address that fails comes the next one, while time is left. One that was unreachable, went silent or took too
long is asked last for a while, and must then show that it lives before it gets a request again. So a dead process
costs one connection; a hung one costs those it held a few seconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

import httpx2
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from service.application.decision import ModelUnusable, Prediction, Reason, Usage
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.exchange import PATH, PredictAnswer, PredictRequest

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)
MAX_ANSWER_BYTES = 1_000_000
CONNECT_S, AVOIDED_S = 1.0, 5.0
SILENCE_S, HEALTH_S = 2.0, 2.0  # every so often a slow process must show that it lives, within so long
Body = Callable[[int, bool], bytes]  # for so many upstream calls, with or without the release's bundle
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)


class _Failed(Exception):
    """One address gave no answer. `spent`: a model may have been asked all the same; `refused`: it is our mistake."""

    def __init__(self, what: str, spent: bool = False, refused: bool = False) -> None:
        super().__init__(what)
        self.spent, self.refused = spent, refused


@dataclass(frozen=True, slots=True)
class RemoteTriager:
    """Implements the application's `Triager`. `token` is called for each request; `deadline_s` is the total.

    `http` must have a connection for everybody, or those that a hung process holds hide that it hangs.
    """

    http: httpx2.AsyncClient
    urls: Sequence[str]
    token: Callable[[], str]
    deadline_s: float
    _avoided: dict[str, float] = field(default_factory=dict, init=False)

    async def triage(self, ticket: Ticket, release: Release, tenant: str) -> Prediction[TriageOutcome]:
        """The first answer. Raises `ModelUnusable`, at the latest when the deadline is reached."""
        digest, ends_at, asked = release.digest, time.monotonic() + self.deadline_s, list[str]()

        def body(calls: int, bundle: bool) -> bytes:
            return PredictRequest(
                ticket=ticket,
                digest=digest,
                tenant=tenant,
                deadline_ms=max(1, int((ends_at - time.monotonic()) * 1000)),
                calls=calls,
                release=release if bundle else None,
            ).to_json()

        try:
            async with asyncio.timeout(self.deadline_s):
                return await self._first_answer(body, asked)
        except TimeoutError:
            self._avoid(asked[-1])
            raise ModelUnusable(Reason.DEADLINE, Usage(cost_usd=None)) from None

    async def _first_answer(self, body: Body, asked: list[str]) -> Prediction[TriageOutcome]:
        failures: list[_Failed] = []
        now = time.monotonic()
        for url in sorted(self.urls, key=lambda url: self._avoided.get(url, now) > now):
            asked.append(url)
            # What a lost process has asked nobody knows: the next one may ask once, and not three times again.
            calls = 1 if any(failure.spent for failure in failures) else 3
            try:
                prediction = await self._ask(url, partial(body, calls))
                return replace(prediction, usage=_total(prediction.usage, failures))
            except ModelUnusable as unusable:
                raise ModelUnusable(unusable.reason, _total(unusable.usage, failures), unusable.calls) from None
            except _Failed as failure:
                level = logging.ERROR if failure.refused else logging.WARNING
                log.log(level, "inference at %s: %s", httpx2.URL(url).host, failure)
                failures.append(failure)
        reason = Reason.REJECTED if any(failure.refused for failure in failures) else Reason.UNREACHABLE
        raise ModelUnusable(reason, _total(Usage(), failures))

    async def _ask(self, url: str, body: Callable[[bool], bytes]) -> Prediction[TriageOutcome]:
        if url in self._avoided:
            self._avoid(url)  # one request finds out, the others stay away meanwhile
            if not await self._lives(url):
                raise _Failed("still does not answer")
        with tracer.start_as_current_span("ask inference", kind=SpanKind.CLIENT, record_exception=False) as span:
            span.set_attribute("server.address", httpx2.URL(url).host)
            status, answer = await self._post(url, body(False))
            if status == 409:
                status, answer = await self._post(url, body(True))
            span.set_attribute("http.response.status_code", status)
        self._avoided.pop(url, None)
        return _read(status, answer)

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and body, for as long as the process shows that it lives."""
        given = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        propagate.inject(given)
        headers = httpx2.Headers({**given, "Authorization": f"Bearer {self.token()}"}, encoding="utf-8")
        answer, patience = bytearray(), httpx2.Timeout(None, connect=CONNECT_S)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._fail_when_silent(url))
                async with self.http.stream(
                    "POST", f"{url.rstrip('/')}{PATH}", content=body, headers=headers, timeout=patience
                ) as response:
                    async for chunk in response.aiter_raw():
                        answer += chunk
                        if len(answer) > MAX_ANSWER_BYTES:
                            raise _Failed("the answer is too long", spent=True)
                watch.cancel()
                return response.status_code, bytes(answer)
        except ExceptionGroup as errors:
            error = errors.exceptions[0]
        self._avoid(url)
        if isinstance(error, _Failed):
            raise error
        raise _Failed(type(error).__name__, spent=not isinstance(error, NOT_SENT)) from None

    async def _fail_when_silent(self, url: str) -> NoReturn:
        while True:
            await asyncio.sleep(SILENCE_S)
            if not await self._lives(url):
                raise _Failed("went silent", spent=True)

    async def _lives(self, url: str) -> bool:
        """Whether it answers by itself: 502 to 504 are a proxy's word for a process that does not."""
        health = f"{url.rstrip('/')}/health/live"
        try:
            async with asyncio.timeout(HEALTH_S), self.http.stream("GET", health, timeout=HEALTH_S) as response:
                return response.status_code not in (502, 503, 504)
        except (TimeoutError, httpx2.HTTPError):
            return False

    def _avoid(self, url: str) -> None:
        self._avoided[url] = time.monotonic() + AVOIDED_S


def _total(usage: Usage, failures: Sequence[_Failed]) -> Usage:
    """What an attempt cost that was cut off nobody knows."""
    return replace(usage, cost_usd=None, at_most_usd=None) if any(failure.spent for failure in failures) else usage


def _read(status: int, answer: bytes) -> Prediction[TriageOutcome]:
    if status == 200:
        try:
            return PredictAnswer.model_validate_json(answer).result()
        except ValueError:
            raise _Failed("answered something else", spent=True) from None
    if 400 <= status < 500 and status != 429:
        raise _Failed(f"HTTP {status}", refused=True)
    raise _Failed(f"HTTP {status}", spent=status not in (429, 503))
