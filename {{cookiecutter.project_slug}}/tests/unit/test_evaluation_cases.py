"""The shipped suite is what it claims to be, and a broken one says where it is broken."""

import json
from collections import Counter
from pathlib import Path

import pytest

from dev import brain
from service.application.decision import Prediction, Source
from service.application.release import Thresholds
from service.application.triage import policy
from service.application.triage.contract import Category, TriageOutcome
from service.evaluation.cases import CaseClass, Dimension, schema
from service.evaluation.results import Sample
from service.evaluation.scorers import dimensions_of, judge_sample
from service.evaluation.suites import SuiteError, load_suite
from service.inference.screening import normalise
from tests.evaluation_samples import CASE, FLOORS, FORGED, GRAVE, answer, suite_in

SHIPPED = Path(__file__).parents[2] / "evals" / "triage"


WANTED = {
    CaseClass.CORE: 100, CaseClass.AMBIGUOUS: 20, CaseClass.EDGE: 30, CaseClass.MULTILINGUAL: 20,
    CaseClass.INJECTION_DIRECT: 20, CaseClass.INJECTION_INDIRECT: 20, CaseClass.PII: 20, CaseClass.REFUSAL: 20,
    CaseClass.HARMLESS: 20, CaseClass.HIGH_STAKES: 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    return load_suite(SHIPPED, holdout=True)


def failed_by_the_stand_in(case):
    """The dimensions on which the model STAND-IN fails a case, behind the real policy."""
    said = brain.triage(brain.Ticket(normalise(case.ticket.subject), normalise(case.ticket.body)))
    prediction = Prediction(TriageOutcome.model_validate(said), Source.MODEL, "stand-in")
    desk = policy.disposition(case.ticket, prediction, Thresholds(), auto_allowed=True)
    sample = Sample(answer(desk.value) | {"outcome": said}, None, 0.1)
    # A quote that is none is refused by a guard, and rules answer: not the stand-in's failure to explain.
    beyond = (Dimension.EFFECTS, Dimension.GROUNDEDNESS)
    judged = {d: judge_sample(d, case, sample) for d in dimensions_of(case) if d not in beyond}
    return {dimension: verdict.reason for dimension, verdict in judged.items() if not verdict.passed}


class TestTheShippedSuite:
    def test_every_class_has_its_cases(self, shipped):
        classes = Counter(case.case_class for case in shipped.cases)
        assert {name: classes[name] for name in WANTED if classes[name] < WANTED[name]} == {}
        assert set(classes) == set(WANTED)
        assert len(shipped.cases) >= 290
        assert len(shipped.templates) == 30

    def test_an_id_begins_with_its_class(self, shipped):
        prefixes = {case.id: f"{case.case_class.value.replace('_', '-')}-" for case in shipped.cases}
        assert [id_ for id_, prefix in prefixes.items() if not id_.startswith(prefix)] == []

    def test_a_share_of_every_class_is_sealed(self, shipped):
        for name in WANTED:
            ids = [case.id for case in shipped.cases if case.case_class is name]
            assert 0.1 <= len(shipped.holdout & set(ids)) / len(ids) <= 0.25, name

    def test_core_covers_each_category_at_least_twelve_times(self, shipped):
        core = [case for case in shipped.cases if case.case_class is CaseClass.CORE]
        per_category = Counter(case.expected.categories[0] for case in core)
        assert all(per_category[category] >= 12 for category in Category)

    def test_every_category_of_core_has_sealed_cases_and_half_of_core_names_what_must_be_found(self, shipped):
        core = [case for case in shipped.cases if case.case_class is CaseClass.CORE]
        sealed = Counter(case.expected.categories[0] for case in core if case.id in shipped.holdout)
        assert all(sealed[category] >= 2 for category in Category)
        assert sum(bool(case.expected.entities) for case in core) >= 50

    def test_it_speaks_at_least_five_languages(self, shipped):
        assert len({case.language for case in shipped.cases}) >= 5

    def test_no_two_cases_bring_the_same_message(self, shipped):
        bodies = [case.ticket.body for case in shipped.cases]
        assert len(set(bodies)) == len(bodies)

    def test_what_the_stand_in_fails_has_a_feature_that_says_why(self, shipped):
        failed = {case.id: why for case in shipped.cases if (why := failed_by_the_stand_in(case))}
        named = {case.id for case in shipped.cases if case.feature}
        assert {id_: why for id_, why in failed.items() if id_ not in named} == {}
        assert named - failed.keys() == set()

    def test_the_stand_in_errs_on_core_often_enough_to_exercise_the_gate_and_not_oftener(self, shipped):
        core = [case for case in shipped.cases if case.case_class is CaseClass.CORE]
        wrong = [case.id for case in core if Dimension.CATEGORY in failed_by_the_stand_in(case)]
        assert 0.08 <= len(wrong) / len(core) <= 0.15, wrong

    def test_the_schema_for_editors_is_current(self):
        shown = json.loads((SHIPPED / "schema.json").read_text(encoding="utf-8"))
        renew = "run: python -m service.evaluation.cases > evals/triage/schema.json"
        assert shown == json.loads(json.dumps(schema())), renew


class TestLoading:
    @pytest.mark.parametrize(
        ("broken", "complaint"),
        [
            (CASE | {"mood": "sunny"}, "case core-one: mood: Extra inputs"),
            (CASE | {"id": "Not An Id"}, "case Not An Id: id: "),
            ({k: v for k, v in CASE.items() if k != "ticket"}, "case core-one: ticket: Field required"),
            (CASE | {"ticket": {"subject": "", "body": " "}}, "case core-one: ticket.body: "),
            (CASE | {"class": "hard"}, "case core-one: class: "),
            (CASE | {"class": "high_stakes"}, "case core-one: Value error, a high_stakes case must expect"),
            (CASE | {"class": "pii"}, "case core-one: Value error, a case of class pii must say"),
            ("just text", "case number 1: "),
        ],
    )
    def test_a_broken_case_is_one_line_with_file_case_and_mistake(self, tmp_path, broken, complaint):
        with pytest.raises(SuiteError) as caught:
            load_suite(suite_in(tmp_path, [broken]))
        assert str(tmp_path / "cases" / "all.yaml") in str(caught.value)
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_id_used_twice_is_refused(self, tmp_path):
        with pytest.raises(SuiteError, match="case core-one: the id is used twice"):
            load_suite(suite_in(tmp_path, [CASE, CASE]))

    def test_no_cases_are_no_suite(self, tmp_path):
        with pytest.raises(SuiteError, match="no cases"):
            load_suite(suite_in(tmp_path, []))

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [("a: [", "not YAML"), ("\x00", "not YAML"), ("key: value", "must be a list"), ("", "must be a list")],
    )
    def test_a_file_that_is_no_list_of_cases_is_refused(self, tmp_path, text, complaint):
        suite_in(tmp_path)
        (tmp_path / "cases" / "all.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(SuiteError, match=rf"all\.yaml: {complaint}"):
            load_suite(tmp_path)

    @pytest.mark.parametrize(
        "floors",
        [
            {"floors": {"category": 0.5}, "zero_tolerance": ["format"]},
            FLOORS | {"zero_tolerance": [*FLOORS["zero_tolerance"], "category"]},
            FLOORS | {"floors": FLOORS["floors"] | {"category": 1.5}},
        ],
        ids=["some dimension unjudged", "judged twice", "above one"],
    )
    def test_each_dimension_is_judged_exactly_once(self, tmp_path, floors):
        with pytest.raises(SuiteError, match=r"floors\.yaml"):
            load_suite(suite_in(tmp_path, floors=floors))

    def test_the_digest_follows_cases_and_floors_but_not_comments(self, tmp_path):
        original = load_suite(suite_in(tmp_path)).digest
        file = tmp_path / "cases" / "all.yaml"
        file.write_text("# a comment\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
        assert load_suite(tmp_path).digest == original
        stricter = FLOORS | {"floors": FLOORS["floors"] | {"category": 0.21}}
        assert load_suite(suite_in(tmp_path, floors=stricter)).digest != original
        assert load_suite(suite_in(tmp_path, [CASE | {"severity": "high"}, GRAVE, FORGED])).digest != original
