"""Jobs on the real engine: with the decision or not at all, and no effect lost or doubled when workers are killed."""

import asyncio
import base64
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from sqlalchemy import text

from service.application.errors import Unavailable
from service.application.held import Opened
from service.integration.chores import Chore
from service.integration.database.records import SqlRecords
from service.integration.database.session import Database, open_database
from service.integration.database.tables import EffectRow
from service.integration.jobs import make_enqueue, run_worker
from tests.example import USE_CASE
from tests.integration.examples import REQUEST, decision, digest, effect, rows

ROOT = Path(__file__).resolve().parents[2]
EFFECTS = 40
OLD = f"{USE_CASE}:of-the-day-before-yesterday"


def jobs(database: Database) -> list[tuple[str, str]]:
    query = text(f"SELECT workflow_uuid, status FROM {job_table(database)} ORDER BY workflow_uuid")  # noqa: S608
    return [tuple(row) for row in database.read_sync(lambda session: session.execute(query).all())]


def job_table(database: Database) -> str:
    return "dbos.workflow_status" if database.dialect == "postgresql" else "workflow_status"


def decide(database: Database, *ids: str, ago: float = 0.0) -> None:
    """Store decisions whose effects were queued `ago` seconds ago."""
    records = SqlRecords(database, make_enqueue(database), digest, lambda: datetime.now(UTC) - timedelta(seconds=ago))

    async def close_all() -> None:
        for id_ in ids:
            await records.close(decision(id_), Opened(), REQUEST, effect(id_))

    asyncio.run(close_all())


def test_a_job_is_committed_with_its_effect(database):
    decide(database, "d-1")
    assert jobs(database) == [(f"{USE_CASE}:d-1#1", "ENQUEUED")]
    assert [row.state for row in rows(database, EffectRow)] == ["queued"]


def test_a_rolled_back_decision_leaves_no_job(database):
    enqueue = make_enqueue(database)

    def enqueue_and_fail(session):
        enqueue(session, f"{USE_CASE}:d-1", 1, None)
        raise KeyError("a bug after the job was queued")

    with pytest.raises(KeyError):
        database.write_sync(enqueue_and_fail)
    assert jobs(database) == []


def test_a_job_carries_a_key_and_nothing_of_the_customer(sqlite_database):
    decide(sqlite_database, "d-1")
    inputs = sqlite_database.read_sync(lambda s: s.execute(text("SELECT inputs FROM workflow_input")).scalar())
    assert f"{USE_CASE}:d-1" in inputs
    assert "où" not in inputs
    assert "order" not in inputs


def test_the_life_of_a_worker(sqlite_database):
    """It joins the request's trace, survives a failed sweep, ends what it began, and leaves a working event loop."""
    seen: dict[str, str] = {}
    sweeps: list[datetime] = []
    begun, ended = asyncio.Event(), []

    async def deliver(key: str) -> str:
        seen[key] = trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
        if key == "slow":
            begun.set()
            await asyncio.sleep(0.5)
            ended.append(key)
        return "done"

    async def failing_sweep(at: datetime) -> int:
        sweeps.append(at)
        raise Unavailable("the database cannot be reached now")

    async def story() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        enqueue = make_enqueue(sqlite_database)
        traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
        sqlite_database.write_sync(lambda session: enqueue(session, "traced", 1, traceparent))
        sqlite_database.write_sync(lambda session: enqueue(session, "slow", 1, None))
        working = asyncio.create_task(
            run_worker(sqlite_database, deliver, [Chore("sweep", 2.0, failing_sweep)], "worker-a", ready.set, stop)
        )
        beginning = asyncio.create_task(begun.wait())
        await asyncio.wait([beginning, working], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set()
        stop.set()
        await working
        await asyncio.to_thread(lambda: None)

    asyncio.run(story())
    assert seen["traced"] == "ab" * 16
    assert ended == ["slow"]
    assert sweeps


class Planted:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_a_job_that_somebody_pickled_runs_no_code(sqlite_database, tmp_path):
    planted = base64.b64encode(pickle.dumps({"args": (Planted(tmp_path / "here"), None), "kwargs": {}})).decode()
    row = {"id": "planted", "inputs": planted}
    status = text(
        "INSERT INTO workflow_status (workflow_uuid, status, name, application_version, application_name, queue_name, "
        "inputs, serialization) "
        "VALUES (:id, 'ENQUEUED', 'deliver_effect', '1', 'service', 'effects', :inputs, 'py_pickle')"
    )
    given = text("INSERT INTO workflow_input (workflow_uuid, inputs) VALUES (:id, :inputs)")
    sqlite_database.write_sync(lambda session: [session.execute(order, row) for order in (status, given)])
    seen = asyncio.Event()

    async def deliver(key: str) -> str:
        seen.set()
        return key

    async def story() -> None:
        stop, enqueue = asyncio.Event(), make_enqueue(sqlite_database)
        working = asyncio.create_task(run_worker(sqlite_database, deliver, [], "worker-a", lambda: None, stop))
        await asyncio.sleep(1.0)
        sqlite_database.write_sync(lambda session: enqueue(session, "after", 1, None))
        await asyncio.wait_for(seen.wait(), 20)  # the others go on
        stop.set()
        await working

    asyncio.run(story())
    assert not (tmp_path / "here").exists()


def test_a_worker_on_a_database_without_jobs_says_what_to_do(tmp_path):
    async def nothing(_: object) -> Any: ...

    database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(Unavailable, match="svc migrate"):
        asyncio.run(run_worker(database, nothing, [], "worker-a", lambda: None, asyncio.Event()))
    database.close_sync()


def test_killed_workers_lose_no_effect_and_double_none(sqlite_database, postgres_database, tmp_path):
    """40 effects; the worker is killed midway, starts again, is killed again, and one of another name comes.

    Both databases at once, because starting a worker takes longer than what it then does.
    """
    stories = {tmp_path / "sqlite.tickets": sqlite_database, tmp_path / "postgres.tickets": postgres_database}
    with ThreadPoolExecutor(2) as threads:
        for story in [threads.submit(kill_and_restart, database, file) for file, database in stories.items()]:
            story.result()
    for file, database in stories.items():
        effects = rows(database, EffectRow)
        assert {row.state for row in effects} == {"done"}
        assert {row.key: row.reference for row in effects} == {
            f"{USE_CASE}:d-{n}": f"T-{USE_CASE}:d-{n}" for n in range(EFFECTS)
        }
        asked = tickets(file)
        assert set(asked) == {row.key for row in effects}
        # Only what was in flight at one of two kills, 8 at a time, was asked for again.
        assert sum(asked.values()) <= EFFECTS + 2 * 8
        assert f"{OLD}#1" not in dict(jobs(database)), "a job two days old was not forgotten"


def kill_and_restart(database: Database, downstream: Path) -> None:
    with sqlite3.connect(downstream) as system:
        system.execute("CREATE TABLE ticket (key TEXT PRIMARY KEY, asked INTEGER)")
    leave_a_job_of_the_day_before_yesterday(database)
    # Queued 55 seconds ago: what the killed workers take with them is overdue soon after.
    decide(database, *(f"d-{n}" for n in range(EFFECTS)), ago=55)
    for executor_id, enough in (("worker-a", 10), ("worker-a", 20), ("worker-b", EFFECTS)):
        with worker(database, downstream, executor_id) as process:
            wait_until(lambda enough=enough: len(done(database)) >= enough, process)


def leave_a_job_of_the_day_before_yesterday(database: Database) -> None:
    enqueue = make_enqueue(database)
    database.write_sync(lambda session: enqueue(session, OLD, 1, None))
    two_days_ago = int((time.time() - 2 * 86400) * 1000)
    age = text(f"UPDATE {job_table(database)} SET created_at = {two_days_ago}")  # noqa: S608
    database.write_sync(lambda session: session.execute(age))


@contextmanager
def worker(database: Database, downstream: Path, executor_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, killed without warning at the end of the block."""
    url = database.writer.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.worker_process", url, str(downstream), executor_id],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def tickets(file: Path) -> dict[str, int]:
    with sqlite3.connect(file) as downstream:
        return dict(downstream.execute("SELECT key, asked FROM ticket").fetchall())


def done(database: Database) -> list[EffectRow]:
    return [row for row in rows(database, EffectRow) if row.state == "done"]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert process.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
