"""`svc eval cases`: look a suite through, add a case, make cases of what reviewers decided or of a prototype's log."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from service.application.decision import Disposition, JsonObject
from service.application.errors import Invalid
from service.application.identity import Role
from service.application.triage.contract import Category, Priority
from service.bootstrap_inference import pii_detectors
from service.cli.case_making import BOTH, Made, Seen, evenly, make_cases, personal
from service.cli.decisions import instant
from service.cli.logs import Row, read_log
from service.cli.operator import AsJson, Ask, print_json, running_service
from service.evaluation.case_files import append
from service.evaluation.cases import CaseClass, EvalCase, first_mistake
from service.evaluation.lint import lint as problems_of
from service.evaluation.suites import SuiteError, reseal, suite_folder
from service.settings import Settings

app = typer.Typer(help="The suite's cases.", no_args_is_help=True, add_completion=False)
Suite = Annotated[str, typer.Option(help="Folder under evals/, or a path to one.")]
Language = Annotated[str, typer.Option(help="What the messages are written in: two letters.")]
PROBLEMS_FOUND = 1
FIELDS = ("body", "subject", "category", "priority", "channel")
SHOWN = 5  # places with the same mistake
PAGE = 500


@contextmanager
def _suite(name: str) -> Iterator[Path]:
    """The suite's folder. What is wrong with a suite is wrong use here, one line."""
    try:
        yield suite_folder(name)
    except SuiteError as error:
        raise Invalid(str(error)) from None


@app.callback()
def cases() -> None:
    """The suite's cases."""


@app.command()
def lint(
    suite: Suite = "triage",
    seal: Annotated[bool, typer.Option("--seal", help="First write the holdout's seal anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look a suite through, its holdout with it. Exit 1 with one line for each problem."""
    with _suite(suite) as folder:
        if seal:
            reseal(folder)
        linted = problems_of(folder, personal, datetime.now(UTC).date())
    if as_json:
        print_json(asdict(linted))
    else:
        print("\n".join(map(str, linted.problems)) or linted)
    if linted.problems:
        raise typer.Exit(PROBLEMS_FOUND)


@app.command()
def add(  # noqa: PLR0913 - one option each
    id_: Annotated[str, typer.Option("--id", help="Begins with the class: core-late-parcel.")] = "",
    case_class: Annotated[CaseClass, typer.Option("--class", help="What it is there to test.")] = CaseClass.CORE,
    body: Annotated[str, typer.Option(help="The message.")] = "",
    subject: Annotated[str, typer.Option(help="Its subject.")] = "",
    category: Annotated[
        list[Category] | None, typer.Option(help="Accepted; may be repeated, as may those below.")
    ] = None,
    disposition: Annotated[list[Disposition] | None, typer.Option(help="Accepted.")] = None,
    priority: Annotated[list[Priority] | None, typer.Option(help="Accepted; none: not judged.")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="Must be found.")] = None,
    never_in_reply: Annotated[list[str] | None, typer.Option(help="Only an obeyed order would write it.")] = None,
    severity: Annotated[str, typer.Option(help="low, normal, high or critical.")] = "normal",
    language: Language = "en",
    from_json: Annotated[Path | None, typer.Option(help="The whole case as JSON, in a file or from - instead.")] = None,
    suite: Suite = "triage",
) -> None:
    """Append one case to cases/CLASS.yaml. Nothing is written when it is no case, or the suite has it already."""
    row: JsonObject = {
        "id": id_,
        "class": case_class,
        "language": language,
        "severity": severity,
        "source": "hand-written",
        "ticket": {"subject": subject, "body": body},
        "expected": {
            "categories": category or [],
            "dispositions": disposition or [],
            "priorities": priority or [],
            "entities": entity or [],
            "never_in_reply": never_in_reply or [],
        },
    }
    try:
        case = EvalCase.model_validate(_json_in(from_json) if from_json else row)
    except ValidationError as error:
        raise Invalid(f"no case: {first_mistake(error)}") from None
    with _suite(suite) as folder:
        file = append(folder, case.case_class.value, [case], personal)
    print(f"{file}: {case.id}")


@app.command()
def from_reviews(
    since: Annotated[str, typer.Option(help="Decided since: ISO 8601, or how long ago: 4h, 30d.")],
    limit: Annotated[int, typer.Option(min=1, help="Make at most so many.")] = 100,
    language: Language = "en",
    url: Annotated[str | None, typer.Option(help="The service; else SVC_URL; else the `svc run` of VAR_DIR.")] = None,
    suite: Suite = "triage",
) -> None:
    """Cases of what reviewers approved or corrected, into cases/from_reviews.yaml. For reviewers, and on record."""
    with _suite(suite) as folder, running_service(url, Role.REVIEWER) as ask:
        closed = list(_closed(ask, instant(since)))
        good = [item for item in closed if item["verdict"] in ("approve", "correct") and item["request"]]
        made = make_cases([_reviewed(item) for item in good], folder, "review", language, pii_detectors(Settings()))
        _complain(folder, made.bad)
        _write(folder, "from_reviews", made, limit)
    print(f"{len(closed) - len(good)} of {len(closed)} decided reviews were rejected, or their message has gone")


@app.command()
def from_csv(
    file: Annotated[Path, typer.Argument(help="CSV, or JSON lines.")],
    mapping: Annotated[str, typer.Option("--map", help=f"FIELD=COLUMN,... of {', '.join(FIELDS)}.")],
    labels: Annotated[str, typer.Option(help="LABEL=CATEGORY,... for labels that are not yet categories.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Make at most so many, as many of each label as there are.")] = 100,
    language: Language = "en",
    suite: Suite = "triage",
) -> None:
    """Cases of a prototype's log, into cases/from_logs.yaml. Its labels are taken for right: look at them."""
    columns, categories = _pairs(mapping, "--map"), _pairs(labels, "--labels")
    if unknown := set(columns) - set(FIELDS):
        raise Invalid(f"--map: no field {', '.join(sorted(unknown))}; there are {', '.join(FIELDS)}")
    if missing := {"body", "category"} - set(columns):
        raise Invalid(f"--map: say which column is {' and which is '.join(sorted(missing))}")
    encoding, rows = read_log(file, columns)
    seen, bad = _logged(rows, categories)
    with _suite(suite) as folder:
        made = make_cases(seen, folder, "log", language, pii_detectors(Settings()))
        bad += made.bad
        _complain(file, bad)
        if bad and not made.cases and not made.known:
            raise Invalid(f"{file}: no case in {len(rows)} rows, read as {encoding}; nothing is written")
        _write(folder, "from_logs", made, limit)
    print(f"{len(rows)} rows read as {encoding}, {len(bad)} of them no cases")


def _reviewed(item: JsonObject) -> Seen:
    outcome, escalated = item["corrected"] or item["outcome"], item["disposition"] == Disposition.ESCALATE
    expected = {
        "categories": [outcome["category"]],
        "dispositions": [Disposition.ESCALATE.value] if escalated else BOTH,
        "priorities": [outcome["priority"]],
        "entities": [entity["value"] for entity in outcome["entities"]],
    }
    case_class = CaseClass.HIGH_STAKES if escalated else CaseClass.CORE
    return Seen(f"review {item['id']}", item["request"], expected, case_class, "critical" if escalated else "normal")


def _closed(ask: Ask, since: str) -> Iterator[JsonObject]:
    """Reviews decided since, in the order in which they were. The service puts on record that they are read."""
    told = set[str]()
    while True:
        page = ask("GET", "/v1/reviews", params={"state": "closed", "closed_since": since, "limit": PAGE})["items"]
        new = [item for item in page if item["id"] not in told]
        yield from new
        if len(page) < PAGE or not new:
            return
        told.update(item["id"] for item in new)
        since = page[-1]["closed_at"]


def _logged(rows: list[Row], categories: Mapping[str, str]) -> tuple[list[Seen], list[str]]:
    """What the rows say, and lines about those that say nothing usable."""
    seen, bad = list[Seen](), list[str]()
    for row in rows:
        where, label = f"line {row.line}", row.values.get("category", "").strip()
        category = categories.get(label, label.casefold())
        if row.wrong:
            bad.append(f"{where}: {row.wrong}")
        elif category not in set(Category):
            bad.append(f"{where}: the label {label[:40]!r} is no category: --labels {label[:40]!r}=CATEGORY")
        else:
            priority = row.values.get("priority", "").strip().casefold()
            expected = {"categories": [category], "dispositions": BOTH, "priorities": [priority] if priority else []}
            ticket = {"subject": row.values.get("subject", ""), "body": row.values["body"]}
            if channel := row.values.get("channel", "").strip():
                ticket["channel"] = channel
            seen.append(Seen(where, ticket, expected, CaseClass.CORE))
    return seen, bad


def _write(folder: Path, name: str, made: Made, limit: int) -> None:
    """At most `limit` cases, as evenly over the categories as they allow; and what is to be known about them."""
    if cases := evenly(made.cases, limit):
        today = datetime.now(UTC).date()
        note = f"# {today}: {len(cases)} made by `svc eval cases`\n# check for names, language and class"
        print(f"{append(folder, name, cases, personal, note)}: {len(cases)} added")
        print("Look each over before you commit it: class, language, and every answer that a fair person would accept.")
        if not Settings().data.spacy_model:
            print("Names of people were not looked for, as PII_SPACY_MODEL is not set: look for them yourself.")
    left = len(made.cases) - len(cases)
    print(f"{len(cases)} new, {made.known} there already, or nearly{f', {left} more beyond --limit' if left else ''}")


def _complain(file: Path, bad: list[str]) -> None:
    """One line for each reason, with the first places that have it."""
    places: dict[str, list[str]] = {}
    for where, _, reason in (line.partition(": ") for line in bad):
        places.setdefault(reason, []).append(where)
    for reason, found in places.items():
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        print(f"{file}: {', '.join(found[:SHOWN])}{more}: {reason}", file=sys.stderr)


def _pairs(text: str, option: str) -> dict[str, str]:
    """NAME=VALUE,... as a dict; a name with a comma in double quotes."""
    pairs = [pair.strip().rpartition("=") for pair in next(csv.reader([text]), []) if pair.strip()]
    if wrong := [value for name, _, value in pairs if not name or not value]:
        raise Invalid(f"{option}: wants NAME=VALUE,..., and {wrong[0]!r} is none")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _json_in(file: Path) -> object:
    try:
        return json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise Invalid(f"{file}: not JSON in UTF-8") from None
