"""The audit log under load: forty writers while the sealers are killed; what the chain costs those who write.

`pytest -s` prints the figures. For real ones: KILLS=20 LOAD_S=5 ROUNDS=3 FSYNC=1.
"""

import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, AuditSealRow, EffectRow
from tests.integration import audit_process
from tests.integration.auditing import Log

PAUSE_S = 0.1  # between two transactions of one writer: else the sealer gets no processor to be killed on
KILLS = int(os.environ.get("KILLS", "3"))
LOAD_S, ROUNDS = float(os.environ.get("LOAD_S", "0.4")), int(os.environ.get("ROUNDS", "1"))
PROCESSES = 4
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["tests.integration.audit_process"])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The server that forks the processes imports what they need once, if it can find it."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'src'}{os.pathsep}{root}")


def url_of(database: Database) -> str:
    return database.writer.url.set(drivername=database.dialect).render_as_string(hide_password=False)


def count(database: Database, *tables: type) -> list[int]:
    return [database.read_sync(lambda s, t=t: s.scalar(select(func.count()).select_from(t))) for t in tables]


@contextmanager
def writing(url: str, folder: Path, chained: bool = False, pause_s: float = 0.0) -> Iterator[object]:
    """Four processes write until the block ends; the value yielded then holds how many transactions committed."""
    stop, written = folder / "stop", SPAWN.Value("i", 0)
    stop.unlink(missing_ok=True)
    writers = [
        SPAWN.Process(target=audit_process.write, args=(url, stop, written, chained, pause_s)) for _ in range(PROCESSES)
    ]
    for writer in writers:
        writer.start()
    try:
        yield written
    finally:
        stop.touch()
        for writer in writers:
            writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES


@contextmanager
def sealing(url: str, anchors: Path, every_s: float) -> Iterator[None]:
    sealer = SPAWN.Process(target=audit_process.seal, args=(url, anchors, every_s))
    sealer.start()
    try:
        yield
    finally:
        sealer.kill()
        sealer.join()


def test_forty_writers_and_two_sealers_that_are_killed_again_and_again(database, tmp_path):
    log, url = Log(database, tmp_path / "audit.anchors"), url_of(database)
    moved = []
    with writing(url, tmp_path, pause_s=PAUSE_S) as written:
        audit_process.wait_until(lambda: count(database, AuditRow) > [0])
        for _ in range(KILLS):
            (before,) = count(database, AuditSealRow)
            with sealing(url, log.anchors, 0.01), sealing(url, tmp_path / "of-another", 0.01):
                audit_process.wait_until(lambda before=before: count(database, AuditSealRow) > [before])
                time.sleep(random.uniform(0, 0.1))
            moved.append(count(database, AuditSealRow)[0] - before)
    log.seal()
    rows, effects, seals = count(database, AuditRow, EffectRow, AuditSealRow)
    found = log.verify()
    print(
        f"\n{database.dialect}: 40 writers, {KILLS} times kill -9 of two sealers: {written.value} committed, "
        f"{effects} effects, {rows} audit rows, {seals} seals, {len(found['flaws'])} flaws",
        end="",
    )
    assert min(moved) > 0
    assert rows == effects == seals == found["checked"] == written.value
    assert log.wrong(found["head"]) == []


@pytest.fixture
def durable(postgres_database: Database) -> Iterator[Database]:
    """With FSYNC=1 a commit waits for the disk, as in production."""
    url = url_of(postgres_database)

    def fsync(value: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET fsync = {value}")
            connection.execute("SELECT pg_reload_conf()")

    if os.environ.get("FSYNC"):
        fsync("on")
    yield postgres_database
    fsync("off")


def test_what_the_chain_costs_writers(durable, tmp_path):
    """Four processes on Postgres: without a chain, with the sealer, and with the chain inside each transaction."""
    log, url = Log(durable, tmp_path / "audit.anchors"), url_of(durable)
    rates: dict[str, list[float]] = {"no chain": [], "sealer": [], "chain in the transaction": []}
    for _ in range(ROUNDS):
        for kind, taken in rates.items():
            log.seal()
            if kind == "sealer":
                with sealing(url, log.anchors, 1.0):
                    taken.append(rate(url, tmp_path))
                    audit_process.wait_until(lambda: len(set(count(durable, AuditRow, AuditSealRow))) == 1)
            else:
                taken.append(rate(url, tmp_path, chained=kind == "chain in the transaction"))
    medians = {kind: statistics.median(taken) for kind, taken in rates.items()}
    print("\n" + ", ".join(f"{kind}: {value:.0f} rows/s" for kind, value in medians.items()), end="")
    log.seal()
    assert log.wrong() == []
    assert medians["sealer"] > medians["no chain"] / 3


def rate(url: str, folder: Path, chained: bool = False) -> float:
    """Transactions a second, once they are under way."""
    with psycopg.connect(url, autocommit=True) as connection:

        def rows() -> int:
            return connection.execute("SELECT count(*) FROM effect").fetchone()[0]

        begun = rows()
        with writing(url, folder, chained):
            audit_process.wait_until(lambda: rows() > begun + 100)
            before, started = rows(), time.monotonic()
            time.sleep(LOAD_S)
            after, ended = rows(), time.monotonic()
    return (after - before) / (ended - started)
