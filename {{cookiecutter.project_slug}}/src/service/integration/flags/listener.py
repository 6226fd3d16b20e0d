"""Postgres says at once when a flag has changed. Only a hint: whoever listens also polls, and misses nothing."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

CHANNEL = "flags"  # migrations/versions/0003_releases.py notifies it
LOOK_UP_S, RETRY_S = 1.0, 0.5
log = logging.getLogger(__name__)


class Listener:
    """Calls `wake` at each notification, from a thread with a connection of its own, until stopped."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        self._engine, self._wake = engine, wake
        self._stop, self._deaf = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="flag-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen. A database that is away is not an error: the poll goes on, and so does the trying."""
        self._thread.start()

    def stop(self) -> None:
        """End within about a second."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._engine.dispose()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                connection = self._engine.raw_connection()
                try:
                    self._listen(connection.driver_connection)
                finally:
                    connection.invalidate()
            except (psycopg.Error, SQLAlchemyError, OSError) as error:
                if not self._deaf:
                    log.warning("not listening for flags, only polling: %s", type(error).__name__)
                self._deaf = True
                self._stop.wait(RETRY_S)

    def _listen(self, connection: Any) -> None:
        connection.autocommit, pool = True, self._engine.pool
        connection.execute(f"LISTEN {CHANNEL}")
        log.info("listening for flags")
        self._deaf = False
        self._wake()  # what changed before, nobody told
        # Another pool means other credentials, with which to connect again: those of this connection may end.
        while not self._stop.is_set() and self._engine.pool is pool:
            for _ in connection.notifies(timeout=LOOK_UP_S):
                self._wake()
