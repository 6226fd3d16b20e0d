"""How much of the day's budgets is used: always as a metric, and as an alert when much or all of one is."""

import logging
from collections.abc import Callable, Iterable
from datetime import date, datetime
from threading import Lock

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from service.application.held import Scope

# Per cent of a budget, how loudly it is said that they are used, and in what words: to be full it need not be at 100.
LEVELS = {
    80: (logging.WARNING, "80 %% of today's budget of the %s %s is used"),
    100: (logging.ERROR, "today's budget of the %s %s is spent: no further request fits into it"),
}
log = logging.getLogger(__name__)


class SpendingWatch:
    """To be told the used share of a budget whenever it changes, from any thread.

    Each level is said once per process, day (UTC), scope and name. Only today is remembered: what is still settled
    for yesterday says nothing about today, and a budget nobody uses today is not reported.
    """

    def __init__(self, clock: Callable[[], datetime], meter: Meter | None = None) -> None:
        meter = meter or metrics.get_meter("service")
        meter.create_observable_gauge(
            "service.budget.used_ratio", [self._observe], "1", "Share of the day's budget that is spent or held"
        )
        self._alerts = meter.create_counter(
            "service.budget.alerts", "{alert}", "Levels of the day's budgets first reached, per process"
        )
        self._clock, self._lock = clock, Lock()
        self._day = date.min
        self._used: dict[tuple[Scope, str], float] = {}
        self._said: set[tuple[Scope, str, int]] = set()

    def __call__(self, scope: Scope, name: str, share: float, day: date) -> None:
        with self._lock:
            if day != self._today():
                return
            self._used[scope, name] = share
            reached = {(scope, name, level) for level in LEVELS if share * 100 >= level} - self._said
            self._said |= reached
        for _, _, level in sorted(reached):
            self._alerts.add(1, {"scope": scope.value, "name": name, "level": level})
            log.log(*LEVELS[level], scope.value, name)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            self._today()
            used = dict(self._used)
        return [
            Observation(share, {"scope": scope.value, "name": name})
            for (scope, name), share in used.items()
            if scope is not Scope.SUBJECT  # too many for a metric; those that reach a level are told
        ]

    def _today(self) -> date:
        today = self._clock().date()
        if today != self._day:
            self._day, self._used, self._said = today, {}, set()
        return today
