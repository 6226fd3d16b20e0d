"""How often the monitors of drift cry wolf, and how late they are: `python -m dev.drift_power` (a minute).

Simulated streams of answers, as long as an active release's: the reference, 10,000 quiet answers; then a move.
"""

import random
import sys
from statistics import median

from service.evaluation.drift import (
    CUSUM_PAGE,
    LEAST_WORSE,
    REFERENCE,
    WINDOW,
    WORSE,
    Answer,
    State,
    cusum,
    distributions,
)

LABELS = ("billing", "account", "technical", "delivery", "product", "other")
USUAL, MOVED = (0.3, 0.2, 0.2, 0.15, 0.1, 0.05), (0.2, 0.2, 0.2, 0.15, 0.2, 0.05)
QUIET = 10_000


def answers(rng: random.Random, n: int, moved: bool = False) -> list[Answer]:
    """What one release answers; `moved`: a tenth of the labels are another, a tenth more go to people."""
    labels = rng.choices(LABELS, MOVED if moved else USUAL, k=n)
    auto = 0.6 if moved else 0.7
    return [
        Answer(label, "auto" if rng.random() < auto else "review", rng.betavariate(8, 2), round(rng.gauss(300, 60)))
        for label in labels
    ]


def windows(streams: int) -> None:
    """By window: looks without any change, and looks until a change is seen."""
    looks = warned = paged = 0
    until_warned: list[int] = []
    until_paged: list[int] = []
    for seed in range(streams):
        rng = random.Random(seed)
        first, quiet = answers(rng, REFERENCE), answers(rng, QUIET)
        for end in range(2 * WINDOW, QUIET + 1, WINDOW):
            states = [monitor.state for monitor in distributions(first, quiet[end - 2 * WINDOW : end])]
            looks += len(states)
            warned += states.count(State.WARN)
            paged += states.count(State.PAGE)
        moved = quiet[-2 * WINDOW :] + answers(rng, 10 * WINDOW, moved=True)
        seen: dict[str, int] = {}
        for end in range(3 * WINDOW, len(moved) + 1, WINDOW):
            found = distributions(first, moved[end - 2 * WINDOW : end])[:2]
            for state in (State.WARN, State.PAGE):
                if any(monitor.state in (state, State.PAGE) for monitor in found):
                    seen.setdefault(state, end - 2 * WINDOW)
        until_warned.append(seen.get(State.WARN, 10 * WINDOW))
        until_paged.append(seen.get(State.PAGE, 10 * WINDOW))
    print(f"windows of {WINDOW}, reference {REFERENCE}, {streams} streams of {QUIET} quiet answers, 4 monitors:")
    print(f"  warnings in {warned} of {looks} looks ({warned / looks:.2%}); pages {paged}")
    print(
        f"  a move of 10 points: warning after {median(until_warned):.0f} answers, page after {median(until_paged):.0f}"
    )


def cusums(streams: int) -> None:
    """By base rate: streams with a false alarm, and the median delay for three moves."""
    print(f"CUSUM, level {CUSUM_PAGE:g}, against {WORSE:g} times the usual rate or {LEAST_WORSE:g} more:")
    for usual in (0.01, 0.02, 0.05, 0.1):
        rng = random.Random(1)
        alarms = sum(_first(rng, usual, usual, QUIET) is not None for _ in range(streams))
        delays = []
        for move in (0.05, 0.1, 0.2):
            seen = [_first(rng, usual, usual + move, 3000) or 3000 for _ in range(streams)]
            delays.append(f"+{move:.0%} {median(seen):.0f}")
        print(f"  usual {usual:.0%}: alarms in {alarms} of {streams} quiet streams; delay {', '.join(delays)}")


def _first(rng: random.Random, usual: float, rate: float, n: int) -> int | None:
    """The first answer at which the level is reached. The reference is drawn anew, as in life."""
    failed = sum(rng.random() < usual for _ in range(REFERENCE))
    known = (failed + 1) / (REFERENCE + 2)
    stream = [rng.random() < rate for _ in range(n)]
    for end in range(50, n + 1, 50):
        if cusum(stream[:end], known) >= CUSUM_PAGE:
            return end
    return None


def main() -> None:
    """Both, with so many streams each."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    windows(streams)
    cusums(streams)


if __name__ == "__main__":
    main()
