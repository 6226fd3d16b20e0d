"""Redrive in SQL: review items that no person has touched, and putting a model's answer in the place of one.

The item's row lock decides between a reviewer and a redrive, and between two redrives; the unique index on
`decision.supersedes` stands behind it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from service.application.decision import Calls, Decision, Effect
from service.application.identity import Caller
from service.application.review.contract import ReviewState
from service.application.waiting import ABOUT_THE_MESSAGE, Counted, Place, Queue, Waiter, Window
from service.integration.database import audit, payloads
from service.integration.database.ledger import Clock, Enqueue, queue_effect
from service.integration.database.records import open_review, store_decision
from service.integration.database.reviews import in_state
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow, ReviewItemRow


class SqlWaiting:
    """`Waiting`, for the decisions of one use case; the queue it counts is that of all."""

    def __init__(self, database: Database, enqueue: Enqueue, clock: Clock, use_case: str) -> None:
        self._database, self._enqueue, self._clock, self._use_case = database, enqueue, clock, use_case

    async def count(self, window: Window) -> Counted:
        now = self._clock()
        candidates = self._candidates(window, now, func.count())

        def counts(session: Session) -> Counted:
            return Counted(session.execute(candidates).scalar_one(), _queue(session, now))

        return await self._database.read(counts)

    async def oldest(self, window: Window, after: Place | None, limit: int) -> list[Waiter]:
        columns = (
            ReviewItemRow.id, ReviewItemRow.decision_id, DecisionRow.tenant, DecisionRow.actor,
            PayloadRow.encrypted, ReviewItemRow.opened_at,
        )  # fmt: skip
        query = self._candidates(window, self._clock(), *columns)
        if after is not None:
            same = and_(ReviewItemRow.opened_at == after.opened_at, ReviewItemRow.id > after.review_id)
            query = query.where(or_(ReviewItemRow.opened_at > after.opened_at, same))
        query = query.order_by(ReviewItemRow.opened_at, ReviewItemRow.id).limit(limit)

        def read(session: Session) -> list[Waiter]:
            return [
                Waiter(
                    id_, decision, tenant, actor, payloads.request_of(session, tenant, decision, encrypted), opened_at
                )
                for id_, decision, tenant, actor, encrypted, opened_at in session.execute(query)
            ]

        return await self._database.read(read)

    async def replace(
        self, old: Waiter, decision: Decision, effect: Effect | None, operator: Caller, calls: Calls = ()
    ) -> bool:
        def commit(session: Session) -> bool:
            now = self._clock()
            encrypted = session.execute(_untouched(old, now)).scalar_one_or_none()
            request = payloads.request_of(session, old.tenant, old.decision_id, encrypted)
            if not request:
                return False
            _supersede(session, old, now)
            store_decision(session, decision, request, calls)
            audit.append(session, _redriven(old, decision, operator, now))
            if effect is not None:
                queue_effect(session, effect, decision.tenant, now, self._enqueue)
            else:
                open_review(session, decision, old.opened_at)
            return True

        return await self._database.write(commit)

    def _candidates(self, window: Window, now: datetime, *columns: Any) -> Select[Any]:
        query = (
            select(*columns)
            .select_from(ReviewItemRow)
            .join(DecisionRow, DecisionRow.id == ReviewItemRow.decision_id)
            .join(PayloadRow, PayloadRow.decision_id == DecisionRow.id)  # an erased message has none
            .where(in_state(ReviewState.OPEN, now), ReviewItemRow.use_case == self._use_case)
            .where(DecisionRow.source == window.source.value, DecisionRow.degraded, DecisionRow.at >= window.since)
            .where(DecisionRow.reason.not_in([reason.value for reason in ABOUT_THE_MESSAGE]))
        )
        return query if window.until is None else query.where(DecisionRow.at < window.until)


def _untouched(old: Waiter, now: datetime) -> Select[Any]:
    """The message of an item that is still open, locked; nothing otherwise, once whoever holds the lock is done."""
    return (
        select(PayloadRow.encrypted)
        .join(ReviewItemRow, ReviewItemRow.decision_id == PayloadRow.decision_id)
        .where(ReviewItemRow.id == old.review_id, in_state(ReviewState.OPEN, now))
        .with_for_update(of=ReviewItemRow)
    )


def _supersede(session: Session, old: Waiter, now: datetime) -> None:
    values = {"state": ReviewState.SUPERSEDED.value, "closed_at": now, "claimed_by": None, "claimed_until": None}
    session.execute(update(ReviewItemRow).where(ReviewItemRow.id == old.review_id).values(values))


def _redriven(old: Waiter, decision: Decision, operator: Caller, now: datetime) -> audit.Entry:
    details = {"superseded_by": decision.id, "review": old.review_id, "operator_tenant": operator.tenant}
    return audit.Entry(now, old.tenant, operator.subject, "decision.redriven", old.decision_id, details)


def _queue(session: Session, now: datetime) -> Queue:
    def waiting(*conditions: ColumnElement[bool]) -> Any:
        return func.count().filter(*conditions)

    is_open = in_state(ReviewState.OPEN, now)
    query = select(
        waiting(is_open, ReviewItemRow.disposition == "review"),
        waiting(is_open, ReviewItemRow.disposition == "escalate"),
        waiting(in_state(ReviewState.CLAIMED, now)),
    ).where(ReviewItemRow.state.in_(("open", "claimed")))
    return Queue(*session.execute(query).one())
