"""What a connection may cost: uvicorn itself waits for ever, for headers of any size and for whoever never reads.

Closed at once are connections that send more than `HEAD_BYTES` besides bodies, or request after request without
waiting for an answer: no client of today does. Each request would cost a hundred times its bytes.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_WITHIN_S = 10.0
READ_WITHIN_S = 10.0
HEAD_BYTES = 65_536
MOST_WAITING = 1


class _TooMuch(Exception):
    """Raised to the parser: it then reads no further."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's own protocol with two clocks and a count of bytes.

    One clock runs from the start of a connection or request to the end of its headers, the other while answers wait
    for a peer that does not read. The count is of what came since the last request and is no body: headers, the sizes
    of chunks, trailers.
    """

    _clock: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _besides_bodies = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        self._besides_bodies += len(data)
        super().data_received(data)
        if self._besides_bodies > HEAD_BYTES:
            self.transport.abort()
        elif self._clock is None and (self.cycle is None or self.cycle.response_complete):
            self._start()  # line ends between requests begin none, yet they stop uvicorn's clock of idle connections

    def on_message_begin(self) -> None:
        if len(self.pipeline) > MOST_WAITING:
            self._give_up()
        super().on_message_begin()
        self._start()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._give_up()
        self._stop()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._besides_bodies -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._besides_bodies = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()  # a health check is answered before its body: nobody waits for the rest
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # where `close` waits for a peer to read what it has not read all the while

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self.resume_writing()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._stop()
        self._clock = self.loop.call_later(HEADERS_WITHIN_S, self.transport.abort)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _await_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(READ_WITHIN_S, self.transport.abort)

    def _give_up(self) -> None:
        self.transport.abort()
        raise _TooMuch
