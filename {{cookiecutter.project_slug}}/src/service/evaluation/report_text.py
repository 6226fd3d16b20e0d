"""A report for people at a terminal: one screen, the worst first. And how any stored text is made fit to be shown."""

import re
from collections.abc import Mapping, Sequence
from textwrap import wrap

from service.application.decision import JsonObject

WIDTH, FAILURES, WARNINGS = 120, 12, 3
NO_BASELINE = "no baseline yet: accept a run by `svc eval baseline`"
# Control, invisible, direction and private plumbing characters. Newline and tab stay, and what emoji are joined by.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)


def visible(text: object) -> str:
    """Hidden characters by their number: a terminal, a browser and an XML parser all show what is really there."""
    return _HIDDEN.sub(lambda one: f"⟨U+{ord(one.group()):04X}⟩", str(text).replace("\r\n", "\n"))


def counts(counter: Mapping[str, int]) -> str:
    """`one 3, two 5`, by name."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def ordered_failures(report: JsonObject) -> list[JsonObject]:
    """Newly broken first, then those of dimensions that block, then the others; `broke` says which are new."""
    rows = {row["dimension"]: row for row in report["dimensions"]}
    known = [(one, rows[one["dimension"]]) for one in report["failures"]]
    told = [one | {"broke": one["case"] in row["broke"], "blocks": row["verdict"] == "BLOCK"} for one, row in known]
    return sorted(told, key=lambda one: (not one["broke"], not one["blocks"]))


def as_text(report: JsonObject, rest: str = "the HTML report") -> str:
    """One screen of at most 45 lines. `rest`: where the failures are that found no room."""
    lines = [
        *([report["note"]] if report["note"] else []),
        *_head(report),
        "",
        "dimension       n   rate  95 % interval floor  before broke fixed  p (Holm)  verdict",
        *(_row(row) for row in report["dimensions"]),
        "",
        *_classes(report),
        efficiency_line(report["efficiency"]),
        *([calibration_line(report["calibration"])] if report["calibration"] else []),
        *(f"warning: {line}" for line in _some(report["warnings"], WARNINGS, "warnings", rest)),
        "",
        *_some([_failure(failure) for failure in ordered_failures(report)], FAILURES, "failures", rest),
    ]
    verdict = visible(f"{report['verdict']}: {report['why']}")  # the one line that is never cut
    return "\n".join([*(_cut(line) for line in lines), " ".join(verdict.split())])


def efficiency_line(e: JsonObject) -> str:
    """Latency, tokens and price, with the ratio to the baseline where there is one."""
    cost = "price unknown" if e["total_cost_usd"] is None else f"${e['total_cost_usd']:.4f}{_ratio(e['cost_ratio'])}"
    return (
        f"seconds: median {e['p50_s']:.2f}, p95 {e['p95_s']:.2f}, max {e['max_s']:.2f}{_ratio(e['latency_ratio'])}; "
        f"tokens {e['input_tokens'] / 1000:.0f}k+{e['output_tokens'] / 1000:.0f}k; {cost}"
    )


def calibration_line(c: JsonObject) -> str:
    """The calibration error beside what an honest model of as many cases would show, and two more figures."""
    beyond = "no more than" if c["ece"] <= c["ece_null_95"] else "ABOVE"
    return (
        f"calibration of {c['n']}: ECE {c['ece']:.3f}, {beyond} the {c['ece_null_95']:.3f} of a calibrated model (95 %)"
        f"; Brier {c['brier']:.3f}; surest tenth right {c['top_10_accuracy']:.2f}"
    )


def _head(report: JsonObject) -> list[str]:
    base, sealed = report["baseline"], f" ({report['holdout']} sealed)" if report["holdout"] else ""
    because = f" (because: {counts(report['reasons'])})" if report["reasons"] else ""
    problems = f"; no answer: {counts(report['problems'])}" if report["problems"] else ""
    return [
        f"suite {report['suite']}, {report['cases']} cases{sealed}, {report['items']} messages x {report['repeats']}, "
        f"release {report['digest'][:12]}, target {report['target']}",
        f"answered by: {counts(report['sources'])}{because}{problems}",
        f"compared with {base['target']}, {base['digest'][:12]}, of {base['at']}" if base else NO_BASELINE,
    ]


def _row(row: JsonObject) -> str:
    floor = {"zero_tolerance": "all", "not_observed": "-"}.get(row["kind"]) or f"{row['floor']:.2f}"
    if row["kind"] == "not_observed":
        return f"{row['dimension']:<13}{row['n']:>4} {'-':>6}  {'not observed':<13} {floor:>5}{'':>35}  {row['why']}"
    before, p = row["baseline_rate"], row["p_holm"]
    waived = f", {len(row['waived'])} waived" if row["waived"] else ""
    return (
        f"{row['dimension']:<13}{row['n']:>4} {row['rate']:>6.3f}  {row['low']:.3f}-{row['high']:.3f}   {floor:>5} "
        f"{'-' if before is None else format(before, '.3f'):>7} {len(row['broke']):>5} {len(row['fixed']):>5} "
        f"{'-' if p is None else format(p, '.2g'):>9}  {row['verdict']}{waived}"
    )


def _failure(failure: JsonObject) -> str:
    feature = f" ({failure['feature']})" if failure["feature"] else ""
    reason = "sealed case" if failure["reason"] is None else failure["reason"]
    return f"{'BROKE ' if failure['broke'] else 'failed'}  {failure['case']} {failure['dimension']}: {reason}{feature}"


def _some(lines: Sequence[str], most: int, what: str, rest: str) -> list[str]:
    over = [f"... and {len(lines) - most + 1} more {what}: see {rest}"] if len(lines) > most else []
    return [*lines[: most - len(over)], *over]


def _ratio(ratio: Sequence[float] | None) -> str:
    return f" ({ratio[0]:.2f} x before: {ratio[1]:.2f}-{ratio[2]:.2f})" if ratio else ""


def _classes(report: JsonObject) -> list[str]:
    line = ", ".join(f"{row['class']} {row['passed']}/{row['n']}" for row in report["classes"])
    return wrap(f"passed on everything: {line}", WIDTH, subsequent_indent="  ", max_lines=3, placeholder=" ...")


def _cut(line: str) -> str:
    line = " ".join(visible(line).splitlines())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
