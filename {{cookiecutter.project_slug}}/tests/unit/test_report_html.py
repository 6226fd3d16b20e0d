"""The page opens offline, says what the JSON says, and whatever was written to us lies in it as text."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from service.evaluation.cases import Dimension
from service.evaluation.report import STAND_IN_NOTE, summary
from service.evaluation.report_html import as_html
from tests.report_samples import HOSTILE, UNTOLD, sample_report, sample_run, sample_suite

VOID = {"meta", "input", "br", "img", "line", "circle", "path", "rect", "polyline"}
PARTS = {"dimensions", "changes", "confusion", "calibration", "efficiency", "classes", "failing", "about"}


class Page(HTMLParser):
    """Tags with their attributes, text by the innermost tag, and whatever is not closed as it should be."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open, self.crooked = [], [], [], []
        self.rows = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crooked.append((tag, self.getpos()))

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def said(self, *but):
        return "\n".join(text for tag, text in self.text if tag not in ("script", "style", *but))


def compared(text="Please refund my payment.", **kinds):
    before = sample_report(sample_run(wrong={"core-1", "core-2"}, suite=sample_suite(text)))
    return sample_report(sample_run(wrong={"core-2", "core-5"}, suite=sample_suite(text), **kinds), before), before


def spoilt(case, answer):
    outcome = answer["outcome"] | {
        "draft_reply": HOSTILE[:3900],
        "category": HOSTILE[:300],
        "evidence": [HOSTILE[:400]],
    }
    return answer | {"outcome": outcome, "source": HOSTILE[:200], "reason": HOSTILE, "model_version": HOSTILE}


def test_every_part_is_there_well_formed_and_linked():
    page = Page(as_html(*compared()))
    assert page.crooked == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert set(ids) >= PARTS
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert len(links) > len(PARTS)  # to the cases that broke, too


def test_it_asks_nobody_for_anything_and_runs_only_its_own_script():
    html = as_html(*compared(HOSTILE, change=spoilt))
    page = Page(html)
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "style", "data", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("href", "#").startswith("#"), tag
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        [content] = re.findall(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
        assert "http" not in content
        assert "@import" not in content


def test_what_was_written_to_us_lies_there_as_text():
    html = as_html(*compared(HOSTILE, change=spoilt))
    page = Page(html)
    assert page.crooked == []
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in page.tags}
    said = page.said()
    for written in ("<script>document.title = 'owned'</script>", "{{ 7 * 7 }} {%x %}", "⟨U+202E⟩", "⟨U+001B⟩"):
        assert written in said
    assert not {"\x1b", "\x07", "\u202e", "\u2066"} & set(html)


def test_its_figures_are_those_of_the_json():
    report, before = compared()
    page = Page(as_html(report, before))
    rows = {row[0].split()[0]: [cell.strip() for cell in row] for row in page.rows if len(row) == 9}
    for d in report["dimensions"]:
        shown = rows[d["dimension"]]
        assert shown[1].endswith(d["verdict"])
        assert shown[2:4] == [str(d["n"]), f"{d['rate']:.3f}"]
        assert shown[4] == f"{d['low']:.3f} to {d['high']:.3f}{d['why']}"
        assert shown[6:8] == [f"{d['baseline_rate']:.3f}", f"{len(d['broke'])} / {len(d['fixed'])}"]
        assert shown[8] == ("–" if d["p_holm"] is None else f"{d['p_holm']:.2g}")
    said = page.said()
    for figure in ("ece", "ece_null_95", "brier", "top_10_accuracy"):
        assert f"{report['calibration'][figure]:.3f}" in said
    assert f"{report['efficiency']['p95_s']:.3f} s" in said
    billing = next(row for row in page.rows if row[0] == "billing" and len(row) == 3)
    assert billing[1:] == [str(count) for count in report["confusion"]["counts"][0]]
    assert report["why"] in said


def test_intervals_are_drawn_where_they_are():
    report, before = compared()
    page = Page(as_html(report, before))
    drawn = [a for tag, a in page.tags if tag in ("line", "circle") and "%" in a.get("x1", a.get("cx", ""))]
    bars = [(a["x1"], a["x2"]) for a in drawn if a.get("class") == "nowbar"]
    dots = [a["cx"] for a in drawn if a.get("class") == "nowdot"]
    at = {0.0: "0.0%", 1.0: "100.0%"}  # the axis starts at 0: a floor of .1 and a low end below it are on the page
    for d, bar, dot in zip(report["dimensions"], bars, dots, strict=False):
        low, high, rate = (at.get(d[key]) or f"{round(100 * d[key], 2)}%" for key in ("low", "high", "rate"))
        assert (bar, dot) == ((low, high), rate), d["dimension"]
    assert len(bars) >= len(report["dimensions"])


def test_broke_and_fixed_stand_with_message_expectation_and_both_answers():
    page = Page(as_html(*compared()))
    said = page.said()
    assert "Broke 1, fixed 1" in said
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "details"]
    assert [name for name in ids if name] == ["broke-core-5", "fixed-core-1"]
    marked = [text for tag, text in page.text if tag == "mark"]
    assert marked[:2] == ["billing", "product"]
    assert "wanted billing, got product" in said
    fresh = [a["data-kind"] for tag, a in page.tags if a.get("data-fresh")]
    assert fresh == ["core"]


@pytest.mark.parametrize("stand_in", [True, False])
def test_the_first_line_says_whether_it_is_the_stand_in(stand_in):
    run = sample_run(change=lambda case, answer: answer | ({"model_version": "stand-in-1"} if stand_in else {}))
    body = Page(as_html(sample_report(run)).split("<body>")[1])
    first = next(text.strip() for _, text in body.text if text.strip())
    assert first == (STAND_IN_NOTE if stand_in else "Evaluation of m at host.example")


def test_without_baseline_confidence_price_or_failures_it_says_so():
    def bare(case, answer):
        return answer | {"source": "rules"}

    run = sample_run(change=bare)
    seen = {d: {"core-0": next(iter(of.values()))} for d, of in run.scores.items() if d is Dimension.CATEGORY}
    page = Page(as_html(sample_report(replace(run, scores=seen))))
    assert page.crooked == []
    said = page.said()
    for told in (
        "no baseline yet",
        "Too few answers came with a confidence",
        "not observed",
        "unknown",
        "No model answered",
    ):
        assert told in said


def test_the_page_of_a_sealed_case_or_of_a_summary_tells_no_message():
    report, before = compared()
    assert UNTOLD not in as_html(report, before)
    stored = Page(as_html(summary(report), summary(before)))
    assert stored.crooked == []
    assert "Please refund" not in stored.said()
    assert "wanted billing, got product" in stored.said()
