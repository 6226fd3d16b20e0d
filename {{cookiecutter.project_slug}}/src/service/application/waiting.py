"""Decisions that wait for a person only because no model could answer: which, how many, what became of them."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from service.application.decision import Disposition, JsonObject, Reason, Source

# A model did answer, and nothing usable or nothing safe came of this one message. That was no outage: it waits for a
# person, and gets no second try.
ABOUT_THE_MESSAGE = frozenset({Reason.REFUSED, Reason.CUT_OFF, Reason.FILTERED, *(r for r in Reason if r.is_refusal)})
# Failures that the next message would meet as well. Of any other a message itself may be the cause, and a few of those
# at the head of the queue must not keep the model from everybody behind them.
ILL = frozenset({Reason.DEADLINE, Reason.UNREACHABLE, Reason.RATE_LIMITED, Reason.MODEL_ERROR, Reason.BREAKER_OPEN})


@dataclass(frozen=True, slots=True)
class Window:
    """Which of them: those that `source` had to answer, made at `since` or later and before `until`."""

    source: Source
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk through them stands: behind this review item, with so many failures in a row by then."""

    opened_at: datetime
    review_id: str
    failing: int = 0


@dataclass(frozen=True, slots=True)
class Waiter:
    """One of them, with what its caller sent."""

    review_id: str
    decision_id: str
    tenant: str
    actor: str
    request: JsonObject
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for people, over all tenants: items that nobody holds, by disposition, and items somebody holds."""

    review: int
    escalate: int
    held: int


@dataclass(frozen=True, slots=True)
class Counted:
    """How many could be asked again (`candidates`), and the whole queue they stand in."""

    candidates: int
    queue: Queue


@dataclass(frozen=True, slots=True)
class Left:
    """It stays as it is. `asked`: a model was asked. `ill`: and it failed as it would for any message."""

    why: str
    asked: bool = False
    ill: bool = False


@dataclass(slots=True)
class Batch:
    """What one batch did. `counted` is from before; `became` counts new decisions, `why` the reasons of the unchanged.

    `taken`: a person or another redrive was quicker. `stopped`: the model is still ill, and why. `next`: the place to
    go on from; None when all were tried.
    """

    counted: Counted
    asked: int = 0
    became: Counter[Disposition] = field(default_factory=Counter)
    taken: int = 0
    why: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    next: Place | None = None

    def note(self, result: Disposition | Left | None) -> None:
        """Count one: a new decision, one that stays, or (None) one that was taken."""
        if isinstance(result, Left):
            self.why[result.why] += 1
            self.asked += result.asked
            return
        self.asked += 1
        if result is None:
            self.taken += 1
        else:
            self.became[result] += 1
