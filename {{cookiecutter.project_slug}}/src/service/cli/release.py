"""`svc release`: from a prompt in prompts/ to what customers get, and back."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from service.application.errors import Invalid
from service.application.identity import Caller, Role
from service.application.release import Gate
from service.bootstrap_inference import CODE
from service.cli.flags import tell_of_effect
from service.cli.migrate import releases_from
from service.cli.operator import READERS, AsJson, print_json, running_service, show, signed_in
from service.cli.standing import in_full, standing
from service.integration.database import installation, releases
from service.integration.database.measured import measure
from service.integration.database.migrate import project_root
from service.integration.database.session import Database
from service.integration.flags import rollout, store
from service.settings import Settings

app = typer.Typer(
    help="Draft, evaluate, approve, publish, activate, compare, roll back.", no_args_is_help=True, add_completion=False
)
Override = Annotated[
    bool, typer.Option("--override", help="In development: although it is not approved; goes on record.")
]
Why = Annotated[str, typer.Option("--reason", help="Why; kept for ever in the history.")]
Url = Annotated[str | None, typer.Option(help="Where the service is; else SVC_URL, else the running `svc run`.")]
UseCase = Annotated[str, typer.Option(help="Whose release; needed if there are several.")]


@contextmanager
def _operating(override: bool = False) -> Iterator[tuple[Database, Caller, Gate]]:
    """The database, the operator, and what a release must pass here."""
    with signed_in(Role.OPERATOR) as (database, who):
        production = "production" in (Settings().profile.value, database.read_sync(installation.profile_of))
        if override and production:
            raise Invalid("production knows no --override")
        yield database, who, Gate(CODE, production, override)


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """Every release, newest first, and how far it has come."""
    with signed_in(*READERS) as (database, _):
        rows = database.read_sync(lambda session: [standing(session, row) for row in releases.list_drafts(session)])
    show(rows, as_json, ("name", "prompt_version", "model", "state", "report", "author", "approved_by", "drafted_at"))


@app.command("show")
def show_release(name: str, as_json: AsJson = False) -> None:
    """One release in full: prompt, parameters, thresholds, versions, and everything done with it."""
    with signed_in(*READERS) as (database, _):
        shown = database.read_sync(lambda session: in_full(session, name))
    if as_json:
        print_json(shown)
        return
    prompt, steps, reports = shown.pop("prompt"), shown.pop("steps"), shown.pop("reports")
    show([{"field": field, "value": value} for field, value in shown.items()], False, ("field", "value"))
    print()
    show(steps, False, ("at", "step", "actor", "reason", "report"))
    if reports:
        print()
        show(reports, False, ("at", "id", "verdict", "suite", "target"))
    print(f"\n{prompt}")


@app.command()
def diff(old: str, new: str) -> None:
    """What differs between two releases: fields, then the prompt line by line."""
    with signed_in(*READERS) as (database, _):
        first, second = database.read_sync(
            lambda session: [releases.bundle_of(releases.drafted(session, name)) for name in (old, new)]
        )
    for field in type(first).model_fields:
        if field != "prompt" and getattr(first, field) != getattr(second, field):
            print(f"{field}: {getattr(first, field)} -> {getattr(second, field)}")
    print(*difflib.unified_diff(first.prompt.splitlines(), second.prompt.splitlines(), old, new, lineterm=""), sep="\n")


@app.command()
def draft(
    model: Annotated[str, typer.Option(help="Pin this model id; in production MODEL_NAME if not given.")] = "",
) -> None:
    """Keep what prompts/ holds as a release of yours, to be evaluated and approved."""
    with _operating() as (database, who, gate):
        pinned = model or (Settings().model.name if gate.production else "")
        if gate.production and not pinned:
            raise Invalid("say which model the release is for: --model, or MODEL_NAME of the service")
        for found in releases_from(project_root() / "prompts"):
            release = found.model_copy(update={"model": found.model or pinned})
            new = database.write_sync(partial(releases.draft, release=release, author=who.subject))
            print(f"{release.name} {'is drafted' if new else 'was drafted before'}")


@app.command()
def evaluate(
    name: str,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="How often each message is sent.")] = 3,
) -> None:
    """Run the suite, sealed cases included, on a release; its report stays with it. Exit codes are those of `svc eval`.

    Each message is sent three times, since a model does not always say the same.
    """
    from service.cli.eval import evaluate_release

    with signed_in(Role.OPERATOR) as (database, _):
        release = database.read_sync(lambda session: releases.bundle_of(releases.drafted(session, name)))
    evaluate_release(release, repeats)


@app.command()
def approve(name: str, reason: Why = "read the report") -> None:
    """Stand for a release that another person drafted, on the evidence of its newest report.

    The report must say PASS, and be of the evaluation suite as it is in this project, sealed cases included.
    """
    with _operating() as (database, who, gate):
        suite, holdout = _suite_of(database.read_sync(lambda session: releases.drafted(session, name)).use_case)
        used = database.write_sync(
            lambda session: releases.approve(session, name, who.subject, reason, gate.production, suite, holdout)
        )
    print(f"{name} is approved by {who.subject} on report {used.id} ({used.suite}, {used.target})")


@app.command()
def publish(name: str, override: Override = False) -> None:
    """Make a release known to every running process; nobody gets it yet."""
    with _operating(override) as (database, who, gate):
        new = database.write_sync(lambda session: releases.publish(session, name, who.subject, gate))
    print(f"{name} is published" if new else f"{name} was published before")


@app.command()
def activate(name: str, reason: Why = "activate", override: Override = False, as_json: AsJson = False) -> None:
    """Give everybody this release; a canary ends."""
    with _operating(override) as (database, who, gate):
        revision = database.write_sync(lambda session: rollout.activate(session, name, who.subject, reason, gate))
        tell_of_effect(database, revision, f"{name} is active", as_json)


@app.command()
def canary(
    name: str,
    percent: Annotated[int, typer.Option(help="Of customers, 1 to 99.")],
    reason: Why = "canary",
    override: Override = False,
    as_json: AsJson = False,
) -> None:
    """Give a share of customers this release. A growing share keeps those who are in; another release meets others."""
    with _operating(override) as (database, who, gate):
        revision = database.write_sync(
            lambda session: rollout.canary(session, name, percent, who.subject, reason, gate)
        )
        tell_of_effect(database, revision, f"{name} for {percent} % of customers", as_json)


@app.command()
def rollback(reason: Why = "rollback", use_case: UseCase = "", as_json: AsJson = False) -> None:
    """End the canary or, without one, go back to the release that was active before."""
    with _operating() as (database, who, _):
        revision, given_up, back = database.write_sync(
            lambda session: rollout.rollback(
                session, use_case or store.only_use_case(session), who.subject, reason, CODE
            )
        )
        tell_of_effect(database, revision, f"{given_up} is given up, {back} answers", as_json)


@app.command()
def compare(
    incumbent: Annotated[str, typer.Argument(help="Else the active release.")] = "",
    canary: Annotated[str, typer.Argument(help="Else the release on canary.")] = "",
    as_json: AsJson = False,
) -> None:
    """Incumbent and canary side by side since the canary began, and whether it is better, worse, or too early to tell.

    May be asked after every answer: the intervals hold at all looks together.
    """
    from service.evaluation import canary as statistics

    with signed_in(*READERS) as (database, _):
        old, new, since, until = database.read_sync(lambda session: rollout.compared(session, incumbent, canary))
        arms = []
        for name in (old, new):
            seen = database.read_sync(partial(measure, release=name, since=since, until=until))
            shares = {measure_: statistics.Share(*counted) for measure_, counted in seen.shares.items()}
            arms.append(statistics.Arm(name, seen.answers, shares, seen.latency_ms, seen.cost_usd))
    compared = statistics.compare(*arms)
    if as_json:
        print_json({"since": since, "until": until, **asdict(compared)})
        return
    print(f"{old} (incumbent) and {new} (canary) since {since.isoformat(timespec='seconds')}\n")
    print(statistics.as_text(compared))


@app.command()
def drill(reason: Why = "practice", url: Url = None, use_case: UseCase = "", as_json: AsJson = False) -> None:
    """Throw the kill switch and roll back for real, put both back, and say how long each took. Exit 1 if over 1 s."""
    from service.cli.drill import Drill

    with signed_in(Role.OPERATOR) as (database, who), running_service(url) as ask:
        chosen = use_case or database.read_sync(store.only_use_case)
        practised = Drill(database, ask, who, reason)
        try:
            practised.practise(chosen)
        finally:
            show(practised.rows, as_json, ("step", "processes", "ms", "within_a_second"))
    if not all(step["within_a_second"] for step in practised.rows):
        raise typer.Exit(1)


def _suite_of(use_case: str) -> tuple[str, int]:
    """Name and digest of the suite, as reports have it, and how many of its cases are sealed."""
    from service.evaluation.suites import SuiteError, load_suite

    try:
        suite = load_suite(project_root() / "evals" / use_case, holdout=True)
    except SuiteError as error:
        raise Invalid(str(error)) from None
    return f"{suite.name}@{suite.digest[:12]}", len(suite.holdout)
