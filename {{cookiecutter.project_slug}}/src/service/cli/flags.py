"""`svc flags`: see and change what is on, within a second, in every process."""

import sys
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.identity import Role
from service.application.switchboard import Audience, Change, Process
from service.bootstrap_inference import CODE
from service.cli.operator import READERS, AsJson, print_json, show, signed_in
from service.integration.database.session import Database
from service.integration.flags import document, processes, rollout, store

app = typer.Typer(help="Switch the AI, or a part of it, off and on.", no_args_is_help=True, add_completion=False)
Why = Annotated[str, typer.Option("--reason", help="Why; kept for ever in the history.")]
PATIENCE_S = 3.0


@app.command("list")
def list_flags(as_json: AsJson = False) -> None:
    """Every flag and what it gives to whom; the processes that run, and by which revision each goes."""
    with signed_in(*READERS) as (database, _):
        board = database.read_sync(store.read_board)
    show(board.flags, as_json, ("name", "gives"))
    if as_json:
        return
    running = ", ".join(f"{p.kind} {p.id}{_but(p, board.revision)}" for p in board.processes)
    print(f"\nrevision {board.revision}; running: {running or 'no process'}")
    for lost in board.silent:
        since = f"{lost.seen_at:%H:%M:%S} UTC"
        print(f"{lost.kind} {lost.id} is silent since {since}: dead, or cut off and still at {lost.flag_rev}")


def _but(process: Process, revision: int) -> str:
    behind = [f"behind, at {process.flag_rev}"] if process.flag_rev < revision else []
    told = behind + (["AI off by its kill file"] if process.kill_file else [])
    return f" ({'; '.join(told)})" if told else ""


@app.command("show")
def show_flag(name: str) -> None:
    """One flag as it is written."""
    with signed_in(*READERS) as (database, _):
        flags = database.read_sync(store.read_document)["flags"]
    if name not in flags:
        raise Invalid(f"there is no flag {name}; there are: {', '.join(sorted(flags))}")
    print_json({name: flags[name]})


@app.command("set")
def set_flag(  # noqa: PLR0913 - the options of a command
    name: str,
    variant: str,
    reason: Why,
    internal: Annotated[bool, typer.Option("--internal", help="On for internal tenants only.")] = False,
    beta: Annotated[list[str] | None, typer.Option(help="And for this tenant. May be given several times.")] = None,
    percent: Annotated[int | None, typer.Option(help="And for so many per cent of all other customers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give every caller this variant or, with options, internal and beta tenants and a share of customers.

    As in: svc flags set ai.enabled off --reason "what you saw". `svc flags list` names flags and variants.

    Of --beta and --percent, what is not given stays as it is; --internal alone takes all others out.
    """
    with signed_in(Role.OPERATOR) as (database, who):
        flag = database.read_sync(store.read_document)["flags"].get(name, {})
        change = Change(name, variant, reason, _audience(flag, internal, beta, percent))
        revision = database.write_sync(lambda session: store.set_flag(session, change, who.subject))
        board = database.read_sync(store.read_board)
        gives = document.describe(database.read_sync(store.read_document), name)["gives"]
        for process in board.processes:
            if process.kill_file and variant == "on":
                print(f"svc: {process.kind} {process.id} has a kill file: the AI stays off there", file=sys.stderr)
        tell_of_effect(database, revision, f"{name}: {gives}", as_json)


@app.command()
def history(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: AsJson = False) -> None:
    """The newest revisions: when, who, why, and what has changed."""

    def told(session: Session) -> list[JsonObject]:
        return [
            {
                "rev": row.rev,
                "at": row.at,
                "actor": row.actor,
                "reason": row.reason,
                "changed": store.changed_by(session, row),
                "doc": row.doc,
            }
            for row in store.history(session, limit)
        ]

    with signed_in(*READERS) as (database, _):
        show(database.read_sync(told), as_json, ("rev", "at", "actor", "reason", "changed"))


@app.command()
def revert(revision: int, reason: Why, as_json: AsJson = False) -> None:
    """Make all flags what they were at this revision, as a new one."""
    with signed_in(Role.OPERATOR) as (database, who):
        made, names = database.write_sync(lambda session: rollout.revert(session, revision, who.subject, reason, CODE))
        for flag in database.read_sync(store.read_board).flags:
            if flag["gives"].startswith("none"):
                print(f"svc: {flag['name']} now names no release, so rules answer", file=sys.stderr)
        tell_of_effect(database, made, f"as at revision {revision}: {', '.join(names)}", as_json)


def _audience(flag: JsonObject, internal: bool, beta: list[str] | None, percent: int | None) -> Audience | None:
    if beta is None and percent is None:
        return Audience() if internal else None
    now = document.audience_of(flag) or Audience()
    return Audience(now.beta if beta is None else tuple(beta), now.percent if percent is None else percent)


def tell_of_effect(database: Database, revision: int, what: str, as_json: bool) -> None:
    """Wait until every running process goes by the revision, and print how long that took. Exit 1 if not all do."""
    done, late, ms = processes.wait_for(database, revision, PATIENCE_S)
    lost = database.read_sync(processes.silent)
    names, silent = ([f"{process.kind} {process.id}" for process in found] for found in (late, lost))
    if as_json:
        print_json({"revision": revision, "processes": len(done), "late": names, "silent": silent, "ms": ms})
    else:
        print(f"{what} (revision {revision})")
        if done or not late:
            print(f"in effect in {len(done)} running processes after {ms} ms" if done else "no process is running now")
    if lost:
        print(f"svc: silent since some minutes, so dead or cut off: {', '.join(silent)}", file=sys.stderr)
    if late:
        print(f"svc: not confirmed after {PATIENCE_S:g} s by {', '.join(names)}", file=sys.stderr)
        raise typer.Exit(1)
