"""List, claim, decide. Approving or correcting sends the effect in the transaction that records the verdict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.application.decision import Disposition, Effect, JsonObject
from service.application.errors import Conflict, Invalid
from service.application.identity import Caller
from service.application.review.contract import ReviewItem, ReviewState, Verdict


@dataclass(frozen=True, slots=True)
class Reviewable:
    """What review must know of a use case: how to validate a corrected outcome and what approving writes.

    `validate` raises ValueError on an outcome outside the contract and returns its canonical JSON.
    """

    validate: Callable[[JsonObject], JsonObject]
    effect: Callable[[str, JsonObject, JsonObject], Effect]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reviewer's verdict with its note, the corrected outcome if any, and the effect that follows if any."""

    verdict: Verdict
    note: str
    corrected: JsonObject | None
    effect: Effect | None


class ReviewDesk(Protocol):
    """The durable queue of review items of one tenant at a time. All methods raise `NotFound` across tenants.

    `claim` raises `Conflict` when someone else holds an unexpired claim or the item is closed or superseded. `settle`
    locks the item, calls `judge` with it, and commits the judgement, its audit row and its effect together.
    """

    async def list(
        self, caller: Caller, state: ReviewState | None, limit: int, closed_since: datetime | None = None
    ) -> list[ReviewItem]: ...

    async def claim(self, caller: Caller, review_id: str) -> ReviewItem: ...

    async def settle(self, caller: Caller, review_id: str, judge: Callable[[ReviewItem], Judgement]) -> ReviewItem: ...


@dataclass(frozen=True, slots=True)
class ReviewWork:
    """The three things a reviewer does."""

    desk: ReviewDesk
    reviewables: Mapping[str, Reviewable]

    async def list(
        self, caller: Caller, state: ReviewState | None, limit: int = 100, closed_since: datetime | None = None
    ) -> list[ReviewItem]:
        """The tenant's items in one state (None: all), oldest first, escalated before others.

        With `closed_since` those closed then or later, in the order in which they were closed.
        """
        return await self.desk.list(caller, state, limit, closed_since)

    async def claim(self, caller: Caller, review_id: str) -> ReviewItem:
        """Take an item so that nobody else works on it. Claims expire, so a lost reviewer loses no item."""
        return await self.desk.claim(caller, review_id)

    async def decide(
        self, caller: Caller, review_id: str, verdict: Verdict, outcome: JsonObject | None, note: str
    ) -> ReviewItem:
        """Record the verdict. Raises `Conflict` if taken or closed, `Invalid` if outcome or note do not fit."""
        if (outcome is not None) != (verdict is Verdict.CORRECT):
            raise Invalid("an outcome must be given with 'correct' and only with it")
        if verdict is Verdict.REJECT and not note.strip():
            raise Invalid("a rejection needs a note saying why")
        return await self.desk.settle(caller, review_id, lambda item: self._judge(caller, item, verdict, outcome, note))

    def _judge(
        self, caller: Caller, item: ReviewItem, verdict: Verdict, outcome: JsonObject | None, note: str
    ) -> Judgement:
        refuse_unless_free(item, caller)
        if not item.request:
            raise Conflict("the customer's message was erased, so nothing can be decided on it")
        reviewable = self.reviewables[item.use_case]
        corrected = _validated(reviewable, outcome) if outcome is not None else None
        # What passed without a person was written then. It is reviewed to learn how often that is right.
        if verdict is Verdict.REJECT or item.disposition == Disposition.AUTO:
            return Judgement(verdict, note, corrected, effect=None)
        effect = reviewable.effect(item.decision_id, item.request, corrected or item.outcome)
        return Judgement(verdict, note, corrected, effect)


def refuse_unless_free(item: ReviewItem, caller: Caller) -> None:
    """Raise `Conflict` when the item is closed, superseded or somebody else's."""
    if item.state is ReviewState.CLOSED:
        raise Conflict("this review is closed")
    if item.state is ReviewState.SUPERSEDED:
        raise Conflict("a model has answered this message since: the decision that counts is the newer one")
    if item.claimed_by not in (None, caller.subject):
        raise Conflict("another reviewer has taken this review")


def _validated(reviewable: Reviewable, outcome: JsonObject) -> JsonObject:
    try:
        return reviewable.validate(outcome)
    except ValueError:
        raise Invalid("the corrected outcome does not fit the contract of this use case") from None
