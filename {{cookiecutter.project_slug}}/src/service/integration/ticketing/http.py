"""Ticketing over HTTP: `POST {url}/tickets` with an `Idempotency-Key` and a bearer token."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from service.application.decision import JsonObject
from service.application.effects.contract import EffectRefused, EffectUnavailable

tracer = trace.get_tracer(__name__)
MAX_ANSWER_BYTES = 65_536
_REFERENCE = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class HttpTicketing:
    """One call per `create`, never repeated here: the ledger decides when to try again. `timeout_s` is in total."""

    http: httpx2.AsyncClient
    url: str
    token: Callable[[], str]
    timeout_s: float = 10.0

    async def create(self, key: str, body: JsonObject) -> str:
        """The reference. Raises `EffectRefused` when the request itself is at fault, else `EffectUnavailable`."""
        with tracer.start_as_current_span("POST /tickets", kind=SpanKind.CLIENT, record_exception=False) as span:
            span.set_attribute("server.address", httpx2.URL(self.url).host)
            headers = {
                "Authorization": f"Bearer {self.token()}",
                "Idempotency-Key": key,
                "Accept-Encoding": "identity",
            }
            propagate.inject(headers)
            try:
                async with asyncio.timeout(self.timeout_s):
                    status, answer = await self._post(body, headers)
            except TimeoutError:
                raise EffectUnavailable(f"no answer within {self.timeout_s:g} s") from None
            except httpx2.HTTPError as error:
                raise EffectUnavailable(type(error).__name__) from None
            span.set_attribute("http.response.status_code", status)
            return _reference(status, answer)

    async def _post(self, body: JsonObject, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body, the latter cut off soon after the length that any reference needs."""
        url, answer = f"{self.url.rstrip('/')}/tickets", bytearray()
        async with self.http.stream("POST", url, json=body, headers=headers) as response:
            async for chunk in response.aiter_bytes(MAX_ANSWER_BYTES):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise EffectUnavailable("the answer is too long")
            return response.status_code, bytes(answer)


def _reference(status: int, answer: bytes) -> str:
    """Statuses only: a downstream's error text may quote the ticket. What a proxy can cause is no refusal."""
    if status in (400, 409, 422):
        raise EffectRefused(f"HTTP {status}")
    if status not in (200, 201):
        raise EffectUnavailable(f"HTTP {status}")
    try:
        reference = json.loads(answer)["reference"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EffectUnavailable("the answer has no reference") from None
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise EffectUnavailable("the reference is not a plain name")
    return reference
