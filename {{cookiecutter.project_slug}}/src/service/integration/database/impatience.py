"""Ends waits for a server that neither answers nor goes away: TCP is content with a peer that only acknowledges."""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event


class Impatience:
    """Cuts each connection of an engine that has been in one use for `limit_s` seconds; its user gets an error."""

    def __init__(self, engine: Engine, limit_s: float) -> None:
        self._limit_s, self._stop = limit_s, threading.Event()
        self._in_use: dict[int, tuple[float, Any]] = {}
        event.listen(engine, "connect", self._begins, insert=True)
        event.listen(engine, "checkout", self._begins)
        event.listen(engine, "checkin", self._ends)
        event.listen(engine, "close", self._ends)
        threading.Thread(target=self._watch, name="database-impatience", daemon=True).start()

    def stop(self) -> None:
        """Cut no more."""
        self._stop.set()

    def _begins(self, connection: Any, *_others: Any) -> None:
        self._in_use[id(connection)] = time.monotonic(), connection

    def _ends(self, connection: Any, *_others: Any) -> None:
        self._in_use.pop(id(connection), None)

    def _watch(self) -> None:
        while not self._stop.wait(self._limit_s / 4):
            for began, connection in list(self._in_use.values()):
                if time.monotonic() - began > self._limit_s:
                    _cut(connection)


def _cut(connection: Any) -> None:
    """Shut the socket for both sides: whoever waits on it is told that the server is gone."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
