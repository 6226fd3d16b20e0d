"""The measuring itself is measured: scoring, running, judging and reporting."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.application.triage import rules
from service.evaluation import scorers
from service.evaluation.cases import Dimension, Floors, load_suite
from service.evaluation.gate import (
    CaseResult,
    HarnessFailed,
    ModelOut,
    Verdict,
    judge,
    overall,
    refuse_outage,
    wilson_low,
)
from service.evaluation.report import STAND_IN_NOTE, as_text, build_report
from service.evaluation.runner import run_suite
from service.evaluation.scorers import Score, dimensions_of
from tests.evaluation_samples import CASE, FLOORS, FORGED, GRAVE, answer, case, suite_in

SHIPPED = Path(__file__).parents[2] / "evals" / "triage"
AT = datetime(2026, 3, 1, tzinfo=UTC)


async def good(ticket):
    return answer()


def run(suite, task):
    return asyncio.run(run_suite(suite, task))


class TestScoring:
    def test_a_good_answer_passes_on_everything(self):
        scores = [scorers.SCORERS[dimension](case(), answer()) for dimension in dimensions_of(case())]
        assert len(scores) == 4
        assert all(score.passed for score in scores)

    def test_a_wrong_answer_fails_with_what_was_wanted_and_what_came(self):
        score = scorers.category(case(), answer(category="product"))
        assert score == Score(False, "wanted billing, got product")
        assert not scorers.priority(case(), answer(priority="urgent")).passed
        assert not scorers.disposition(case(), answer("review")).passed

    def test_high_stakes_must_escalate(self):
        assert scorers.escalation(case(GRAVE), answer("escalate")).passed
        assert not scorers.escalation(case(GRAVE), answer("review")).passed
        assert Dimension.ESCALATION in dimensions_of(case(GRAVE))
        assert Dimension.ESCALATION not in dimensions_of(case())

    def test_an_obeyed_injection_shows_in_the_reply_whatever_its_case(self):
        assert scorers.injection(case(FORGED), answer()).passed
        assert scorers.injection(case(FORGED), answer(draft_reply=None)).passed
        assert not scorers.injection(case(FORGED), answer(draft_reply="It is APPROVED.")).passed

    @pytest.mark.parametrize(
        "broken",
        [
            answer() | {"mood": "sunny"},
            {name: value for name, value in answer().items() if name != "degraded"},
            answer(confidence=float("nan")),
            answer(category="banana"),
            answer(mood="sunny"),
            answer("maybe"),
            answer() | {"degraded": "no"},
            answer() | {"outcome": None},
            answer() | {"trace_id": b"bytes"},
            {},
        ],
    )
    def test_an_answer_outside_the_contract_fails_it_without_an_error(self, broken):
        assert scorers.contract(case(), answer()).passed
        assert not scorers.contract(case(), broken).passed
        for dimension in Dimension:
            assert isinstance(scorers.SCORERS[dimension](case(FORGED), broken), Score)


class TestRunning:
    def test_every_case_comes_back_with_all_its_scores_in_order(self, tmp_path):
        suite = load_suite(suite_in(tmp_path))
        results = run(suite, good)
        assert [result.case.id for result in results] == ["core-one", "grave", "forged"]
        assert all(set(result.scores) == set(dimensions_of(result.case)) for result in results)
        assert not results[1].scores[Dimension.ESCALATION].passed

    def test_a_case_without_an_answer_is_a_harness_failure_not_a_case_fewer(self, tmp_path):
        async def sometimes(ticket):
            if ticket.subject == "fall over":
                raise RuntimeError("no such table")
            return answer()

        rows = [CASE, CASE | {"id": "two", "ticket": {"subject": "fall over", "body": "x"}}, GRAVE, FORGED]
        with pytest.raises(HarnessFailed) as caught:
            run(load_suite(suite_in(tmp_path, rows)), sometimes)
        assert len(caught.value.problems) == 1
        assert caught.value.problems[0].startswith("two: no answer: ")
        assert "no such table" in caught.value.problems[0]

    def test_a_scorer_that_raises_is_a_harness_failure(self, tmp_path):
        async def no_object(ticket):
            return None

        with pytest.raises(HarnessFailed) as caught:
            run(load_suite(suite_in(tmp_path)), no_object)
        assert "core-one: scorer failed" in caught.value.problems[0]

    def test_cases_run_at_the_same_time(self, tmp_path):
        running, most = 0, 0

        async def slow(ticket):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.05)
            running -= 1
            return answer()

        run(load_suite(suite_in(tmp_path)), slow)
        assert most == 3

    def test_the_rules_alone_keep_the_contract_on_the_whole_shipped_suite(self):
        async def by_rules(ticket):
            outcome = rules.triage(ticket)
            assert outcome is not None
            return answer("review") | {"outcome": outcome.model_dump(mode="json"), "source": "rules"}

        results = run(load_suite(SHIPPED), by_rules)
        assert all(result.scores[Dimension.CONTRACT].passed for result in results)


class TestJudging:
    @pytest.mark.parametrize(("passed", "n", "low"), [(238, 250, 0.918), (225, 250, 0.857)])
    def test_the_wilson_bound_agrees_with_scipy(self, passed, n, low):
        assert wilson_low(passed, n) == pytest.approx(low, abs=0.0005)

    @pytest.mark.parametrize(("passed", "n"), [(63, 79), (20, 20), (1, 1), (1, 300)])
    def test_a_true_rate_at_the_bound_would_be_1_96_standard_errors_off(self, passed, n):
        low = wilson_low(passed, n)
        assert (passed / n - low) / (low * (1 - low) / n) ** 0.5 == pytest.approx(1.96, abs=0.001)

    def test_nothing_passed_bounds_nothing(self):
        assert wilson_low(0, 5) == 0

    @pytest.mark.parametrize(("passed", "n"), [(0, 0), (3, 2), (-1, 2)])
    def test_the_wilson_bound_refuses_nonsense(self, passed, n):
        with pytest.raises(ValueError, match="passed"):
            wilson_low(passed, n)

    def test_the_floor_is_held_against_the_lower_bound_not_the_rate(self):
        results = scored(passed=9, failed=1)  # rate .90, lower bound .596
        assert verdict_of(results, 0.59) is Verdict.PASS
        assert verdict_of(results, 0.60) is Verdict.BLOCK

    @pytest.mark.parametrize("dimension", [Dimension.CONTRACT, Dimension.ESCALATION, Dimension.INJECTION])
    def test_one_failure_of_a_zero_tolerance_dimension_blocks(self, dimension):
        results = scored(passed=200, failed=0)
        assert overall(judge(results, Floors.model_validate(FLOORS))) is Verdict.PASS
        one_bad = CaseResult(case(), answer(), dict.fromkeys(Dimension, GOOD) | {dimension: BAD}, 0.1)
        rows = judge([*results, one_bad], Floors.model_validate(FLOORS))
        assert [row.dimension for row in rows if row.verdict is Verdict.BLOCK] == [dimension]
        assert overall(rows) is Verdict.BLOCK

    def test_a_dimension_that_no_case_measures_is_a_harness_failure(self):
        result = CaseResult(case(), answer(), {Dimension.CATEGORY: GOOD}, 0.1)
        with pytest.raises(HarnessFailed, match="priority: no case measures it"):
            judge([result], Floors.model_validate(FLOORS))

    @pytest.mark.parametrize(
        "reason", ["model_unreachable", "model_rejected_request", "model_rate_limited", "model_error", "deadline"]
    )
    def test_a_model_that_was_away_throughout_gets_no_verdict(self, reason):
        with pytest.raises(ModelOut) as caught:
            refuse_outage(answered(("rules", "deadline"), ("rules", reason)))
        assert str(caught.value).startswith("the model answered none of 2 cases: deadline ")
        assert reason in str(caught.value)
        assert str(caught.value).endswith("; nothing was judged")

    @pytest.mark.parametrize(
        "other",
        [
            ("model", None),
            ("backup", "model_unreachable"),
            ("cache", None),
            ("rules", "output_unusable"),
            ("rules", "model_refused"),
            ("rules", "ai_off"),
            ("rules", None),
        ],
    )
    def test_a_single_answer_to_judge_is_enough_for_a_verdict(self, other):
        refuse_outage(answered(*[("rules", "model_unreachable")] * 9, other))


class TestReporting:
    def report(self, tmp_path, target="stand-in"):
        suite = load_suite(suite_in(tmp_path / "demo"))
        return build_report(suite, run(suite, good), "ab" * 32, target, AT), suite

    def test_the_report_begins_with_what_a_release_needs(self, tmp_path):
        report, suite = self.report(tmp_path)
        assert list(report)[:5] == ["digest", "suite", "target", "verdict", "at"]
        assert report["digest"] == "ab" * 32
        assert report["suite"] == f"demo@{suite.digest[:12]}"
        assert (report["target"], report["verdict"]) == ("stand-in", "BLOCK")
        assert report["at"] == "2026-03-01T00:00:00+00:00"

    def test_a_failing_case_is_named_with_its_reason(self, tmp_path):
        report, _ = self.report(tmp_path)
        failed = {(f["case"], f["dimension"]): f["reason"] for f in report["failures"]}
        assert failed[("grave", "escalation")] == "wanted escalate, got auto"
        assert "failed  grave escalation: wanted escalate, got auto" in as_text(report)
        assert as_text(report).endswith("BLOCK: a floor is broken: escalation")

    def test_each_class_shows_how_many_passed_on_everything(self, tmp_path):
        report, _ = self.report(tmp_path)
        assert report["classes"] == [
            {"class": "core", "n": 1, "passed": 1},
            {"class": "injection", "n": 1, "passed": 1},
            {"class": "high_stakes", "n": 1, "passed": 0},
        ]

    def test_the_stand_in_is_named_in_the_first_line_and_only_there_when_it_is_one(self, tmp_path):
        assert as_text(self.report(tmp_path)[0]).splitlines()[0] == STAND_IN_NOTE
        assert "stand-in" not in as_text(self.report(tmp_path, target="models.example")[0])

    def test_answers_signed_by_the_stand_in_are_its_own_whatever_the_address(self, tmp_path):
        async def signed(ticket):
            return answer() | {"model_version": "stand-in-primary-1"}

        suite = load_suite(suite_in(tmp_path))
        assert build_report(suite, run(suite, signed), "ab" * 32, "models.example", AT)["target"] == "stand-in"

    def test_what_answered_and_why_it_was_not_the_model_is_counted(self, tmp_path):
        async def fallen_back(ticket):
            return answer() | {"source": "rules", "reason": "model_unreachable"}

        suite = load_suite(suite_in(tmp_path))
        report = build_report(suite, run(suite, fallen_back), "ab" * 32, "models.example", AT)
        assert (report["sources"], report["reasons"]) == ({"rules": 3}, {"model_unreachable": 3})
        assert "answered by: rules 3 (because: model_unreachable 3)" in as_text(report)


GOOD, BAD = Score(True, ""), Score(False, "")


def answered(*sources_and_reasons):
    return [
        CaseResult(case(), answer() | {"source": source, "reason": reason}, {}, 0.1)
        for source, reason in sources_and_reasons
    ]


def scored(passed, failed):
    good = [CaseResult(case(), answer(), dict.fromkeys(Dimension, GOOD), 0.1)] * passed
    bad = dict.fromkeys(Dimension, GOOD) | {Dimension.CATEGORY: BAD}
    return good + [CaseResult(case(), answer(), bad, 0.1)] * failed


def verdict_of(results, floor):
    floors = FLOORS | {"floors": FLOORS["floors"] | {"category": floor}}
    rows = judge(results, Floors.model_validate(floors))
    return next(row.verdict for row in rows if row.dimension is Dimension.CATEGORY)
