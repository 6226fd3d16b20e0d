"""Says PASS or BLOCK, dimension by dimension. No averaging across dimensions, no waving through.

A dimension passes when even the pessimistic end of its interval reaches the floor; a zero-tolerance dimension
when nothing failed. One BLOCK blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.evaluation.cases import Dimension, Floors
from service.evaluation.results import CaseResult, HarnessFailed
from service.evaluation.statistics import wilson_low


class Verdict(StrEnum):
    """Whether the measured thing may go on."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    BLOCK = "BLOCK"


@dataclass(frozen=True, slots=True)
class Row:
    """One dimension's measurement. `floor` None: zero tolerance. `low`: Wilson 95 % lower bound."""

    dimension: Dimension
    n: int
    passed: int
    rate: float
    low: float
    floor: float | None
    verdict: Verdict


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


def _row(dimension: Dimension, n: int, passed: int, floors: Floors) -> Row:
    low, floor = wilson_low(passed, n), floors.floors.get(dimension)
    good = passed == n if floor is None else low >= floor
    verdict = Verdict.PASS if good else Verdict.BLOCK
    return Row(dimension, n, passed, passed / n, low, floor, verdict)
