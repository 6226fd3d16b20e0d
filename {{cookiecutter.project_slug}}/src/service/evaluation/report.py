"""A graded and judged run as JSON, for machines, for the next comparison, and for whoever asks why.

It begins with what a release needs to be activated (digest, suite, target, verdict, at). `report_text`, `report_html`
and `report_ci` show it; `summary` is what is kept of it. Nothing in it is a number that somebody typed.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from service.application.decision import JsonObject, Source
from service.evaluation.calibration import calibration
from service.evaluation.cases import CaseClass, Dimension, EvalCase
from service.evaluation.gate import Judged
from service.evaluation.results import HarnessFailed, Run, Sample, Score, Scores
from service.evaluation.scorers import ACROSS_VARIANTS
from service.evaluation.statistics import paired_ratio

STAND_IN = "stand-in"
STAND_IN_NOTE = (
    "stand-in: this run checks the pipeline, not a model; set MODEL_URL and MODEL_NAME to evaluate a real one"
)
UNKNOWN_LABEL, NO_LABEL = "(other)", "(none)"  # columns of what the contract does not know, and of no label at all
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def build_report(run: Run, judged: Judged, baseline: JsonObject | None) -> JsonObject:
    """The report, every value plain JSON. `digest` is the release's; the suite's is in `suite` (12 digits), too.

    Whatever name a target was given: if the stand-in signed one answer, the target is the stand-in.
    """
    answered = [sample.answer for sample in run.samples.values() if sample.answer is not None]
    by_model = [a for a in answered if a.get("source") in (Source.MODEL, Source.BACKUP)]
    signed = any(STAND_IN in str(answer.get("model_version")) for answer in answered)
    target = STAND_IN if signed else run.target
    as_written = {name: of for name, of in run.scores.items() if name not in ACROSS_VARIANTS}
    report: JsonObject = {
        "digest": run.release,
        "suite": f"{run.suite.name}@{run.suite.digest[:12]}",
        "target": target,
        "verdict": judged.verdict,
        "at": run.at.isoformat(timespec="seconds"),
        "note": STAND_IN_NOTE if target == STAND_IN else None,
        "why": judged.why,
        "suite_digest": run.suite.digest,
        "asked": run.suite.asked,
        "read": run.suite.read,
        "holdout": len(run.suite.holdout),
        "fingerprint": run.fingerprint,
        "baseline": baseline and named(baseline),
        "cases": len(run.suite.cases),
        "items": len(run.items) // run.repeats,
        "repeats": run.repeats,
        "models": sorted({str(answer.get("model_version")) for answer in by_model}),
        "sources": Counter(str(answer.get("source")) for answer in answered),
        "reasons": Counter(str(reason) for answer in answered if (reason := answer.get("reason"))),
        "problems": Counter(sample.problem for sample in run.samples.values() if sample.answer is None),
        "dimensions": [asdict(row) for row in judged.rows],
        "classes": classes({case.id: case.case_class for case in run.suite.cases}, as_written),
        "failures": _failures(run),
        "confusion": _confusion(run),
        "calibration": calibration(_confidences(run)),
        "efficiency": efficiency(run, baseline),
        "warnings": [*judged.warnings, *_no_model(run)],
        "answers": {case.id: _answer(run, case) for case in run.suite.cases},
        "variants": {
            name: {id_: _shown(run, id_, score) for id_, score in run.scores.get(name, {}).items()}
            for name in ACROSS_VARIANTS
        },
    }
    return {key: _plain(value) for key, value in report.items()}


def named(report: JsonObject) -> JsonObject:
    """What says which report this is."""
    return {key: report[key] for key in ("target", "digest", "at", "suite_digest")}


def _no_model(run: Run) -> list[str]:
    """A warning where every answer is somebody else's than a model's."""
    sources = {sample.answer.get("source") for sample in run.samples.values() if sample.answer is not None}
    others = sources - {Source.MODEL.value, Source.BACKUP.value, Source.CACHE.value}
    return ["no answer is a model's: the scores are those of the rules"] if sources and sources == others else []


def summary(report: JsonObject) -> JsonObject:
    """The report without messages and answers: what is stored with a release."""
    return {key: value for key, value in report.items() if key not in ("answers", "variants", "read")}


def scores_of(report: JsonObject) -> Scores:
    """The scores that a report was made of. Raises `HarnessFailed` for JSON that is no whole report."""
    scores: dict[Dimension, dict[str, Score]] = {}
    try:
        found = [(name, case, of) for case, row in report["answers"].items() for name, of in row["scores"].items()]
        found += [(name, case, of) for name, by_case in report["variants"].items() for case, of in by_case.items()]
        for name, case, (value, reason) in found:
            scores.setdefault(Dimension(name), {})[case] = Score(float(value), str(reason))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"not a whole report with its answers ({type(error).__name__}: {error}): make it again"
        raise HarnessFailed([problem]) from None
    return scores


def _samples(run: Run, case: EvalCase) -> list[Sample]:
    """What became of the case as it is written, each repeat."""
    return [run.samples[case.id, "", repeat] for repeat in range(1, run.repeats + 1)]


def _answer(run: Run, case: EvalCase) -> JsonObject:
    """The first repeat's answer, the scores and mean seconds of all of them. Of a sealed case the scores only."""
    own = {name: of for name, of in run.scores.items() if case.id in of and name not in ACROSS_VARIANTS}
    scores = {name: _shown(run, case.id, of[case.id]) for name, of in own.items()}
    if case.id in run.suite.holdout:
        return {"class": case.case_class, "holdout": True, "scores": scores}
    first = _samples(run, case)[0]
    answer = first.answer or {}
    return {
        "class": case.case_class,
        "message": {"subject": case.ticket.subject, "body": case.ticket.body},
        "expected": case.expected.model_dump(mode="json"),
        "outcome": first.outcome or None,
        **{name: answer.get(name) for name in ("disposition", "source", "reason")},
        "problem": first.problem,
        "seconds": _seconds(run, case),
        "cost_usd": _price(run, case),
        "scores": scores,
    }


def _shown(run: Run, id_: str, score: Score) -> list[Any]:
    return [score.value, "" if id_ in run.suite.holdout else score.reason]


def classes(of_case: Mapping[str, str], scores: Scores) -> list[JsonObject]:
    """Per class: how many cases, and how many of them passed on everything that they have scores on."""
    failed = {case for of in scores.values() for case, score in of.items() if not score.passed}
    members = {name.value: [case for case, its in of_case.items() if its == name] for name in CaseClass}
    return [{"class": name, "n": len(of), "passed": len(set(of) - failed)} for name, of in members.items() if of]


def _failures(run: Run) -> list[JsonObject]:
    """In the suite's order. Of a sealed case its id and the dimension only, or it would not be sealed for long."""
    cases, rows = {case.id: case for case in run.suite.cases}, []
    for id_ in (*cases, *(template.id for template in run.suite.templates)):
        case, sealed = cases.get(id_), id_ in run.suite.holdout
        failed = {name: of[id_] for name, of in run.scores.items() if id_ in of and not of[id_].passed}
        rows += [
            {
                "case": id_,
                "class": case.case_class if case else "counterfactual",
                "dimension": dimension,
                "value": round(score.value, 4),
                "reason": None if sealed else score.reason,
                "feature": case.feature if case and not sealed else None,
            }
            for dimension, score in failed.items()
        ]
    return rows


def _confusion(run: Run) -> JsonObject:
    """First repeats. The row is the first accepted label, unless the answer is another accepted one."""
    known = [label.value for label in type(run.suite.cases[0].expected.categories[0])]
    cells: Counter[tuple[str, str]] = Counter()
    for case in run.suite.cases:
        accepted, got = case.expected.categories, _samples(run, case)[0].outcome.get("category")
        column = NO_LABEL if got is None else got if got in known else UNKNOWN_LABEL
        cells[column if column in accepted else accepted[0].value, column] += 1
    labels = [label for label in (*known, UNKNOWN_LABEL, NO_LABEL) if any(label in cell for cell in cells)]
    return {"labels": labels, "counts": [[cells[row, column] for column in labels] for row in labels]}


def _confidences(run: Run) -> list[tuple[float, bool]]:
    """What a model said of its own label, and whether it was right. First repeats: others are no further cases."""
    pairs = []
    for case in run.suite.cases:
        first = _samples(run, case)[0]
        sure = first.outcome.get("confidence")
        if isinstance(sure, int | float) and 0 <= sure <= 1 and (first.answer or {}).get("source") != Source.RULES:
            pairs.append((float(sure), first.outcome.get("category") in case.expected.categories))
    return pairs


def efficiency(run: Run, baseline: JsonObject | None) -> JsonObject:
    """Over all messages sent, variants and repeats too. Ratios: now to before, of the same cases, None without any.

    A price is None when any part of it is unknown: a sum of what happens to be known would look cheap.
    """
    samples = list(run.samples.values())
    seconds = sorted(sample.seconds for sample in samples)
    usages = [(sample.answer or {}).get("usage") or {} for sample in samples]
    costs = [_cost(sample) for sample in samples if sample.answer is not None]
    mean_cost = _mean(costs)
    before = (baseline or {}).get("answers") or {}
    both = [case for case in run.suite.cases if "seconds" in before.get(case.id, {})]
    return {
        "p50_s": round(_rank(seconds, 0.50), 4),
        "p95_s": round(_rank(seconds, 0.95), 4),
        "max_s": round(seconds[-1], 4),
        "input_tokens": sum(usage.get("input_tokens") or 0 for usage in usages),
        "output_tokens": sum(usage.get("output_tokens") or 0 for usage in usages),
        "mean_cost_usd": mean_cost,
        "total_cost_usd": None if mean_cost is None else mean_cost * len(costs),
        "latency_ratio": ratio([(before[case.id]["seconds"], _seconds(run, case)) for case in both]),
        "cost_ratio": ratio([(before[case.id].get("cost_usd"), _price(run, case)) for case in both]),
        "requests_per_s": round(len(samples) / run.seconds, 2) if run.seconds else None,
    }


def _seconds(run: Run, case: EvalCase) -> float:
    return round(fmean(sample.seconds for sample in _samples(run, case)), 4)


def _price(run: Run, case: EvalCase) -> float | None:
    return _mean([_cost(sample) for sample in _samples(run, case)])


def _cost(sample: Sample) -> float | None:
    cost = ((sample.answer or {}).get("usage") or {}).get("cost_usd")
    return float(cost) if isinstance(cost, int | float) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(pairs: Iterable[tuple[float | None, float | None]]) -> Sequence[float] | None:
    """`paired_ratio` of the pairs, before and after, of which both are known."""
    known = [(old, new) for old, new in pairs if old and new]
    return paired_ratio(before=[old for old, _ in known], after=[new for _, new in known]) if known else None


def _plain(value: Any) -> Any:
    """The same as JSON has it, without the two things that a database or UTF-8 cannot hold."""
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\ufffd", value)
    return [_plain(inner) for inner in value] if isinstance(value, Iterable) else value
