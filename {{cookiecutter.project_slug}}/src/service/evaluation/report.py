"""A run as JSON for machines and as one screen for people.

The JSON begins with what a release needs to be activated {digest, suite, target, verdict, at}; the rest is
for whoever wants to know why.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from service.application.decision import JsonObject, Source
from service.evaluation.cases import CaseClass, Suite
from service.evaluation.gate import CaseResult, counts, judge, overall

STAND_IN = "stand-in"
STAND_IN_NOTE = (
    "stand-in: this run checks the pipeline, not a model; set MODEL_URL and MODEL_NAME to evaluate a real one"
)


def build_report(
    suite: Suite, results: Sequence[CaseResult], release_digest: str, target: str, at: datetime
) -> JsonObject:
    """The report. `digest` is the release's; the suite's own is in `suite` (12 digits) and `suite_digest`."""
    rows = judge(results, suite.floors)
    if any(STAND_IN in str(result.answer.get("model_version")) for result in results):
        target = STAND_IN  # it signs its answers, whatever address or name it was given
    return {
        "digest": release_digest,
        "suite": f"{suite.name}@{suite.digest[:12]}",
        "target": target,
        "verdict": overall(rows).value,
        "at": at.isoformat(timespec="seconds"),
        "note": STAND_IN_NOTE if target == STAND_IN else None,
        "suite_digest": suite.digest,
        "cases": len(results),
        "models": sorted({str(result.answer.get("model_version")) for result in results if _by_model(result)}),
        "sources": dict(Counter(str(result.answer.get("source")) for result in results)),
        "reasons": dict(Counter(str(reason) for result in results if (reason := result.answer.get("reason")))),
        "slowest_seconds": round(max(result.seconds for result in results), 3),
        "dimensions": [asdict(row) for row in rows],
        "classes": _classes(results),
        "failures": _failures(results),
    }


def _by_model(result: CaseResult) -> bool:
    return result.answer.get("source") in (Source.MODEL, Source.BACKUP)


def as_text(report: JsonObject) -> str:
    """The same, for a terminal."""
    lines = [report["note"]] if report["note"] else []
    reasons = f" (because: {counts(report['reasons'])})" if report["reasons"] else ""
    lines += [
        f"suite {report['suite']}, {report['cases']} cases, release {report['digest'][:12]}, target {report['target']}",
        f"answered by: {counts(report['sources'])}{reasons}; slowest {report['slowest_seconds']} s",
        "",
        f"{'dimension':<12} {'n':>4} {'passed':>7} {'rate':>6} {'low 95%':>8} {'floor':>6}  verdict",
        *(_table_line(row) for row in report["dimensions"]),
        "",
        "passed / judged by class: " + "; ".join(f"{c['class']} {c['passed']}/{c['n']}" for c in report["classes"]),
        "",
        *(_failure_line(failure) for failure in report["failures"]),
        f"{report['verdict']}: {_why(report)}",
    ]
    return "\n".join(lines)


def _classes(results: Sequence[CaseResult]) -> list[JsonObject]:
    """Per class: how many cases, and how many of them passed on everything they were judged on."""
    table = []
    for case_class in CaseClass:
        members = [result for result in results if result.case.case_class is case_class]
        clean = sum(all(score.passed for score in result.scores.values()) for result in members)
        if members:
            table.append({"class": case_class.value, "n": len(members), "passed": clean})
    return table


def _failures(results: Sequence[CaseResult]) -> list[JsonObject]:
    return [
        {
            "case": result.case.id,
            "class": result.case.case_class.value,
            "dimension": dimension.value,
            "reason": score.reason,
            "feature": result.case.feature,
        }
        for result in results
        for dimension, score in result.scores.items()
        if not score.passed
    ]


def _table_line(row: JsonObject) -> str:
    floor = "all" if row["floor"] is None else f"{row['floor']:.2f}"
    return (
        f"{row['dimension']:<12} {row['n']:>4} {row['passed']:>7} {row['rate']:>6.2f} "
        f"{row['wilson_low_95']:>8.3f} {floor:>6}  {row['verdict']}"
    )


def _failure_line(failure: JsonObject) -> str:
    feature = f" ({failure['feature']})" if failure["feature"] else ""
    return f"failed  {failure['case']} {failure['dimension']}: {failure['reason']}{feature}"


def _why(report: JsonObject) -> str:
    broken = [row["dimension"] for row in report["dimensions"] if row["verdict"] == "BLOCK"]
    return f"a floor is broken: {', '.join(broken)}" if broken else "every dimension reached its floor"
