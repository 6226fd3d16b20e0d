"""Idempotency keys in SQL. A key is claimed by inserting it, so the database's primary key decides races.

The claim is a lease: a crashed process blocks its key for as long, not for ever. Statements are built once, at
import, because building them costs more than running them.
"""

from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Conflict, InProgress, KeyReused
from service.application.held import Claim
from service.integration.database.tables import IdempotencyRow, table_of

_row = table_of(IdempotencyRow)
_this = and_(
    _row.c.tenant == bindparam("this_tenant"),
    _row.c.actor == bindparam("this_actor"),
    _row.c.key == bindparam("this_key"),
)
_owned_unanswered = and_(_this, _row.c.owner == bindparam("this_owner"), _row.c.answer.is_(None))

_INSERT = {
    "postgresql": postgresql.insert(_row).on_conflict_do_nothing().returning(_row.c.key),
    "sqlite": sqlite.insert(_row).on_conflict_do_nothing().returning(_row.c.key),
}
_SELECT = select(_row.c.request_digest, _row.c.answer, _row.c.owner, _row.c.lease_until).where(_this)
_TAKE_OVER = (
    update(_row)
    .where(_owned_unanswered)
    .values(owner=bindparam("owner"), claimed_at=bindparam("claimed_at"), lease_until=bindparam("lease_until"))
)
_ANSWER = update(_row).where(_owned_unanswered).values(answer=bindparam("answer"))
_GIVE_BACK = delete(_row).where(_owned_unanswered)


def take(session: Session, claim: Claim, digest: str, now: datetime, lease: timedelta) -> JsonObject | None:
    """Claim the key for its owner, or return the answer it already has. Raises `InProgress` or `KeyReused`."""
    held = {"owner": claim.owner, "claimed_at": now, "lease_until": now + lease}
    row = {"tenant": claim.tenant, "actor": claim.actor, "key": claim.key, "request_digest": digest, **held}
    if session.execute(_INSERT[session.get_bind().dialect.name], row).first() is not None:
        return None
    earlier = session.execute(_SELECT, _this_key(claim)).one_or_none()
    if earlier is None:  # given back between the two statements
        raise InProgress("a request with this idempotency key has just been given up; try again")
    if earlier.request_digest != digest:
        raise KeyReused("this idempotency key was used with another request")
    if earlier.answer is not None:
        return cast(JsonObject, earlier.answer)
    over = earlier.lease_until <= now
    if not (over and _count(session, _TAKE_OVER, {**_this_key(claim), "this_owner": earlier.owner, **held})):
        raise InProgress("a request with this idempotency key is being answered")
    return None


def answer(session: Session, claim: Claim, given: JsonObject) -> None:
    """Store the answer. Raises `Conflict` when the claim ran out and another request has it now."""
    if not _count(session, _ANSWER, {**_this_claim(claim), "answer": given}):
        raise Conflict("another request with this idempotency key took over; ask again for its answer")


def give_back(session: Session, claim: Claim) -> None:
    """Free the key if its owner still holds it without an answer."""
    session.execute(_GIVE_BACK, _this_claim(claim))


def _this_key(claim: Claim) -> dict[str, Any]:
    return {"this_tenant": claim.tenant, "this_actor": claim.actor, "this_key": claim.key}


def _this_claim(claim: Claim) -> dict[str, Any]:
    return {**_this_key(claim), "this_owner": claim.owner}


def _count(session: Session, statement: Any, parameters: dict[str, Any]) -> int:
    return cast(CursorResult[Any], session.execute(statement, parameters)).rowcount
