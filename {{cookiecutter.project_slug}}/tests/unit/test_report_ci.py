"""A build shows red where the gate is red, and a comment does nothing that a customer wrote into it."""

from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from service.evaluation.report import STAND_IN_NOTE, summary
from service.evaluation.report_ci import COMMENT_LIMIT, junit, junit_of_problems, markdown
from tests.report_samples import HOSTILE, REPORT_FLOORS, sample_report, sample_run, sample_suite


def read(xml):
    """Every test case as (suite, name): what it ended with and the message."""
    root = ET.fromstring(xml)  # noqa: S314 - our own
    ends = {}
    for suite in root:
        for at in suite:
            end = next(iter(at), None)
            ends[suite.get("name"), at.get("name")] = None if end is None else (end.tag, end.get("message"))
    return root, ends


def obeyed(case, answer):
    return (
        answer | {"outcome": answer["outcome"] | {"draft_reply": "Approved"}}
        if case.id == "injection-direct-forged"
        else answer
    )


def spoilt(case, answer):
    return answer | {"outcome": answer["outcome"] | {"category": HOSTILE}}


class TestJunit:
    def test_a_failing_case_is_red_only_where_its_dimension_blocks(self):
        report = sample_report(sample_run(wrong={"core-1"}, change=obeyed))
        root, ends = read(junit(report))
        assert ends["injection", "gate"][0] == "failure"
        assert ends["injection", "injection-direct-forged"][0] == "failure"
        assert ends["category", "gate"] is None
        kind, message = ends["category", "core-1"]
        assert kind == "skipped"
        assert "wanted billing, got product" in message
        assert ends["category", "core-2"] is None
        red = [key for key, end in ends.items() if end and end[0] == "failure"]
        assert root.get("failures") == str(len(red))
        assert root.get("tests") == str(len(ends)) == str(sum(row["n"] + 1 for row in report["dimensions"]))

    def test_a_waived_case_is_not_red(self):
        waiver = {
            "case": "injection-direct-forged",
            "dimension": "injection",
            "owner": "me",
            "reason": "known",
            "until": "2026-12-31",
        }
        run = sample_run(suite=sample_suite(waivers=[waiver]), change=obeyed)
        _, ends = read(junit(sample_report(run)))
        assert ends["injection", "gate"] is None
        assert ends["injection", "injection-direct-forged"] == ("skipped", "waived: the reply contains ['Approved']")

    def test_inconclusive_and_not_observed_are_visible_and_not_red(self):
        report = sample_report()
        report["dimensions"][0] |= {"verdict": "INCONCLUSIVE", "why": "a drop is not ruled out"}
        report["dimensions"][1] |= {"verdict": None, "kind": "not_observed", "why": "nobody can see it"}
        _, ends = read(junit(report))
        assert ends["category", "gate"] == ("skipped", "INCONCLUSIVE: a drop is not ruled out")
        assert ends["priority", "gate"] == ("skipped", "not observed: nobody can see it")

    def test_a_harness_failure_is_an_error(self):
        root, ends = read(junit_of_problems(["no answer \x00 <x>", "scores are missing"]))
        assert root.get("errors") == "2"
        assert ends["harness", "problem 1"] == ("error", "no answer ⟨U+0000⟩ <x>")

    def test_it_is_xml_whatever_was_written(self):
        report = sample_report(sample_run(suite=sample_suite(HOSTILE), change=spoilt))
        report["failures"][0]["reason"] = "\ud800\ufffe\x0b"
        _, ends = read(junit(report))
        messages = " ".join(end[1] for end in ends.values() if end)
        assert "<script>document.title" in messages
        assert "⟨U+D800⟩⟨U+FFFE⟩⟨U+000B⟩" in messages

    def test_of_a_summary_it_tells_the_failures(self):
        _, ends = read(junit(summary(sample_report(sample_run(wrong={"core-1"})))))
        assert ("category", "core-1") in ends
        assert ("category", "core-2") not in ends

    def test_it_says_that_it_is_the_stand_in(self):
        run = sample_run(change=lambda case, answer: answer | {"model_version": "stand-in-1"})
        assert read(junit(sample_report(run)))[0].get("name") == STAND_IN_NOTE


class TestMarkdown:
    def test_it_has_the_verdict_the_table_and_what_broke_and_was_fixed(self):
        before = sample_report(sample_run(wrong={"core-1"}))
        text = markdown(sample_report(sample_run(wrong={"core-2"}), before), before)
        assert text.startswith("### ")
        assert "| category | ✅ PASS | 24 | 0.958 | 0.798–0.993 | 0.30 | 0.958 | 1 | 1 |" in text
        assert "<details><summary>1 broke</summary>\n\n- `core-2` category: `wanted billing, got product`\n" in text
        assert "<details><summary>1 fixed</summary>\n\n- `core-1` category: `wanted billing, got product`\n" in text

    def test_the_first_line_says_that_it_is_the_stand_in(self):
        run = sample_run(change=lambda case, answer: answer | {"model_version": "stand-in-1"})
        assert markdown(sample_report(run)).startswith(f"> {STAND_IN_NOTE}\n")

    @pytest.mark.parametrize(
        "written", [HOSTILE, "`", "``` @everyone", "a ` b `` c", "\\`@x", "</summary><b>", "|@x|\n\n# h"]
    )
    def test_what_was_written_to_us_stands_in_code_and_does_nothing(self, written):
        def answered(case, answer):
            return answer | {"outcome": answer["outcome"] | {"category": written}, "source": written}

        report = sample_report(sample_run(suite=sample_suite(floors=REPORT_FLOORS), change=answered))
        report |= {"target": written, "why": written, "warnings": [written]}
        tokens = [
            t
            for block in MarkdownIt().enable("table").parse(markdown(report))
            for t in (block, *(block.children or ()))
        ]
        active = {"link_open", "image", "html_inline", "em_open", "strong_open", "fence", "code_block"}
        assert not active & {token.type for token in tokens}
        assert not any("@" in token.content for token in tokens if token.type == "text")
        html = "".join(token.content for token in tokens if token.type == "html_block")
        assert set(html.replace("<details><summary>", "").replace("</summary>", "").replace("</details>", "")) <= set(
            "0123456789 failing before, too, or not compared\n"
        )
        assert sum(token.type == "code_inline" for token in tokens) > len(report["failures"])

    def test_it_fits_however_much_failed(self):
        report = sample_report(sample_run(wrong={f"core-{n}" for n in range(16)}))
        report["failures"] = [report["failures"][0] | {"reason": "W" * 300}] * 5000
        text = markdown(report)
        assert COMMENT_LIMIT - 1500 < len(text) <= COMMENT_LIMIT
        assert "more, in the HTML report" in text
        assert text.count("<details>") == text.count("</details>") == 1
