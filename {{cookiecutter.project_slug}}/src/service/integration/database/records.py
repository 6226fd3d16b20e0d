"""Remembering requests and answers: the two transactions around the model call. The second writes all or nothing."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from service.application.decision import Decision, Disposition, Effect, JsonObject
from service.application.errors import Unavailable
from service.application.idempotency import Claim, Opened
from service.application.identity import Caller
from service.integration.database import audit, claims
from service.integration.database.ledger import Clock, Enqueue, queue_effect
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow, ReviewItemRow, table_of

_INSERT_DECISION = insert(table_of(DecisionRow))
_INSERT_PAYLOAD = insert(table_of(PayloadRow))
_INSERT_REVIEW = insert(table_of(ReviewItemRow))


class SqlRecords:
    """`Records`. `digest` turns a request into what is compared when its key comes again.

    A claim lasts `lease_s`, which must be longer than an answer can take.
    """

    def __init__(
        self,
        database: Database,
        enqueue: Enqueue,
        digest: Callable[[JsonObject], str],
        clock: Clock,
        lease_s: float = 60.0,
    ) -> None:
        self._database, self._enqueue = database, enqueue
        self._digest, self._clock, self._lease = digest, clock, timedelta(seconds=lease_s)
        self._undoing: set[asyncio.Task[None]] = set()

    async def open(self, caller: Caller, key: str | None, request: JsonObject) -> Opened:
        if key is None:
            return Opened(answer=None, claim=None)
        claim, digest = Claim(caller.tenant, caller.subject, key, owner=uuid.uuid4().hex), self._digest(request)
        claiming = asyncio.ensure_future(
            self._database.write(lambda session: claims.take(session, claim, digest, self._clock(), self._lease))
        )
        try:
            answer = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._undo(claiming, claim)
            raise
        return Opened(answer, claim if answer is None else None)

    async def close(
        self,
        decision: Decision,
        claim: Claim | None,
        request: JsonObject,
        answer: JsonObject,
        effect: Effect | None,
    ) -> None:
        def commit(session: Session) -> None:
            if claim is not None:
                claims.answer(session, claim, answer)
            _insert_decision(session, decision, request)
            if effect is not None:
                queue_effect(session, effect, decision.tenant, self._clock(), self._enqueue)
            elif decision.disposition is not Disposition.AUTO:
                _open_review(session, decision)

        await self._database.write(commit)

    async def abandon(self, claim: Claim | None) -> None:
        if claim is not None:
            with suppress(Unavailable):  # best effort: the lease ends by itself
                await self._database.write(lambda session: claims.give_back(session, claim))

    def _undo(self, claiming: "asyncio.Future[Any]", claim: Claim) -> None:
        """The caller hung up while its claim was being made: give it back as soon as it is."""

        async def undo() -> None:
            await asyncio.wait([claiming])
            if claiming.exception() is None:
                await self.abandon(claim)

        undoing = asyncio.create_task(undo())
        self._undoing.add(undoing)  # the loop itself keeps no task alive
        undoing.add_done_callback(self._undoing.discard)


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
