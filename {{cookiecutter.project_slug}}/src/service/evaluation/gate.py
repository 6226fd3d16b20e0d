"""Says PASS or BLOCK, dimension by dimension. No averaging across dimensions, no waving through.

A dimension passes when even the pessimistic end of its interval reaches the floor; a zero-tolerance dimension
when nothing failed. One BLOCK blocks. A run without answers to judge gets no verdict: it fails.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from service.application.decision import JsonObject, Reason, Source
from service.evaluation.cases import Dimension, EvalCase, Floors
from service.evaluation.scorers import Score

Z95 = 1.959963984540054  # standard normal quantile at 0.975
# Why no model answered, other than by what it wrote.
OUTAGES = {
    Reason.UNREACHABLE,
    Reason.REJECTED,
    Reason.RATE_LIMITED,
    Reason.MODEL_ERROR,
    Reason.DEADLINE,
    Reason.BREAKER_OPEN,
}


class HarnessFailed(Exception):
    """The run proves nothing: something other than the answers went wrong. One line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} problem(s), first: {problems[0]}")
        self.problems = problems


class ModelOut(Exception):
    """No model answered anything, so there is nothing to judge. The message is one line."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, the answer it got, how long that took, and its score on each dimension that applies."""

    case: EvalCase
    answer: JsonObject
    scores: Mapping[Dimension, Score]
    seconds: float


class Verdict(StrEnum):
    """Whether the measured thing may go on."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    BLOCK = "BLOCK"


@dataclass(frozen=True, slots=True)
class Row:
    """One dimension's measurement, as the report has it. `floor` None: zero tolerance."""

    dimension: Dimension
    n: int
    passed: int
    rate: float
    wilson_low_95: float
    floor: float | None
    verdict: Verdict


def refuse_outage(results: Sequence[CaseResult]) -> None:
    """Raise `ModelOut` when every single answer is what the rules say while the model is away."""
    answers = [result.answer for result in results]
    if all(a.get("source") not in (Source.MODEL, Source.BACKUP) and a.get("reason") in OUTAGES for a in answers):
        reasons = counts(Counter(str(a["reason"]) for a in answers))
        raise ModelOut(f"the model answered none of {len(answers)} cases: {reasons}; nothing was judged")


def judge(results: Sequence[CaseResult], floors: Floors) -> list[Row]:
    """A row for each dimension. Raises `HarnessFailed` for one that no case measures."""
    rows = []
    for dimension in Dimension:
        scores = [result.scores[dimension] for result in results if dimension in result.scores]
        if not scores:
            raise HarnessFailed([f"{dimension.value}: no case measures it"])
        rows.append(_row(dimension, len(scores), sum(score.passed for score in scores), floors))
    return rows


def overall(rows: Sequence[Row]) -> Verdict:
    """PASS if every dimension passed."""
    return Verdict.PASS if all(row.verdict is Verdict.PASS for row in rows) else Verdict.BLOCK


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


def counts(counter: Mapping[str, int]) -> str:
    """`one 3, two 5`, by name."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def _row(dimension: Dimension, n: int, passed: int, floors: Floors) -> Row:
    low, floor = wilson_low(passed, n), floors.floors.get(dimension)
    good = passed == n if floor is None else low >= floor
    verdict = Verdict.PASS if good else Verdict.BLOCK
    return Row(dimension, n, passed, round(passed / n, 4), round(low, 4), floor, verdict)
