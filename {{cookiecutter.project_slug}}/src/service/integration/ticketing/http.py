"""Ticketing over HTTP: `POST {url}/tickets` with an `Idempotency-Key` and a bearer token."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from service.application.decision import JsonObject
from service.application.effects.contract import EffectRefused, EffectUnavailable

tracer = trace.get_tracer(__name__)


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
            headers = {"Authorization": f"Bearer {self.token()}", "Idempotency-Key": key}
            propagate.inject(headers)
            try:
                async with asyncio.timeout(self.timeout_s):
                    response = await self.http.post(f"{self.url.rstrip('/')}/tickets", json=body, headers=headers)
            except TimeoutError:
                raise EffectUnavailable(f"no answer within {self.timeout_s:g} s") from None
            except httpx2.HTTPError as error:
                raise EffectUnavailable(type(error).__name__) from None
            span.set_attribute("http.response.status_code", response.status_code)
            return _reference(response)


def _reference(response: httpx2.Response) -> str:
    """Statuses only: a downstream's error text may quote the ticket."""
    status = response.status_code
    if status in (401, 403, 408, 425, 429) or status >= 500:  # a wrong token is ours to fix, the ticket is fine
        raise EffectUnavailable(f"HTTP {status}")
    if status not in (200, 201):
        raise EffectRefused(f"HTTP {status}")
    try:
        return str(response.json()["reference"])[:200]
    except (ValueError, KeyError, TypeError):
        raise EffectUnavailable("the answer has no reference") from None
