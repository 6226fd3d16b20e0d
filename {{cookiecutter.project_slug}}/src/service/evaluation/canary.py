"""Says whether a canary release is better or worse than the incumbent, and may be asked again after every answer.

All intervals of shares hold at all looks together with a probability of 95 % or more, so whoever stops at the first
verdict does not cheat. This needs answers that are independent and shares that do not drift meanwhile: take both arms
from the same days. Latency and cost are shown and decide nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from math import exp, fsum, lgamma, log, log1p

ALPHA = 0.05  # chance that any interval of a share ever misses; of a quantile's interval, that it misses now
MEASURES = ("failure", "repair", "review", "correction")  # of each, more is worse
MOST_ANSWERS = 100_000  # a difference that takes more canary answers than this matters to nobody
PRIOR = (0.5, 2.0)  # a and b of the mixture: every pair is valid, this one is quick for rare events
_EACH = ALPHA / (2 * len(MEASURES))  # Bonferroni: two arms


class Verdict(StrEnum):
    """What is known of the canary, or of one measure."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "cannot tell yet"


@dataclass(frozen=True, slots=True)
class Share:
    """`events` in `of` trials: those whose outcome is known by now, provided that no outcome gets known sooner."""

    events: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.events <= self.of:
            raise ValueError("needs 0 <= events <= of")


@dataclass(frozen=True, slots=True)
class Arm:
    """What was seen of one release: a share for each of `MEASURES`. A cost of None is unknown."""

    release: str
    answers: int
    shares: Mapping[str, Share]
    latency_ms: Sequence[float]
    cost_usd: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value from `of` observations, with its interval. None: too few for it, or it has none."""

    value: float | None
    low: float | None
    high: float | None
    of: int


@dataclass(frozen=True, slots=True)
class Row:
    """A measure in both arms. The canary's share less the incumbent's is within `least` to `most`."""

    measure: str
    incumbent: Estimate
    canary: Estimate
    least: float
    most: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Figure:
    """A count, a latency in milliseconds or a cost in US dollars, in both arms."""

    name: str
    incumbent: Estimate
    canary: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two releases. `more_answers`: further canary answers to a verdict, both arms growing alike, shares unchanged.

    0: there is a verdict. None: more than `MOST_ANSWERS`, or an arm has nothing to go by.
    """

    incumbent: str
    canary: str
    verdict: Verdict
    more_answers: int | None
    measures: list[Row]
    figures: list[Figure]


def compare(incumbent: Arm, canary: Arm) -> Comparison:
    """Worse if any measure is worse, even when another is better; else better if any is better."""
    arms = (incumbent, canary)
    rows = [_row(measure, *arms) for measure in MEASURES]
    found = {row.verdict for row in rows}
    verdict = next((sure for sure in (Verdict.WORSE, Verdict.BETTER) if sure in found), Verdict.UNCLEAR)
    costs = [[usd for usd in arm.cost_usd if usd is not None] for arm in arms]
    figures = [
        Figure("answers", *(_plain(arm.answers, arm.answers) for arm in arms)),
        Figure("latency p50 ms", *(quantile(arm.latency_ms, 50) for arm in arms)),
        Figure("latency p95 ms", *(quantile(arm.latency_ms, 95) for arm in arms)),
        Figure("cost p50 USD", *(quantile(known, 50) for known in costs)),
        Figure("cost mean USD", *(_plain(fsum(known) / len(known) if known else None, len(known)) for known in costs)),
        Figure("cost unknown", *(_plain(arm.cost_usd.count(None), len(arm.cost_usd)) for arm in arms)),
    ]
    return Comparison(incumbent.release, canary.release, verdict, _more_answers(*arms), rows, figures)


def interval(share: Share, alpha: float, grown: float = 1.0) -> tuple[float, float]:
    """Low and high end for the true share. The chance that it is ever outside, at any count, is at most `alpha`.

    Every p with p^s (1-p)^(n-s) > alpha B(a+s, b+n-s) / B(a, b), for s events in n trials. Under the true p the ratio
    of the beta mixture to the likelihood is a martingale, which ever reaches 1 / alpha with probability alpha at most:
    J. Ville, "Étude critique de la notion de collectif", 1939. H. Robbins, "Statistical methods related to the law of
    the iterated logarithm", Annals of Mathematical Statistics 41 (1970) 1397-1409. S. R. Howard, A. Ramdas,
    J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics
    49 (2021) 1055-1080. With `grown` s and n are that many times as large.
    """
    (a, b), s, n = PRIOR, share.events * grown, share.of * grown
    bar = log(alpha) + _log_beta(a + s, b + n - s) - _log_beta(a, b)

    def end(outside: float) -> float:
        inside = s / n
        for _ in range(40):
            p = (inside + outside) / 2
            if s * log(p) + (n - s) * log1p(-p) > bar:
                inside = p
            else:
                outside = p
        return outside  # what is left of the halving may widen the interval, never narrow it

    return 0.0 if s == 0 else end(0.0), 1.0 if s == n else end(1.0)


def quantile(values: Sequence[float], percent: int) -> Estimate:
    """A quantile, 0 < `percent` < 100, and its exact 95 % interval, whatever the distribution.

    For one look: over many looks it misses more often. How many values are below the true quantile is binomial, which
    tells between which of the ordered values it lies: H. A. David, H. N. Nagaraja, "Order Statistics", 2003, chapter 7.
    """
    ordered, n, q = sorted(values), len(values), percent / 100
    chances = (exp(k * log(q) + (n - k) * log1p(-q) - log(n + 1) - _log_beta(k + 1, n - k + 1)) for k in range(n + 1))
    up_to = list(accumulate(chances))  # [k]: that k values or fewer are below
    low, high = bisect_right(up_to, ALPHA / 2), bisect_left(up_to, 1 - ALPHA / 2)
    return Estimate(
        ordered[-(-n * percent // 100) - 1] if n else None,
        ordered[low - 1] if low else None,
        ordered[high] if high < n else None,
        n,
    )


def as_text(comparison: Comparison) -> str:
    """A table, shares in percent with their intervals, and the verdict in words as its last line."""
    heads = (f"incumbent {comparison.incumbent[:12]}", f"canary {comparison.canary[:12]}")
    lines = [_line("", *heads, "difference")]
    for row in comparison.measures:
        cells = (f"{_cell(arm, 100, 1)} of {arm.of}" for arm in (row.incumbent, row.canary))
        lines.append(_line(f"{row.measure} %", *cells, f"{100 * row.least:+.1f} to {100 * row.most:+.1f}"))
    for figure in comparison.figures:
        digits = 6 if figure.name.endswith("USD") else 0
        lines.append(_line(figure.name, _cell(figure.incumbent, 1, digits), _cell(figure.canary, 1, digits), ""))
    return "\n".join([*lines, _in_words(comparison)])


def _row(measure: str, incumbent: Arm, canary: Arm, grown: float = 1.0) -> Row:
    old, new = incumbent.shares[measure], canary.shares[measure]
    (old_low, old_high), (new_low, new_high) = interval(old, _EACH, grown), interval(new, _EACH, grown)
    least, most = new_low - old_high, new_high - old_low
    verdict = Verdict.WORSE if least > 0 else Verdict.BETTER if most < 0 else Verdict.UNCLEAR
    before = Estimate(old.events / old.of if old.of else None, old_low, old_high, old.of)
    after = Estimate(new.events / new.of if new.of else None, new_low, new_high, new.of)
    return Row(measure, before, after, least, most, verdict)


def _more_answers(incumbent: Arm, canary: Arm) -> int | None:
    def settled(more: int) -> bool:
        rows = (_row(measure, incumbent, canary, 1 + more / canary.answers) for measure in MEASURES)
        return any(row.verdict is not Verdict.UNCLEAR for row in rows)

    # Halving finds the fewest: at an unchanged share the martingale's logarithm is convex in the count and begins at
    # 0, so what is once outside an interval stays outside.
    fewest = bisect_left(range(MOST_ANSWERS + 1), True, key=settled) if canary.answers else MOST_ANSWERS + 1
    return fewest if fewest <= MOST_ANSWERS else None


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _plain(value: float | None, of: int) -> Estimate:
    return Estimate(value, None, None, of)


def _line(*cells: str) -> str:
    return "{:<14} {:<30} {:<30} {}".format(*cells).rstrip()


def _cell(estimate: Estimate, scale: int, digits: int) -> str:
    numbers = (estimate.value, estimate.low, estimate.high)
    value, low, high = ("?" if number is None else f"{scale * number:.{digits}f}" for number in numbers)
    return value if low == high == "?" else f"{value} ({low}-{high})"


def _in_words(comparison: Comparison) -> str:
    parts = []
    for verdict in (Verdict.WORSE, Verdict.BETTER):
        rows = [row for row in comparison.measures if row.verdict is verdict]
        told = (f"{row.measure} {_percent(row.canary)} against {_percent(row.incumbent)}" for row in rows)
        parts += [f"{verdict}: {', '.join(told)}"] if rows else []
    seen = [row for row in comparison.measures if row.verdict is Verdict.UNCLEAR and row.incumbent.of and row.canary.of]
    if comparison.verdict is Verdict.UNCLEAR:
        parts.append(f"{Verdict.UNCLEAR}: {_outlook(comparison.more_answers) if seen else 'nothing to compare'}")
    if comparison.verdict is not Verdict.WORSE and seen:
        limits = ", ".join(f"{row.measure} {100 * row.most:.1f}" for row in seen)
        parts.append(f"worse by at most, in points: {limits}")
    return "; ".join(parts)


def _percent(share: Estimate) -> str:
    return f"{100 * (share.value or 0):.1f} %"


def _outlook(more: int | None) -> str:
    many = f"more than {MOST_ANSWERS:,}" if more is None else f"about {more:,}"
    return f"{many} more canary answers if the shares stay as they are"
