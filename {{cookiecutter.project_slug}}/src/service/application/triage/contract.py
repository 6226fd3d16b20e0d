"""What goes into triage and what comes out. The model's answer enters the service only as a `TriageOutcome`."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from service.application.decision import Disposition, Reason, Source
from service.application.text import STORABLE

VERSION = "triage-contract-1"


class Category(StrEnum):
    """What the message is about."""

    BILLING = "billing"
    ACCOUNT = "account"
    TECHNICAL = "technical"
    DELIVERY = "delivery"
    PRODUCT = "product"
    COMPLAINT = "complaint"
    OTHER = "other"


class Priority(StrEnum):
    """How soon somebody must act."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


class Ticket(BaseModel):
    """A customer's message as it arrived. Stored unchanged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Annotated[str, Field(max_length=200), STORABLE]
    body: Annotated[str, Field(min_length=1, max_length=8000), STORABLE, AfterValidator(_not_blank)]
    channel: Annotated[str, Field(max_length=50), STORABLE] | None = None
    customer_ref: Annotated[str, Field(max_length=100), STORABLE] | None = None


class Entity(BaseModel):
    """A thing named in the message, such as an order number. `value` is quoted as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Annotated[str, Field(min_length=1, max_length=50), STORABLE]
    value: Annotated[str, Field(min_length=1, max_length=200), STORABLE]


class TriageOutcome(BaseModel):
    """The decision's content. `evidence` quotes the message; `confidence` is 0 to 1 and means the category."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: Category
    priority: Priority
    entities: Annotated[list[Entity], Field(max_length=20)]
    draft_reply: Annotated[str, Field(max_length=4000), STORABLE] | None
    evidence: Annotated[list[Annotated[str, Field(min_length=1, max_length=500), STORABLE]], Field(max_length=10)]
    confidence: Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]


class UsageAnswer(BaseModel):
    """Tokens and price of every upstream call of one request; the price is null when any part of it is unknown."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    output_tokens: int
    cost_usd: FiniteFloat | None


class TriageAnswer(BaseModel):
    """The answer as documented in OpenAPI and as evaluated; stored and replayed as it was first given."""

    model_config = ConfigDict(extra="forbid")

    decision_id: str
    outcome: TriageOutcome
    disposition: Disposition
    source: Source
    degraded: bool
    reason: Reason | None
    release: str
    prompt_version: str
    model_version: str
    repaired: bool
    usage: UsageAnswer
    trace_id: str
