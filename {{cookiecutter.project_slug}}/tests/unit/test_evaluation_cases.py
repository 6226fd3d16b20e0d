"""The shipped suite is what it claims to be, and a broken one says where it is broken."""

import json
from collections import Counter
from pathlib import Path

import pytest

from service.application.triage.contract import Category
from service.evaluation.cases import CaseClass, schema
from service.evaluation.suites import SuiteError, load_suite
from tests.evaluation_samples import CASE, FLOORS, FORGED, GRAVE, suite_in

SHIPPED = Path(__file__).parents[2] / "evals" / "triage"


class TestTheShippedSuite:
    def test_it_has_at_least_64_cases_of_every_class(self):
        cases = load_suite(SHIPPED).cases
        classes = Counter(case.case_class for case in cases)
        assert len(cases) >= 64
        assert set(classes) == set(CaseClass)
        assert classes[CaseClass.CORE] >= 36

    def test_core_covers_each_category_at_least_four_times(self):
        core = [case for case in load_suite(SHIPPED).cases if case.case_class is CaseClass.CORE]
        per_category = Counter(case.expected.categories[0] for case in core)
        assert all(per_category[category] >= 4 for category in Category)

    def test_it_speaks_at_least_five_languages(self):
        assert len({case.language for case in load_suite(SHIPPED).cases}) >= 5

    def test_no_two_cases_bring_the_same_message(self):
        bodies = [case.ticket.body for case in load_suite(SHIPPED).cases]
        assert len(set(bodies)) == len(bodies)

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
