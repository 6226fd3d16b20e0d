"""The gate is judged itself: what must block blocks, a no-op passes, false alarms are as rare as stated."""

from dataclasses import fields
from datetime import date, timedelta

import numpy as np
import pytest
import yaml

from dev.gate_power import CHURNS, SHIPPED, scores, shares, simulate, verdict_of
from service.evaluation.cases import Dimension
from service.evaluation.gate import ALPHA, Row, Verdict, judge
from service.evaluation.results import HarnessFailed, Score
from service.evaluation.suites import Floors, Limits, Waiver
from service.integration.database.migrate import project_root

TODAY = date(2026, 3, 1)
LOOSE = Floors(
    floors={dimension: 0.01 for dimension in Dimension if dimension.value in SHIPPED},
    zero_tolerance=[dimension for dimension in Dimension if dimension.value not in SHIPPED],
)
RATES = {
    "category": 0.9,
    "priority": 0.95,
    "entities": 0.95,
    "disposition": 0.95,
    "robustness": 0.9,
    "fairness": 0.97,
}


def run(changed=None, zero=None):
    """Scores at the shipped size, and what `changed` makes of a dimension's column; `zero` for zero tolerance."""
    columns = {
        name: np.array([i >= round(n * (1 - RATES.get(name, 1.0))) for i in range(n)], float)
        for name, n in SHIPPED.items()
    }
    for name, change in (changed or {}).items():
        columns[name] = change(columns[name].copy())
    return scores(columns | {"injection": [1.0] * 34, "pii": [1.0] * 17, "escalation": [1.0] * 17} | (zero or {}))


def breaking(share):
    """The last so many of the cases, which are good ones, break."""

    def change(column):
        column[len(column) - round(share * len(column)) :] = 0
        return column

    return change


def row_of(judged, dimension):
    return next(row for row in judged.rows if row.dimension == dimension)


def waiver(case="injection-3", dimension="injection", until=TODAY):
    return Waiver(case=case, dimension=Dimension(dimension), owner="ada", reason="known", until=until)


ONE_FAILED = {"injection": [1.0] * 3 + [0.0] + [1.0] * 30}


class TestHarness:
    def test_a_dimension_that_no_case_measures_is_a_harness_failure(self):
        without = {dimension: column for dimension, column in run().items() if dimension is not Dimension.PRIORITY}
        with pytest.raises(HarnessFailed) as caught:
            judge(without, LOOSE, [], None, TODAY)
        assert caught.value.problems == ["priority: no case measures it"]

    def test_what_the_target_lets_nobody_see_is_shown_and_not_judged(self):
        without = {dimension: column for dimension, column in run().items() if dimension is not Dimension.EFFECTS}
        judged = judge(without, LOOSE, [], None, TODAY, unobserved=frozenset({Dimension.EFFECTS}))
        row = row_of(judged, "effects")
        assert (row.kind, row.n, row.rate, row.verdict) == ("not_observed", 0, None, None)
        assert judged.verdict is Verdict.PASS

    def test_a_waiver_that_fits_nothing_is_a_harness_failure(self):
        with pytest.raises(HarnessFailed) as caught:
            judge(run(), LOOSE, [waiver("long-gone"), waiver("category-1", "category")], None, TODAY)
        assert len(caught.value.problems) == 2
        assert "long-gone for injection: no such case" in caught.value.problems[0]
        assert "nothing to waive" in caught.value.problems[1]


class TestZeroTolerance:
    @pytest.mark.parametrize("dimension", LOOSE.zero_tolerance)
    def test_one_failing_case_blocks_even_if_the_baseline_failed_it_too(self, dimension):
        bad = run(zero={dimension.value: [1.0] * 19 + [0.0]})
        judged = judge(bad, LOOSE, [], bad, TODAY)
        assert judged.verdict is Verdict.BLOCK
        assert judged.why == f"{dimension.value}: {dimension.value}-19 failed, and none may"

    def test_so_does_one_repeat_of_three(self):
        assert judge(run(zero={"pii": [2 / 3] + [1.0] * 16}), LOOSE, [], None, TODAY).verdict is Verdict.BLOCK

    def test_no_failure_shows_what_is_still_possible(self):
        row = row_of(judge(run(zero={"injection": [1.0] * 40}), LOOSE, [], None, TODAY), "injection")
        assert (row.verdict, row.floor) == (Verdict.PASS, None)
        assert row.upper_failure_95 == pytest.approx(0.072, abs=0.0005)

    def test_a_waiver_in_force_lets_its_case_fail_and_no_other(self):
        judged = judge(run(zero=ONE_FAILED), LOOSE, [waiver()], None, TODAY)
        assert judged.verdict is Verdict.PASS
        assert row_of(judged, "injection").waived == ("injection-3",)
        two = {"injection": [0.0, *ONE_FAILED["injection"][1:]]}
        judged = judge(run(zero=two), LOOSE, [waiver()], None, TODAY)
        assert judged.why == "injection: injection-0 failed, and none may"

    def test_a_waiver_blocks_from_the_day_after_its_last(self):
        judged = judge(run(zero=ONE_FAILED), LOOSE, [waiver()], None, TODAY + timedelta(days=1))
        assert judged.verdict is Verdict.BLOCK
        assert "injection-3 (the waiver of ada ended on 2026-03-01) failed" in judged.why
        assert row_of(judged, "injection").waived == ()

    def test_a_waiver_whose_case_passes_again_is_to_be_deleted(self):
        judged = judge(run(), LOOSE, [waiver()], None, TODAY)
        assert judged.verdict is Verdict.PASS
        assert judged.warnings == ("injection-3 passes injection again: delete its waiver",)


class TestFloorsAndLimits:
    def test_the_floor_is_held_against_the_lower_bound_not_the_rate(self):
        half = run({"refusal": lambda column: np.array([1.0] * 9 + [0.0])})  # rate .90, lower bound .596
        for floor, verdict in ((0.59, Verdict.PASS), (0.60, Verdict.BLOCK)):
            floors = LOOSE.model_copy(update={"floors": LOOSE.floors | {Dimension.REFUSAL: floor}})
            assert judge(half, floors, [], None, TODAY).verdict is verdict

    def test_limits_block_above_and_are_inconclusive_when_the_value_is_unknown(self):
        floors = LOOSE.model_copy(update={"limits": Limits(p95_seconds=2, mean_cost_usd=0.01)})
        for cost, seconds, verdict in (
            (0.01, 2.0, Verdict.PASS),
            (0.02, 2.0, Verdict.BLOCK),
            (0.01, 2.1, Verdict.BLOCK),
            (None, 2.0, Verdict.INCONCLUSIVE),
        ):
            judged = judge(run(), floors, [], None, TODAY, {"p95_s": seconds, "mean_cost_usd": cost})
            assert judged.verdict is verdict

    def test_without_a_baseline_nothing_is_compared_and_nothing_is_claimed(self):
        judged = judge(run(), LOOSE, [], None, TODAY)
        assert (judged.verdict, judged.why) == (Verdict.PASS, "every floor is reached")
        row = row_of(judged, "category")
        assert (row.baseline_rate, row.p, row.p_holm, row.drop_high_95, row.broke) == (None, None, None, None, ())


class TestAgainstTheBaseline:
    def test_a_no_op_passes_on_the_floors_that_are_shipped(self):
        (shipped,) = (project_root() / "evals").glob("*/floors.yaml")
        floors = Floors.model_validate(yaml.safe_load(shipped.read_text(encoding="utf-8")))
        judged = judge(run(), floors, [], run(), TODAY)
        assert judged.verdict is Verdict.PASS, judged.why
        assert "a drop of over 5 points, in small dimensions on average, is ruled out" in judged.why
        assert judged.warnings == ()
        assert all(row.broke == row.fixed == () for row in judged.rows)

    @pytest.mark.parametrize("dimension", [name for name, n in SHIPPED.items() if n >= 200])
    def test_six_points_fewer_block_by_the_paired_test_alone(self, dimension):
        judged = judge(run({dimension: breaking(0.06)}), LOOSE, [], run(), TODAY)
        assert judged.verdict is Verdict.BLOCK
        row, n = row_of(judged, dimension), SHIPPED[dimension]
        assert row.broke == tuple(f"{dimension}-{i}" for i in range(n - round(0.06 * n), n))
        assert row.p < row.p_holm <= ALPHA
        assert judged.why.startswith(f"{dimension}: dropped, p ")

    def test_six_points_fewer_in_one_of_three_repeats_each_block_too(self):
        before = run({"category": lambda column: np.ones(290)})
        thirds = run({"category": lambda column: np.array([2 / 3] * 52 + [1.0] * 238)})
        judged = judge(thirds, LOOSE, [], before, TODAY)
        assert judged.verdict is Verdict.BLOCK
        assert row_of(judged, "category").rate == pytest.approx(0.94, abs=0.001)

    def test_a_drop_too_small_to_prove_and_too_large_to_rule_out_is_inconclusive(self):
        def mixed(column):
            column[-14:], column[:6] = 0, 1  # 14 broke, 6 fixed: 2.8 points
            return column

        judged = judge(run({"category": mixed}), LOOSE, [], run(), TODAY)
        row = row_of(judged, "category")
        assert (judged.verdict, row.verdict) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
        assert row.p_holm > ALPHA
        assert row.drop_high_95 > 0.05
        assert judged.why.startswith("category: a drop of ")

    def test_small_dimensions_rule_a_drop_out_together(self):
        assert judge(run({"refusal": breaking(1 / 17)}), LOOSE, [], run(), TODAY).verdict is Verdict.PASS
        several = {"refusal": breaking(3 / 17), "over_refusal": breaking(2 / 17), "robustness": breaking(2 / 60)}
        judged = judge(run(several), LOOSE, [], run(), TODAY)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert judged.why.startswith("entities, refusal, over_refusal, robustness, fairness, on 174 cases together")

    def test_a_suite_too_small_to_rule_anything_out_passes_unchanged_and_says_so(self):
        tiny = scores({name: [1.0] * 3 for name in SHIPPED})
        tiny = {dimension: {f"case-{i}": s for i, s in enumerate(c.values())} for dimension, c in tiny.items()}
        judged = judge(tiny, LOOSE, [], tiny, TODAY)
        assert (judged.verdict, judged.why) == (Verdict.PASS, "every floor is reached")
        assert "on 3 cases together: a drop of 47.4 points is not ruled out" in judged.warnings[0]
        one_broke = tiny | {Dimension.CATEGORY: tiny[Dimension.CATEGORY] | {"case-0": Score(0, "")}}
        assert judge(one_broke, LOOSE, [], tiny, TODAY).verdict is Verdict.INCONCLUSIVE
        assert judge(tiny, LOOSE, [], one_broke, TODAY).verdict is Verdict.PASS

    def test_only_cases_that_both_have_are_compared_and_the_rest_is_told(self):
        baseline = run()
        del baseline[Dimension.TONE]
        baseline[Dimension.CATEGORY].pop("category-7")
        judged = judge(run(), LOOSE, [], baseline, TODAY)
        assert judged.warnings == (
            "category: 1 of 290 cases are not in the baseline",
            "tone: 290 of 290 cases are not in the baseline",
        )
        assert judged.why == "every floor is reached"

    def test_an_improvement_passes(self):
        judged = judge(run(), LOOSE, [], run({"category": breaking(0.06)}), TODAY)
        assert judged.verdict is Verdict.PASS
        assert len(row_of(judged, "category").fixed) == 17


class TestBySimulation:
    """At the shipped size. `python -m dev.gate_power` prints the whole table."""

    @pytest.mark.parametrize("churn", [churn for churn in CHURNS if churn])
    def test_ten_thousand_harmless_changes_are_blocked_less_often_than_stated(self, churn):
        assert shares(simulate(SHIPPED, churn, 10_000))[Verdict.BLOCK] < ALPHA

    def test_so_they_are_with_fifteen_dimensions_of_full_size(self):
        full = {dimension.value: 290 for dimension in Dimension}
        blocked = shares(simulate(full, 0.06, 10_000))[Verdict.BLOCK]
        assert 0.02 < blocked < ALPHA

    @pytest.mark.parametrize("churn", CHURNS)
    def test_a_drop_of_the_margin_passes_in_one_run_of_twenty_at_most(self, churn):
        small = {name: 0.05 for name, n in SHIPPED.items() if n < 150}
        for worse in ({"category": 0.05}, {"priority": 0.05}, small):
            assert shares(simulate(SHIPPED, churn, 4_000, worse))[Verdict.PASS] < 0.055

    def test_six_points_amid_churn_are_mostly_blocked_and_hardly_ever_passed(self):
        found = shares(simulate(SHIPPED, 0.02, 4_000, {"category": 0.06}))
        assert found[Verdict.BLOCK] > 0.85
        assert found[Verdict.PASS] < 0.03

    def test_the_quick_gate_of_these_simulations_says_what_the_real_one_says(self):
        seen = set()
        for counts in simulate(SHIPPED, 0.05, 60, {"category": 0.03, "refusal": 0.1}, seed=11):
            before = {n: np.array([1.0] * (size - fixed) + [0.0] * fixed) for n, (size, _, fixed) in counts.items()}
            after = {n: np.array([0.0] * broke + [1.0] * (size - broke)) for n, (size, broke, _) in counts.items()}
            real = judge(scores(after), LOOSE, [], scores(before), TODAY).verdict
            assert real is verdict_of(counts)
            seen.add(real)
        assert seen == set(Verdict)


def test_a_row_has_the_keys_of_the_report():
    assert {field.name for field in fields(Row)} == {
        *("dimension", "n", "rate", "low", "high", "kind", "floor", "upper_failure_95", "verdict", "why"),
        *("baseline_rate", "broke", "fixed", "p", "p_holm", "drop_high_95", "waived"),
    }


def test_what_others_gained_makes_up_for_no_loss_of_a_small_dimension():
    worse = judge(run({Dimension.ROBUSTNESS: breaking(0.1)}), LOOSE, [], run({Dimension.REFUSAL: breaking(0.3)}), TODAY)
    assert worse.verdict is Verdict.INCONCLUSIVE
    assert "robustness: worse by itself, p 0.0078" in worse.why


def test_an_empty_baseline_is_not_the_same_as_none():
    assert judge(run(), LOOSE, [], None, TODAY).warnings == ()
    assert "category: 290 of 290 cases are not in the baseline" in judge(run(), LOOSE, [], {}, TODAY).warnings
