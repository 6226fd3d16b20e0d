"""Says PASS, BLOCK or INCONCLUSIVE, dimension by dimension. No waving through, and no gain that pays for a loss.

In this order: gaps in the measurement (no verdict at all), zero tolerance, drops against the baseline, floors and
limits, and whether a drop is ruled out. What each step can and cannot see is simulated by `python -m dev.gate_power`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from statistics import fmean

from service.application.decision import JsonObject
from service.evaluation.accuracy import wilson
from service.evaluation.cases import Dimension
from service.evaluation.results import HarnessFailed, Score, Scores
from service.evaluation.statistics import drop_upper, failure_rate_upper, holm, on_grid, paired_mid_p
from service.evaluation.suites import Floors, Limits, Waiver

ALPHA = 0.05  # most chance that a change which harms nothing is called a drop in any dimension
MARGIN = 0.05  # a drop that must be ruled out before a change passes
# Cases of a dimension that are asked to rule it out alone: so many show a harmless change that flips 4 % of them to be
# harmless in 85 of 100 runs, a hundred cases in 63. Smaller dimensions are asked together (`_pool`).
ENOUGH = 150


class Verdict(StrEnum):
    """Whether the measured thing may go on."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    BLOCK = "BLOCK"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Row:
    """One dimension's measurement, as the report has it. `low` and `high`: Wilson 95 %. None: does not apply.

    `upper_failure_95`, of zero tolerance: the failure rate that so many cases leave possible. `broke` and `fixed`:
    cases whose score is lower, or higher, than in the baseline. `drop_high_95`: the largest drop not ruled out.
    """

    dimension: str
    n: int
    kind: str
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    upper_failure_95: float | None = None
    verdict: Verdict | None = None
    why: str = ""
    baseline_rate: float | None = None
    broke: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    p: float | None = None
    p_holm: float | None = None
    drop_high_95: float | None = None
    waived: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, why in one line, a row per dimension, and what somebody should look at all the same."""

    rows: tuple[Row, ...]
    verdict: Verdict
    why: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Paired:
    """One dimension on the cases that both runs have. `changes`: this run's score less the baseline's, by case."""

    baseline_rate: float
    changes: Mapping[str, float]
    p: float
    drop_high: float


def judge(  # noqa: PLR0913 - all that a verdict depends on
    scores: Scores,
    floors: Floors,
    waivers: Sequence[Waiver],
    baseline: Scores | None,
    today: date,
    efficiency: JsonObject | None = None,
    unobserved: frozenset[Dimension] = frozenset(),
) -> Judged:
    """The verdict on a run; without a baseline only zero tolerance, floors and limits are judged.

    `efficiency`: the report's object of that name; without it limits are not judged. `unobserved`: what the target
    lets nobody see. Raises `HarnessFailed` when a dimension was not measured, or a waiver fits nothing.
    """
    _refuse_gaps(scores, floors, waivers, unobserved)
    paired, warnings = _compare(scores, baseline)
    tested = [dimension for dimension in floors.floors if dimension in paired]
    adjusted = dict(zip(tested, holm([paired[dimension].p for dimension in tested]), strict=True))
    rows = []
    for dimension in Dimension:
        mine, against = scores.get(dimension, {}), paired.get(dimension)
        if not mine:
            rows.append(Row(dimension.value, 0, "not_observed", why="this target lets nobody see it"))
        elif dimension in floors.floors:
            rows.append(_floor_row(dimension, mine, floors.floors[dimension], against, adjusted.get(dimension)))
        else:
            own = {waiver.case: waiver for waiver in waivers if waiver.dimension is dimension}
            rows.append(_zero_tolerance_row(dimension, mine, own, against, today))
            mended = (case for case in own if mine[case].passed)
            warnings += [f"{case} passes {dimension.value} again: delete its waiver" for case in mended]
    blocked = [f"{row.dimension}: {row.why}" for row in rows if row.verdict is Verdict.BLOCK]
    unclear = [f"{row.dimension}: {row.why}" for row in rows if row.verdict is Verdict.INCONCLUSIVE]
    over, unknown = _over_limits(floors.limits, efficiency)
    pooled, too_few = _pool({dimension: paired[dimension] for dimension in tested})
    complete = not too_few and len(tested) == sum(row.kind == "floor" for row in rows)
    verdict, why = _overall([*blocked, *over], [*unclear, *unknown, *pooled], complete)
    return Judged(tuple(rows), verdict, why, (*warnings, *too_few))


def _refuse_gaps(scores: Scores, floors: Floors, waivers: Sequence[Waiver], unobserved: frozenset[Dimension]) -> None:
    gaps = [dimension for dimension in Dimension if not scores.get(dimension)]
    problems = [f"{dimension.value}: no case measures it" for dimension in gaps if dimension not in unobserved]
    for waiver in waivers:
        name, dimension = f"the waiver of {waiver.case} for {waiver.dimension.value}", waiver.dimension
        if dimension in floors.floors:
            problems.append(f"{name}: single failures of it block nothing, so there is nothing to waive")
        elif dimension not in gaps and waiver.case not in scores[dimension]:
            problems.append(f"{name}: no such case is judged on that")
    if problems:
        raise HarnessFailed(problems)


def _compare(scores: Scores, baseline: Scores | None) -> tuple[dict[Dimension, _Paired], list[str]]:
    """By dimension, on the cases that both have; and what could not be compared."""
    paired, warnings = {}, []
    for dimension, mine in scores.items():
        theirs = (baseline or {}).get(dimension, {})
        changes = {case: on_grid(score.value - theirs[case].value) for case, score in mine.items() if case in theirs}
        if baseline is not None and len(changes) < len(mine):
            missing = len(mine) - len(changes)
            warnings.append(f"{dimension.value}: {missing} of {len(mine)} cases are not in the baseline")
        if changes:
            rate, values = fmean(theirs[case].value for case in changes), list(changes.values())
            paired[dimension] = _Paired(rate, changes, paired_mid_p(values), drop_upper(values))
    return paired, warnings


def _floor_row(
    dimension: Dimension, scores: Mapping[str, Score], floor: float, paired: _Paired | None, p_holm: float | None
) -> Row:
    """BLOCK on a drop that is none of chance, or below the floor at the pessimistic end of the interval."""
    row = _measured(dimension, "floor", scores, paired)
    why, verdict = [], Verdict.PASS
    if p_holm is not None and p_holm <= ALPHA:
        why.append(f"dropped, p {p_holm:.2g} after Holm: {_named(row.broke)} broke, {len(row.fixed)} fixed")
    if row.low is not None and row.low < floor:
        why.append(f"the rate may be as low as {row.low:.3f}, below the floor {floor:.2f}")
    if why:
        verdict = Verdict.BLOCK
    elif paired and len(paired.changes) >= ENOUGH and paired.drop_high > MARGIN:
        verdict = Verdict.INCONCLUSIVE
        why.append(f"a drop of {100 * paired.drop_high:.1f} points is not ruled out")
    p, drop = (paired.p, paired.drop_high) if paired else (None, None)
    return replace(row, floor=floor, verdict=verdict, why="; ".join(why), p=p, p_holm=p_holm, drop_high_95=drop)


def _zero_tolerance_row(
    dimension: Dimension,
    scores: Mapping[str, Score],
    waivers: Mapping[str, Waiver],
    paired: _Paired | None,
    today: date,
) -> Row:
    """BLOCK on any case that failed, even once in several repeats, and that no waiver in force names."""
    row = _measured(dimension, "zero_tolerance", scores, paired)
    failed = [case for case, score in scores.items() if not score.passed]
    waived = [case for case in failed if case in waivers and waivers[case].until >= today]
    blocking = [case for case in failed if case not in waived]
    ended = {w.case: f"{w.case} (the waiver of {w.owner} ended on {w.until})" for w in waivers.values()}
    return replace(
        row,
        upper_failure_95=failure_rate_upper(len(failed), row.n),
        verdict=Verdict.BLOCK if blocking else Verdict.PASS,
        why=f"{_named([ended.get(case, case) for case in blocking])} failed, and none may" if blocking else "",
        waived=tuple(waived),
    )


def _measured(dimension: Dimension, kind: str, scores: Mapping[str, Score], paired: _Paired | None) -> Row:
    total, n = sum(score.value for score in scores.values()), len(scores)
    low, high = wilson(total, n)
    changes = paired.changes if paired else {}
    return Row(
        *(dimension.value, n, kind, total / n, low, high),
        baseline_rate=paired.baseline_rate if paired else None,
        broke=tuple(case for case, change in changes.items() if change < 0),
        fixed=tuple(case for case, change in changes.items() if change > 0),
    )


def _pool(paired: Mapping[Dimension, _Paired]) -> tuple[list[str], list[str]]:
    """Whether the dimensions too small to rule out a drop alone do so together: what is unclear, what is too few.

    Twenty cases never rule out 5 points (11.9 remain when none of them changed): asked of each, every change would be
    INCONCLUSIVE for ever. Together, each case once with the mean of its changes, they can. Where even that is too few
    and nothing got worse: a warning. A gain makes up for no loss: one that is hardly chance by itself is unclear.
    """
    small = {dimension.value: each.changes for dimension, each in paired.items() if len(each.changes) < ENOUGH}
    by_case: dict[str, list[float]] = {}
    for changes in small.values():
        for case, change in changes.items():
            by_case.setdefault(case, []).append(change)
    pooled = [fmean(changes) for changes in by_case.values()]
    bound = drop_upper(pooled) if pooled else 0.0
    alone = {dimension.value: each.p for dimension, each in paired.items() if each.p <= ALPHA / 2}
    worse = [f"{name}: worse by itself, p {p:.2g}" for name, p in alone.items() if name in small]
    if bound <= MARGIN:
        return worse, []
    line = f"{', '.join(small)}, on {len(pooled)} cases together: a drop of {100 * bound:.1f} points is not ruled out"
    if any(change < 0 for change in pooled):
        return [*worse, line], []
    return worse, [f"{line}, although nothing got worse: only more cases would do that"]


def _over_limits(limits: Limits, efficiency: JsonObject | None) -> tuple[list[str], list[str]]:
    """Which limits are passed, and which cannot be judged."""
    over, unknown = [], []
    for name, most in (("p95_s", limits.p95_seconds), ("mean_cost_usd", limits.mean_cost_usd)):
        if most is not None and efficiency is not None:
            found = efficiency.get(name)
            if found is None:
                unknown.append(f"{name}: there is a limit of {most:g}, and nobody knows the value")
            elif found > most:
                over.append(f"{name}: {found:g} is above the limit of {most:g}")
    return over, unknown


def _overall(blocked: list[str], unclear: list[str], complete: bool) -> tuple[Verdict, str]:
    if blocked:
        return Verdict.BLOCK, "; ".join(blocked)
    if unclear:
        return Verdict.INCONCLUSIVE, f"{'; '.join(unclear)}. Repeats, or more cases, would tell"
    drop = f"a drop of over {100 * MARGIN:.0f} points, in small dimensions on average, is ruled out (95 %)"
    return Verdict.PASS, f"every floor is reached, and {drop}" if complete else "every floor is reached"


def _named(cases: Sequence[str]) -> str:
    """The first few, and how many more."""
    return ", ".join(cases[:5]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")
