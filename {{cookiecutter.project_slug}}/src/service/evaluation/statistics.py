"""The arithmetic of small samples."""

from math import sqrt

Z95 = 1.959963984540054  # standard normal quantile at 0.975


def wilson_low(passed: int, n: int) -> float:
    """Lower end of the two-sided 95 % Wilson score interval for `passed` of `n`.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927) 209-212. Unlike rate minus two standard errors it stays within
    0 to 1 and does not call 20 of 20 certain.
    """
    if not 0 <= passed <= n or n == 0:
        raise ValueError("needs 0 <= passed <= n and n > 0")
    rate = passed / n
    centre = rate + Z95**2 / (2 * n)
    spread = Z95 * sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    return max(0.0, (centre - spread) / (1 + Z95**2 / n))
