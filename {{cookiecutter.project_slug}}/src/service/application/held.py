"""What a request holds between its two transactions: the caller's idempotency key, and money.

Money is held before a model is asked and settled afterwards; what is not known stays held.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from service.application.decision import JsonObject


class Scope(StrEnum):
    """Whose budget: each subject of a tenant has one, each tenant, and each release over all tenants."""

    SUBJECT = "subject"
    TENANT = "tenant"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Spender:
    """Whose money an answer would cost. `subject` is a caller's name, which contains its tenant."""

    tenant: str
    release: str
    subject: str


@dataclass(frozen=True, slots=True)
class Hold:
    """US dollars set aside for one request on one day (UTC), in the budgets of its spender."""

    spender: Spender
    day: date
    usd: float


@dataclass(frozen=True, slots=True)
class Claim:
    """One request's hold on an idempotency key. The owner is this attempt: a key changes hands when its lease ends."""

    tenant: str
    actor: str
    key: str
    owner: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer of a request answered before; or the claim, if there was a key, and the hold, if money was asked for.

    `granted`: a model may be asked. False when a budget of today is spent.
    """

    answer: JsonObject | None = None
    claim: Claim | None = None
    hold: Hold | None = None
    granted: bool = True
