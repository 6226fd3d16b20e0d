"""A review item and the verdicts a person can give on it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.application.decision import JsonObject


class ReviewState(StrEnum):
    """An item waits, is held by one reviewer, is decided, or a model has answered after all and took it away."""

    OPEN = "open"
    CLAIMED = "claimed"
    CLOSED = "closed"
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    """Write the outcome as it is, write a corrected one, or write nothing."""

    APPROVE = "approve"
    CORRECT = "correct"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One decision waiting for, or decided by, a person. `request` is the customer's message as it came."""

    id: str
    decision_id: str
    use_case: str
    disposition: str
    state: ReviewState
    request: JsonObject
    outcome: JsonObject
    source: str
    reason: str | None
    opened_at: datetime
    claimed_by: str | None
    verdict: Verdict | None
    note: str | None
    corrected: JsonObject | None
    closed_at: datetime | None
