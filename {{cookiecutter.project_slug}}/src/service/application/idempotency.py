"""What a use case holds between its two transactions: the caller's idempotency key, and money."""

from dataclasses import dataclass

from service.application.budget import Hold
from service.application.decision import JsonObject


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
