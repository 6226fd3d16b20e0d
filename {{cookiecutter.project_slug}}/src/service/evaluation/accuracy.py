"""How often live answers are right, from what reviewers said, for all answers and not only for those they saw.

What goes to reviewers is what the service doubted: their verdicts alone speak ill of it. So a random share of the
answers that pass without a person is reviewed as well, and each kind counts by its share of the traffic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959963984540054  # standard normal quantile at 0.975


@dataclass(frozen=True, slots=True)
class Stratum:
    """Answers of one disposition: how many there were, how many a person decided, how many of these as they were."""

    disposition: str
    answers: int
    decided: int
    approved: int


@dataclass(frozen=True, slots=True)
class Rate:
    """An estimate with its 95 % interval; all None where nothing can be said."""

    rate: float | None
    low: float | None
    high: float | None


def wilson(passed: float, n: int) -> tuple[float, float]:
    """Two-sided 95 % score interval for `passed` of `n`. With repeats, `passed` is the sum of the cases' means.

    Then it is too wide rather than too narrow: a mean over repeats varies less than a single answer. E. B. Wilson,
    "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22 (1927) 209-212. Unlike rate plus or minus two standard errors it does not call 20 of 20 certain.
    """
    if not 0 <= passed <= n or n == 0:
        raise ValueError("needs 0 <= passed <= n and n > 0")
    rate, z2 = passed / n, Z95**2
    centre, shrink = rate + z2 / (2 * n), 1 + z2 / n
    spread = Z95 * sqrt(rate * (1 - rate) / n + z2 / (4 * n**2))
    return max(0.0, (centre - spread) / shrink), min(1.0, (centre + spread) / shrink)


def of_one(stratum: Stratum) -> Rate:
    """One stratum with its Wilson interval."""
    n, k = stratum.decided, stratum.approved
    return Rate(k / n, *wilson(k, n)) if n else Rate(None, None, None)


def overall(strata: Sequence[Stratum]) -> Rate:
    """The stratified estimate: each stratum's rate by its share of the answers.

    W. G. Cochran, "Sampling Techniques", 1977, chapter 5. The variance takes two successes and two failures more in
    each stratum (A. Agresti, B. A. Coull, The American Statistician 52, 1998), or ten of ten would be certain. None
    while a stratum with answers has no verdict.
    """
    total = sum(stratum.answers for stratum in strata)
    used = [stratum for stratum in strata if stratum.answers]
    if not total or any(stratum.decided == 0 for stratum in used):
        return Rate(None, None, None)
    rate = variance = 0.0
    for stratum in used:
        weight, n = stratum.answers / total, stratum.decided
        careful = (stratum.approved + 2) / (n + 4)
        rate += weight * stratum.approved / n
        variance += weight**2 * careful * (1 - careful) / (n + 4)
    spread = Z95 * sqrt(variance)
    return Rate(rate, max(0.0, rate - spread), min(1.0, rate + spread))
