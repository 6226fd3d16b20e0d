"""Decisions, callers and a clock for database tests."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from service.application.decision import Decision, Disposition, Effect, JsonObject, Source, Usage
from service.application.held import Opened
from service.application.identity import Caller, Role
from service.integration.database.records import SqlRecords
from service.integration.database.session import Database
from service.integration.database.tables import BudgetRow, EffectRow, PayloadRow
from tests.conftest import CIPHER
from tests.example import USE_CASE

ALICE = Caller("alice", "acme", frozenset({Role.CALLER}))
REVIEWER = Caller("rita", "acme", frozenset({Role.REVIEWER}))
REQUEST: JsonObject = {"subject": "Hello", "body": "where is my order? ✓", "channel": None, "customer_ref": "c-1"}


@dataclass
class Clock:
    """A clock that goes only when told."""

    at: datetime = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Queue:
    """Stands where the job engine's enqueue goes, and counts. Fails when told to."""

    jobs: list[tuple[str, int]] = field(default_factory=list)
    broken: bool = False

    def __call__(self, session: Session, key: str, number: int, traceparent: str | None) -> None:
        if self.broken:
            raise RuntimeError("the queue is broken")
        self.jobs.append((key, number))


def digest(request: JsonObject) -> str:
    return repr(sorted(request.items()))


def decision(id_: str = "d-1", disposition: Disposition = Disposition.AUTO, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "id": id_,
        "use_case": USE_CASE,
        "tenant": ALICE.tenant,
        "actor": ALICE.subject,
        "outcome": {"category": "delivery", "draft_reply": "Soon."},
        "disposition": disposition,
        "source": Source.MODEL,
        "degraded": False,
        "reason": None,
        "release": f"{USE_CASE}-abc",
        "prompt_version": "1",
        "model_version": "m-1",
        "repaired": False,
        "taint": (),
        "usage": Usage(10, 5, 0.001),
        "input_digest": "q-1",
        "supersedes": None,
        "trace_id": "0" * 32,
        "at": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        "latency_ms": 120,
    }
    return Decision(**{**fields, **changes})


def effect(decision_id: str = "d-1") -> Effect:
    return Effect(f"{USE_CASE}:{decision_id}", decision_id, {"decision_id": decision_id, "body": "où?"})


async def store(database: Database, clock: Clock, made: Decision, with_effect: bool = False) -> None:
    """Close one decision without an idempotency key."""
    records = SqlRecords(database, Queue(), digest, clock)
    await records.close(made, Opened(), REQUEST, effect(made.id) if with_effect else None)


def rows(database: Database, row: type[Any]) -> list[Any]:
    """By primary key: without an order Postgres gives them as it likes."""
    query = select(row).order_by(*inspect(row).primary_key)
    return list(database.read_sync(lambda session: session.execute(query).scalars().all()))


def contents(database: Database, kind: str) -> dict[str, Any]:
    """What is encrypted in each row of "payload" or "effect", by decision."""
    row = {"payload": PayloadRow, "effect": EffectRow}[kind]
    kept = rows(database, row)
    return {
        row.decision_id: CIPHER.decrypt(row.encrypted, kind, row.tenant, row.decision_id)
        for row in kept
        if row.encrypted
    }


def used(database: Database) -> dict[tuple[str, str], int]:
    """What every budget has spent and holds, in millionths of a dollar, by day and name."""
    return {(row.day.isoformat(), row.name): row.micro_usd for row in rows(database, BudgetRow)}
