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


def of_one(stratum: Stratum) -> Rate:
    """The Wilson score interval of one stratum: E. B. Wilson, J. of the American Statistical Association 22 (1927)."""
    n, k = stratum.decided, stratum.approved
    if n == 0:
        return Rate(None, None, None)
    centre, spread = (k + Z95**2 / 2), Z95 * sqrt(k * (n - k) / n + Z95**2 / 4)
    return Rate(k / n, max(0.0, (centre - spread) / (n + Z95**2)), min(1.0, (centre + spread) / (n + Z95**2)))


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
