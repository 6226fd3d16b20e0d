"""The report is the run: nothing lost, nothing told that is sealed, and one screen at a terminal."""

import json
from dataclasses import replace

import pytest

from service.evaluation.cases import Dimension
from service.evaluation.report import STAND_IN_NOTE, scores_of, summary
from service.evaluation.report_text import NO_BASELINE, as_text, visible
from service.evaluation.results import HarnessFailed
from tests.report_samples import HOSTILE, PLAIN, UNTOLD, sample_report, sample_run, sample_suite

KEYS = """
asked read digest suite target verdict at note why suite_digest holdout fingerprint baseline cases items repeats models
sources reasons problems dimensions classes failures confusion calibration efficiency warnings answers variants
"""


class TestJson:
    def test_it_begins_with_what_a_release_needs_and_has_every_key(self):
        report = sample_report()
        assert list(report)[:5] == ["digest", "suite", "target", "verdict", "at"]
        assert sorted(report) == sorted(KEYS.split())
        assert report["suite"] == f"sample@{report['suite_digest'][:12]}"
        assert (report["cases"], report["holdout"], report["items"]) == (24, 1, 24)

    def test_it_is_plain_json_and_gives_back_the_scores_it_was_made_of(self):
        run = sample_run(wrong={"core-1", "core-2"})
        again = json.loads(json.dumps(sample_report(run)))
        assert again == sample_report(run)
        scores = scores_of(again)
        assert {d: {case: s.value for case, s in of.items()} for d, of in scores.items()} == {
            d: {case: s.value for case, s in of.items()} for d, of in run.scores.items()
        }
        assert scores[Dimension.CATEGORY]["core-1"].reason == "wanted billing, got product"

    def test_a_sealed_case_is_counted_and_named_and_no_word_of_it_is_told(self):
        report = sample_report(sample_run(wrong={"sealed"}))
        assert UNTOLD not in json.dumps(report)
        failed = [failure for failure in report["failures"] if failure["case"] == "sealed"]
        assert {failure["dimension"] for failure in failed} == {"category", "robustness"}
        assert {failure["reason"] for failure in failed} == {None}
        assert set(report["answers"]["sealed"]) == {"class", "holdout", "scores"}

    def test_what_is_stored_with_a_release_holds_no_message(self):
        stored = summary(sample_report())
        assert PLAIN not in json.dumps(stored)
        assert stored["dimensions"] == sample_report()["dimensions"]

    def test_one_answer_signed_by_the_stand_in_makes_it_the_target_whatever_its_address(self):
        def signed(case, answer):
            return answer | {"model_version": "stand-in-3"} if case.id == "core-7" else answer

        report = sample_report(sample_run(change=signed))
        assert (report["target"], report["note"]) == ("stand-in", STAND_IN_NOTE)
        assert "MODEL_URL and MODEL_NAME" in STAND_IN_NOTE
        other = sample_report()
        assert (other["target"], other["note"]) == ("m at host.example", None)

    def test_what_a_database_cannot_hold_is_replaced(self):
        def odd(case, answer):
            return answer | {"outcome": answer["outcome"] | {"draft_reply": "a\x00b\ud800", "category": "\x00"}}

        report = sample_report(sample_run(change=odd))
        assert json.dumps(report, ensure_ascii=False).encode().count(b"\\u0000") == 0
        assert report["answers"]["core-0"]["outcome"]["draft_reply"] == "a\ufffdb\ufffd"

    @pytest.mark.parametrize(
        "wrong", [{}, {"answers": [], "variants": {}}, {"answers": {"a": {"scores": {"mood": [1, ""]}}}}]
    )
    def test_json_that_is_no_whole_report_is_refused_in_one_line(self, wrong):
        with pytest.raises(HarnessFailed) as refused:
            scores_of(wrong)
        assert len(refused.value.problems) == 1
        assert "\n" not in refused.value.problems[0]


class TestFigures:
    def test_the_confusion_matrix_counts_every_case_once_and_another_accepted_answer_as_right(self):
        def odd(case, answer):
            strange = answer | {
                "outcome": answer["outcome"] | {"category": HOSTILE if case.id == "core-4" else ["list"]}
            }
            return {"core-3": None, "core-4": strange, "core-5": strange}.get(case.id, answer)

        run = sample_run(wrong={"core-1"}, repeats=2, change=odd)
        labels, counts = sample_report(run)["confusion"].values()
        assert labels == ["billing", "product", "(other)", "(none)"]  # "both" accepts account first, and got billing
        assert counts == [[20, 1, 2, 1], *[[0] * 4] * 3]

    def test_an_answer_that_never_came_is_a_problem_with_its_count(self):
        report = sample_report(sample_run(change=lambda case, answer: None if case.id == "core-3" else answer))
        assert report["problems"] == {"timed out": 1}
        assert report["answers"]["core-3"]["problem"] == "timed out"
        assert report["sources"] == {"model": 23}

    def test_classes_count_the_cases_that_passed_on_everything(self):
        report = sample_report(sample_run(wrong={"core-1", "high-stakes-grave"}))
        table = {row["class"]: (row["passed"], row["n"]) for row in report["classes"]}
        assert table["core"] == (18, 19)
        assert table["high_stakes"] == (0, 1)

    def test_calibration_is_of_what_models_said_not_of_rules(self):
        def ruled(case, answer):
            return answer | {"source": "rules"} if case.id.startswith("core") else answer

        assert sample_report()["calibration"]["n"] == 24
        assert sample_report(sample_run(change=ruled))["calibration"]["n"] == 8

    def test_an_unknown_price_makes_the_sum_unknown_and_not_small(self):
        def priced(cost):
            return lambda case, answer: (
                answer | {"usage": {"input_tokens": 2, "output_tokens": 1, "cost_usd": cost(case)}}
            )

        known = sample_report(sample_run(change=priced(lambda case: 0.5)))["efficiency"]
        assert (known["total_cost_usd"], known["mean_cost_usd"], known["input_tokens"]) == (12.0, 0.5, 48)
        partly = sample_report(sample_run(change=priced(lambda case: None if case.id == "core-1" else 0.5)))[
            "efficiency"
        ]
        assert (partly["total_cost_usd"], partly["mean_cost_usd"]) == (None, None)

    def test_percentiles_are_times_that_were_measured(self):
        run = sample_run()
        timed = {key: replace(sample, seconds=n / 10) for n, (key, sample) in enumerate(run.samples.items(), start=1)}
        figures = sample_report(replace(run, samples=timed))["efficiency"]  # .1 to 2.4
        assert (figures["p50_s"], figures["p95_s"], figures["max_s"]) == (1.2, 2.3, 2.4)

    def test_latency_is_compared_case_by_case_with_the_baseline(self):
        before = sample_report(sample_run(seconds=0.5))
        assert before["efficiency"]["latency_ratio"] is None
        now = sample_report(sample_run(seconds=1.0), before)["efficiency"]
        assert now["latency_ratio"] == pytest.approx([2.0, 2.0, 2.0])
        assert now["cost_ratio"] is None
        assert (now["p50_s"], now["p95_s"], now["max_s"], now["requests_per_s"]) == (1.0, 1.0, 1.0, 6.0)

    def test_the_baseline_is_named_by_what_it_measured(self):
        before = sample_report()
        named = sample_report(baseline=before)["baseline"]
        assert named == {key: before[key] for key in ("target", "digest", "at", "suite_digest")}


class TestText:
    def test_the_first_line_says_it_is_the_stand_in_and_the_last_the_verdict_and_why(self):
        report = sample_report(sample_run(change=lambda case, answer: answer | {"model_version": "stand-in-1"}))
        lines = as_text(report).splitlines()
        assert lines[0] == STAND_IN_NOTE
        assert lines[-1] == f"{report['verdict']}: {report['why']}"

    def test_it_is_one_screen_however_much_failed_and_whatever_was_written(self):
        before = sample_report(sample_run(suite=sample_suite(HOSTILE)))

        def spoilt(case, answer):
            return answer | {"outcome": answer["outcome"] | {"category": HOSTILE}, "reason": "x" * 200}

        report = sample_report(sample_run(suite=sample_suite(HOSTILE), change=spoilt), before)
        report["warnings"] = ["w" * 300] * 9
        text = as_text(report, "report.html")
        assert len(text.splitlines()) <= 45
        assert max(len(line) for line in text.splitlines()[:-1]) == 120
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "more failures: see report.html" in text

    def test_what_broke_comes_before_what_failed_already(self):
        before = sample_report(sample_run(wrong={"core-1"}))
        lines = as_text(sample_report(sample_run(wrong={"core-1", "core-9"}), before)).splitlines()
        told = [line.split()[:2] for line in lines if line.startswith(("BROKE", "failed"))]
        assert told[0] == ["BROKE", "core-9"]
        assert ["failed", "core-1"] in told

    def test_each_dimension_has_its_line_and_one_nobody_could_see_says_so(self):
        run = sample_run()
        unseen = {d: of for d, of in run.scores.items() if d is not Dimension.EFFECTS}
        report = sample_report(replace(run, scores=unseen))
        text = as_text(report)
        assert all(f"\n{dimension.value} " in text for dimension in Dimension)
        assert "not observed" in next(line for line in text.splitlines() if line.startswith("effects"))
        assert NO_BASELINE in text

    def test_hidden_characters_are_shown_by_their_number_and_emoji_stay(self):
        assert visible("a\u202eb\x00\r\n👩‍👧 é") == "a⟨U+202E⟩b⟨U+0000⟩\n👩‍👧 é"
