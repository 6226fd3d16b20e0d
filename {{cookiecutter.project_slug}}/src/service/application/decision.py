"""What the service decided about one request, in words that every use case shares.

A `Decision` names no use case's own types: its outcome is plain JSON, so the database, the audit log and
the review desk store any capability without knowing it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

JsonObject = dict[str, Any]
T = TypeVar("T")


class Source(StrEnum):
    """Who produced the outcome."""

    MODEL = "model"
    BACKUP = "backup"
    CACHE = "cache"
    RULES = "rules"


class Disposition(StrEnum):
    """What happens next: written downstream at once, looked at by a person, or by a senior person first."""

    AUTO = "auto"
    REVIEW = "review"
    ESCALATE = "escalate"


class Reason(StrEnum):
    """Why the answer is not simply the primary model's. `AI_OFF` is a choice; all others are failures."""

    AI_OFF = "ai_off"
    NO_RELEASE = "no_release"
    DEADLINE = "deadline"
    UNREACHABLE = "model_unreachable"
    RATE_LIMITED = "model_rate_limited"
    MODEL_ERROR = "model_error"
    REJECTED = "model_rejected_request"
    UNUSABLE_OUTPUT = "output_unusable"
    REFUSED = "model_refused"
    CUT_OFF = "output_cut_off"
    FILTERED = "content_filtered"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of every upstream call made for one answer, and their price in US dollars (None: unknown)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction(Generic[T]):
    """A validated outcome and where it came from. `degraded`: AI was wanted and not obtained from the primary."""

    outcome: T
    source: Source
    model_version: str
    degraded: bool = False
    reason: Reason | None = None
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Decision:
    """One answered request, as it is stored. By rules: the release that would have been asked."""

    id: str
    use_case: str
    tenant: str
    actor: str
    outcome: JsonObject
    disposition: Disposition
    source: Source
    degraded: bool
    reason: Reason | None
    release: str
    prompt_version: str
    model_version: str
    usage: Usage
    trace_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Effect:
    """One write to a downstream system. `key` is its idempotency key: the same on every attempt, for ever."""

    key: str
    decision_id: str
    body: JsonObject
