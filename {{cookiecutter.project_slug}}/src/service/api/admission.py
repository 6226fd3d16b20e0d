"""What a request passes before the application sees it, outermost first: headers, its body, a place to work.

Pure ASGI outside of routing and spans, so that turning a request away costs next to nothing. Health checks take no
place: whoever asks whether a busy process lives must hear that it does.
"""

import asyncio
from contextlib import suppress

from opentelemetry import metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem

BODY_WITHIN_S = 5.0
LINGER_S = 2.0
WAIT_S = 0.5
MAX_DIGITS = 20
# No HSTS: it binds a host name, and those belong to the proxy that ends TLS.
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
WITH_SCRIPTS = ("/docs", "/redoc")  # the framework's own pages, in development only


def is_health(scope: Scope) -> bool:
    """Whether somebody asks if this process lives."""
    return str(scope.get("path", "")).startswith("/health/")


def admitting(app: ASGIApp, body_limit: int, most: int) -> ASGIApp:
    """The application behind everything in this file: bodies of at most `body_limit` bytes, `most` requests at once."""
    return SecurityHeaders(WholeBody(Places(app, most), body_limit))


class SecurityHeaders:
    """On every answer, refusals included; an answer that says otherwise keeps its word."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = HEADERS[:-1] if scope["path"] in WITH_SCRIPTS else HEADERS
                message["headers"] = [*message["headers"], *(header for header in added if header[0] not in given)]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _TooLarge(Exception):
    pass


class WholeBody:
    """Reads the body before anything else happens, so that a slow sender costs memory for it and nothing more.

    More than `limit` bytes get a 413, more than `within_s` seconds a 408; both end the connection.
    """

    def __init__(self, app: ASGIApp, limit: int, within_s: float = BODY_WITHIN_S) -> None:
        self._app, self._limit, self._within_s = app, limit, within_s
        self._too_large = f"the body may have at most {limit} bytes"
        self._too_slow = f"the body must arrive within {within_s:g} s"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_health(scope):
            return await self._app(scope, receive, send)
        try:
            async with asyncio.timeout(self._within_s):
                body = await self._read(scope, receive)
        except _TooLarge:
            return await _refuse(413, self._too_large, receive, send)
        except TimeoutError:
            return await _refuse(408, self._too_slow, receive, send)
        if body is None:
            return None
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()  # which tells when the caller goes
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        return await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when its sender has gone. Raises `_TooLarge`, before it reads anything if it is told."""
        for name, value in scope["headers"]:  # of very many digits Python makes no number
            if name == b"content-length" and (len(value) > MAX_DIGITS or int(value) > self._limit):
                raise _TooLarge
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                raise _TooLarge
        return bytes(body)


async def _refuse(status: int, detail: str, receive: Receive, send: Send) -> None:
    """Answer, then listen for a moment: who is still sending into a closed connection never reads why."""
    answer = problem(status, detail, headers={"Connection": "close"})
    await send({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    if status == 413:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await receive()).get("more_body"):
                    pass
    await send({"type": "http.response.body", "body": b""})


class Places:
    """At most `most` requests in work and as many waiting, none for longer than `WAIT_S`; others get a 503 at once.

    So whoever is admitted is answered in time, however many ask.
    """

    def __init__(self, app: ASGIApp, most: int, meter: metrics.Meter | None = None) -> None:
        self._app, self._most = app, most
        self._free, self._waiting = asyncio.Semaphore(most), 0
        self._refusal = problem(503, "too many requests at once", headers={"Retry-After": "1"})
        meter = meter or metrics.get_meter("service")
        self._in_work = meter.create_up_down_counter("service.requests.in_work", "{request}", "Requests in work")
        self._shed = meter.create_counter("service.requests.shed", "{request}", "Requests refused for want of a place")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_health(scope):
            return await self._app(scope, receive, send)
        if not await self._found_place():
            self._shed.add(1)
            return await self._refusal(scope, receive, send)
        self._in_work.add(1)
        start: list[Message] = []
        done = False

        def leave() -> None:
            nonlocal done
            if not done:
                done = True
                self._in_work.add(-1)
                self._free.release()

        async def send_from_outside(message: Message) -> None:
            """A whole answer is sent when its place is free again: who is slow to read it keeps none from others."""
            if message["type"] == "http.response.start":
                return start.append(message)
            if not message.get("more_body"):
                leave()
            if start:
                await send(start.pop())
            await send(message)

        try:
            return await self._app(scope, receive, send_from_outside)
        finally:
            leave()

    async def _found_place(self) -> bool:
        if self._free.locked() and self._waiting >= self._most:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
