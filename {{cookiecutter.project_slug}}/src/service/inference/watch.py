"""What is counted about models, and what somebody must be told of."""

import logging
import re
import time
from collections.abc import Callable, Iterable

from opentelemetry import metrics, trace

# Nobody but us can mend these, and the service goes on answering meanwhile, so nobody else would say so.
ALARMING = frozenset({"model_rejected_request", "host_not_allowed", "guard_failed", "output_canary", "other_model"})
ALERT_EVERY_S = 60.0
_VERSION_OF = re.compile(r"[-@:]\d[\d.-]*")
log = logging.getLogger(__name__)


class ModelWatch:
    """Metrics of every attempt and answer; for the alarming ones also one error in the log each minute they last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        meter = metrics.get_meter("service.inference")
        self._attempts = meter.create_counter("service.model.attempts", description="Upstream calls by their result")
        self._cost = meter.create_counter("service.model.cost", "USD", "What answers cost, where it is known")
        self._screened = meter.create_counter("service.input.screened", description="What a message looked like")
        self._alerts = meter.create_counter("service.model.alerts", description="What somebody must look at")
        self._clock = clock
        self._told: dict[str, float] = {}

    def failed(self, reasons: Iterable[str]) -> None:
        """Attempts that gave nothing usable."""
        for reason in reasons:
            self._attempts.add(1, {"result": reason})
            if reason in ALARMING:
                self._alert(reason)

    def answered(self, source: str, repaired: bool, cost_usd: float | None) -> None:
        """An attempt that gave the answer, and what all attempts for it cost."""
        self._attempts.add(1, {"result": source, "repaired": repaired})
        self._cost.add(cost_usd or 0.0, {"known": cost_usd is not None})

    def named(self, asked: str, answered: str) -> None:
        """The model id that was asked for, and the one that answered: the same, or a numbered version of it."""
        if answered != asked and not _VERSION_OF.fullmatch(answered.removeprefix(asked)):
            self._alert("other_model")

    def screened(self, names: Iterable[str]) -> None:
        """What the screen saw in a message. Telemetry only: nothing is decided by it."""
        found = sorted(names)
        for name in found:
            self._screened.add(1, {"name": name})
        if found:
            trace.get_current_span().set_attribute("service.input.screened", found)

    def _alert(self, kind: str) -> None:
        self._alerts.add(1, {"kind": kind})
        now = self._clock()
        if now - self._told.get(kind, -ALERT_EVERY_S) >= ALERT_EVERY_S:
            self._told[kind] = now
            log.error("look at the model: %s", kind)
