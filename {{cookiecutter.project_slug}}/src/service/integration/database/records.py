"""Remembering requests and answers: the two transactions around the model call. The second writes all or nothing."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from service.application.decision import Decision, Disposition, Effect, JsonObject
from service.application.errors import Unavailable
from service.application.identity import Caller
from service.integration.database import audit, claims
from service.integration.database.claims import Claim
from service.integration.database.ledger import Clock, Enqueue, queue_effect
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow, ReviewItemRow, table_of

_INSERT_DECISION = insert(table_of(DecisionRow))
_INSERT_PAYLOAD = insert(table_of(PayloadRow))
_INSERT_REVIEW = insert(table_of(ReviewItemRow))
# Which claims this very request holds: another request of the same process must not close or abandon them.
_held: ContextVar[Mapping[Claim, str]] = ContextVar("held_claims", default=MappingProxyType({}))


class SqlRecords:
    """`Records`. `digest` turns a request into what is compared when its key comes again."""

    def __init__(self, database: Database, enqueue: Enqueue, digest: Callable[[JsonObject], str], clock: Clock) -> None:
        self._database, self._enqueue = database, enqueue
        self._digest, self._clock = digest, clock
        self._undoing: set[asyncio.Task[None]] = set()

    async def open(self, caller: Caller, key: str | None, request: JsonObject) -> JsonObject | None:
        if key is None:
            return None
        claim, owner, digest = (caller.tenant, caller.subject, key), uuid.uuid4().hex, self._digest(request)
        claiming = asyncio.ensure_future(
            self._database.write(lambda session: claims.take(session, claim, owner, digest, self._clock()))
        )
        try:
            answer = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._undo(claiming, claim, owner)
            raise
        if answer is None:
            _held.set({**_held.get(), claim: owner})
        return answer

    async def close(
        self,
        decision: Decision,
        key: str | None,
        request: JsonObject,
        answer: JsonObject,
        effect: Effect | None,
    ) -> None:
        claim = (decision.tenant, decision.actor, key) if key is not None else None
        owner = _held.get().get(claim, "") if claim else ""

        def commit(session: Session) -> None:
            if claim:
                claims.answer(session, claim, owner, answer)
            _insert_decision(session, decision, request)
            if effect is not None:
                queue_effect(session, effect, decision.tenant, self._clock(), self._enqueue)
            elif decision.disposition is not Disposition.AUTO:
                _open_review(session, decision)

        await self._database.write(commit)
        if claim:
            _forget(claim)

    async def abandon(self, caller: Caller, key: str | None) -> None:
        if key is None:
            return
        claim = (caller.tenant, caller.subject, key)
        owner = _held.get().get(claim)
        if owner is not None:
            _forget(claim)
            await self._give_back(claim, owner)

    def _undo(self, claiming: "asyncio.Future[Any]", claim: Claim, owner: str) -> None:
        """The caller hung up while its claim was being made: give it back as soon as it is."""

        async def undo() -> None:
            await asyncio.wait([claiming])
            if claiming.exception() is None:
                await self._give_back(claim, owner)

        undoing = asyncio.create_task(undo())
        self._undoing.add(undoing)  # the loop itself keeps no task alive
        undoing.add_done_callback(self._undoing.discard)

    async def _give_back(self, claim: Claim, owner: str) -> None:
        with suppress(Unavailable):  # best effort: the lease ends by itself
            await self._database.write(lambda session: claims.give_back(session, claim, owner))


def _insert_decision(session: Session, decision: Decision, request: JsonObject) -> None:
    row = {
        "id": decision.id,
        "use_case": decision.use_case,
        "tenant": decision.tenant,
        "actor": decision.actor,
        "outcome": decision.outcome,
        "disposition": decision.disposition.value,
        "source": decision.source.value,
        "degraded": decision.degraded,
        "reason": decision.reason.value if decision.reason else None,
        "release": decision.release,
        "prompt_version": decision.prompt_version,
        "model_version": decision.model_version,
        "input_tokens": decision.usage.input_tokens,
        "output_tokens": decision.usage.output_tokens,
        "cost_usd": decision.usage.cost_usd,
        "trace_id": decision.trace_id,
        "at": decision.at,
    }
    payload = {
        "decision_id": decision.id,
        "tenant": decision.tenant,
        "customer_ref": request.get("customer_ref"),
        "request": request,
        "created_at": decision.at,
    }
    session.execute(_INSERT_DECISION, row)
    session.execute(_INSERT_PAYLOAD, payload)
    told = ("use_case", "disposition", "source", "degraded", "reason", "release", "model_version")
    details = {name: row[name] for name in told}
    audit.append(
        session, audit.Entry(decision.at, decision.tenant, decision.actor, "decision.made", decision.id, details)
    )


def _open_review(session: Session, decision: Decision) -> None:
    row = {
        "id": str(uuid.uuid4()),
        "decision_id": decision.id,
        "tenant": decision.tenant,
        "use_case": decision.use_case,
        "disposition": decision.disposition.value,
        "state": "open",
        "opened_at": decision.at,
    }
    session.execute(_INSERT_REVIEW, row)


def _forget(claim: Claim) -> None:
    _held.set({held: owner for held, owner in _held.get().items() if held != claim})
