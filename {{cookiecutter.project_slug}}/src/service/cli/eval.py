"""`svc eval`: an evaluation suite through the whole service, against a model endpoint or the stand-in."""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.release import Release
from service.cli.eval_report import Wanted, indented, judged, publish, record, tell, write
from service.cli.eval_run import EnvironmentFailed, Target, fingerprint, load_baseline, run_suite
from service.evaluation.cases import Dimension
from service.evaluation.results import HarnessFailed, ModelOut, Run
from service.evaluation.suites import Suite, SuiteError, load_suite, suite_folder
from service.inference.prompts import PromptError
from service.integration.database.migrate import project_root
from service.settings import Settings, SettingsError

EXIT = {"PASS": 0, "BLOCK": 1, "INCONCLUSIVE": 2}
WRONG_USE, HARNESS_FAILED = 2, 3
DEFAULT = "triage"

app = typer.Typer(
    help="Run the evaluation suite. Exit 0: PASS, 1: BLOCK, 2: INCONCLUSIVE or wrong use, 3: nothing was judged.",
    invoke_without_command=True,
    add_completion=False,
)
SuiteName = Annotated[str, typer.Option("--suite", help="Folder under evals/, or a path to one.")]
Repeats = Annotated[int, typer.Option(min=1, max=20, help="How often each message is sent.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask for every answer again, kept or not.")]
AtOnce = Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Messages at once.")]


@app.callback()
def main(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    suite: SuiteName = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write what is kept of the report here, for reports/.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown, for a pull request.")] = None,
    repeats: Repeats = 1,
    fresh: Fresh = False,
    concurrency: AtOnce = 8,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Only if no committed report says PASS for the same fingerprint.")
    ] = False,
) -> None:
    """Run the evaluation suite."""
    if context.invoked_subcommand:
        return
    wanted = Wanted(as_json, out, html, junit, markdown)
    with explained(junit):
        config, folder, loaded, target = _prepared(suite, None, holdout=False, concurrency=concurrency)
        if if_changed and (known := _passed_before(folder, loaded, target)):
            print(f"nothing that decides the verdict has changed since {known}: PASS")
            return
        report = _evaluate(config, folder, loaded, target, repeats, fresh, wanted)
    raise typer.Exit(EXIT[report["verdict"]])


def evaluate_release(release: Release, repeats: int = 3) -> None:
    """Run the suite of its use case with the sealed cases on this release, and exit like `svc eval`."""
    with explained():
        suite = str(project_root() / "evals" / release.use_case)
        config, folder, loaded, target = _prepared(suite, release, holdout=True)
        report = _evaluate(config, folder, loaded, target, repeats, False, Wanted())
    raise typer.Exit(EXIT[report["verdict"]])


def accept_local(suite: str, repeats: int, fresh: bool, concurrency: int, reason: str) -> None:
    """Accept a run, sealed cases included, as what later runs are compared with, and say what it was judged.

    One that blocks, also against the baseline that it replaces, is accepted for a `reason` only.
    """
    from service.evaluation.report_text import as_text

    with explained():
        _, folder, loaded, target = _prepared(suite, None, holdout=True, concurrency=concurrency)
        file = folder / "baselines" / f"{target.baseline}.json"
        try:
            before = load_baseline(folder, target.baseline, loaded)
        except HarnessFailed:  # of another suite, or damaged: that is why a new one is accepted
            before = None
        report = judged(_run(loaded, target, repeats, fresh), before)
        accepted = report["verdict"] != "BLOCK" or bool(reason.strip())
        if accepted:
            write(file, indented(report | {"accepted_because": reason}))
    print(as_text(report, str(file)))
    if not accepted:
        _say("not accepted, for it blocks: mend that, or give a --reason, which the file keeps")
        raise typer.Exit(EXIT["BLOCK"])
    print(f"accepted as the baseline: {file}")


def _prepared(
    suite: str, release: Release | None, holdout: bool, concurrency: int = 8
) -> tuple[Settings, Path, Suite, Target]:
    # The report counts why answers were not the model's; a log line for each on stderr would bury what is said there.
    logging.getLogger("service").addHandler(logging.NullHandler())
    from service.cli.local_service import local_target

    config = Settings()
    folder = suite_folder(suite)
    return config, folder, load_suite(folder, holdout), local_target(config, release, concurrency)


def _run(suite: Suite, target: Target, repeats: int, fresh: bool) -> Run:
    run, kept = asyncio.run(run_suite(suite, target, Settings().var_dir, repeats, fresh, sys.stderr.isatty()))
    if kept:
        _say(f"{kept} of {len(run.items)} answers are kept ones of an earlier run; --fresh asks again")
    return run


def _evaluate(  # noqa: PLR0913
    config: Settings, folder: Path, suite: Suite, target: Target, repeats: int, fresh: bool, wanted: Wanted
) -> JsonObject:
    before = load_baseline(folder, target.baseline, suite)
    report = judged(_run(suite, target, repeats, fresh), before)
    publish(report, before, config, wanted)
    tell(report, record(report, config, folder), config, wanted)
    return report


def _passed_before(folder: Path, suite: Suite, target: Target) -> str | None:
    """The committed file that says PASS for this fingerprint."""
    from service.evaluation.report import named

    mark = fingerprint(suite, target)["digest"]
    before = load_baseline(folder, target.baseline, suite)
    for file in sorted((folder / "reports").glob("*.json")):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            alike = report["fingerprint"]["digest"] == mark and report["target"] == target.name
            judged_all = {row["dimension"] for row in report["dimensions"] if row["verdict"] == "PASS"}
            compared = report["baseline"] == (named(before) if before else None)
            if alike and compared and report["verdict"] == "PASS" and judged_all == set(Dimension):
                return str(file)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


@contextmanager
def explained(junit: Path | None = None) -> Iterator[None]:
    """Ends the process for whatever goes wrong in the block: exit 2 for wrong use, 3 when nothing was judged.

    Exit 1 would claim that a release is bad. With `junit` the problems of a harness failure are written there.
    """
    try:
        yield
    except SuiteError as error:
        _say(str(error))
        sys.exit(WRONG_USE)
    except (SettingsError, PromptError, Invalid, Unavailable, typer.Exit):
        raise  # `svc` has a line and an exit code for each of them
    except Exception as error:
        problems = _explain(error)
        if junit:
            from service.evaluation.report_ci import junit_of_problems

            write(junit, junit_of_problems(problems))
        sys.exit(HARNESS_FAILED)


def _explain(error: Exception) -> list[str]:
    """Says what went wrong on standard error; returns it, a line each."""
    if isinstance(error, HarnessFailed):
        for problem in error.problems[:10]:
            _say(f"harness: {problem}")
        _say(f"harness failed, {len(error.problems)} problem(s): nothing is proven")
        return error.problems
    if isinstance(error, EnvironmentFailed | ModelOut):
        _say(str(error))
        return [str(error)]
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in ("pydantic_evals", "jinja2"):
        _say(f"{error.name} is not installed: `uv sync --group eval`")
        return [f"{error.name} is not installed"]
    traceback.print_exception(error)
    _say("harness failed on the error above: nothing is proven")
    return [f"{type(error).__name__}: {error}"]


def _say(line: str) -> None:
    print(f"svc eval: {line}", file=sys.stderr)
