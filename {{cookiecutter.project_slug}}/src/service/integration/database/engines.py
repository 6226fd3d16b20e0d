"""How each database is connected to, and what its errors mean. Nothing else knows a driver.

Statements' parameters are hidden from error messages: they are what customers wrote.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool

from service.application.errors import Invalid
from service.integration.jobs import teach_unixepoch

Credentials = Callable[[], tuple[str, str]]

# A statement or a forgotten transaction that takes longer is a fault; without limits it would hold locks for ever.
POSTGRES_LIMITS = (
    "SET statement_timeout = '30s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'"
)

# `secure_delete`: what is erased is overwritten, and not only forgotten where it stood.
WRITER = ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON")
READ_ONLY = "25006"  # as after a failover, until the other server has taken over
UNSUITABLE = "the database URL must begin with sqlite:// or postgresql://"
# A server that vanished without a word is noticed within half a minute, not after the two hours TCP would take.
NOTICE_SILENCE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
PATIENT = {"connect_timeout": 5, **NOTICE_SILENCE}
# For what asks again at once anyway: it must not sit out the pauses, ever longer, in which TCP repeats itself.
IMPATIENT = {"connect_timeout": 2, **NOTICE_SILENCE, "tcp_user_timeout": 1000}


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite database. Raises `Invalid` when it is no URL at all."""
    try:
        return make_url(url).get_backend_name() == "sqlite"
    except ArgumentError:
        raise Invalid(UNSUITABLE) from None


def sqlite(url: str, writes: bool) -> Engine:
    """An engine on a SQLite file: either the one writing connection or several that only read."""
    parsed = make_url(url)
    if not parsed.database or not Path(parsed.database).is_absolute():
        raise Invalid("the SQLite URL must name an absolute path: sqlite:////path/to/file")
    engine = create_engine(
        parsed.set(drivername="sqlite+pysqlite"),
        poolclass=QueuePool,
        pool_size=1 if writes else 5,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": 5.0},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_writer if writes else _set_up_reader)
    # Taking the write lock at once, rather than at the first write, is what makes read-then-write race-free.
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def postgres(url: str, credentials: Credentials | None, pool_size: int, patient: bool = True) -> Engine:
    """An engine on Postgres with a fixed pool; a few more connections serve threads beside the pool's own."""
    engine = create_engine(
        postgres_url(url),
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=10,
        connect_args=PATIENT if patient else IMPATIENT,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_limits)
    event.listen(engine, "handle_error", _without_detail)
    if credentials is not None:
        _ask_at_connect(engine, credentials)
    return engine


def postgres_url(url: str) -> URL:
    """The URL with the one driver this service ships. Raises `Invalid` when it is not a Postgres URL."""
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise Invalid(UNSUITABLE)
    return parsed.set(drivername="postgresql+psycopg")


def is_missing_table(error: DBAPIError) -> bool:
    """Whether a table does not exist, i.e. migrations have not run."""
    if getattr(error.orig, "sqlstate", None) == "42P01":
        return True
    return isinstance(error.orig, sqlite3.OperationalError) and "no such table" in str(error.orig)


def is_outage(error: DBAPIError) -> bool:
    """Whether the database is away, locked, overloaded or for now read-only, rather than the statement wrong."""
    if isinstance(error.orig, sqlite3.Error):
        # SQLITE_ERROR is a faulty statement; busy, locked, full and I/O errors have names of their own.
        bugs = ("SQLITE_ERROR", "SQLITE_READONLY")
        return isinstance(error, OperationalError) and error.orig.sqlite_errorname not in bugs
    if getattr(error.orig, "sqlstate", None) == READ_ONLY:
        return True
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _set_up_writer(connection: sqlite3.Connection, _record: Any) -> None:
    for attempt in range(200):
        try:
            return _set_up(connection, WRITER)
        except sqlite3.OperationalError:  # a new file is being written by another: this pragma alone does not wait
            if attempt == 199:
                raise
            time.sleep(0.05)


def _set_up_reader(connection: sqlite3.Connection, _record: Any) -> None:
    _set_up(connection, ("query_only = ON",))


def _set_up(connection: sqlite3.Connection, pragmas: tuple[str, ...]) -> None:
    teach_unixepoch(connection)
    connection.isolation_level = None  # the driver must not begin or commit by itself
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()


def _set_limits(connection: Any, _record: Any) -> None:
    connection.execute(POSTGRES_LIMITS)
    connection.commit()  # a rollback at the connection's return would undo the settings


def _without_detail(context: ExceptionContext) -> None:
    """Cut the server's DETAIL, which quotes whole rows, before the error reaches a log or a span."""
    diagnostic = getattr(context.original_exception, "diag", None)
    if diagnostic is not None and diagnostic.message_primary:
        context.original_exception.args = (diagnostic.message_primary,)


def _ask_at_connect(engine: Engine, credentials: Credentials) -> None:
    @event.listens_for(engine, "do_connect")
    def fill_in(_dialect: Any, _record: Any, _args: Any, params: dict[str, Any]) -> None:
        params["user"], params["password"] = credentials()
