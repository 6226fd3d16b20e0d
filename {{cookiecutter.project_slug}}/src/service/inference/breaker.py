"""A circuit breaker for one model in one process: it stops asking what is down, and finds its way back by itself.

Copyable: needs nothing. closed --half of the last answers are failures--> open --after a while--> one probe
--success--> closed, --failure--> open again. A `Retry-After` opens it at once, for as long. Not for threads: use
it from one event loop.
"""

import time
from collections import deque
from collections.abc import Callable

WINDOW, FAILURES = 10, 5
OPEN_S, LONGEST_S, PROBE_S = 2.0, 60.0, 30.0


class Breaker:
    """`enter` before a call, `leave` after it, whatever happened. Times in seconds."""

    def __init__(self, open_s: float = OPEN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._open_s, self._clock = open_s, clock
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._opened_until: float | None = None
        self._probe_until = 0.0
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused, but for a probe now and then."""
        return self._opened_until is not None

    def enter(self) -> int | None:
        """An admission for one call, or None: do not call. While open, one call at a time is let through as a probe."""
        if self._opened_until is not None:
            now = self._clock()
            if now < max(self._opened_until, self._probe_until):
                return None
            self._probe_until = now + PROBE_S  # should the probe never report, another may go
        return self._era

    def leave(self, admission: int, ok: bool | None, retry_after_s: float = 0.0) -> None:
        """How the call went; None: nobody knows, as when its caller hung up.

        A call that began before the last change of state says nothing about the present and is not counted.
        """
        if admission != self._era:
            return
        self._probe_until = 0.0
        if ok is None:
            return
        self._recent.append(ok)
        if ok and self.is_open:
            self._change(None)
        elif not ok and (self.is_open or retry_after_s > 0 or self._recent.count(False) >= FAILURES):
            self._change(self._clock() + (min(retry_after_s, LONGEST_S) or self._open_s))

    def _change(self, opened_until: float | None) -> None:
        self._opened_until = opened_until
        self._recent.clear()
        self._era += 1
