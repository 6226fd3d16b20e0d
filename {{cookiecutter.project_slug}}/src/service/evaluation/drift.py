"""Whether what comes out now is still what came out when the release was new. Pure; numbers in, states out.

Distributions: the newest answers against the first ones under the same release, by chi-square (labels) and
Kolmogorov-Smirnov (numbers). Failures: one CUSUM per kind over all answers after the reference. A fixed limit on PSI
would raise an alarm in 40 % of quiet windows of 50 answers, and in none of 500 that have moved.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt
from typing import Any, NamedTuple

REFERENCE = 1000  # answers: the first ones under a release
FEWEST = 200  # below so many there is no reference
WINDOW = 200  # answers; by chi-square a move of ten points shows in 87 % of windows of this size
WARN_P, PAGE_P = 0.01, 0.001
LEAST_EFFECT = 0.1  # Cramer's V, or the largest distance of two distribution functions: less is not worth a page
CUSUM_WARN, CUSUM_PAGE = 5.0, 7.0  # 7: a false alarm in 7 to 23 of 100 streams of 10,000 answers (dev/drift_power.py)
WORSE, LEAST_WORSE = 2.4, 0.02  # what a CUSUM looks for: so many times the reference's rate, so much above it at least


class State(StrEnum):
    """How loudly a monitor speaks. Too few: it cannot speak yet."""

    TOO_FEW = "too_few"
    OK = "ok"
    WARN = "warn"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is watched of one answer. `length`: characters of what would be sent to the customer."""

    label: str
    disposition: str
    confidence: float
    length: int


@dataclass(frozen=True, slots=True)
class Monitor:
    """One comparison. `statistic`: chi-square, Kolmogorov-Smirnov's D, or the CUSUM's level; `p` None for a CUSUM.

    `effect`: Cramer's V, D, or the failure rate among the answers after the reference.
    """

    name: str
    reference: int
    recent: int
    statistic: float
    p: float | None
    effect: float
    state: State


def distributions(first: Sequence[Answer], newest: Sequence[Answer]) -> list[Monitor]:
    """One monitor for each watched part. `first`: the reference, `newest`: the two last windows, none in both."""
    reference, windows = first, (newest[-2 * WINDOW : -WINDOW], newest[-WINDOW:])
    if len(reference) < FEWEST or len(newest) < 2 * WINDOW:
        return [Monitor(name, len(reference), len(newest), 0.0, None, 0.0, State.TOO_FEW) for name in _WATCHED]
    monitors = []
    for name, compared in _WATCHED.items():
        usual, *moved = ([getattr(answer, name) for answer in answers] for answers in (reference, *windows))
        before, now = (compared(usual, window) for window in moved)
        # A page needs two windows in a row and a difference that matters; a warning needs one.
        lasting = all(one.p < PAGE_P and one.effect >= LEAST_EFFECT for one in (before, now))
        state = State.PAGE if lasting else State.WARN if now.p < WARN_P else State.OK
        monitors.append(Monitor(name, len(reference), WINDOW, now.statistic, now.p, now.effect, state))
    return monitors


def failures(name: str, first: Sequence[bool], rest: Sequence[bool]) -> Monitor:
    """A CUSUM over one kind of failure, oldest first; `first` is the reference.

    E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954) 100-115, with the log-likelihood ratio of two
    Bernoulli rates. The reference's rate is taken with one failure more, so that none in a few is not taken for never.
    """
    if len(first) < FEWEST or not rest:
        return Monitor(name, len(first), len(rest), 0.0, None, 0.0, State.TOO_FEW)
    level = cusum(rest, (sum(first) + 1) / (len(first) + 2))
    state = State.PAGE if level >= CUSUM_PAGE else State.WARN if level >= CUSUM_WARN else State.OK
    return Monitor(name, len(first), len(rest), level, None, sum(rest) / len(rest), state)


def cusum(failed: Sequence[bool], usual: float, level: float = 0.0) -> float:
    """The level after the last answer: evidence, in nats, that the rate has risen since some answer."""
    worse = min(max(WORSE * usual, usual + LEAST_WORSE), 0.99)
    step = {True: log(worse / usual), False: log((1 - worse) / (1 - usual))}
    for each in failed:
        level = max(0.0, level + step[bool(each)])
    return level


class _Compared(NamedTuple):
    statistic: float
    p: float
    effect: float


def _chi_square(reference: Sequence[str], recent: Sequence[str]) -> _Compared:
    """Homogeneity of two samples over their labels; the effect is Cramer's V."""
    from scipy.stats import chi2_contingency

    old, new = Counter(reference), Counter(recent)
    labels = sorted(old.keys() | new.keys())
    if len(labels) < 2:
        return _Compared(0.0, 1.0, 0.0)
    found = chi2_contingency([[old[label] for label in labels], [new[label] for label in labels]], correction=False)
    effect = sqrt(found.statistic / (len(reference) + len(recent)))
    return _Compared(float(found.statistic), float(found.pvalue), effect)


def _ks(reference: Sequence[float], recent: Sequence[float]) -> _Compared:
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, recent, method="asymp")
    return _Compared(float(found.statistic), float(found.pvalue), float(found.statistic))


_WATCHED: dict[str, Callable[[Any, Any], _Compared]] = {
    "label": _chi_square,
    "disposition": _chi_square,
    "confidence": _ks,
    "length": _ks,
}
