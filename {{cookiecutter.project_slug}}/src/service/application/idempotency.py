"""What a use case holds between its two transactions when the caller sent an idempotency key."""

from dataclasses import dataclass

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
    """The answer of a request answered before, or else the claim, or neither: there was no key."""

    answer: JsonObject | None
    claim: Claim | None
