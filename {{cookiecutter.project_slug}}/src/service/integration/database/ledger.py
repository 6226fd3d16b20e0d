"""The side-effect ledger in SQL: the truth about every write that leaves the service.

The job engine only says "look at this effect now"; whether there is anything to do is decided here, by one
conditional UPDATE. A lost job costs time until the sweep, a doubled job costs nothing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import ColumnElement, Update, and_, insert, or_, select, update
from sqlalchemy.orm import Session

from service.application.decision import Effect, JsonObject
from service.integration.database import audit, payloads
from service.integration.database.session import Database
from service.integration.database.tables import EffectRow, table_of

Clock = Callable[[], datetime]
# Puts a job for an effect on the queue, inside the caller's transaction: session, key, number, traceparent.
Enqueue = Callable[[Session, str, int, str | None], None]

OVERDUE_S = 60.0
LEASE_S = 60.0
MOST_A_SWEEP = 500
# The sweep writes in several transactions, because SQLite lets nobody else write meanwhile.
A_TRANSACTION = 50

_INSERT = insert(table_of(EffectRow))


def queue_effect(session: Session, effect: Effect, tenant: str, now: datetime, enqueue: Enqueue) -> None:
    """Enter an effect and its first job, in the caller's transaction. The sweep looks after it from then on."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    traceparent = carrier.get("traceparent")
    row = {
        "key": effect.key,
        "decision_id": effect.decision_id,
        "tenant": tenant,
        "encrypted": payloads.encrypt(session, effect.body, "effect", tenant, effect.decision_id),
        "state": "queued",
        "attempts": 0,
        "enqueues": 1,
        "next_attempt_at": now + timedelta(seconds=OVERDUE_S),
        "traceparent": traceparent,
        "created_at": now,
        "updated_at": now,
    }
    session.execute(_INSERT, row)
    enqueue(session, effect.key, 1, traceparent)


class SqlLedger:
    """`Ledger`. `lease_s` must exceed the longest attempt: until then nobody else may try the effect."""

    def __init__(self, database: Database, clock: Clock, lease_s: float = LEASE_S) -> None:
        self._database, self._clock = database, clock
        self._lease = timedelta(seconds=lease_s)

    async def begin(self, key: str) -> tuple[Effect, int] | None:
        now = self._clock()
        lease = now + self._lease
        # The sweep must not queue it again while the attempt runs, and must if the attempt never ends.
        statement = self._change(key, now, state="queued", leased_until=lease, next_attempt_at=lease).where(
            EffectRow.state.in_(("queued", "held")), _unleased(now)
        )
        counted = statement.values(attempts=EffectRow.attempts + 1).returning(
            EffectRow.decision_id, EffectRow.tenant, EffectRow.encrypted, EffectRow.attempts
        )

        def attempt(session: Session) -> tuple[Effect, int] | None:
            row = session.execute(counted).one_or_none()
            if row is None:
                return None
            body = payloads.decrypt(session, row.encrypted, "effect", row.tenant, row.decision_id)
            return Effect(key, row.decision_id, body), row.attempts

        return await self._database.write(attempt)

    async def hold(self, key: str) -> None:
        now = self._clock()
        await self._apply(self._change(key, now, state="held").where(EffectRow.state == "queued", _unleased(now)))

    async def done(self, key: str, reference: str) -> None:
        change = self._change(
            key, state="done", reference=reference, encrypted=None, last_error=None, leased_until=None
        )
        await self._end(key, change, "effect.done", {"reference": reference})

    async def failed(self, key: str, error: str) -> None:
        change = self._change(key, state="failed", encrypted=None, last_error=error, leased_until=None)
        await self._end(key, change, "effect.failed", {})

    async def retry_in(self, key: str, seconds: float, error: str) -> None:
        due = self._clock() + timedelta(seconds=seconds)
        change = self._change(key, last_error=error, leased_until=None, next_attempt_at=due)
        await self._apply(change.where(EffectRow.state.in_(("queued", "held"))))

    def _change(self, key: str, now: datetime | None = None, **values: Any) -> Update:
        return update(EffectRow).where(EffectRow.key == key).values(updated_at=now or self._clock(), **values)

    async def _end(self, key: str, change: Update, action: str, details: JsonObject) -> None:
        ended = change.where(EffectRow.state != "done").returning(EffectRow.tenant, EffectRow.decision_id)

        def commit(session: Session) -> None:
            for tenant, decision_id in session.execute(ended).all():
                told = {"decision": decision_id, **details}
                audit.append(session, audit.Entry(self._clock(), tenant, "worker", action, key, told))

        await self._database.write(commit)

    async def _apply(self, change: Update) -> None:
        await self._database.write(lambda session: session.execute(change))


class SqlBacklog:
    """`Backlog`. A job that does not bring its effect forward within `overdue_s` is followed by another."""

    def __init__(self, database: Database, enqueue: Enqueue, clock: Clock, overdue_s: float = OVERDUE_S) -> None:
        self._database, self._enqueue, self._clock = database, enqueue, clock
        self._overdue = timedelta(seconds=overdue_s)

    async def requeue_due(self, include_held: bool) -> int:
        """How many effects got a new job: at most 500, the longest due first."""
        requeued = 0
        while requeued < MOST_A_SWEEP:
            if not await self._database.read(lambda session: self._is_due(session, include_held)):
                break  # asking first keeps an idle service from taking the write lock
            batch = await self._database.write(lambda session: self._requeue(session, include_held))
            requeued += batch
            if batch < A_TRANSACTION:
                break
        return requeued

    def _is_due(self, session: Session, include_held: bool) -> bool:
        due = select(EffectRow.key).where(_due(self._clock(), include_held)).limit(1)
        return session.execute(due).first() is not None

    def _requeue(self, session: Session, include_held: bool) -> int:
        now = self._clock()
        due = (
            select(EffectRow.key, EffectRow.enqueues, EffectRow.traceparent)
            .where(_due(now, include_held))
            .order_by(EffectRow.next_attempt_at)
            .limit(A_TRANSACTION)
            .with_for_update(skip_locked=True)  # another worker's sweep takes the others
        )
        rows = session.execute(due).all()
        for row in rows:
            change = update(EffectRow).where(EffectRow.key == row.key)
            session.execute(
                change.values(
                    state="queued",
                    enqueues=row.enqueues + 1,
                    next_attempt_at=now + self._overdue,
                    updated_at=now,
                )
            )
            self._enqueue(session, row.key, row.enqueues + 1, row.traceparent)
        return len(rows)


def _unleased(now: datetime) -> ColumnElement[bool]:
    return or_(EffectRow.leased_until.is_(None), EffectRow.leased_until <= now)


def _due(now: datetime, include_held: bool) -> ColumnElement[bool]:
    overdue = and_(EffectRow.state == "queued", EffectRow.next_attempt_at <= now, _unleased(now))
    return or_(overdue, EffectRow.state == "held") if include_held else overdue
