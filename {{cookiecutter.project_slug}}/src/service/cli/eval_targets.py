"""`svc eval baseline` and `svc eval compare`: a suite on another target, and one report against another."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.application.decision import JsonObject
from service.cli import eval as local
from service.cli.eval_report import indented, judged, write
from service.cli.eval_run import EnvironmentFailed, Reached, Target, run_suite
from service.evaluation.adapters import OWN, Adapter, AdapterError, load_adapter
from service.evaluation.cases import CaseClass, Dimension
from service.evaluation.results import Run, Scores
from service.evaluation.scorers import ACROSS_VARIANTS
from service.evaluation.suites import Suite, SuiteError, load_suite, suite_folder
from service.evaluation.targets import HttpTarget, open_target
from service.settings import Settings

PREFLIGHT = 3  # messages; when none is answered, the address or the adapter is wrong


def baseline(  # noqa: PLR0913 - each is an option
    suite: local.SuiteName = local.DEFAULT,
    target: Annotated[str, typer.Option(help="local, or the http(s):// address of a target.")] = "local",
    adapter: Annotated[
        Path | None, typer.Option(help="How the target is asked; without it, as this service is.")
    ] = None,
    repeats: local.Repeats = 3,
    yes_it_writes: Annotated[
        bool, typer.Option("--yes-it-writes", help="The target's real side effects are wanted, thousands of times.")
    ] = False,
    fresh: local.Fresh = False,
    concurrency: local.AtOnce = 8,
    reason: Annotated[str, typer.Option(help="Why it is accepted although it blocks; kept in the file.")] = "",
) -> None:
    """Accept a run as what later runs are compared with; of another target, find its boundaries, too."""
    if target == "local":
        if adapter:
            raise typer.BadParameter("an adapter needs --target URL")
        local.accept_local(suite, repeats, fresh, concurrency, reason)
        return
    with local.explained():
        asked = load_adapter(adapter) if adapter else OWN
        if asked.side_effects == "real" and not yes_it_writes:
            raise AdapterError(
                f"{asked.name} has real side effects ({asked.side_effects_note}), and a run is thousands of messages: "
                "point it at a copy, or add --yes-it-writes"
            )
        folder = suite_folder(suite)
        report = asyncio.run(_measure(load_suite(folder), asked, target, repeats, fresh))
        _write_baseline(report, asked, folder)


def compare(
    before: Annotated[str, typer.Argument(help="A baseline's name, a report's file, or `latest`.")],
    after: Annotated[str, typer.Argument(help="The same; this one is judged.")],
    suite: local.SuiteName = local.DEFAULT,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as one HTML page.")] = None,
) -> None:
    """Judge one report against another: the same paired test, on what both observed and both ran."""
    with local.explained():
        from service.evaluation.report_html import as_html
        from service.evaluation.report_text import as_text

        folder = suite_folder(suite)
        old, new = _report(before, folder), _report(after, folder)
        report = compared(old, new, load_suite(folder))
        if html:
            write(html, as_html(report, old))
        print(as_text(report, str(html or after)))
    raise typer.Exit(local.EXIT[report["verdict"]])


def compared(old: JsonObject, new: JsonObject, suite: Suite) -> JsonObject:
    """The report on `new` with `old` as its baseline. Raises `SuiteError` when they have nothing in common."""
    from service.evaluation import gate
    from service.evaluation.report import classes, named, ratio, scores_of

    mine, theirs, dropped = scores_of(new), scores_of(old), 0
    if old["asked"] != new["asked"]:
        mine, dropped = _unchanged(mine, old, new)
    both = {name: {case: of[case] for case in of if case in theirs.get(name, {})} for name, of in mine.items()}
    both = {name: of for name, of in both.items() if of}
    if not both:
        raise SuiteError("the two reports have no case in common, on no dimension")
    judged_cases, unobserved = {case for of in both.values() for case in of}, frozenset(Dimension) - both.keys()
    verdict = gate.judge(both, suite.floors, (), theirs, datetime.now(UTC).date(), None, unobserved)
    as_written = {name: of for name, of in both.items() if name not in ACROSS_VARIANTS}
    cases = sorted(set(old["answers"]) & set(new["answers"]))
    latency = ratio((old["answers"][case].get("seconds"), new["answers"][case].get("seconds")) for case in cases)
    warnings = [f"the suite changed between them: {dropped} case(s) are left out"] if dropped else []
    return new | {
        "verdict": verdict.verdict.value,
        "why": verdict.why,
        "baseline": named(old),
        "cases": len(judged_cases & set(cases)),
        "dimensions": json.loads(json.dumps([asdict(row) for row in verdict.rows])),
        "classes": classes(
            {case: row["class"] for case, row in new["answers"].items() if case in judged_cases}, as_written
        ),
        "failures": [one for one in new["failures"] if one["case"] in both.get(Dimension(one["dimension"]), {})],
        "efficiency": new["efficiency"] | {"latency_ratio": latency and list(latency), "cost_ratio": None},
        "warnings": [*verdict.warnings, *warnings],
    }


def _unchanged(scores: Scores, old: JsonObject, new: JsonObject) -> tuple[Scores, int]:
    """The scores of cases and templates that say and expect the same in both, and how many there are that do not."""
    same = {id_ for id_, digest in new["read"].items() if old["read"].get(id_) == digest}
    kept = {name: {case: score for case, score in of.items() if case in same} for name, of in scores.items()}
    return kept, len(new["read"]) - len(same)


def _report(name: str, folder: Path) -> JsonObject:
    known = {"latest": Settings().var_dir / "eval" / "report.json"}
    file = Path(name) if name.endswith(".json") else known.get(name, folder / "baselines" / f"{name}.json")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        there = ", ".join(sorted(path.stem for path in (folder / "baselines").glob("*.json"))) or "none"
        raise SuiteError(f"{file}: no such report; baselines here: {there}") from None
    except ValueError:
        report = None
    if isinstance(report, dict) and {"answers", "dimensions", "asked", "read", "failures", "efficiency"} <= set(report):
        return report
    raise SuiteError(f"{file}: not a whole report with its answers, as `svc eval` leaves in VAR_DIR/eval/")


async def _measure(suite: Suite, adapter: Adapter, url: str, repeats: int, fresh: bool) -> JsonObject:
    """The report, with what was found beyond the suite."""
    from service.evaluation.boundaries import boundaries
    from service.evaluation.stress import consistency, failures, under_load

    async with open_target(url, adapter, os.environ) as remote:
        run, _ = await run_suite(
            suite, _as_target(remote, suite), Settings().var_dir, repeats, fresh, sys.stdout.isatty()
        )
        report = _judged(run, adapter)
        broken = {case for (case, _, _), sample in run.samples.items() if sample.problem}
        working = [case for case in suite.cases if case.id not in broken and case.case_class is CaseClass.CORE]
        stress = {
            "consistency": consistency(run.samples),
            "load": await under_load(remote, working) if working else None,
            "failures": await failures(remote, (working or suite.cases)[0]),
        }
    return report | {"stress": stress | {"boundaries": boundaries(report, suite, adapter, stress)}}


def _as_target(remote: HttpTarget, suite: Suite) -> Target:
    adapter = remote.adapter

    @asynccontextmanager
    async def reach() -> AsyncIterator[Reached]:
        first = [await remote.ask(case.ticket) for case in suite.cases[:PREFLIGHT]]
        if all(sample.problem for sample in first):
            raise EnvironmentFailed(
                f"{adapter.name} at {remote.url} answers none of the first {len(first)} messages: {first[0].problem}; "
                "check the address, and the adapter against one of its replies"
            )
        yield Reached(remote.ask)

    decides = {"url": remote.url, "adapter": adapter.model_dump(mode="json", by_alias=True)}
    name = adapter.name
    return Target(name, name, name, reach, model=name, decides=decides, concurrency=adapter.concurrency)


def _judged(run: Run, adapter: Adapter) -> JsonObject:
    seen = {dimension: of for dimension, of in run.scores.items() if dimension in adapter.observes}
    # A waiver is a promise about this service, not about the target.
    run = replace(run, scores=seen, suite=replace(run.suite, waivers=()))
    report = judged(run, None, frozenset(Dimension) - adapter.observes)
    return report if adapter.maps("confidence") else report | {"calibration": None}


def _write_baseline(report: JsonObject, adapter: Adapter, folder: Path) -> None:
    from service.evaluation.boundaries import as_markdown, as_text

    file = folder / "baselines" / f"{adapter.name}.json"
    write(file, indented(report))
    write(file.with_suffix(".md"), as_markdown(report, adapter))
    print(as_text(report))
    print(f"baseline: {file}; for people: {file.with_suffix('.md')}")
