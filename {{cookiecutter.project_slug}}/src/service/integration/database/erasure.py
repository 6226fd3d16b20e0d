"""What customers wrote ends: when its time is over, and when one of them asks for it. Numbers and audit rows stay.

`payload` says which decisions still hold something, and by a keyed digest of whom; everything else is found from there.
docs/data.md lists every table.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.identity import Caller
from service.integration.database import audit, decisions, payloads
from service.integration.database.ledger import Clock
from service.integration.database.session import Database
from service.integration.database.tables import (
    DecisionRow,
    EffectRow,
    IdempotencyRow,
    LiveScoreRow,
    PayloadRow,
    ReviewItemRow,
    table_of,
)
from service.integration.encryption import HEAD

AT_ONCE = 200  # decisions; the retention chore commits after each lot, because SQLite lets nobody else write meanwhile
ANSWERS_KEPT = timedelta(hours=24)
ERASED = "erased"
OUT_OF_REACH = (
    "tickets that were written downstream, by the keys listed: erase them there",
    "what a model's provider keeps of requests, which held placeholders: see the agreement in MODEL_HOSTS",
    "backups, and the database's own leftovers until VACUUM or the next checkpoint",
    "a request that is being answered at this very moment: do this again after MODEL_DEADLINE_S seconds",
)
_decision, _review, _effect = table_of(DecisionRow), table_of(ReviewItemRow), table_of(EffectRow)
_payload, _idempotency, _score = table_of(PayloadRow), table_of(IdempotencyRow), table_of(LiveScoreRow)
_WAITS = _review.c.state.in_(("open", "claimed"))
_UNWRITTEN = _effect.c.state.in_(("queued", "held"))


def forget(session: Session, ids: Sequence[str], now: datetime) -> Counter[str]:
    """Take everything a customer wrote out of these decisions; how many rows of which kind had any.

    Reviews that wait are closed without a verdict, writes that wait are given up: nobody can decide or write without
    the words. Reviews come first: whoever decides one now holds its row, and has stored its effect when we get it.
    """
    reviews, effects = _review.c.decision_id.in_(ids), _effect.c.decision_id.in_(ids)
    closed = {"state": "closed", "closed_at": now, "claimed_by": None, "claimed_until": None}
    given_up = {"state": "failed", "last_error": ERASED, "updated_at": now}
    steps: dict[str, Any] = {
        "reviews_closed": update(_review).where(reviews, _WAITS).values(closed),
        "reviews": update(_review).where(reviews).values(note=None, corrected=None),
        "effects_given_up": update(_effect).where(effects, _UNWRITTEN).values(given_up),
        "effects": update(_effect).where(effects).values(encrypted=None),
        "idempotency_keys": delete(_idempotency).where(_idempotency.c.answer["decision_id"].as_string().in_(ids)),
        "decisions": update(_decision).where(_decision.c.id.in_(ids)).values(outcome={}),
        "payloads": delete(_payload).where(_payload.c.decision_id.in_(ids)),
    }
    return Counter({kind: _count(session, step) for kind, step in steps.items()})


class Retention:
    """A worker's chore: what is past its time goes.

    A payload is emptied after `payload_days`, but not while its review waits: the reviewer needs it. After
    `record_days` the whole decision is forgotten, waiting or not, and evaluators' verdicts go. An idempotency key goes
    a day after its claim.
    """

    def __init__(self, database: Database, payload_days: int, record_days: int) -> None:
        self._database, self._payload, self._record = database, timedelta(payload_days), timedelta(record_days)

    async def __call__(self, now: datetime) -> None:
        for step in (self._empty, self._forget, self._drop):
            while await self._database.write(partial(step, now)) == AT_ONCE:
                pass

    def _empty(self, now: datetime, session: Session) -> int:
        waits = exists(_review.c.id).where(_review.c.decision_id == _payload.c.decision_id, _WAITS)
        old = (_payload.c.encrypted.is_not(None), _payload.c.created_at <= now - self._payload, ~waits)
        some = select(_payload.c.decision_id).where(*old).order_by(_payload.c.created_at).limit(AT_ONCE)
        return _count(session, update(_payload).where(_payload.c.decision_id.in_(some)).values(encrypted=None))

    def _forget(self, now: datetime, session: Session) -> int:
        old = _payload.c.created_at <= now - self._record
        some = select(_payload.c.decision_id).where(old).order_by(_payload.c.created_at).limit(AT_ONCE)
        ids = session.execute(some).scalars().all()
        return forget(session, ids, now)["payloads"] if ids else 0

    def _drop(self, now: datetime, session: Session) -> int:
        session.execute(delete(_idempotency).where(_idempotency.c.lease_until <= now - ANSWERS_KEPT))
        session.execute(delete(_score).where(_score.c.at <= now - self._record))
        return 0


class SqlPrivacy:
    """What a customer may ask for, of its own tenant's operator. Both are on record, under the customer's digest."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def export(self, operator: Caller, customer: str) -> JsonObject:
        """Every decision about what the customer sent, with payload, review and effect, oldest first."""

        def transaction(session: Session) -> JsonObject:
            found = [self._in_full(session, operator.tenant, id_) for id_ in _of(session, operator, customer)]
            self._audit(session, operator, customer, "customer.exported", {"decisions": len(found)})
            return {"decisions": found}

        return await self._database.write(transaction)

    async def erase(self, operator: Caller, customer: str, dry_run: bool) -> JsonObject:
        """What went, or would: `counts` of rows, `given_up` and `downstream` effects, and what is `out_of_reach`."""

        def transaction(session: Session) -> JsonObject:
            counts, downstream = Counter[str](), list[JsonObject]()
            # In lots, until none is left: a redrive that ends meanwhile adds one, which the next look finds.
            while ids := _of(session, operator, customer, AT_ONCE):
                # In this order: whoever delivers meanwhile waits for the rows, or has been seen.
                counts += forget(session, ids, self._clock())
                downstream += _written(session, ids)
            if dry_run:
                session.rollback()
            else:
                keys = [effect["key"] for effect in downstream]
                self._audit(session, operator, customer, "customer.erased", {**counts, "downstream": keys})
            return {
                "erased": not dry_run,
                "counts": dict(counts),
                "downstream": downstream,
                "out_of_reach": list(OUT_OF_REACH),
            }

        return await self._database.write(transaction)

    def _in_full(self, session: Session, tenant: str, decision_id: str) -> JsonObject:
        encrypted = session.execute(select(_payload.c.encrypted).where(_payload.c.decision_id == decision_id)).scalar()
        bodies = session.execute(select(_effect.c.encrypted).where(_effect.c.decision_id == decision_id)).scalars()
        return decisions.find(session, tenant, decision_id) | {
            "payload": payloads.decrypt(session, encrypted, "payload", tenant, decision_id),
            "to_be_written": [
                payloads.decrypt(session, body, "effect", tenant, decision_id) for body in bodies if body
            ],
        }

    def _audit(self, session: Session, operator: Caller, customer: str, action: str, details: JsonObject) -> None:
        whom = payloads.marks(session, operator.tenant, customer)[0]
        entry = audit.Entry(self._clock(), operator.tenant, operator.subject, action, whom, details)
        audit.append(session, entry)


def _of(session: Session, operator: Caller, customer: str, limit: int | None = None) -> Sequence[str]:
    """The customer's decisions. Raises `Unavailable` when a key is missing by which others might be found."""
    head = func.substr(_payload.c.encrypted, 1, HEAD)
    full = (_payload.c.tenant == operator.tenant, _payload.c.encrypted.is_not(None))
    payloads.refuse_unknown_keys(session, session.execute(select(head).where(*full).distinct()).scalars().all())
    who = _payload.c.customer.in_(payloads.marks(session, operator.tenant, customer))
    found = select(_payload.c.decision_id).where(_payload.c.tenant == operator.tenant, who)
    return session.execute(found.order_by(_payload.c.created_at).limit(limit)).scalars().all()


def _written(session: Session, ids: Sequence[str]) -> list[JsonObject]:
    """What is downstream, and (without a reference) what may be: an attempt was made and its end is not known."""
    may_be = or_(_effect.c.state != "failed", _effect.c.last_error == ERASED)
    tried = (_effect.c.decision_id.in_(ids), _effect.c.attempts > 0, may_be)
    found = session.execute(select(_effect.c.key, _effect.c.reference).where(*tried))
    return [{"key": row.key, "reference": row.reference} for row in found]


def _count(session: Session, statement: Any) -> int:
    return cast(CursorResult[Any], session.execute(statement)).rowcount
