"""Remembering requests and answers: the two transactions around the model call. The second writes all or nothing."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, exists, insert, select
from sqlalchemy.orm import Session

from service.application.decision import Calls, Decision, Disposition, Earlier, Effect, JsonObject, Source, Usage
from service.application.errors import Unavailable
from service.application.held import Claim, Opened, Spender
from service.application.identity import Caller
from service.application.review.contract import Verdict
from service.application.sampling import in_sample
from service.integration.database import audit, claims, decisions, payloads
from service.integration.database.budgets import Budgets
from service.integration.database.ledger import Clock, Enqueue, queue_effect
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow, ReviewItemRow, table_of

_INSERT_DECISION = insert(table_of(DecisionRow))
_INSERT_PAYLOAD = insert(table_of(PayloadRow))
_INSERT_REVIEW = insert(table_of(ReviewItemRow))

# What the audit log says of a decision: how it came about, never what was written. The digest is keyed.
TOLD = (
    "use_case", "input_digest", "disposition", "source", "degraded", "reason", "release", "prompt_version",
    "model_version", "repaired", "taint", "supersedes",
)  # fmt: skip
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_made, _review = table_of(DecisionRow), table_of(ReviewItemRow)


def _same_question(table: FromClause) -> ColumnElement[bool]:
    return and_(*(table.c[name] == bindparam(name) for name in ("input_digest", "release", "tenant")))


_FOUND_WRONG = exists(_review.c.id).where(
    _same_question(_review), _review.c.verdict.in_([Verdict.CORRECT.value, Verdict.REJECT.value])
)
_EARLIER = (
    select(_made.c.outcome, _made.c.model_version, _made.c.taint)
    .where(_same_question(_made), _made.c.at >= bindparam("since"), ~_FOUND_WRONG)
    .where(_made.c.source.not_in([Source.RULES.value, Source.CACHE.value]))
    .order_by(_made.c.at.desc())
    .limit(1)
)


class SqlRecords:
    """`Records`. `digest` turns a request into what is compared when its key comes again.

    A claim lasts `lease_s`, which must be longer than an answer can take. `reviewed`: the share of answers that pass
    without a person and are reviewed all the same, so that verdicts speak for all.
    """

    def __init__(  # noqa: PLR0913 - each has its own owner
        self,
        database: Database,
        enqueue: Enqueue,
        digest: Callable[[JsonObject], str],
        clock: Clock,
        lease_s: float = 60.0,
        budgets: Budgets | None = None,
        reviewed: float = 0.0,
    ) -> None:
        self._database, self._enqueue, self._budgets = database, enqueue, budgets
        self._digest, self._clock, self._lease = digest, clock, timedelta(seconds=lease_s)
        self._reviewed = reviewed
        self._undoing: set[asyncio.Task[None]] = set()
        self._in_doubt: set[int] = set()

    async def open(self, caller: Caller, key: str | None, request: JsonObject, spender: Spender | None) -> Opened:
        budgets = self._budgets if spender else None
        if key is None and budgets is None:
            return Opened()
        claim = Claim(caller.tenant, caller.subject, key, owner=uuid.uuid4().hex) if key is not None else None

        def transaction(session: Session) -> Opened:
            if claim is not None:
                answer = claims.take(session, claim, self._digest(request), self._clock(), self._lease)
                if answer is not None:
                    return Opened(answer)
            if budgets is None or spender is None:
                return Opened(claim=claim)
            hold = budgets.hold(session, spender, self._clock().date())
            return Opened(claim=claim, hold=hold, granted=hold is not None)

        opening = asyncio.ensure_future(self._database.write(transaction))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._undo(opening)
            raise

    async def earlier(self, tenant: str, release: str, digest: str, since: datetime | None) -> Earlier | None:
        question = {"tenant": tenant, "release": release, "input_digest": digest, "since": since or _EVER}
        row = await self._database.read(lambda session: session.execute(_EARLIER, question).one_or_none())
        return Earlier(row.outcome, row.model_version, tuple(row.taint)) if row else None

    async def close(
        self, decision: Decision, opened: Opened, request: JsonObject, effect: Effect | None, calls: Calls = ()
    ) -> None:
        def commit(session: Session) -> None:
            if opened.claim is not None:
                claims.answer(session, opened.claim, decision.answer())
            store_decision(session, decision, request, calls)
            if effect is not None:
                queue_effect(session, effect, decision.tenant, self._clock(), self._enqueue)
            if decision.disposition is not Disposition.AUTO or in_sample("review", decision.id, self._reviewed):
                open_review(session, decision, decision.at)
            self._settle(session, opened, decision.usage)

        try:
            await self._database.write(commit)
        except (asyncio.CancelledError, Unavailable):
            self._in_doubt.add(id(opened))
            raise

    async def abandon(self, opened: Opened, usage: Usage | None) -> None:
        # A `close` that was not waited for may commit yet. To settle twice would free money that was spent.
        known = usage if id(opened) not in self._in_doubt else None
        self._in_doubt.discard(id(opened))

        def undo(session: Session) -> None:
            if opened.claim is not None:
                claims.give_back(session, opened.claim)
            self._settle(session, opened, known)

        if opened.claim is not None or opened.hold is not None:
            with suppress(Unavailable):  # best effort: the lease ends by itself, and a hold with its day
                await self._database.write(undo)

    def _settle(self, session: Session, opened: Opened, usage: Usage | None) -> None:
        if self._budgets is not None and opened.hold is not None:
            self._budgets.settle(session, opened.hold, usage.charged_usd if usage else None)

    def _undo(self, opening: "asyncio.Future[Opened]") -> None:
        """The caller hung up while its request was being opened: give claim and hold back as soon as they are there."""

        async def undo() -> None:
            await asyncio.wait([opening])
            if opening.exception() is None:
                await self.abandon(opening.result(), Usage())

        undoing = asyncio.create_task(undo())
        self._undoing.add(undoing)  # the loop itself keeps no task alive
        undoing.add_done_callback(self._undoing.discard)


def store_decision(session: Session, decision: Decision, request: JsonObject, calls: Calls) -> None:
    """Decision, payload and audit row."""
    row = decisions.to_row(decision)
    full = {"request": request, "calls": list(calls)}
    session.execute(_INSERT_DECISION, row)
    session.execute(_INSERT_PAYLOAD, payloads.row(session, decision.id, decision.tenant, full, decision.at))
    details = {name: row[name] for name in TOLD} | {"flags": decision.flags}
    audit.append(
        session, audit.Entry(decision.at, decision.tenant, decision.actor, "decision.made", decision.id, details)
    )


def open_review(session: Session, decision: Decision, opened_at: datetime) -> None:
    """Put the decision into the reviewers' queue, as waiting since `opened_at`."""
    by_model = decision.source is not Source.RULES
    row = {
        "id": str(uuid.uuid4()),
        "decision_id": decision.id,
        "tenant": decision.tenant,
        "use_case": decision.use_case,
        "release": decision.release if by_model else None,
        "input_digest": decision.input_digest if by_model else None,
        "disposition": decision.disposition.value,
        "state": "open",
        "opened_at": opened_at,
    }
    session.execute(_INSERT_REVIEW, row)
