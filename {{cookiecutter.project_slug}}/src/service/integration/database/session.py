"""Transactions. A `Database` runs plain synchronous functions, each in one transaction, off the event loop.

A transaction can therefore never wait on a model: no `await` fits inside one. SQLite gets one writer thread
with one connection, because it allows one writer; Postgres gets a pool of threads as large as its pool of
connections. Errors of the driver end here: callers see `Unavailable` or, for bugs, the original exception.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.application.errors import Invalid, Unavailable
from service.integration.database import engines
from service.integration.database.engines import Credentials
from service.integration.database.impatience import Impatience
from service.integration.encryption import Cipher

T = TypeVar("T")
AWAY = "the database cannot be reached now"
# Seconds that a caller waits for one transaction, its turn included.
PATIENCE_S = 10.0
HUNG_S = 2.0  # longer than any look for news takes
log = logging.getLogger(__name__)


class NotMigrated(Unavailable):
    """The database answers but has not the tables this code needs."""


class Database:
    """One application database. `writer` and `reader` are the same engine where the database allows it."""

    def __init__(
        self,
        writer: Engine,
        reader: Engine,
        threads: int,
        more_engines: Callable[[int], Engine] | None = None,
        impatience: Impatience | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        self._impatience, self._info = impatience, {"cipher": cipher}
        self._writer, self._reader, self._more_engines = writer, reader, more_engines
        self._made: list[Engine] = []
        self.patience_s = PATIENCE_S
        self._read_threads = ThreadPoolExecutor(threads, thread_name_prefix="database-reader")
        self._write_threads = (
            self._read_threads if writer is reader else ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Every engine in use, for instrumentation."""
        return (self._writer,) if self._writer is self._reader else (self._writer, self._reader)

    @property
    def writer(self) -> Engine:
        """The engine that may write, for migrations and the job engine."""
        return self._writer

    @property
    def dialect(self) -> str:
        """The kind of database: "sqlite" or "postgresql"."""
        return self._writer.dialect.name

    def engine_for(self, connections: int) -> Engine | None:
        """An engine apart from the requests', with the same credentials; None on SQLite, whose one writer is taken."""
        if self._more_engines is None:
            return None
        self._made.append(self._more_engines(connections))
        return self._made[-1]

    def reconnect(self) -> None:
        """Close idle connections now, and those in use when they are given back: new ones ask for credentials anew.

        They are not replaced by age. While the vault is away, old connections are the only ones that work.
        """
        for engine in (*self.engines, *self._made):
            engine.dispose()

    async def write(self, fn: Callable[[Session], T]) -> T:
        """Run `fn` in a transaction and commit. Once begun it runs to its end, even if the caller is cancelled."""
        return await self._finish(self._submit(self._write_threads, self._writer, fn))

    async def read(self, fn: Callable[[Session], T]) -> T:
        """Run `fn`, which must not write; on SQLite it cannot, and sees one unchanging state."""
        return await self._finish(self._submit(self._read_threads, self._reader, fn))

    def write_sync(self, fn: Callable[[Session], T]) -> T:
        """`write` for commands and threads: runs here and now."""
        return transact(self._writer, fn, self._info)

    def read_sync(self, fn: Callable[[Session], T]) -> T:
        """`read` for commands and threads: runs here and now."""
        return transact(self._reader, fn, self._info)

    async def close(self) -> None:
        """Finish what runs, refuse what comes, close every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self.close_sync)

    def close_sync(self) -> None:
        """`close` for commands and threads."""
        self._write_threads.shutdown(wait=True)
        self._read_threads.shutdown(wait=True)
        if self._impatience is not None:
            self._impatience.stop()
        for engine in self.engines:
            engine.dispose()

    def _submit(self, threads: ThreadPoolExecutor, engine: Engine, fn: Callable[[Session], T]) -> "Future[T]":
        # The copied context carries the current span into the thread, so SQL spans join the request's trace.
        return threads.submit(contextvars.copy_context().run, transact, engine, fn, self._info)

    async def _finish(self, running: "Future[T]") -> T:
        """Its result. After `patience_s` the caller is told so; what has not begun by then never will."""
        try:
            async with asyncio.timeout(self.patience_s):
                return await asyncio.shield(asyncio.wrap_future(running))
        except TimeoutError:
            begun = not running.cancel()
            log.warning("the database took longer than %s s; begun: %s", self.patience_s, begun)
            raise Unavailable(AWAY) from None


def open_database(
    url: str,
    credentials: Credentials | None = None,
    pool_size: int = 8,
    patient: bool = True,
    cipher: Cipher | None = None,
) -> Database:
    """Open `sqlite:////abs/path` or `postgresql://...`; nothing is connected yet.

    `credentials` returns the user and password for each new connection, so that they may change while the
    service runs (then call `reconnect`). `patient`: a silent Postgres is given up after half a minute; otherwise after
    a second or two, and one that only pretends to live, too. Without a `cipher` nothing that customers wrote can be
    read or stored. Raises `Invalid` on another URL.
    """
    if engines.is_sqlite(url):
        writer, reader = engines.sqlite(url, writes=True), engines.sqlite(url, writes=False)
        return Database(writer, reader, threads=4, cipher=cipher)

    def engine(connections: int) -> Engine:
        return engines.postgres(url, credentials, connections, patient)

    shared = engine(pool_size)
    impatience = None if patient else Impatience(shared, HUNG_S)
    return Database(shared, shared, threads=pool_size, more_engines=engine, impatience=impatience, cipher=cipher)


def transact(engine: Engine, fn: Callable[[Session], T], info: Mapping[str, Any]) -> T:
    """One transaction around `fn`. A connection found dead before the commit is replaced once, unnoticed."""
    with sql_errors_end_here():
        committing = False
        for may_retry in (True, False):
            try:
                with Session(engine, expire_on_commit=False, info=dict(info)) as session:
                    result = fn(session)
                    committing = True
                    session.commit()
                    return result
            except DBAPIError as error:
                # After a commit was sent nobody knows whether it happened, so only earlier failures are repeated.
                if not error.connection_invalidated or committing or not may_retry:
                    raise
    raise AssertionError("unreachable")


@contextmanager
def sql_errors_end_here() -> Iterator[None]:
    """Outages become `Unavailable`, missing tables `NotMigrated`; what is left is a bug and stays as it is."""
    try:
        yield
    except DBAPIError as error:
        translated = _translated(error)
        if translated is error:  # it must not become its own cause
            raise
        raise translated from error
    except PoolTimeout as error:
        raise Unavailable(AWAY) from error


def cause_of(error: Unavailable) -> str:
    """What the driver said, in one line, for operators; callers of the API only learn the error itself."""
    cause = error.__cause__.orig if isinstance(error.__cause__, DBAPIError) else error.__cause__
    return (str(cause).strip().splitlines() or ["unknown"])[0] if cause else str(error)


def _translated(error: DBAPIError) -> Exception:
    if engines.is_missing_table(error):
        return NotMigrated("the database is not migrated: run `svc migrate`")
    if engines.is_outage(error):
        return Unavailable(AWAY)
    if isinstance(error, DataError):
        return Invalid("a value cannot be stored")
    return error
