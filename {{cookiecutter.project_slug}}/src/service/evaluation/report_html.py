"""A report as one HTML file that needs nothing else: no network, no other file, no script to be read.

Everything shown passes through `visible` and Jinja's escaping, whatever a customer or a model wrote; the page's policy
lets only its own style and script run, known by their hashes. Needs the dependency group `eval`.
"""

import base64
import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from service.application.decision import JsonObject
from service.evaluation.report_text import NO_BASELINE, ordered_failures, visible

LONG = 60  # characters; longer text is compared word by word
Diff = list[tuple[bool, str]]


def as_html(report: JsonObject, baseline: JsonObject | None = None) -> str:
    """The page. With the `baseline` report that it was compared with, the earlier answers and figures stand beside."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
    )
    environment.filters |= {"n3": lambda number: f"{number:.3f}", "flat": _flat, "hash": _hash}
    before = {row["dimension"]: row for row in (baseline or {}).get("dimensions", [])}
    rows = [row | {"before": before.get(row["dimension"])} for row in report["dimensions"]]
    broke, fixed = _changes(report, baseline, "broke"), _changes(report, baseline, "fixed")
    return environment.get_template("report.html").render(
        r=report,
        before=baseline,
        no_baseline=NO_BASELINE,
        rows=rows,
        axis=_Axis(rows),
        broke=broke,
        fixed=fixed,
        failing=_failing(report, baseline, {change["case"] for change in broke}),
        ratio_x=lambda ratio: round(50 + 50 * max(-1.0, min(1.0, math.log2(ratio))), 2),
    )


class _Axis:
    """Where a rate stands between the lowest thing shown, rounded down to a tenth, and 1: in percent of the width."""

    def __init__(self, rows: list[JsonObject]) -> None:
        shown = [row for row in rows if row["kind"] != "not_observed"]
        ends = [row["low"] for row in shown] + [row["floor"] for row in shown if row["floor"] is not None]
        ends += [row["before"]["low"] for row in shown if row["before"] and row["before"]["low"] is not None]
        ends += [row["baseline_rate"] for row in shown if row["baseline_rate"] is not None]
        self.low = min(0.9, math.floor(min(ends, default=0.0) * 10) / 10)

    @property
    def ticks(self) -> list[float]:
        """Both ends and the middle."""
        return [self.low, (self.low + 1) / 2, 1.0]

    def x(self, rate: float) -> float:
        """0 to 100."""
        return round(100 * (rate - self.low) / (1 - self.low), 2)


def _changes(report: JsonObject, baseline: JsonObject | None, what: str) -> list[JsonObject]:
    """The cases of which a dimension broke (or was fixed), each once, with both answers."""
    failed = (report if what == "broke" else baseline or {}).get("failures", [])  # who saw it fail knows why
    why = {(one["case"], one["dimension"]): one["reason"] for one in failed}
    by_case: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for row in report["dimensions"]:
        for case in row[what]:
            by_case[case].append((row["dimension"], why.get((case, row["dimension"]))))
    return [_case(report, baseline, case) | {"reasons": reasons} for case, reasons in by_case.items()]


def _failing(report: JsonObject, baseline: JsonObject | None, broke: set[str]) -> list[JsonObject]:
    """Every failing case once, with what failed; those that broke first."""
    by_case: dict[str, list[JsonObject]] = defaultdict(list)
    for failure in ordered_failures(report):
        by_case[failure["case"]].append(failure)
    return [
        _case(report, baseline, case)
        | {name: failures[0][name] for name in ("class", "feature")}
        | {
            "reasons": [(failure["dimension"], failure["reason"]) for failure in failures],
            "broke": case in broke,
        }
        for case, failures in by_case.items()
    ]


def _case(report: JsonObject, baseline: JsonObject | None, case: str) -> JsonObject:
    now = report.get("answers", {}).get(case, {})
    before = (baseline or {}).get("answers", {}).get(case, {})
    return {
        "case": case,
        "class": now.get("class", "counterfactual"),
        "message": now.get("message"),
        "expected": now.get("expected") or {},
        "fields": _side_by_side(before, now) if "message" in now else [],
    }


def _side_by_side(before: JsonObject, now: JsonObject) -> list[tuple[str, Diff, Diff]]:
    """Field by field what was answered before and now, as pieces that say whether they differ."""
    old, new = _fields(before), _fields(now)
    return [(name, *_diff(old.get(name), new.get(name))) for name in {**new, **old}]


def _fields(answer: JsonObject) -> dict[str, str]:
    outcome = answer.get("outcome") or {}
    told = {name: answer.get(name) for name in ("disposition", "source", "reason", "problem")}
    return {name: _flat(value) for name, value in {**outcome, **told}.items() if value not in (None, [], "")}


def _diff(old: str | None, new: str | None) -> tuple[Diff, Diff]:
    if old is None or new is None or old == new or max(len(old), len(new)) < LONG:
        differs = old is not None and new is not None and old != new
        return [(differs, old or "–")], [(differs, new or "–")]
    a, b = re.split(r"(\s+)", old), re.split(r"(\s+)", new)
    steps = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    left = [(kind != "equal", "".join(a[start:end])) for kind, start, end, _, _ in steps]
    return left, [(kind != "equal", "".join(b[start:end])) for kind, _, _, start, end in steps]


def _flat(value: Any) -> str:
    """A value in a line: lists by comma, of objects the values."""
    if isinstance(value, list):
        return ", ".join(_flat(one) for one in value)
    if isinstance(value, Mapping):
        return " ".join(_flat(one) for one in value.values())
    return value if isinstance(value, str) else json.dumps(value)


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
