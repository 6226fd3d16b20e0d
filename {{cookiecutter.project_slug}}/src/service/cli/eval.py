"""`svc eval`: an evaluation suite through the whole use case, against a model endpoint or the stand-in."""

import asyncio
import http.client
import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.application.decision import JsonObject
    from service.evaluation.cases import Suite
    from service.settings import Settings

PASS, BLOCK, WRONG_USE, HARNESS_FAILED = 0, 1, 2, 3
STAND_IN_NAME = "stand-in-primary"
STAND_IN_START_SECONDS = 20.0
NO_KEY = "none"  # local model servers need no key, but an empty one makes no valid header


class EnvironmentFailed(Exception):
    """Something around the measurement is missing or broken, so nothing was measured."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The model to evaluate."""

    url: str
    name: str
    api_key: str


def eval_command(
    suite: Annotated[str, typer.Option(help="Folder under evals/, or a path to one.")] = "triage",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    """Run a suite. Exit 0: PASS, 1: a floor is broken, 2: wrong use, 3: nothing was judged."""
    from service.evaluation.cases import SuiteError, load_suite
    from service.settings import Settings, require

    # The report counts why answers were not the model's; a log line for each on stderr would bury what is said there.
    logging.getLogger("service").addHandler(logging.NullHandler())
    config = Settings()
    if config.model.url:
        require(MODEL_NAME=config.model.name)
    try:
        loaded = load_suite(_suite_folder(suite))
    except SuiteError as error:
        _say(str(error))
        sys.exit(WRONG_USE)
    try:
        report = _evaluate(loaded, config, progress=not as_json and sys.stdout.isatty())
        _deliver(report, config, as_json, out)
    except Exception as error:  # whatever it was: exit 1 would claim that a floor is broken
        _explain(error)
        sys.exit(HARNESS_FAILED)
    sys.exit(PASS if report["verdict"] == "PASS" else BLOCK)


def _suite_folder(suite: str) -> Path:
    from service.evaluation.cases import SuiteError

    folder = Path("evals") / suite  # an absolute path stays what it is
    if not folder.is_dir():
        there = ", ".join(sorted(place.name for place in Path("evals").glob("*/"))) or "none"
        raise SuiteError(f"no suite at {folder}; run from the project's directory. Suites here: {there}")
    return folder


def _evaluate(suite: "Suite", config: "Settings", progress: bool) -> "JsonObject":
    """Measure, judge, and note in the database that it was done."""
    with (
        tempfile.TemporaryDirectory(prefix="svc-eval-") as folder,
        _endpoint(config, Path(folder)) as endpoint,
    ):
        report = asyncio.run(_measure(suite, endpoint, Path(folder), progress))
    why_not = _record(report, config)
    return report | {"recorded": why_not is None, "not_recorded_because": why_not}


async def _measure(suite: "Suite", endpoint: Endpoint, workdir: Path, progress: bool) -> "JsonObject":
    from service.cli.in_process import evaluation_service
    from service.evaluation.gate import refuse_outage
    from service.evaluation.report import build_report
    from service.evaluation.runner import run_suite

    async with evaluation_service(endpoint.url, endpoint.name, endpoint.api_key, workdir) as service:
        results = await run_suite(suite, service.answer, progress=progress)
        refuse_outage(results)
        return build_report(suite, results, service.release.digest, service.target, datetime.now(UTC))


@contextmanager
def _endpoint(config: "Settings", workdir: Path) -> Iterator[Endpoint]:
    """The model of MODEL_URL; without it the stand-in, for as long as the block lasts."""
    if config.model.url:
        yield Endpoint(config.model.url, config.model.name, os.environ.get("MODEL_API_KEY") or NO_KEY)
        return
    with _stand_in(workdir) as port:
        yield Endpoint(f"http://127.0.0.1:{port}/v1", STAND_IN_NAME, "stand-in")


@contextmanager
def _stand_in(workdir: Path) -> Iterator[int]:
    """The port of a new model stand-in. It ends with the block, and when this process is killed."""
    root = next(
        (place for place in (Path.cwd(), Path(__file__).parents[3]) if (place / "dev" / "model.py").is_file()), None
    )
    if root is None:
        raise EnvironmentFailed("MODEL_URL is not set and the stand-in (dev/) is not here, as in the image")
    # By name, as in `svc run`: neither the layers nor the image depend on `dev`.
    sys.path.insert(0, str(root))
    guardian = importlib.import_module("dev.children").Guardian(workdir / "guardian.lock", workdir / "guardian.state")
    port = _free_port()
    log = workdir / "stand-in.log"
    command = [sys.executable, "-m", "dev.model", "--port", str(port), "--name", STAND_IN_NAME]
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=guardian.pid,
            )
        _wait_until_it_answers(child, port, log)
        yield port
    finally:
        guardian.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + STAND_IN_START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise EnvironmentFailed(f"the model stand-in did not start: {''.join(last) or 'it said nothing'}")


def _record(report: "JsonObject", config: "Settings") -> str | None:
    """Keep the verdict in the project's database. Returns why not, if not: the verdict stands anyway."""
    from service.application.errors import Unavailable
    from service.integration.database.releases import record_report
    from service.integration.database.session import open_database

    path = config.database_url.removeprefix("sqlite:///")
    if path != config.database_url and not Path(path).is_file():
        return "there is no database yet: run `svc migrate` first"
    minimal = {name: report[name] for name in ("digest", "suite", "target", "verdict")}
    try:
        database = open_database(config.database_url)
        try:
            database.write_sync(lambda session: record_report(session, **minimal))
        finally:
            database.close_sync()
    except (Unavailable, ValueError) as error:  # ValueError: DATABASE_URL itself is wrong
        return str(error)
    return None


def _deliver(report: "JsonObject", config: "Settings", as_json: bool, out: Path | None) -> None:
    from service.evaluation.report import as_text

    text = json.dumps(report, indent=2, ensure_ascii=False)
    latest = config.var_dir / "eval" / "report.json"
    for place in (latest, out):
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
        return
    print(as_text(report))
    print(f"report: {out or latest}")
    if not report["recorded"]:
        print(f"not recorded in the database: {report['not_recorded_because']}")


def _explain(error: Exception) -> None:
    from service.evaluation.gate import HarnessFailed, ModelOut

    if isinstance(error, HarnessFailed):
        for problem in error.problems[:10]:
            _say(f"harness: {problem}")
        _say(f"harness failed, {len(error.problems)} problem(s): nothing is proven")
    elif isinstance(error, EnvironmentFailed | ModelOut):
        _say(str(error))
    elif isinstance(error, ModuleNotFoundError) and str(error.name).startswith("pydantic_evals"):
        _say("pydantic-evals is not installed: `uv sync --group eval`")
    else:
        traceback.print_exception(error)
        _say("harness failed on the error above: nothing is proven")


def _say(line: str) -> None:
    print(f"svc eval: {line}", file=sys.stderr)
