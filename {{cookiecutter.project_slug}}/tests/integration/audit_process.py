"""Processes for tests under load: ten writers each, who write as the API does until told to stop; and a sealer."""

import asyncio
import time
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from service.application.errors import Unavailable
from service.application.held import Opened
from service.integration import audit_chain
from service.integration.audit_chain import Keys
from service.integration.chores import Chore, keep_doing
from service.integration.database import audit_seals
from service.integration.database.audit_seals import Sealer
from service.integration.database.records import SqlRecords
from service.integration.database.session import open_database
from service.integration.database.tables import AuditRow, AuditSealRow
from tests.conftest import CIPHER
from tests.integration.auditing import KEY, as_seal
from tests.integration.examples import REQUEST, Queue, decision, digest, effect

WRITERS = 10
KEYS = Keys(lambda: KEY)


def write(url: str, stop: Path, written: Any, chained: bool, pause_s: float) -> None:
    """Decisions with their effects and audit rows; `written` is told how many were. `chained`: sealed on the spot."""
    asyncio.run(_write(url, stop, written, chained, pause_s))


async def _write(url: str, stop: Path, written: Any, chained: bool, pause_s: float) -> None:
    database = open_database(url, pool_size=WRITERS, cipher=CIPHER)
    close = Queue()
    if chained:
        close = lambda session, *_job: _seal_at_once(session)  # noqa: E731 - the last thing in the transaction
    records = SqlRecords(database, close, digest, lambda: datetime.now(UTC))
    done = 0

    async def keep_writing() -> None:
        nonlocal done
        while not stop.exists():
            made = replace(decision(str(uuid.uuid4())), at=datetime.now(UTC))
            try:
                await records.close(made, Opened(), REQUEST, effect(made.id))
                done += 1
            except Unavailable:  # SQLite lets one write at a time, and this one waited for too long
                pass
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(keep_writing() for _ in range(WRITERS)))
    with written.get_lock():
        written.value += done
    await database.close()


def _seal_at_once(session: Session) -> None:
    """What the service does not do: every transaction takes its turn at the end of one chain."""
    session.execute(text("SELECT pg_advisory_xact_lock(1)"))
    newest = select(AuditSealRow).order_by(AuditSealRow.position.desc()).limit(1)
    before = session.scalars(newest).first()
    own = session.scalar(text("SELECT currval(pg_get_serial_sequence('audit', 'seq'))"))
    row = session.execute(select(AuditRow.__table__).where(AuditRow.seq == own)).mappings().one()
    (seal,) = audit_chain.seal(KEYS, as_seal(before) if before else None, [dict(row)], datetime.now(UTC))
    session.execute(audit_seals._INSERT, asdict(seal))


def seal(url: str, anchors: Path, every_s: float) -> None:
    """As a worker does, until killed."""
    asyncio.run(keep_doing(Chore("sealing", every_s, Sealer(open_database(url), KEYS, anchors))))


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    """Ask every 20 ms."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
