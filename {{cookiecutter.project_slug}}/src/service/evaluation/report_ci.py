"""A report for a build: JUnit XML for its list of tests, Markdown for a comment on the pull request.

What a customer or a model wrote is quoted in both, so both are written for the worst that it can be.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from xml.etree import ElementTree as ET

from service.application.decision import JsonObject
from service.evaluation.report import scores_of
from service.evaluation.report_text import NO_BASELINE, calibration_line, efficiency_line, ordered_failures, visible

COMMENT_LIMIT = 65_000  # characters; GitHub takes 65,536
ICON = {"PASS": "✅", "BLOCK": "❌", "INCONCLUSIVE": "❔"}


def junit(report: JsonObject) -> str:
    """A suite for each dimension: its gate first, then its cases. Green or red exactly where the gate is.

    A failing case of a dimension that passes (over its floor, or waived) is skipped with the reason: known, and no
    reason to stop. An inconclusive gate is skipped, too. Needs the whole report for the cases that passed.
    """
    scores = scores_of(report) if "answers" in report else {}
    failed = {(one["dimension"], one["case"]): one for one in report["failures"]}
    root = ET.Element("testsuites", name=visible(report["note"] or report["target"]))
    for row in report["dimensions"]:
        name = row["dimension"]
        suite = ET.SubElement(root, "testsuite", name=name, timestamp=report["at"])
        gate = ET.SubElement(suite, "testcase", classname=name, name="gate")
        if row["verdict"] == "BLOCK":
            _told(gate, "failure", row["why"], "gate")
        elif row["verdict"] != "PASS":
            _told(gate, "skipped", f"{row['verdict'] or 'not observed'}: {row['why']}")
        for case in dict.fromkeys([*scores.get(name, {}), *(case for of, case in failed if of == name)]):
            at = ET.SubElement(suite, "testcase", classname=name, name=visible(case))
            if one := failed.get((name, case)):
                _failed(at, row, one)
    return _xml(root)


def junit_of_problems(problems: Sequence[str]) -> str:
    """The same when the harness failed and there is no report: an error for each problem."""
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name="harness")
    for number, problem in enumerate(problems, start=1):
        at = ET.SubElement(suite, "testcase", classname="harness", name=f"problem {number}")
        _told(at, "error", problem, "harness")
    return _xml(root)


def markdown(report: JsonObject, baseline: JsonObject | None = None) -> str:
    """A comment of at most 65,000 characters. Quoted text stands in code: no link, mention or mark-up in it works."""
    base, rows = report["baseline"], report["dimensions"]
    lines = [
        *([f"> {report['note']}", ""] if report["note"] else []),
        f"### {ICON[report['verdict']]} Evaluation: {report['verdict']}",
        "",
        _code(report["why"]),
        "",
        f"Suite {_code(report['suite'])}, {report['cases']} cases, {report['items']} messages × {report['repeats']}; "
        f"target {_code(report['target'])}, release {_code(report['digest'][:12])}; "
        + (f"compared with {_code(base['target'])} {_code(base['digest'][:12])}." if base else f"{NO_BASELINE}."),
        "",
        "| dimension | verdict | n | rate | 95 % | floor | before | broke | fixed | p (Holm) |",
        "|---|---|--:|--:|---|--:|--:|--:|--:|--:|",
        *(_table_row(row) for row in rows),
        "",
        _code(efficiency_line(report["efficiency"])),
        *(["", _code(calibration_line(report["calibration"]))] if report["calibration"] else []),
        "",
        *(f"- ⚠️ {_code(line)}" for line in report["warnings"][:20]),
    ]
    text, failures = "\n".join(lines), ordered_failures(report)
    was = {(one["dimension"], one["case"]): one["reason"] for one in (baseline or {}).get("failures", [])}
    fixed = [(row["dimension"], case) for row in rows for case in row["fixed"]]
    broke, others = ([one for one in failures if one["broke"] is new] for new in (True, False))
    for title, entries in (
        ("broke", [(one["dimension"], one["case"], one["reason"]) for one in broke]),
        ("fixed", [(*one, was.get(one, "-")) for one in fixed]),
        ("failing before, too, or not compared", [(one["dimension"], one["case"], one["reason"]) for one in others]),
    ):
        text += _folded(title, [_entry(*one) for one in entries], COMMENT_LIMIT - len(text) - 200)
    return text


def _failed(at: ET.Element, row: JsonObject, one: JsonObject) -> None:
    reason = "sealed case" if one["reason"] is None else one["reason"]
    if one["case"] in row["waived"]:
        _told(at, "skipped", f"waived: {reason}")
    elif row["verdict"] == "BLOCK":
        _told(at, "failure", reason, "broke" if one["case"] in row["broke"] else "failed")
    else:
        _told(at, "skipped", f"failed, and the dimension passes all the same: {reason}")


def _told(at: ET.Element, what: str, message: str, kind: str | None = None) -> None:
    ET.SubElement(at, what, {"message": visible(message)} | ({"type": kind} if kind else {}))


def _xml(root: ET.Element) -> str:
    """With counts on every suite, and on all of them together, as the readers of this format want."""
    for suite in [*root, root]:
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(name, str(sum(1 for _ in suite.iter(tag))))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _table_row(row: JsonObject) -> str:
    seen = row["kind"] != "not_observed"
    floor = "all" if row["kind"] == "zero_tolerance" else "–" if row["floor"] is None else f"{row['floor']:.2f}"
    cells = [
        row["dimension"],
        f"{ICON.get(row['verdict'], '–')} {row['verdict'] if seen else 'not observed'}",
        row["n"],
        f"{row['rate']:.3f}" if seen else "–",
        f"{row['low']:.3f}–{row['high']:.3f}" if seen else "–",
        floor,
        "–" if row["baseline_rate"] is None else f"{row['baseline_rate']:.3f}",
        len(row["broke"]),
        len(row["fixed"]),
        "–" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _entry(dimension: str, case: str, reason: str | None) -> str:
    return f"- {_code(case)} {dimension}: {'sealed case' if reason is None else _code(reason)}"


def _folded(title: str, entries: Sequence[str], room: int) -> str:
    """As many entries as there is room for, and how many there is none for."""
    head, foot = f"\n\n<details><summary>{len(entries)} {title}</summary>\n\n", "\n\n</details>"
    if not entries or room < len(head) + len(foot) + 100:
        return ""
    room -= len(head) + len(foot)
    shown = sum(length <= room for length in accumulate(len(entry) + 1 for entry in entries))
    more = f"\n- … and {len(entries) - shown} more, in the HTML report" if shown < len(entries) else ""
    return head + "\n".join(entries[:shown]) + more + foot


def _code(text: str) -> str:
    """Text in one line, as a code span fenced by more backticks than it has in a row."""
    line = " ".join(visible(text).split())[:400] or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"
