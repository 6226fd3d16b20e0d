"""The job engine, DBOS, and the only module that knows it. Imported inside functions: it is slow to import.

A job is a hint, "look at this effect now", committed with the effect itself. It carries a key, never a customer's
words. What must survive lives in the ledger; so jobs may be lost, doubled or deleted without losing an effect.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import propagate, trace
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from service.application.errors import Unavailable
from service.integration.chores import Chore, keep_doing

if TYPE_CHECKING:
    from dbos import DBOSClient

# Names that jobs already in the database carry: changing one strands them until the sweep makes new ones.
APPLICATION = "service"
APPLICATION_VERSION = "1"
QUEUE = "effects"
WORKFLOW = "deliver_effect"

FORGET_EVERY_S = 600.0
FORGET_AFTER = timedelta(days=1)
FORGET_AT_ONCE = 1000
GRACE_S = 10

# The engine's own tables, which on SQLite share the file with the application's. Postgres has a schema for them.
# fmt: off
TABLES = frozenset((
    "application_versions", "dbos_migrations", "notifications", "operation_outputs", "queues", "streams",
    "workflow_events", "workflow_events_history", "workflow_input", "workflow_output", "workflow_schedules",
    "workflow_status",
))
# fmt: on

# The engine goes by Python's version where it should go by SQLite's.
LACKS_SUBSEC = sys.version_info >= (3, 12) and sqlite3.sqlite_version_info < (3, 42)

Deliver = Callable[[str], Awaitable[str]]


class JobDatabase(Protocol):
    """The application's database, which also keeps the jobs."""

    @property
    def writer(self) -> Engine: ...

    def engine_for(self, connections: int) -> Engine | None:
        """An engine of its own for the job engine, or None if it must open one by URL."""
        ...


def make_enqueue(database: JobDatabase) -> Callable[[Session, str, int, str | None], None]:
    """What puts a job on the queue inside the caller's transaction: session, effect key, number, traceparent.

    The engine is imported here and now, so that no request waits for it while it holds a transaction.
    """
    client = _client(database)

    def enqueue(session: Session, key: str, number: int, traceparent: str | None) -> None:
        client.enqueue_in_transaction(
            session,
            {
                "workflow_name": WORKFLOW,
                "queue_name": QUEUE,
                "workflow_id": f"{key}#{number}",
                "app_version": APPLICATION_VERSION,
            },
            key,
            traceparent,
        )

    return enqueue


def migrate_jobs(database: JobDatabase) -> None:
    """Create or update the job engine's tables. Safe to run at any time, by several at once."""
    from dbos import DBOS

    event.listen(Pool, "connect", teach_unixepoch)  # it opens an engine of its own here, and in the worker
    DBOS.migrate(_url(database))


def teach_unixepoch(connection: Any, _record: Any = None) -> None:
    """Make `unixepoch('subsec')` work on a SQLite before 3.42, as Debian 12 has: the job engine's defaults call it."""
    if isinstance(connection, sqlite3.Connection) and LACKS_SUBSEC:
        connection.create_function("unixepoch", 1, lambda _subsec: time.time())


async def run_worker(
    database: JobDatabase,
    deliver: Deliver,
    chores: Sequence[Chore],
    executor_id: str,
    ready: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Run jobs and chores until `stop` is set, then let running jobs end, for at most ten seconds.

    `executor_id` names this worker; two live workers must not share one. `ready` is called once jobs are taken.
    """
    from dbos import DBOS

    _refuse_pickle()
    event.listen(Pool, "connect", teach_unixepoch)
    engine = database.engine_for(connections=10)
    DBOS(config=_config(database, engine, executor_id))
    DBOS.workflow(name=WORKFLOW)(_traced(deliver))
    try:
        _launch()
        await DBOS.register_queue_async(QUEUE, worker_concurrency=8, polling_interval_sec=0.2)
        forgetting = Chore("forgetting old jobs", FORGET_EVERY_S, forget_old_jobs)
        keeping = [asyncio.create_task(keep_doing(chore)) for chore in (*chores, forgetting)]
        ready()
        await stop.wait()
        for task in keeping:
            task.cancel()
        await asyncio.wait(keeping)
    finally:
        await _shut_down()
        if engine is not None:
            engine.dispose()


def _refuse_pickle() -> None:
    """The engine reads a job in the form that its row names: whoever writes to the table could run code here."""
    from dbos._serialization import DefaultSerializer

    def refuse(_self: object, _serialized: str) -> Any:
        raise ValueError("a pickled job is not read")

    DefaultSerializer.deserialize = refuse  # type: ignore[method-assign, assignment]


def _launch() -> None:
    from dbos import DBOS, error

    try:
        DBOS.launch()
    except error.DBOSInitializationError:
        raise Unavailable("the job engine's tables are missing or old: run `svc migrate`") from None


def _traced(deliver: Deliver) -> Callable[[str, str | None], Awaitable[str]]:
    """The job's body: the delivery, as a span in the trace of the request that caused it."""
    tracer = trace.get_tracer("service.jobs")

    async def deliver_effect(key: str, traceparent: str | None) -> str:
        context = propagate.extract({"traceparent": traceparent} if traceparent else {})
        attributes = {"effect.key": key}
        with tracer.start_as_current_span(
            "deliver effect", context=context, kind=trace.SpanKind.CONSUMER, attributes=attributes
        ) as span:
            state = await deliver(key)
            span.set_attribute("effect.state", state)
            return state

    return deliver_effect


async def forget_old_jobs(now: datetime) -> None:
    """Delete jobs of yesterday and before, whatever became of them: the ledger makes new ones where needed."""
    from dbos import DBOS

    before = (now - FORGET_AFTER).isoformat()
    while True:
        old = await DBOS.list_workflows_async(
            end_time=before, name=WORKFLOW, limit=FORGET_AT_ONCE, load_input=False, load_output=False
        )
        if old:
            await DBOS.delete_workflows_async([job.workflow_id for job in old])
        if len(old) < FORGET_AT_ONCE:
            return


async def _shut_down() -> None:
    from dbos import DBOS

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:  # destroying blocks, and the jobs it waits for run on this loop
        await loop.run_in_executor(
            thread, lambda: DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=GRACE_S)
        )
    # The engine made its own, now closed, thread pool this loop's default; whoever closes after us needs one.
    loop.set_default_executor(ThreadPoolExecutor())


def _config(database: JobDatabase, engine: Engine | None, executor_id: str) -> Any:
    from dbos import DBOSPortableJSONSerializer

    return {
        "name": APPLICATION,
        "system_database_url": _url(database),
        "system_database_engine": engine,
        "application_version": APPLICATION_VERSION,  # else a hash of the code, and each deploy strands jobs
        "executor_id": executor_id,
        "serializer": DBOSPortableJSONSerializer(),
        "run_migrations": False,
        "log_level": "ERROR",
        "enable_otlp": False,
        "notification_listener_polling_interval_sec": 0.2,
        "scheduler_polling_interval_sec": 30.0,
    }


def _client(database: JobDatabase) -> "DBOSClient":
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    _refuse_pickle()
    # Only ever used inside the caller's transactions, so it never opens a connection of its own.
    return DBOSClient(
        system_database_engine=database.writer,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        lazy=True,
    )


def _url(database: JobDatabase) -> str:
    return database.writer.url.render_as_string(hide_password=False)
