"""The review desk in SQL. A claim is a lease; a verdict commits with its effect, its job and its audit row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, or_, select, update
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import NotFound
from service.application.identity import Caller
from service.application.review.contract import ReviewItem, ReviewState, Verdict
from service.application.review.use_case import Judgement, refuse_unless_free
from service.integration.database import audit, payloads
from service.integration.database.ledger import Clock, Enqueue, queue_effect
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow, ReviewItemRow

CLAIM = timedelta(minutes=30)

Found = Row[tuple[ReviewItemRow, JsonObject, str, str | None, bytes | None]]


class SqlReviewDesk:
    """`ReviewDesk`. A claim lasts 30 minutes; after that the item counts as open again."""

    def __init__(self, database: Database, enqueue: Enqueue, clock: Clock) -> None:
        self._database, self._enqueue, self._clock = database, enqueue, clock

    async def list(
        self, caller: Caller, state: ReviewState | None, limit: int, closed_since: datetime | None = None
    ) -> "list[ReviewItem]":
        now = self._clock()
        query = _items(caller.tenant).limit(limit)
        if closed_since is not None:
            query = query.where(ReviewItemRow.closed_at >= closed_since)
            query = query.order_by(ReviewItemRow.closed_at, ReviewItemRow.id)
        escalated_first = case((ReviewItemRow.disposition == "escalate", 0), else_=1)
        query = query.order_by(escalated_first, ReviewItemRow.opened_at, ReviewItemRow.id)
        if state is not None:
            query = query.where(in_state(state, now))

        def read(session: Session) -> "list[ReviewItem]":
            items = [_item(session, row, now) for row in session.execute(query).all()]
            if seen := [item.decision_id for item in items if item.request]:
                which = state.value if state else "all"
                told = {"decisions": seen}
                audit.append(session, audit.Entry(now, caller.tenant, caller.subject, "reviews.read", which, told))
            return items

        return await self._database.write(read)

    async def claim(self, caller: Caller, review_id: str) -> ReviewItem:
        return await self._database.write(lambda session: self._claim(session, caller, review_id))

    async def settle(self, caller: Caller, review_id: str, judge: Callable[[ReviewItem], Judgement]) -> ReviewItem:
        return await self._database.write(lambda session: self._settle(session, caller, review_id, judge))

    def _claim(self, session: Session, caller: Caller, review_id: str) -> ReviewItem:
        now = self._clock()
        item = _item(session, _locked(session, caller.tenant, review_id), now)
        refuse_unless_free(item, caller)
        values = {"state": "claimed", "claimed_by": caller.subject, "claimed_until": now + CLAIM}
        session.execute(update(ReviewItemRow).where(ReviewItemRow.id == review_id).values(values))
        audit.append(
            session,
            audit.Entry(
                now, caller.tenant, caller.subject, "review.claimed", review_id, {"decision": item.decision_id}
            ),
        )
        return _item(session, _locked(session, caller.tenant, review_id), now)

    def _settle(
        self, session: Session, caller: Caller, review_id: str, judge: Callable[[ReviewItem], Judgement]
    ) -> ReviewItem:
        now = self._clock()
        item = _item(session, _locked(session, caller.tenant, review_id), now)
        judgement = judge(item)
        session.execute(
            update(ReviewItemRow)
            .where(ReviewItemRow.id == review_id)
            .values(
                state="closed",
                verdict=judgement.verdict.value,
                claimed_by=caller.subject,
                reviewer=caller.subject,
                note=judgement.note,
                corrected=judgement.corrected,
                closed_at=now,
            )
        )
        if judgement.effect is not None:
            queue_effect(session, judgement.effect, caller.tenant, now, self._enqueue)
        details = {
            "decision": item.decision_id,
            "verdict": judgement.verdict.value,
            "effect": judgement.effect.key if judgement.effect else None,
        }
        audit.append(session, audit.Entry(now, caller.tenant, caller.subject, "review.closed", review_id, details))
        return _item(session, _locked(session, caller.tenant, review_id), now)


def _items(tenant: str) -> Select[Any]:
    return (
        select(ReviewItemRow, DecisionRow.outcome, DecisionRow.source, DecisionRow.reason, PayloadRow.encrypted)
        .join(DecisionRow, DecisionRow.id == ReviewItemRow.decision_id)
        .outerjoin(PayloadRow, PayloadRow.decision_id == ReviewItemRow.decision_id)
        .where(ReviewItemRow.tenant == tenant)
    )


def _locked(session: Session, tenant: str, review_id: str) -> Found:
    query = _items(tenant).where(ReviewItemRow.id == review_id).with_for_update(of=ReviewItemRow)
    row = session.execute(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound("no such review")
    return row


def in_state(state: ReviewState, now: datetime) -> ColumnElement[bool]:
    """Whether an item is in this state at that instant: one whose claim has ended counts as open."""
    claim_is_over = and_(ReviewItemRow.state == "claimed", ReviewItemRow.claimed_until <= now)
    if state is ReviewState.OPEN:
        return or_(ReviewItemRow.state == "open", claim_is_over)
    if state is ReviewState.CLAIMED:
        return and_(ReviewItemRow.state == "claimed", ReviewItemRow.claimed_until > now)
    return ReviewItemRow.state == state.value


def _item(session: Session, found: Found, now: datetime) -> ReviewItem:
    row = found.ReviewItemRow
    claim_is_over = row.state == "claimed" and row.claimed_until <= now
    return ReviewItem(
        id=row.id,
        decision_id=row.decision_id,
        use_case=row.use_case,
        disposition=row.disposition,
        state=ReviewState.OPEN if claim_is_over else ReviewState(row.state),
        request=payloads.request_of(session, row.tenant, row.decision_id, found.encrypted),
        outcome=found.outcome,
        source=found.source,
        reason=found.reason,
        opened_at=row.opened_at,
        claimed_by=None if claim_is_over else row.claimed_by,
        verdict=Verdict(row.verdict) if row.verdict else None,
        note=row.note,
        corrected=row.corrected,
        closed_at=row.closed_at,
    )
