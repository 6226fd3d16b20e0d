"""What the service decided about one request, in words that every use case shares.

A `Decision` names no use case's own types: its outcome is plain JSON, so the database, the audit log and
the review desk store any capability without knowing it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, NonNegativeInt

from service.application.text import Name

JsonObject = dict[str, Any]
T = TypeVar("T")
# Every upstream call made for one answer: what was sent, what came back. For the encrypted payload, and nowhere else.
Calls = tuple[JsonObject, ...]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    """Why the answer is not simply the primary model's. `AI_OFF` and `REPEATED` are choices, all others failures."""

    AI_OFF = "ai_off"
    REPEATED = "repeated_question"
    NO_RELEASE = "no_release"
    BUDGET_SPENT = "budget_spent"
    DEADLINE = "deadline"
    UNREACHABLE = "model_unreachable"
    RATE_LIMITED = "model_rate_limited"
    MODEL_ERROR = "model_error"
    REJECTED = "model_rejected_request"
    UNUSABLE_OUTPUT = "output_unusable"
    REFUSED = "model_refused"
    CUT_OFF = "output_cut_off"
    FILTERED = "content_filtered"
    BREAKER_OPEN = "breaker_open"
    HOST_NOT_ALLOWED = "host_not_allowed"
    GUARD_FAILED = "guard_failed"
    UNGROUNDED = "output_ungrounded"
    FOREIGN_DETAIL = "output_foreign_detail"
    ACTIVE_CONTENT = "output_active_content"
    INVISIBLE_TEXT = "output_invisible_text"
    CANARY = "output_canary"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        """What a client's error calls itself, or a newer process knows, is to callers a model error like others."""
        return cls.MODEL_ERROR if isinstance(value, str) else None

    @property
    def is_refusal(self) -> bool:
        """Whether a guard of ours refused what a model said."""
        return self in (self.UNGROUNDED, self.FOREIGN_DETAIL, self.ACTIVE_CONTENT, self.INVISIBLE_TEXT, self.CANARY)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of every upstream call made for one answer, and their price in US dollars (None: unknown).

    `at_most_usd`: the most an unknown price can be, such as that of a call that timed out; None if unknown, too.
    """

    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0
    cost_usd: Dollars | None = 0.0
    at_most_usd: Dollars | None = None

    @property
    def charged_usd(self) -> float | None:
        """What a budget has to count; None: nobody knows."""
        return self.at_most_usd if self.cost_usd is None else self.cost_usd


@dataclass(frozen=True, slots=True)
class Prediction(Generic[T]):
    """A validated outcome and where it came from. `degraded`: AI was wanted and not obtained from the primary.

    `repaired`: the model's first answer was unusable and its second was not. `taint` names what the model read that
    nobody of ours wrote, and what in it looked like an instruction: a record for people, never a route. Types are
    checked where one arrives from another process. `calls` do not print: they hold customers' words.
    """

    outcome: T
    source: Source
    model_version: Name
    degraded: bool = False
    reason: Reason | None = None
    usage: Usage = Usage()
    repaired: bool = False
    taint: tuple[Name, ...] = ()
    calls: Calls = field(default=(), repr=False)


class ModelUnusable(Exception):
    """The one thing inference may raise: no validated outcome, and why. `usage` was spent by `calls` all the same."""

    def __init__(self, reason: Reason, usage: Usage | None = None, calls: Calls = ()) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.usage = usage or Usage()
        self.calls = calls


@dataclass(frozen=True, slots=True)
class Decision:
    """One answered request, as it is stored. By rules: the release that would have been asked.

    `input_digest` is keyed and the same for the same question; `supersedes` is the decision that this one replaces
    because a model was asked again. `latency_ms`: from the request to the decision, if somebody waited for it. `flags`:
    what the switches said, for the audit log.
    """

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
    repaired: bool
    taint: tuple[str, ...]
    usage: Usage
    input_digest: str
    supersedes: str | None
    trace_id: str
    at: datetime
    latency_ms: int | None = None
    flags: JsonObject = field(default_factory=dict)

    def answer(self) -> JsonObject:
        """What the caller sees; stored with the idempotency key so that a retry sees the same."""
        return {
            "decision_id": self.id,
            "outcome": self.outcome,
            "disposition": self.disposition.value,
            "source": self.source.value,
            "degraded": self.degraded,
            "reason": self.reason.value if self.reason else None,
            "release": self.release,
            "prompt_version": self.prompt_version,
            "model_version": self.model_version,
            "repaired": self.repaired,
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
                "cost_usd": self.usage.cost_usd,
            },
            "trace_id": self.trace_id,
        }


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a model said to the same question before, and nobody found wrong since."""

    outcome: JsonObject
    model_version: str
    taint: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """One write to a downstream system. `key` is its idempotency key: the same on every attempt, for ever."""

    key: str
    decision_id: str
    body: JsonObject
