"""What becomes of a graded run: judged against its baseline, written, printed, recorded in the database."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.identity import Role
from service.cli.operator import signed_in
from service.evaluation.cases import Dimension
from service.evaluation.results import HarnessFailed, Run, Scores
from service.integration.database.migrate import project_root
from service.integration.database.releases import record_report
from service.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the report goes, besides VAR_DIR/eval/."""

    as_json: bool = False
    out: Path | None = None
    html: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None


def judged(run: Run, before: JsonObject | None, unobserved: frozenset[Dimension] = frozenset()) -> JsonObject:
    """The report on a run, compared with the `before` report if there is one."""
    from service.evaluation import gate, report

    earlier, efficiency = report.scores_of(before) if before else None, report.efficiency(run, before)
    if earlier is not None:
        _refuse_gaps(run, earlier)
    floors, waivers, today = run.suite.floors, run.suite.waivers, run.at.date()
    verdict = gate.judge(run.scores, floors, waivers, earlier, today, efficiency, unobserved)
    return report.build_report(run, verdict, before)


def _refuse_gaps(run: Run, earlier: Scores) -> None:
    """Raise `HarnessFailed` when the baseline lacks what this run has: what is not compared would pass unseen."""
    missing = {name.value: len(set(of) - set(earlier.get(name, {}))) for name, of in run.scores.items()}
    if gaps := [f"the baseline lacks {n} case(s) of {name}" for name, n in missing.items() if n]:
        raise HarnessFailed([*gaps, "accept a run by `svc eval baseline`, or take the file from version control again"])


def record(report: JsonObject, config: Settings, folder: Path) -> str | None:
    """Keep the verdict in the project's database. Returns why not, if not: the verdict stands anyway."""
    from service.evaluation.report import summary

    if folder.resolve() != (project_root() / "evals" / folder.name).resolve():
        return "only a suite under evals/ of the project speaks for a release"
    path = config.database_url.removeprefix("sqlite:///")
    if path != config.database_url and not Path(path).is_file():
        return "there is no database yet: run `svc migrate` first"
    try:
        with signed_in(Role.OPERATOR) as (database, who):
            database.write_sync(lambda session: record_report(session, summary(report), who.subject))
    except (Unavailable, Invalid, SettingsError) as error:  # the last two: DATABASE_URL itself is wrong
        return str(error)
    return None


def publish(report: JsonObject, before: JsonObject | None, config: Settings, wanted: Wanted) -> None:
    """Write the report wherever it is wanted."""
    from service.evaluation import report_ci, report_html
    from service.evaluation.report import summary

    latest, page = config.var_dir / "eval", report_html.as_html(report, before)
    texts: list[tuple[Path | None, Callable[[], str]]] = [
        (latest / "report.json", lambda: indented(report)),
        (latest / "report.html", lambda: page),
        (wanted.out, lambda: indented(summary(report))),
        (wanted.html, lambda: page),
        (wanted.junit, lambda: report_ci.junit(report)),
        (wanted.markdown, lambda: report_ci.markdown(report, before)),
    ]
    for file, text in texts:
        if file is not None:
            write(file, text())


def tell(report: JsonObject, why_not: str | None, config: Settings, wanted: Wanted) -> None:
    """Print it, and whether the database has it."""
    from service.evaluation.report_text import as_text

    if wanted.as_json:
        print(indented(report | {"recorded": why_not is None, "not_recorded_because": why_not}), end="")
        return
    latest = config.var_dir / "eval"
    print(as_text(report, str(latest / "report.html")))
    print(f"report: {latest / 'report.json'}, {latest / 'report.html'}")
    if why_not:
        print(f"not recorded in the database: {why_not}")


def indented(report: JsonObject) -> str:
    """As JSON for files and people."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def write(file: Path, text: str) -> None:
    """Write a text file, in a new folder if need be; a file that is there is replaced at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
