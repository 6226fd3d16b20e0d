"""`svc eval`: an evaluation suite through the whole use case, against a model endpoint or the stand-in."""

import asyncio
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.identity import Role
from service.application.release import Release
from service.cli.eval_cases import app as cases
from service.cli.operator import signed_in
from service.cli.run import development_part
from service.evaluation.results import HarnessFailed
from service.evaluation.suites import Suite, SuiteError, load_suite
from service.integration.database.migrate import project_root
from service.integration.database.releases import record_report
from service.settings import Settings, require

PASS, BLOCK, WRONG_USE, HARNESS_FAILED = 0, 1, 2, 3
NO_KEY = "none"  # local model servers need no key, but an empty one makes no valid header


class EnvironmentFailed(Exception):
    """Something around the measurement is missing or broken, so nothing was measured."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The model to evaluate."""

    url: str
    name: str
    api_key: str


app = typer.Typer(invoke_without_command=True, add_completion=False)
app.add_typer(cases, name="cases")


@app.callback()
def eval_command(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help="Folder under evals/, or a path to one.")] = "triage",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    """Run a suite. Exit 0: PASS, 1: a floor is broken, 2: wrong use, 3: nothing was judged."""
    if context.invoked_subcommand is None:
        _run(suite, None, as_json, out)


def evaluate_release(release: Release) -> None:
    """Run the suite of its use case on this release, and exit like `svc eval`."""
    _run(release.use_case, release, as_json=False, out=None)


def _run(suite: str, release: Release | None, as_json: bool, out: Path | None) -> None:
    # The report counts why answers were not the model's; a log line for each on stderr would bury what is said there.
    logging.getLogger("service").addHandler(logging.NullHandler())
    config = Settings()
    if config.model.url:
        require(MODEL_NAME=config.model.name)
    try:
        folder = _suite_folder(suite)
        loaded = load_suite(folder)
    except SuiteError as error:
        _say(str(error))
        sys.exit(WRONG_USE)
    try:
        report = _evaluate(loaded, config, release, progress=not as_json and sys.stdout.isatty())
        why_not = _record(report, config, folder)
        _deliver(report, why_not, config, as_json, out)
    except Exception as error:  # whatever it was: exit 1 would claim that a floor is broken
        _explain(error)
        sys.exit(HARNESS_FAILED)
    sys.exit(PASS if report["verdict"] == "PASS" else BLOCK)


def _suite_folder(suite: str) -> Path:
    folder = Path("evals") / suite  # an absolute path stays what it is
    if not folder.is_dir():
        there = ", ".join(sorted(place.name for place in Path("evals").glob("*/"))) or "none"
        raise SuiteError(f"no suite at {folder}; run from the project's directory. Suites here: {there}")
    return folder


def _evaluate(suite: Suite, config: Settings, release: Release | None, progress: bool) -> JsonObject:
    with (
        tempfile.TemporaryDirectory(prefix="svc-eval-") as folder,
        _endpoint(config, Path(folder)) as endpoint,
    ):
        return asyncio.run(_measure(suite, endpoint, Path(folder), release, progress))


async def _measure(
    suite: Suite, endpoint: Endpoint, workdir: Path, release: Release | None, progress: bool
) -> JsonObject:
    from service.cli.in_process import evaluation_service
    from service.evaluation.gate import refuse_outage
    from service.evaluation.report import build_report
    from service.evaluation.runner import run_suite

    async with evaluation_service(endpoint.url, endpoint.name, endpoint.api_key, workdir, release) as service:
        results = await run_suite(suite, service.answer, progress=progress)
        refuse_outage(results)
        return build_report(suite, results, service.release.digest, service.target, datetime.now(UTC))


@contextmanager
def _endpoint(config: Settings, workdir: Path) -> Iterator[Endpoint]:
    """The model of MODEL_URL; without it the stand-in, for as long as the block lasts."""
    if config.model.url:
        yield Endpoint(config.model.url, config.model.name, os.environ.get("MODEL_API_KEY") or NO_KEY)
        return
    alone = development_part("alone")
    try:
        with alone.model(workdir) as (url, name):
            yield Endpoint(url, name, "stand-in")
    except alone.StartFailed as error:
        raise EnvironmentFailed(str(error)) from None


def _record(report: JsonObject, config: Settings, suite_folder: Path) -> str | None:
    """Keep the verdict in the project's database. Returns why not, if not: the verdict stands anyway."""
    if suite_folder.resolve() != (project_root() / "evals" / suite_folder.name).resolve():
        return "only a suite under evals/ of the project speaks for a release"
    path = config.database_url.removeprefix("sqlite:///")
    if path != config.database_url and not Path(path).is_file():
        return "there is no database yet: run `svc migrate` first"
    try:
        with signed_in(Role.OPERATOR) as (database, who):
            database.write_sync(lambda session: record_report(session, report, who.subject))
    except (Unavailable, Invalid) as error:  # Invalid: DATABASE_URL itself is wrong
        return str(error)
    return None


def _deliver(report: JsonObject, why_not: str | None, config: Settings, as_json: bool, out: Path | None) -> None:
    """Files hold the report; what is printed also says whether the database has it."""
    text = json.dumps(report, indent=2, ensure_ascii=False)
    latest = config.var_dir / "eval" / "report.json"
    for place in (latest, out):
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text + "\n", encoding="utf-8")
    if as_json:
        recorded = {"recorded": why_not is None, "not_recorded_because": why_not}
        print(json.dumps(report | recorded, indent=2, ensure_ascii=False))
        return
    from service.evaluation.report import as_text

    print(as_text(report))
    print(f"report: {out or latest}")
    if why_not:
        print(f"not recorded in the database: {why_not}")


def _explain(error: Exception) -> None:
    if isinstance(error, HarnessFailed):
        for problem in error.problems[:10]:
            _say(f"harness: {problem}")
        _say(f"harness failed, {len(error.problems)} problem(s): nothing is proven")
    elif isinstance(error, EnvironmentFailed):
        _say(str(error))
    elif isinstance(error, ModuleNotFoundError) and str(error.name).startswith("pydantic_evals"):
        _say("pydantic-evals is not installed: `uv sync --group eval`")
    else:
        traceback.print_exception(error)
        _say("harness failed on the error above: nothing is proven")


def _say(line: str) -> None:
    print(f"svc eval: {line}", file=sys.stderr)


eval_app = typer.Typer(invoke_without_command=True, add_completion=False)


@eval_app.callback()
def _suite_or_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        eval_command()


eval_app.command()(drift)
