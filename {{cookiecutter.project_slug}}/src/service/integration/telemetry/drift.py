"""The newest look at drift, as gauges, and in the log when it changes."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

LEVELS = {"too_few": -1, "ok": 0, "warn": 1, "page": 2}
LOUD = {"warn": logging.WARNING, "page": logging.ERROR}
log = logging.getLogger(__name__)


class Seen(Protocol):
    """What a monitor says."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def effect(self) -> float: ...


class DriftWatch:
    """A worker's chore: looks, and tells. In each worker: all say the same, none costs much."""

    def __init__(self, look: Callable[[], Awaitable[Sequence[Seen]]]) -> None:
        self._look = look
        self._seen: Sequence[Seen] = ()
        meter = metrics.get_meter("service")
        meter.create_observable_gauge(
            "service.drift.state", [self._observe], "1", "-1 too few answers, 0 as usual, 1 look at it, 2 it has moved"
        )

    async def __call__(self, _now: datetime) -> None:
        before = {seen.name: seen.state for seen in self._seen}
        self._seen = await self._look()
        for seen in self._seen:
            if seen.state in LOUD and before.get(seen.name) != seen.state:
                log.log(LOUD[seen.state], "%s drifts: %s, by %.2f", seen.name, seen.state, seen.effect)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(LEVELS[seen.state], {"monitor": seen.name}) for seen in self._seen]
