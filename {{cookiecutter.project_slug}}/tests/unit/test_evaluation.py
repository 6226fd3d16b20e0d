"""Generating, keeping and grading: what a run consists of before anybody judges it."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager

import pytest

from service.cli import eval_run
from service.cli.eval_run import Reached, Target, fingerprint, load_baseline, run_suite, source_digest
from service.evaluation.answers import KEPT, Answers
from service.evaluation.cases import Dimension
from service.evaluation.results import HarnessFailed, Item, ModelOut, Sample, Score, refuse_outage
from service.evaluation.runner import generate, grade
from service.evaluation.scorers import dimensions_of, expected_effects
from service.evaluation.suites import load_suite
from tests.evaluation_samples import CASE, FORGED, GRAVE, answer, case, suite_in


@pytest.fixture
def suite(tmp_path):
    return load_suite(suite_in(tmp_path / "demo"))


def items(*rows, repeats=1):
    return [Item(case(row), "", n, case(row).ticket) for n in range(1, repeats + 1) for row in rows or (CASE,)]


def good(seconds=0.1):
    return Sample(answer(), None, seconds, expected_effects(answer()))


def graded(suite, samples, wanted=None, observed=True):
    wanted = wanted or [Item(each, "", 1, each.ticket) for each in suite.cases]
    return asyncio.run(grade(suite, wanted, samples, observed))


def samples_of(suite, sample=None):
    return {(each.id, "", 1): sample or good() for each in suite.cases}


class TestGenerating:
    def generate(self, wanted, ask, stored=None, **options):
        kept = []
        samples = asyncio.run(generate(wanted, ask, stored or {}, lambda *pair: kept.append(pair), **options))
        return samples, kept

    def test_only_what_is_not_stored_is_asked_and_kept_as_it_comes(self):
        asked = []

        async def ask(ticket):
            asked.append(ticket)
            return good()

        one, two = items(repeats=2)
        samples, kept = self.generate([one, two], ask, {one.key: good(9.0)})
        assert (len(asked), kept) == (1, [(two, good())])
        assert samples == {one.key: good(9.0), two.key: good()}

    def test_so_many_are_asked_at_the_same_time_and_no_more(self):
        running, most = 0, 0

        async def slow(ticket):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return good()

        self.generate(items(repeats=9), slow, concurrency=3)
        assert most == 3

    def test_whoever_cannot_ask_is_a_harness_failure_that_names_the_case_and_loses_no_answer(self):
        kept = []

        async def once(ticket):
            if not kept:
                return good()
            raise RuntimeError("no such table")

        with pytest.raises(HarnessFailed) as caught:
            asyncio.run(generate(items(repeats=3), once, {}, lambda *pair: kept.append(pair), concurrency=1))
        assert caught.value.problems == ["core-one  2: no such table"]
        assert len(kept) == 1


class TestGrading:
    def test_each_case_gets_each_of_its_dimensions(self, suite):
        scores = graded(suite, samples_of(suite))
        for each in suite.cases:
            assert {d for d, of in scores.items() if each.id in of} >= set(dimensions_of(each))
        assert scores[Dimension.CATEGORY]["core-one"] == Score(1.0, "wanted billing, got billing")
        assert not scores[Dimension.ESCALATION]["high-stakes-grave"].passed

    def test_repeats_become_their_mean_with_the_reason_of_the_first_that_failed(self, tmp_path):
        suite = load_suite(suite_in(tmp_path, [CASE]))
        answers = [answer(), answer(category="product"), answer(category="other"), answer()]
        wanted = items(repeats=4)
        samples = {item.key: Sample(given, None, 0.1) for item, given in zip(wanted, answers, strict=True)}
        score = graded(suite, samples, wanted, observed=False)[Dimension.CATEGORY]["core-one"]
        assert score == Score(0.5, "wanted billing, got product")
        assert not score.passed

    def test_a_target_that_cannot_be_looked_into_is_not_judged_on_effects(self, suite):
        assert Dimension.EFFECTS not in graded(suite, samples_of(suite, Sample(answer(), None, 0.1)), observed=False)

    def test_a_service_that_did_not_answer_fails_it_is_no_harness_failure(self, suite):
        scores = graded(suite, samples_of(suite, Sample(None, "status 503", 0.1, {})))
        assert scores[Dimension.FORMAT]["core-one"] == Score(0.0, "no answer: status 503")

    def test_a_case_without_a_sample_is_a_harness_failure_not_a_case_fewer(self, suite):
        samples = samples_of(suite)
        del samples["high-stakes-grave", "", 1]
        with pytest.raises(HarnessFailed) as caught:
            graded(suite, samples)
        assert caught.value.problems == ["high-stakes-grave  1: no sample"]

    def test_a_scorer_that_raises_is_a_harness_failure_that_names_the_case(self, suite):
        samples = samples_of(suite) | {("high-stakes-grave", "", 1): Sample(answer(), None, 0.1, effects=None)}
        with pytest.raises(HarnessFailed) as caught:
            graded(suite, samples)
        assert caught.value.problems == ["high-stakes-grave 1: scorer failed: ValueError: effects were not observed"]

    def test_a_score_that_is_missing_is_a_harness_failure(self, suite):
        wanted = [Item(suite.cases[0], "", n, suite.cases[0].ticket) for n in (1, 2)]
        with pytest.raises(HarnessFailed) as caught:
            graded(suite, {item.key: good() for item in wanted}, wanted)
        assert "high-stakes-grave: category: 0 of 2 scores" in caught.value.problems


DECIDES = {"release": "r1"}


class TestKeepingAnswers:
    def test_a_later_run_finds_what_an_interrupted_one_had(self, tmp_path):
        one, two = items(repeats=2)
        Answers(tmp_path, DECIDES).keep(one, good())
        assert Answers(tmp_path, DECIDES).stored([one, two], observed=True) == {one.key: good()}

    def test_another_release_another_message_or_a_fresh_start_finds_nothing(self, tmp_path):
        [item] = items()
        Answers(tmp_path, DECIDES).keep(item, good())
        edited = Item(item.of, "", 1, item.ticket.model_copy(update={"body": "Something else."}))
        assert Answers(tmp_path, {"release": "r2"}).stored([item], True) == {}
        assert Answers(tmp_path, DECIDES).stored([edited], True) == {}
        assert Answers(tmp_path, DECIDES, fresh=True).stored([item], True) == {}

    def test_a_sample_whose_effects_nobody_saw_is_asked_for_again_where_they_can_be_seen(self, tmp_path):
        [item] = items()
        answers = Answers(tmp_path, DECIDES)
        answers.keep(item, Sample(answer(), None, 0.1))
        assert answers.stored([item], observed=True) == {}
        assert answers.stored([item], observed=False)
        answers.keep(item, good())
        assert answers.stored([item], observed=True) == {item.key: good()}
        variant = Item(item.of, "spaces", 1, item.ticket)
        answers.keep(variant, Sample(answer(), None, 0.1))
        assert answers.stored([variant], observed=True)

    def test_a_line_torn_by_a_kill_costs_that_line_only(self, tmp_path):
        first, second, third = items(repeats=3)
        answers = Answers(tmp_path, DECIDES)
        answers.keep(first, good())
        answers.keep(second, good())
        [file] = tmp_path.rglob("*.jsonl")
        file.write_bytes(file.read_bytes()[:-30])
        answers.keep(third, good())
        assert set(answers.stored([first, second, third], True)) == {first.key, third.key}

    def test_what_a_model_may_write_comes_back_as_it_was(self, tmp_path):
        [item] = items()
        odd = Sample(answer(draft_reply="\ud800 \u2028 \x00 \n", confidence=float("inf")), None, 0.1, {})
        Answers(tmp_path, DECIDES).keep(item, odd)
        assert Answers(tmp_path, DECIDES).stored([item], True) == {item.key: odd}

    def test_only_the_owner_can_read_them_and_old_ones_go(self, tmp_path):
        for number in range(KEPT + 3):
            answers = Answers(tmp_path, {"release": number})
            answers.keep(items()[0], good())
        assert {file.stat().st_mode & 0o777 for file in tmp_path.rglob("*.jsonl")} == {0o600}
        assert {folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir()} == {0o700}
        assert len(list(tmp_path.iterdir())) == KEPT
        assert answers.stored(items(), True)


class Asked:
    """A target that counts how often it was reached and asked."""

    def __init__(self, sample=None):
        self.sample, self.reached, self.tickets = sample or Sample(answer(), None, 0.1), 0, []

    async def __aenter__(self):
        self.reached += 1
        return Reached(self.ask, self.observe)

    async def __aexit__(self, *_):
        pass

    async def ask(self, ticket):
        self.tickets.append(ticket)
        return self.sample

    async def observe(self, samples, wait):
        return {key: expected_effects(sample.answer or {}) for key, sample in samples.items()}

    def target(self, **changes):
        given = {"name": "m at host", "baseline": "model", "release": "r1", "observed": True} | changes
        return Target(reach=lambda: self, **given)


class TestARun:
    def run(self, suite, asked, var, **options):
        return asyncio.run(run_suite(suite, asked.target(), var, **options))

    def test_a_second_run_asks_nobody_and_finds_the_same_scores(self, suite, tmp_path):
        asked = Asked()
        first, none = self.run(suite, asked, tmp_path, repeats=2)
        again, kept = self.run(suite, asked, tmp_path, repeats=2)
        assert (asked.reached, len(asked.tickets), none, kept) == (1, len(first.items), 0, len(first.items))
        assert first.scores == again.scores
        assert (again.seconds, first.seconds is not None) == (None, True)

    def test_a_message_that_is_new_is_the_only_one_asked(self, tmp_path):
        asked = Asked()
        first, _ = self.run(load_suite(suite_in(tmp_path / "demo", [CASE, GRAVE])), asked, tmp_path)
        _, kept = self.run(load_suite(suite_in(tmp_path / "demo", [CASE, GRAVE, FORGED])), asked, tmp_path)
        assert (kept, len(asked.tickets)) == (len(first.items), len(first.items) + 1)

    def test_an_outage_is_no_verdict_and_leaves_no_answers(self, suite, tmp_path):
        asked = Asked(Sample(answer() | {"source": "rules", "reason": "model_unreachable"}, None, 0.1))
        for _ in range(2):
            with pytest.raises(
                ModelOut, match=r"answered none of (\d+) messages: model_unreachable \1; nothing was judged"
            ):
                self.run(suite, asked, tmp_path)
        assert asked.reached == 2

    @pytest.mark.parametrize("reason", ["model_rejected_request", "model_rate_limited", "model_error", "deadline"])
    def test_a_model_that_was_away_throughout_gets_no_verdict(self, reason):
        with pytest.raises(ModelOut) as caught:
            refuse_outage(answered(("rules", "deadline"), ("rules", reason), (None, "status 503")))
        assert str(caught.value).startswith("the model answered none of 3 messages: deadline ")
        assert reason in str(caught.value)

    @pytest.mark.parametrize(
        "other",
        [
            ("model", None), ("backup", "model_unreachable"), ("cache", None), ("rules", "output_unusable"),
            ("rules", "model_refused"), ("rules", "ai_off"), ("rules", None),
        ],
    )  # fmt: skip
    def test_a_single_answer_to_judge_is_enough_for_a_verdict(self, other):
        refuse_outage(answered(*[("rules", "model_unreachable")] * 9, other))


class TestTheFingerprint:
    def test_it_changes_with_suite_release_model_parameters_and_code(self, suite, tmp_path):
        target = Asked().target
        changed = [target(release="r2"), target(model="m2"), target(parameters={"t": 1}), target(code={"rules": "2"})]
        other = load_suite(suite_in(tmp_path / "other", [CASE, GRAVE]))
        marks = [fingerprint(suite, target()), fingerprint(other, target()), *(fingerprint(suite, c) for c in changed)]
        assert len({mark["digest"] for mark in marks}) == len(marks)
        assert list(marks[0]) == ["suite", "release", "model", "parameters", "code", "digest"]

    def test_where_or_how_it_was_asked_is_no_part_of_it(self, suite):
        one, two = Asked().target(decides={"code": "1"}), Asked().target(decides={"code": "2"}, concurrency=1)
        assert fingerprint(suite, one) == fingerprint(suite, two)

    def test_kept_answers_go_with_an_edit_of_what_answers_not_with_one_of_what_scores(self, tmp_path, monkeypatch):
        monkeypatch.setattr(eval_run, "project_root", lambda: tmp_path)
        for name in ("src/service/evaluation/scorers.py", "src/service/application/policy.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("old")
        before = source_digest("src/service")
        (tmp_path / "src/service/evaluation/scorers.py").write_text("new")
        assert source_digest("src/service") == before
        assert source_digest("src/service/evaluation/scorers.py") != source_digest("src/service/nothing.py")
        (tmp_path / "src/service/application/policy.py").write_text("new")
        assert source_digest("src/service") != before


class TestTheBaseline:
    def test_there_is_none_until_somebody_accepts_one(self, suite, tmp_path):
        assert load_baseline(tmp_path, "model", suite) is None

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "is no report: take it from version control again"),
            ("[]", "accept a run by `svc eval baseline`"),
            ('{"asked": "0"}', "accept a run by `svc eval baseline`"),
        ],
    )
    def test_one_of_another_suite_is_a_harness_failure(self, suite, tmp_path, text, problem):
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines" / "model.json").write_text(text)
        with pytest.raises(HarnessFailed, match=problem):
            load_baseline(tmp_path, "model", suite)

    def test_one_of_this_suite_is_taken(self, suite, tmp_path):
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines" / "model.json").write_text(json.dumps({"asked": suite.asked}))
        assert load_baseline(tmp_path, "model", suite) == {"asked": suite.asked}


def answered(*sources_and_reasons):
    return {
        (str(number), "", 1): Sample(answer() | {"source": source, "reason": reason} if source else None, reason, 0.1)
        for number, (source, reason) in enumerate(sources_and_reasons)
    }


class TestWhatIsKept:
    def test_an_outage_is_not_kept_as_an_answer(self, suite, tmp_path):
        async def down(ticket):
            return Sample(answer() | {"source": "rules", "reason": "model_error"}, None, 0.1)

        async def up(ticket):
            return good()

        def through(ask):
            @asynccontextmanager
            async def reach():
                yield Reached(ask)

            return Target("model", "model", "r", reach)

        calls = []

        async def mostly_down(ticket):
            calls.append(ticket)
            return await (up if len(calls) == 1 else down)(ticket)

        first, _ = asyncio.run(run_suite(suite, through(mostly_down), tmp_path))
        _, kept = asyncio.run(run_suite(suite, through(up), tmp_path))
        assert (len(first.items) > 1, kept) == (True, 1)

    def test_answers_of_last_week_are_forgotten(self, tmp_path):
        [item] = items()
        Answers(tmp_path, {"a": 1}).keep(item, good())
        [file] = tmp_path.glob("*/samples.jsonl")
        os.utime(file, (time.time() - 8 * 86_400,) * 2)
        assert Answers(tmp_path, {"a": 1}).stored([item], observed=True) == {}
