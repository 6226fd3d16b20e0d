"""The fault switch that both stand-ins share, and the three ways of being a bad server.

One mode at a time, for the next N calls or until changed. `Hang`, `Drip` and `Drop` are responses that keep a
client waiting, feed it a byte at a time so that no read ever times out, or cut the connection half way.
"""

import asyncio
import json
import time
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dev.labels import HEADERS

LIMIT_SECONDS = 120.0  # nothing here outlives this, whatever a forgotten client does
DRIP_SECONDS = 0.2


class FaultOrder(BaseModel):
    """Body of `POST /faults`. `for` counts calls; without it the mode stays until changed."""

    model_config = ConfigDict(extra="forbid")

    mode: str
    calls: int | None = Field(default=None, alias="for", ge=1, le=1_000_000, strict=True)
    retry_after: int = Field(default=1, ge=0, le=3600, strict=True)

    @field_validator("mode", mode="before")
    @classmethod
    def _status_codes_may_be_numbers(cls, mode: object) -> object:
        return str(mode) if type(mode) is int else mode


class Faults:
    """Holds the mode and counts it down. Safe to use from threads."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        self.modes = modes
        self._order = FaultOrder(mode="ok")
        self._lock = Lock()

    def take(self) -> FaultOrder:
        """The order that applies to this call, which uses it up by one."""
        with self._lock:
            order = self._order
            if order.calls is not None:
                left = order.calls - 1
                self._order = order.model_copy(update={"calls": left}) if left else FaultOrder(mode="ok")
            return order

    async def switch(self, request: Request) -> Response:
        """`POST /faults`: 200 with the new state, or 422 that says what is wrong."""
        try:
            order = FaultOrder.model_validate_json(await request.body())
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
            return answer(422, {"error": f"stand-in faults: {wrong}"})
        if order.mode not in self.modes:
            known = ", ".join(self.modes)
            return answer(422, {"error": f"stand-in faults: no mode {order.mode!r}; there are {known}"})
        with self._lock:
            self._order = order
        return await self.show(request)

    async def show(self, _: Request) -> Response:
        """`GET /faults`: the mode and how many calls it still applies to."""
        with self._lock:
            return answer(200, {"mode": self._order.mode, "for": self._order.calls, "modes": self.modes})


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    """JSON that says it comes from a stand-in."""
    # ASCII only: a lone surrogate that somebody sent must come back out of `GET /requests`, not break it.
    return Response(json.dumps(body), status, HEADERS | (headers or {}), "application/json")


class Hang(Response):
    """Says nothing until the client goes or the limit is reached, then closes the connection unanswered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _client_gone(receive, LIMIT_SECONDS)
        await _cut(send, b"")


class Drip(Response):
    """A promising start, then one byte every 0.2 s until the client goes or the limit is reached."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _start(send, length=1_000_000)
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            if await _client_gone(receive, DRIP_SECONDS):
                return


class Drop(Response):
    """Half an answer, then the TCP connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _cut(send, b'{"id": "stand-in-')


async def _cut(send: Send, body: bytes) -> None:
    # An ASGI server must close a connection whose announced body never came in full.
    await _start(send, length=1_000)
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _start(send: Send, length: int) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _client_gone(receive: Receive, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
