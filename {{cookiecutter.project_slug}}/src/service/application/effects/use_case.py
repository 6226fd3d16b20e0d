"""Deliver one effect, and find those that were never delivered. The ledger, not the job engine, is the truth."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.application.decision import Effect
from service.application.effects.contract import EffectRefused, EffectUnavailable, Ticketing

log = logging.getLogger(__name__)
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 300.0


class EffectsSwitch(Protocol):
    """Whether writes may leave the service now."""

    def effects_on(self) -> bool: ...


class Ledger(Protocol):
    """The durable list of effects: what must be written, how often it was tried, what came of it.

    `begin` counts an attempt and returns the effect with the number of this attempt, or None when it is done,
    failed, unknown, or being tried by another worker this very moment.
    """

    async def begin(self, key: str) -> tuple[Effect, int] | None: ...

    async def hold(self, key: str) -> None: ...

    async def done(self, key: str, reference: str) -> None: ...

    async def failed(self, key: str, error: str) -> None: ...

    async def retry_in(self, key: str, seconds: float, error: str) -> None: ...


class Backlog(Protocol):
    """Puts jobs for unfinished effects on the queue again; `include_held` also those held by the switch."""

    async def requeue_due(self, include_held: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class DeliverEffect:
    """The job's body. Safe to run any number of times, at the same time, in any process."""

    switch: EffectsSwitch
    ledger: Ledger
    ticketing: Ticketing

    async def __call__(self, key: str) -> str:
        """The state the effect was left in: held, skipped, done, failed or queued."""
        if not self.switch.effects_on():
            await self.ledger.hold(key)
            return "held"
        begun = await self.ledger.begin(key)
        if begun is None:
            return "skipped"
        effect, attempt = begun
        try:
            reference = await self.ticketing.create(effect.key, effect.body)
        except EffectRefused as refusal:
            log.error("effect %s is refused downstream and will not be repeated: %s", key, refusal)
            await self.ledger.failed(key, str(refusal))
            return "failed"
        except Exception as outage:  # an adapter's bug counts as an outage: no effect is given up for it
            error = str(outage) if isinstance(outage, EffectUnavailable) else type(outage).__name__
            log.warning("effect %s, attempt %d: %s", key, attempt, error)
            await self.ledger.retry_in(key, retry_delay(attempt), error)
            return "queued"
        await self.ledger.done(key, reference)
        return "done"


@dataclass(frozen=True, slots=True)
class ReconcileEffects:
    """The scheduled sweep: whatever a dead worker, an outage or the switch left unfinished is queued again."""

    switch: EffectsSwitch
    backlog: Backlog

    async def __call__(self, scheduled_at: datetime) -> int:
        """How many effects were queued again."""
        on = self.switch.effects_on()
        return await self.backlog.requeue_due(include_held=on)


def retry_delay(attempt: int) -> float:
    """Seconds to wait after the given failed attempt (1, 2, ...): doubling, at most five minutes."""
    return min(FIRST_RETRY_S * 2.0 ** min(attempt - 1, 10), LONGEST_RETRY_S)
