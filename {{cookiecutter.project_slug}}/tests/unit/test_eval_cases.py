"""`svc eval cases`: what lint finds, and that nothing is written but whole, scrubbed cases."""

import json
from datetime import date

import pytest
import yaml
from typer.testing import CliRunner

from service.application.errors import Invalid
from service.cli.eval_cases import app
from service.cli.scrubbing import is_reserved, scrubbed
from service.evaluation.suites import SuiteError, load_suite
from service.inference.pii_structured import StructuredDetector
from tests.evaluation_samples import CASE, FLOORS, FORGED, GRAVE, suite_in

PERSONAL = "Mail anna.kowalska@posteo.de or call +49 171 2345678; IBAN DE02 1203 0000 0000 2020 51."
SENTINELS = ("kowalska", "2345678", "2020 51")
MADE_UP = "Mail anna@shop.example or call +44 20 7946 0123; my password is Fjord-Otter!58"


def svc(*arguments, given=None):
    """Exit code, output, and the error that `svc` would print as one line."""
    ran = CliRunner().invoke(app, [*map(str, arguments)], input=given)
    if isinstance(ran.exception, Invalid):
        return 2, ran.output, str(ran.exception)
    assert isinstance(ran.exception, SystemExit | None), ran.exception
    return ran.exit_code, ran.output, ""


def everything_under(folder):
    return "\n".join(file.read_text(encoding="utf-8") for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def suite(tmp_path):
    return suite_in(tmp_path / "small")


class TestLint:
    def test_a_suite_in_order_is_one_line(self, suite):
        assert svc("lint", "--suite", suite) == (0, "small: 3 cases, 0 of them held out; 0 templates\n", "")

    @pytest.mark.parametrize(
        ("row", "complaint"),
        [
            (CASE | {"id": "grave-one"}, "all.yaml: grave-one: its class is core: begin the id with core-"),
            (CASE | {"id": "core-two"}, "all.yaml: core-two: the same message as core-one: change or drop one"),
            (
                CASE | {"id": "core-two", "ticket": {"subject": "REFUND!", "body": "please   refund my payment"}},
                "core-two: the same message as core-one",
            ),
            (CASE | {"ticket": {"subject": "", "body": "Quite another message."}}, "core-one: the id is used twice"),
            (
                CASE | {"id": "core-2", "ticket": {"subject": "", "body": PERSONAL}},
                "core-2: personal data in body (EMAIL, IBAN, PHONE)",
            ),
            (CASE | {"id": "core-2", "mood": "sunny"}, "all.yaml: core-2: mood: Extra inputs are not permitted"),
        ],
        ids=["prefix", "twice", "twice but for signs", "id twice", "personal", "no case"],
    )  # fmt: skip
    def test_each_problem_names_file_case_and_what_to_do(self, suite, row, complaint):
        suite_in(suite, [CASE, GRAVE, FORGED, row])
        code, printed, _ = svc("lint", "--suite", suite)
        assert code == 1
        assert complaint in printed

    def test_nearly_the_same_message_is_a_problem_and_a_different_one_is_none(self, suite):
        body = "My parcel with the two blue lamps has not come although the courier says that it was delivered."
        near = CASE | {"id": "core-2", "ticket": {"subject": "", "body": body}}
        other = near | {"id": "core-3", "ticket": {"subject": "", "body": body.replace("blue", "green")}}
        suite_in(suite, [CASE, near, other])
        assert "core-3: 89% of its words are those of core-2" in svc("lint", "--suite", suite)[1]
        other["ticket"]["body"] = "My parcel has come, and the courier was friendly. May I keep the second lamp?"
        suite_in(suite, [CASE, near, other])
        assert svc("lint", "--suite", suite)[0] == 0

    def test_every_broken_case_is_told_not_only_the_first(self, suite):
        suite_in(suite, [CASE, CASE | {"id": "core-2", "class": "x"}, CASE | {"id": "core-3", "class": "y"}])
        printed = svc("lint", "--suite", suite)[1]
        assert "core-2: class:" in printed
        assert "core-3: class:" in printed

    def test_values_reserved_for_examples_and_made_up_secrets_are_no_personal_data(self, suite):
        row = CASE | {"id": "core-2", "ticket": {"subject": "", "body": MADE_UP}}
        suite_in(suite, [row])
        assert svc("lint", "--suite", suite)[0] == 0
        suite_in(suite, [row | {"source": "log"}])
        assert "(SECRET)" in svc("lint", "--suite", suite)[1]

    def test_an_outdated_schema_says_how_to_renew_it(self, suite):
        (suite / "schema.json").write_text("{}")
        assert f"service.evaluation.cases > {suite}/schema.json" in svc("lint", "--suite", suite)[1]

    def test_a_holdout_case_that_changed_breaks_the_seal_until_somebody_reseals(self, suite):
        (suite / "holdout").mkdir()
        held_out = CASE | {"id": "core-2", "ticket": {"subject": "", "body": "Where is my lamp?"}}
        file = suite / "holdout" / "core.yaml"
        file.write_text(yaml.safe_dump([held_out]))
        assert svc("lint", "--seal", "--suite", suite)[:2] == (0, "small: 4 cases, 1 of them held out; 0 templates\n")
        digest = load_suite(suite).digest
        assert load_suite(suite, holdout=True).digest == digest
        file.write_text(yaml.safe_dump([held_out | {"severity": "high"}]))
        code, printed, _ = svc("lint", "--suite", suite)
        assert code == 1
        assert (
            "SEAL: does not fit the holdout cases: look at what changed, then run `svc eval cases lint --seal`"
            in printed
        )
        with pytest.raises(SuiteError, match="do not fit their SEAL"):
            load_suite(suite, holdout=True)
        assert load_suite(suite).digest == digest  # who runs without the holdout is not stopped by it
        assert svc("lint", "--seal", "--suite", suite)[0] == 0
        assert load_suite(suite).digest != digest

    def test_a_class_with_too_few_cases_is_a_problem(self, suite):
        suite_in(suite, floors=FLOORS | {"least_cases": {"core": 1, "pii": 2}})
        code, printed, _ = svc("lint", "--suite", suite)
        assert (code, printed.count("\n")) == (1, 1)
        assert "floors.yaml: 0 cases of class pii, at least 2 wanted" in printed

    def test_a_waiver_that_ended_or_waives_nothing_is_a_problem(self, suite):
        waiver = {"dimension": "pii", "owner": "ann", "reason": "known"}
        over = waiver | {"case": "core-one", "until": date(2020, 1, 31)}
        rows = [over, over | {"case": "core-gone", "until": date(2999, 1, 1)}]
        (suite / "waivers.yaml").write_text(yaml.safe_dump(rows))
        printed = svc("lint", "--suite", suite)[1]
        assert "waivers.yaml: core-one: the waiver ended on 2020-01-31: mend what fails, or ask ann" in printed
        assert "waivers.yaml: core-gone: there is no such case" in printed

    def test_a_template_that_tells_two_people_alike_or_lacks_a_name_is_a_problem(self, suite):
        people = {"anna": {"name": "Anna"}, "li": {"name": "Li"}}
        template = {"id": "fair-name", "axis": "name", "subject": "", "body": "Where is it?", "people": people}
        (suite / "counterfactuals.yaml").write_text(yaml.safe_dump([template]))
        assert "fair-name: two people tell the same" in svc("lint", "--suite", suite)[1]
        (suite / "counterfactuals.yaml").write_text(yaml.safe_dump([template | {"body": "I am {nmae}"}]))
        assert "fair-name: anna has no nmae" in svc("lint", "--suite", suite)[1]

    def test_as_json(self, suite):
        (suite / "schema.json").unlink()
        code, printed, _ = svc("lint", "--json", "--suite", suite)
        (problem,) = json.loads(printed)["problems"]
        assert (code, set(problem)) == (1, {"file", "case", "problem"})

    def test_no_suite_is_wrong_use(self, tmp_path):
        assert svc("lint", "--suite", tmp_path / "none")[0] == 2


class TestAdd:
    GOOD = ("--id", "core-lamp", "--body", "Where is\nmy lamp?", "--category", "delivery", "--disposition", "auto")

    def test_a_case_is_appended_and_comments_stay(self, suite):
        file = suite / "cases" / "core.yaml"
        row = "  class: core\n  language: en\n  severity: low\n  source: hand-written\n"
        row += "  ticket: {subject: '', body: Hello you}\n  expected: {categories: [other], dispositions: [review]}\n"
        file.write_text(f"# The everyday.\n- id: core-zero  # the first\n{row}# end", encoding="utf-8")
        before = file.read_text()
        assert svc("add", *self.GOOD, "--suite", suite) == (0, f"{file}: core-lamp\n", "")
        assert file.read_text().startswith(before)
        added = load_suite(suite).cases[-1]
        assert (added.id, added.ticket.body) == ("core-lamp", "Where is\nmy lamp?")
        assert svc("lint", "--suite", suite)[0] == 0

    @pytest.mark.parametrize("place", ["-", "file"])
    def test_a_whole_case_comes_as_json(self, suite, tmp_path, place):
        ticket = {"subject": "#: - \"'", "body": " a: b\n\n  - c\t\u2028 d #e \x85"}
        row = FORGED | {"id": "injection-direct-2", "ticket": ticket}
        (tmp_path / "case.json").write_text(json.dumps(row))
        given = ("-", json.dumps(row)) if place == "-" else (tmp_path / "case.json", None)
        assert svc("add", "--from-json", given[0], "--suite", suite, given=given[1])[0] == 0
        (added,) = [case for case in load_suite(suite).cases if case.id == "injection-direct-2"]
        assert added.ticket.model_dump(exclude_unset=True) == row["ticket"]

    @pytest.mark.parametrize(
        ("changed", "complaint"),
        [
            ({"--id": "lamp"}, "begin the id with core-"),
            ({"--id": "core-one"}, "the id is used twice"),
            ({"--body": "refund: PLEASE refund my payment"}, "the same message as core-one"),
            ({"--body": PERSONAL}, "personal data in body"),
            ({"--body": " "}, "no case: ticket.body: "),
            ({"--category": None}, "no case: expected.categories: "),
            ({"--class": "pii"}, "must say what must never be in the reply"),
        ],
        ids=["prefix", "id", "message", "personal", "blank", "no category", "class"],
    )
    def test_what_does_not_go_with_the_suite_is_refused_and_nothing_is_written(self, suite, changed, complaint):
        given = dict(zip(self.GOOD[::2], self.GOOD[1::2], strict=True)) | changed
        before = everything_under(suite)
        code, _, said = svc("add", *[x for pair in given.items() if pair[1] for x in pair], "--suite", suite)
        assert code == 2
        assert complaint in said
        assert everything_under(suite) == before

    def test_a_file_that_is_no_block_list_is_not_appended_to(self, suite):
        file = suite / "cases" / "core.yaml"
        file.write_text("[]\n")
        code, _, said = svc("add", *self.GOOD, "--suite", suite)
        assert (code, file.read_text()) == (2, "[]\n")
        assert str(file) in said


class TestFromCsv:
    MAP = ("--map", "body=text,subject=title,category=label")

    def test_a_log_becomes_scrubbed_cases_once(self, suite, tmp_path):
        log = tmp_path / "log.csv"
        rows = (f'Hi;"{PERSONAL} Order 88213?";Versand;x', "Hi;My lamp broke;technical;y")
        log.write_text("\n".join(["title;text;label;more", *rows]))
        command = ("from-csv", log, *self.MAP, "--labels", "Versand=delivery", "--suite", suite)
        code, printed, _ = svc(*command)
        assert code == 0
        assert "2 new, 0 there already" in printed
        assert "Names of people were not looked for" in printed
        written = everything_under(suite)
        assert "# check for names" in written
        assert [sentinel for sentinel in SENTINELS if sentinel in written.lower()] == []
        made = [case for case in load_suite(suite).cases if case.source == "log"]
        assert "Order 88213?" in made[0].ticket.body
        assert "person1@customer.example" in made[0].ticket.body
        assert [case.expected.categories[0] for case in made] == ["delivery", "technical"]
        assert svc("lint", "--suite", suite)[0] == 0
        assert "0 new, 2 there already" in svc(*command)[1]
        assert everything_under(suite) == written

    def test_bad_rows_are_told_by_line_and_the_good_ones_kept(self, suite, tmp_path):
        log = tmp_path / "log.csv"
        rows = [
            'a,"two\nlines",billing',
            f"a,{'x' * 8001},billing",
            "a,hm,nonsense",
            "a,b",
            'a," ",other',
            "",
            "a,late parcel,delivery",
        ]
        log.write_text("title,text,label\n" + "\n".join(rows))
        code, printed, _ = svc("from-csv", log, *self.MAP, "--suite", suite)
        assert code == 0
        complaints = ["line 4: body: String should have at most 8000", "line 5: the label 'nonsense' is no category"]
        complaints += ["line 6: 2 columns, the header has 3", "line 7: body: ", "2 new", "4 of them no cases"]
        assert [complaint for complaint in complaints if complaint not in printed] == []

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_encodings_and_delimiters_are_found_out(self, suite, tmp_path, encoding, delimiter):
        log = tmp_path / "log.csv"
        lines = [("label", "text", "title"), ("billing", '"Grüße; a, b | c\té"', ""), ("other", "zwei", "Größe")]
        log.write_bytes("\r\n".join(delimiter.join(line) for line in lines).encode(encoding))
        assert svc("from-csv", log, *self.MAP, "--language", "de", "--suite", suite)[0] == 0
        made = [case for case in load_suite(suite).cases if case.source == "log"]
        assert [(case.ticket.subject, case.ticket.body) for case in made] == [
            ("", "Grüße; a, b | c\té"),
            ("Größe", "zwei"),
        ]

    def test_json_lines(self, suite, tmp_path):
        log = tmp_path / "log.jsonl"
        rows = ['{"text": "My lamp broke", "label": "technical", "title": null}', "{", '["x"]',
                '{"text": {"a": 1}, "label": "other"}', '{"text": "\\ud800", "label": "other"}']  # fmt: skip
        log.write_text("\n".join(rows))
        code, printed, _ = svc("from-csv", log, *self.MAP, "--suite", suite)
        assert code == 0
        for complaint in ("line 2, line 3: not a JSON object", "line 4: neither text nor a number: text",
                          "line 5: body: Input should be a valid string", "1 new"):  # fmt: skip
            assert complaint in printed, printed

    @pytest.mark.parametrize(
        ("text", "mapping", "complaint"),
        [
            ("title,text,label\na,b,nonsense\n", MAP[1], "no case in 1 rows"),
            ("title,words,label\n", MAP[1], "no column text; there are title, words, label"),
            ("title,text,label\n", "body=text", "say which column is category"),
            ("title,text,label\n", "body=text,category=label,mood=title", "no field mood"),
            ("title,text,label\n", "body", "wants NAME=VALUE"),
            ("", MAP[1], "empty"),
            ("title,te\x00xt,label\n", MAP[1], "NUL"),
        ],
    )
    def test_a_log_without_a_good_row_leaves_no_file(self, suite, tmp_path, text, mapping, complaint):
        (tmp_path / "log.csv").write_text(text)
        before = everything_under(suite)
        code, _, said = svc("from-csv", tmp_path / "log.csv", "--map", mapping, "--suite", suite)
        assert code == 2
        assert complaint in said
        assert everything_under(suite) == before

    def test_a_limit_takes_evenly_of_the_categories(self, suite, tmp_path):
        words = ("anchor", "basil", "copper", "dune", "ember", "fjord", "garnet", "hazel")
        rows = [f",{word} {word}s,{'billing' if n < 6 else 'other'}" for n, word in enumerate(words)]
        (tmp_path / "log.csv").write_text("title,text,label\n" + "\n".join(rows))
        printed = svc("from-csv", tmp_path / "log.csv", *self.MAP, "--limit", 4, "--suite", suite)[1]
        assert "4 new, 0 there already, or nearly, 4 more beyond --limit" in printed
        made = [case.expected.categories[0] for case in load_suite(suite).cases if case.source == "log"]
        assert sorted(made) == ["billing", "billing", "other", "other"]


class TestScrubbing:
    def test_the_same_value_gets_the_same_place_holder_everywhere_and_each_time(self):
        texts = ["From x.y@mail.de", "x.y@mail.de and z@mail.de, +49 171 2345678"]
        first = scrubbed(texts, [StructuredDetector()])
        assert first == [
            "From person1@customer.example",
            "person1@customer.example and person2@customer.example, +44 20 7946 0001",
        ]
        assert scrubbed(texts, [StructuredDetector()]) == first

    def test_what_takes_the_place_of_personal_data_is_never_taken_for_some(self):
        personal = (
            "a@mail.de +49 171 2345678 4539 1488 0343 6467 DE02 1203 0000 0000 2020 51 81.2.69.142 my pin is 4821"
        )
        (text,) = scrubbed([personal], [StructuredDetector()])
        found = StructuredDetector().find(text)
        assert len(found) >= 5
        assert [text[it.start : it.end] for it in found if not is_reserved(it.kind, text[it.start : it.end])] == []

    @pytest.mark.parametrize(
        ("kind", "value", "reserved"),
        [
            ("EMAIL", "a@shop.example", True), ("EMAIL", "a@example.org", True), ("EMAIL", "a [at] b.example", True),
            ("EMAIL", "a@example.de", False), ("EMAIL", "a@notexample.com", False), ("EMAIL", "a@b.example.it", False),
            ("PHONE", "+44 20 7946 0958", True), ("PHONE", "(0151) 496 0213", True), ("PHONE", "202-555-0147", True),
            ("PHONE", "+44 20 7946 1958", False), ("PHONE", "+49 171 2345678", False),
            ("IP", "203.0.113.9", True), ("IP", "2001:db8::1", True), ("IP", "8.8.8.8", False),
            ("CARD", "4111-1111-1111-1111", True), ("CARD", "4539148803436467", False), ("SSN", "219-09-9998", False),
        ],
    )  # fmt: skip
    def test_only_what_belongs_to_nobody_is_reserved(self, kind, value, reserved):
        assert is_reserved(kind, value) is reserved
