"""`python -m dev.gate_power`: what the gate can and cannot see at the size of the shipped suite, by simulation.

A harmless change flips some scores either way ("churn": the share that flips, half of it for the worse). A regression
breaks a further share of cases. Dimensions flip independently, which is the worst case for false alarms.
"""

from collections.abc import Sequence
from datetime import date
from functools import cache

import numpy as np
from scipy import stats

from service.evaluation.cases import Dimension
from service.evaluation.gate import ALPHA, ENOUGH, MARGIN, Verdict, judge
from service.evaluation.results import Score
from service.evaluation.statistics import SEED, drop_upper, holm, paired_mid_p
from service.evaluation.suites import Floors

# Cases of each dimension that has a floor. The zero-tolerance ones are not tested for a drop: one failure blocks.
SHIPPED = {
    "category": 290,
    "priority": 235,
    "entities": 50,
    "disposition": 290,
    "tone": 290,
    "refusal": 17,
    "over_refusal": 17,
    "groundedness": 290,
    "robustness": 60,
    "fairness": 30,
}
FLOORS = Floors(
    floors={Dimension(name): 0.01 for name in SHIPPED},
    zero_tolerance=[dimension for dimension in Dimension if dimension.value not in SHIPPED],
)
CHURNS = (0.0, 0.02, 0.04, 0.06)
Counts = dict[str, tuple[int, int, int]]  # cases, broke, fixed


@cache
def p_of(broke: int, fixed: int) -> float:
    return paired_mid_p([-1.0] * broke + [1.0] * fixed)


@cache
def drop_of(n: int, broke: int, fixed: int) -> float:
    return drop_upper([-1.0] * broke + [1.0] * fixed + [0.0] * (n - broke - fixed))


def verdict_of(counts: Counts) -> Verdict:
    """What `judge` says of a run with these changes whose floors are reached (a test holds the two together)."""
    if min(holm([p_of(broke, fixed) for _, broke, fixed in counts.values()])) <= ALPHA:
        return Verdict.BLOCK
    groups = [each for each in counts.values() if each[0] >= ENOUGH]
    small = [each for each in counts.values() if each[0] < ENOUGH]
    n, broke, fixed = (sum(column) for column in zip(*small, strict=True)) if small else (0, 0, 0)
    if broke:  # where nothing got worse, it is a warning at most
        groups.append((n, broke, fixed))
    alone = any(p_of(broke, fixed) <= ALPHA / 2 for _, broke, fixed in small)
    unclear = alone or any(drop_of(*each) > MARGIN for each in groups)
    return Verdict.INCONCLUSIVE if unclear else Verdict.PASS


def simulate(
    sizes: dict[str, int], churn: float, times: int, worse: dict[str, float] | None = None, seed: int = SEED
) -> list[Counts]:
    """So many runs. `worse`: by dimension, the share of cases that break besides."""
    rng, columns = np.random.default_rng(seed), {}
    for name, n in sizes.items():
        broken = (worse or {}).get(name, 0.0)
        drawn = rng.multinomial(n, [broken + churn / 2, churn / 2, 1 - broken - churn], size=times)
        columns[name] = [(n, int(broke), int(fixed)) for broke, fixed, _ in drawn]
    return [dict(zip(sizes, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def shares(runs: list[Counts]) -> dict[Verdict, float]:
    """How often each verdict came."""
    verdicts = [verdict_of(counts) for counts in runs]
    return {verdict: verdicts.count(verdict) / len(verdicts) for verdict in Verdict}


def power(n: int, worse: float, churn: float, alpha: float) -> float:
    """Chance, without simulation, that the test of one dimension finds a regression."""
    changed = worse + churn
    pairs = np.arange(n + 1)
    chance = stats.binom.pmf(pairs, n, changed)
    found = 0.0
    for m in pairs[(chance > 1e-9) & (pairs > 0)]:
        enough = next((b for b in range(int(m) + 1) if p_of(b, int(m) - b) <= alpha), int(m) + 1)
        found += chance[m] * stats.binom.sf(enough - 1, m, (worse + churn / 2) / changed)
    return float(found)


def detectable(n: int, churn: float, alpha: float) -> float:
    """The smallest regression, in steps of a quarter point, that is found four times in five; 1 if none is."""
    steps = (step / 400 for step in range(1, 400) if step / 400 + churn <= 1)
    return next((worse for worse in steps if power(n, worse, churn, alpha) >= 0.8), 1.0)


def solid(n: int) -> np.ndarray:
    """A model that wavers: the chances that its answers to n cases are right."""
    often, now_and_then = round(n * 0.82), round(n * 0.12)
    return np.repeat([0.98, 0.7, 0.2], [often, now_and_then, n - often - now_and_then])


def answers(rng: np.random.Generator, chances: np.ndarray, repeats: int) -> np.ndarray:
    """Means over repeats of cases that come out right with these chances."""
    return rng.binomial(repeats, chances) / repeats


def wavering(n: int, worse: float, repeats: tuple[int, int], times: int) -> dict[str, float]:
    """Shares of runs with a drop found (5 %, one dimension), and with one of the margin not ruled out.

    `repeats`: of the baseline and of the run. `worse`: the share of cases that are always wrong in the run.
    """
    rng = np.random.default_rng(SEED)
    found = unclear = 0
    for _ in range(times):
        after = np.where(rng.random(n) < worse, 0.0, solid(n))
        changes = (answers(rng, after, repeats[1]) - answers(rng, solid(n), repeats[0])).tolist()
        found += paired_mid_p(changes) <= ALPHA
        unclear += drop_upper(changes) > MARGIN
    return {"found": found / times, "not ruled out": unclear / times}


def wavering_suite(worse: float, repeats: tuple[int, int], times: int) -> dict[Verdict, float]:
    """The same model on the whole suite, through the real gate: share of each verdict."""
    rng, found = np.random.default_rng(SEED), []
    for _ in range(times):
        sides: list[dict[Dimension, dict[str, Score]]] = []
        for side, broken in enumerate((0.0, worse)):
            chances = {name: np.where(rng.random(n) < broken, 0.0, solid(n)) for name, n in SHIPPED.items()}
            sides.append(scores({name: answers(rng, chance, repeats[side]) for name, chance in chances.items()}))
        found.append(judge(sides[1], FLOORS, [], sides[0], date(2026, 1, 1)).verdict)
    return {verdict: found.count(verdict) / times for verdict in Verdict}


def scores(values: dict[str, Sequence[float]]) -> dict[Dimension, dict[str, Score]]:
    """What the gate takes: these, and a case that passed of each dimension that is of zero tolerance."""
    by_name = {dimension.value: [1.0] for dimension in FLOORS.zero_tolerance} | values
    return {
        Dimension(name): {f"{name}-{i}": Score(float(value), "") for i, value in enumerate(column)}
        for name, column in by_name.items()
    }


def coverage(n: int, drop: float, churn: float, times: int = 20_000) -> float:
    """How often the upper bound of the drop is at or above the true one; 95 % is promised."""
    runs = simulate({"one": n}, churn, times, {"one": drop})
    return sum(drop_of(*counts["one"]) >= drop for counts in runs) / times


def main() -> None:
    print("Regression of one dimension found 4 times in 5, in points, by churn 0 / 2 / 6 points; exact")
    print(f"{'n':>5} {'alone, 5 %':>20} {f'hardest of {len(SHIPPED)} by Holm':>24}")
    for n in (17, 30, 50, 60, 100, 200, 235, 250, 290, 300):
        alone, hardest = ([detectable(n, c, a) for c in (0.0, 0.02, 0.06)] for a in (ALPHA, ALPHA / len(SHIPPED)))
        print(f"{n:>5} {_points(alone):>20} {_points(hardest):>24}")

    print("\nThe whole gate at the shipped size, 10,000 runs each: PASS / BLOCK / INCONCLUSIVE, %")
    fifteen = {f"d{i}": n for i, n in enumerate([*SHIPPED.values(), 290, 290, 34, 17, 17])}
    kinds = {
        "harmless": (SHIPPED, {}),
        "harmless, 15 dimensions": (fifteen, {}),
        "6 points of category": (SHIPPED, {"category": 0.06}),
        "5 points of category": (SHIPPED, {"category": 0.05}),
        "3 points of category": (SHIPPED, {"category": 0.03}),
        "10 points of refusal": (SHIPPED, {"refusal": 0.10}),
        "30 points of refusal": (SHIPPED, {"refusal": 0.30}),
        "5 points of all small ones": (SHIPPED, {d: 0.05 for d, n in SHIPPED.items() if n < ENOUGH}),
    }
    print(f"{'':<27}" + "".join(f"{f'churn {100 * churn:.0f}':>20}" for churn in CHURNS))
    for name, (sizes, worse) in kinds.items():
        cells = [shares(simulate(sizes, churn, 10_000, worse)).values() for churn in CHURNS]
        print(f"{name:<27}" + "".join(f"{' / '.join(f'{100 * share:.1f}' for share in cell):>20}" for cell in cells))

    print("\nA model that wavers (82 % of cases right with .98, 12 % with .7, 6 % with .2; repeats of baseline : run)")
    print("n = 250, 1,000 runs: drop found (5 %, one dimension) / 5 points not ruled out, %")
    for worse in (0.0, 0.06):
        for repeats in ((1, 1), (3, 3), (5, 5), (3, 1), (1, 3)):
            seen = wavering(250, worse, repeats, 1_000)
            print(f"breaks {100 * worse:.0f} %, repeats {repeats[0]} : {repeats[1]}  {_points(list(seen.values()))}")

    print("\nThe same model, all dimensions at the shipped size, 300 runs: PASS / BLOCK / INCONCLUSIVE, %")
    for worse in (0.0, 0.06):
        for repeats in ((1, 1), (3, 3)):
            seen = wavering_suite(worse, repeats, 300)
            print(f"breaks {100 * worse:.0f} %, repeats {repeats[0]} : {repeats[1]}  {_points(list(seen.values()))}")

    print("\nThe drop's upper 95 % bound is at or above the true drop, %, by true drop 1 / 3 / 5 points (churn 4)")
    for n in (17, 50, 100, 250, 290):
        print(f"{n:>5} {_points([coverage(n, drop, 0.04) for drop in (0.01, 0.03, 0.05)])}")


def _points(values: list[float]) -> str:
    return " / ".join(f"{100 * value:.2f}".removesuffix("0") for value in values)


if __name__ == "__main__":
    main()
