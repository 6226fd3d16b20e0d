"""A worker as its own process, for tests that kill it: the real job engine, ledger and sweep; short leases.

    python -m tests.integration.worker_process DATABASE_URL DOWNSTREAM_FILE EXECUTOR_ID

The downstream system is a SQLite file that makes one ticket a key and counts how often it was asked.
"""

import asyncio
import sqlite3
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.application.decision import JsonObject
from service.application.effects.use_case import DeliverEffect, ReconcileEffects
from service.integration.audit_chain import Keys
from service.integration.chores import Chore
from service.integration.database.audit_seals import Sealer
from service.integration.database.ledger import SqlBacklog, SqlLedger
from service.integration.database.session import open_database
from service.integration.jobs import make_enqueue, run_worker
from tests.conftest import CIPHER

LEASE_S = 2.0


@dataclass(frozen=True)
class Downstream:
    """Answers after a moment, after the ticket is written: a kill in between leaves a ticket without a reference."""

    file: Path

    async def create(self, key: str, body: JsonObject) -> str:
        with sqlite3.connect(self.file, timeout=30) as tickets:
            tickets.execute(
                "INSERT INTO ticket VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET asked = asked + 1", (key,)
            )
        await asyncio.sleep(0.15)
        return f"T-{key}"


class AlwaysOn:
    def effects_on(self) -> bool:
        return True


async def main(url: str, downstream: Path, executor_id: str) -> None:
    database = open_database(url, cipher=CIPHER)
    deliver = DeliverEffect(AlwaysOn(), SqlLedger(database, now, LEASE_S), Downstream(downstream))
    reconcile = ReconcileEffects(AlwaysOn(), SqlBacklog(database, make_enqueue(database), now, overdue_s=LEASE_S))
    anchors = downstream.with_suffix(f".{executor_id}.anchors")
    await run_worker(
        database,
        deliver,
        [Chore("sweep", 2.0, reconcile), Chore("sealing", 0.2, Sealer(database, Keys(lambda: "test"), anchors))],
        executor_id,
        lambda: print("ready", flush=True),
        asyncio.Event(),
    )


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
