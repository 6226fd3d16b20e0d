"""Redrive: after an outage, a model is asked again about what only waits for a person because no model could answer.

Oldest first, one after the other. What a person has decided or holds is theirs; what a model still cannot answer stays
exactly as it is. One tenant's spent budget or switched-off AI stops nobody else: it costs no model call to pass over.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pydantic import ValidationError

from service.application.decision import Calls, Decision, Disposition, Effect, ModelUnusable, Reason
from service.application.errors import Invalid
from service.application.held import Opened
from service.application.identity import Caller, Role
from service.application.release import Release
from service.application.triage.contract import Ticket
from service.application.triage.use_case import Asked, TriageTicket, effect_if_auto
from service.application.waiting import ILL, Batch, Counted, Left, Place, Waiter, Window

PAGE = 50
# A batch that has run so long asks nobody else, so that its caller need not wait much longer than for one answer.
BATCH_S = 5.0
FAILURES_IN_A_ROW = 5
OUTSIDE_CONTRACT = "message_outside_contract"


class Waiting(Protocol):
    """The part of the review queue, over all tenants, that no person has touched.

    `replace` closes the old item as superseded, stores the decision and queues its effect or opens its review in the
    old place, all or nothing. It answers False, having done nothing, when a person or another redrive was quicker or
    the customer's message has been erased.
    """

    async def count(self, window: Window) -> Counted: ...

    async def oldest(self, window: Window, after: Place | None, limit: int) -> list[Waiter]: ...

    async def replace(
        self, old: Waiter, decision: Decision, effect: Effect | None, operator: Caller, calls: Calls = ()
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class RedriveTickets:
    """The use case. `triage` is the one that answers requests, so both ask, decide and pay alike."""

    triage: TriageTicket
    waiting: Waiting

    async def count(self, window: Window) -> Counted:
        """How many a redrive would try, and the queue. Raises `Invalid` on a window that ends before it begins."""
        if window.until is not None and window.until <= window.since:
            raise Invalid("until must be later than since")
        return await self.waiting.count(window)

    async def __call__(self, operator: Caller, window: Window, limit: int, after: Place | None = None) -> Batch:
        """Ask a model again about at most `limit`. Raises `Invalid` like `count`."""
        counted = await self.count(window)
        batch = Batch(counted)
        ends_at = self.triage.now() + timedelta(seconds=BATCH_S)
        failing = after.failing if after else 0
        page = await self.waiting.oldest(window, after, PAGE)
        for index, waiter in enumerate(page):
            became = await self._redrive(operator, waiter)
            batch.note(became)
            last = index + 1 == len(page) < PAGE
            if not isinstance(became, Left):
                failing = 0
            elif became.ill:
                failing += 1
                batch.stopped = became.why if last or failing == FAILURES_IN_A_ROW else None
            batch.next = None if last else Place(waiter.opened_at, waiter.review_id, 0 if batch.stopped else failing)
            if batch.stopped or batch.asked >= limit or self.triage.now() >= ends_at:
                break
        return batch

    async def _redrive(self, operator: Caller, waiter: Waiter) -> Disposition | Left | None:
        caller = Caller(waiter.actor, waiter.tenant, frozenset({Role.CALLER}))
        try:
            ticket = Ticket.model_validate(waiter.request)
        except ValidationError:  # the contract has changed since
            return Left(OUTSIDE_CONTRACT)
        asked = self.triage.asked(caller, ticket)
        if not asked.ai_on or asked.release is None:
            return Left(Reason.NO_RELEASE if asked.ai_on else Reason.AI_OFF)
        opened = await self.triage.records.open(caller, None, waiter.request, asked.spender)
        if not opened.granted:
            return Left(Reason.BUDGET_SPENT)
        return await self._ask(operator, waiter, asked, asked.release, opened)

    async def _ask(
        self, operator: Caller, waiter: Waiter, asked: Asked, release: Release, opened: Opened
    ) -> Disposition | Left | None:
        spent = None
        try:
            prediction = await self.triage.triager.triage(asked.ticket, release, waiter.tenant)
            spent = prediction.usage
            decision = self.triage.decide(asked, prediction, supersedes=waiter.decision_id)
            effect = effect_if_auto(decision, asked.ticket.model_dump(mode="json"))
            replaced = await self.waiting.replace(waiter, decision, effect, operator, prediction.calls)
        except ModelUnusable as failure:
            spent = failure.usage
            return Left(failure.reason, asked=True, ill=failure.reason in ILL)
        finally:
            await self.triage.records.abandon(opened, spent)
        return decision.disposition if replaced else None
