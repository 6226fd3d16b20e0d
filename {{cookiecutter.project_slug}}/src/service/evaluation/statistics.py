"""The formulas behind the gate and the reports, each with its source. Pure: the same numbers in, the same numbers out.

Needs scipy and numpy. Where chance is needed it is seeded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Numbers = NDArray[np.float64]
Z_ONE_SIDED = float(stats.norm.ppf(0.95))
SEED = 20_260_101  # any will do; fixed, so that the same answers get the same report
RESAMPLES = 5_000
_GRID = 2520  # least common multiple of 1 to 10: a mean over up to ten repeats lies on it


def failure_rate_upper(failed: int, n: int) -> float:
    """One-sided 95 % upper bound of the failure rate after `failed` of `n`: 0 of 40 still leaves 7.2 %.

    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934) 404-413.
    """
    return float(stats.binomtest(failed, n, alternative="less").proportion_ci(0.95, "exact").high)


def on_grid(change: float) -> float:
    """What it was before a score was rounded on its way through a file."""
    return round(change * _GRID) / _GRID


def paired_mid_p(changes: Sequence[float]) -> float:
    """One-sided mid-p value of a fall: of changes per case, candidate less baseline, in -1 to 1, 0 for no change.

    Exact: had nothing changed, every change would have been as likely the other way round (R. A. Fisher, "The design
    of experiments", 1935, section 21; E. J. G. Pitman, 1937), so all sign patterns are counted by convolution. Of
    single answers, whose changes are -1, 0 and 1, it is the mid-p McNemar test, which keeps 5 % where the exact test
    wastes half of it: M. W. Fagerland, S. Lydersen, P. Laake, BMC Medical Research Methodology 13 (2013) 91.
    """
    steps = np.rint(np.asarray(changes, dtype=np.float64) * _GRID).astype(np.int64)
    steps = steps[steps != 0]
    if not len(steps):
        return 1.0
    steps //= np.gcd.reduce(steps)
    # chance[i]: of the sizes whose sign came out as a fall, the sum is i
    chance: Numbers = np.ones(1)
    for size in np.abs(steps):
        flat, fallen = np.pad(chance, (0, size)), np.pad(chance, (size, 0))
        chance = (flat + fallen) / 2
    seen = int(-steps[steps < 0].sum())
    return float(chance[seen + 1 :].sum() + chance[seen] / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false alarm among all is at most that of one test.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979)
    65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def drop_upper(changes: Sequence[float]) -> float:
    """One-sided 95 % upper bound of the fall of the mean, from changes per case as in `paired_mid_p`.

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998) 891-908: a score interval, so that n cases without any change leave
    z^2 / (n + z^2) and not nothing, as the bootstrap would. Changes smaller than 1 (repeats) are counted in units of
    their typical size, the sum of squares by the sum, which keeps their variance; the bound is then never below that
    of no change, because what changed little in this run may change more in another.
    """
    changed = np.asarray(changes, dtype=np.float64)
    n, total = len(changed), float(np.abs(changed).sum())
    unit = float(np.square(changed).sum()) / total if total else 1.0
    broke, fixed = -float(changed[changed < 0].sum()) / unit, float(changed[changed > 0].sum()) / unit
    bound = unit * _tango(broke, fixed, n)
    return bound if unit == 1 else max(bound, unchanged_drop_upper(n))


def unchanged_drop_upper(n: int) -> float:
    """What `drop_upper` is when not one of `n` cases changed: nothing can be shown below it."""
    return Z_ONE_SIDED**2 / (n + Z_ONE_SIDED**2)


def _tango(broke: float, fixed: float, n: int) -> float:
    """The fall at which the restricted score statistic is z standard errors away."""

    def beyond(fall: float) -> float:
        b = 2 * n * fall - broke - fixed - (broke - fixed) * fall
        c = -fixed * fall * (1 - fall)
        # the most likely share of gains, given the fall
        gains = max(0.0, (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n))
        spread = sqrt(max(0.0, n * (2 * gains + fall * (1 - fall))))
        return broke - fixed - n * fall + Z_ONE_SIDED * spread

    seen = (broke - fixed) / n
    return 1.0 if seen >= 1 else float(optimize.brentq(beyond, seen + 1e-9, 1.0))


def paired_ratio(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float] | None:
    """Total after by total before over the same cases, with its 95 % interval; None without a total.

    Cases are drawn in pairs, because a long message is slow on both sides: B. Efron, "Bootstrap methods: another look
    at the jackknife", Annals of Statistics 7 (1979) 1-26, percentiles.
    """
    pairs = np.array([before, after], dtype=np.float64)
    if pairs.size == 0 or not pairs[0].sum() > 0:
        return None
    n = pairs.shape[1]
    times_drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    old, new = times_drawn @ pairs[0], times_drawn @ pairs[1]
    low, high = np.quantile(new[old > 0] / old[old > 0], [0.025, 0.975])
    return float(pairs[1].sum() / pairs[0].sum()), float(low), float(high)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two raters with two answers. `base_rate`: the first's share of `True`; near 0 and 1 kappa says little."""

    n: int
    agreed: float
    base_rate: float
    kappa: float
    low: float
    high: float


def agreement(pairs: Sequence[tuple[bool, bool]]) -> Agreement:
    """Cohen's kappa with a 95 % interval. No kappa (nobody varies) counts as 0: agreement that chance explains.

    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960)
    37-46. The interval is that of the four shares' distribution after the counts, with Jeffreys' prior of half a pair
    each; unlike the large-sample formula it does not call one shared `False` in a hundred certain agreement.
    """
    n = len(pairs)
    counts = np.array([sum(pair == cell for pair in pairs) for cell in _CELLS], dtype=np.float64)
    low, high = np.quantile(_kappa(np.random.default_rng(SEED).dirichlet(counts + 0.5, RESAMPLES)), [0.025, 0.975])
    shares = counts / n
    agreed = float(shares[0] + shares[3])
    return Agreement(n, agreed, float(shares[0] + shares[1]), float(_kappa(shares)), float(low), float(high))


_CELLS = ((True, True), (True, False), (False, True), (False, False))


def _kappa(shares: Numbers) -> Numbers:
    both, first, second, neither = np.moveaxis(shares, -1, 0)
    by_chance = (both + first) * (both + second) + (second + neither) * (first + neither)
    rest = 1 - by_chance
    return np.where(rest > 1e-12, (both + neither - by_chance) / np.maximum(rest, 1e-12), 0.0)
