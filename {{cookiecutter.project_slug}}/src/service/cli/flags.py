"""`svc flags`: see and change what is on, within a second, in every process."""

import sys
from typing import Annotated

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.identity import Role
from service.application.switchboard import Audience, Change
from service.cli.operator import READERS, AsJson, print_json, show, signed_in
from service.integration.database.session import Database
from service.integration.flags import document, processes, store

app = typer.Typer(help="Show and set feature flags.", no_args_is_help=True, add_completion=False)
Why = Annotated[str, typer.Option("--reason", help="Why; kept for ever in the history.")]
PATIENCE_S = 3.0


@app.command("list")
def list_flags(as_json: AsJson = False) -> None:
    """Every flag and what it gives to whom; the processes that run, and by which revision each goes."""
    with signed_in(*READERS) as (database, _):
        board = database.read_sync(store.read_board)
    running = [{name: getattr(p, name) for name in ("id", "kind", "flag_rev", "kill_file")} for p in board.processes]
    if as_json:
        print_json({"revision": board.revision, "flags": board.flags, "processes": running})
        return
    show(board.flags, False, ("name", "gives"))
    behind = sum(process["flag_rev"] < board.revision for process in running)
    told = ", ".join(f"{p['kind']} {p['id']}" for p in running) or "none"
    print(f"\nrevision {board.revision}; running: {told}" + (f"; {behind} of them behind" if behind else ""))
    for process in running:
        if process["kill_file"]:
            print(f"{process['kind']} {process['id']} has a kill file (AI_OFF in its VAR_DIR): the AI is off there")


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

    Of --beta and --percent, what is not given stays as it is; --internal alone takes all others out.
    """
    with signed_in(Role.OPERATOR) as (database, who):
        flag = database.read_sync(store.read_document)["flags"].get(name, {})
        change = Change(name, variant, reason, _audience(flag, internal, beta, percent))
        revision = database.write_sync(lambda session: store.set_flag(session, change, who.subject))
        gives = document.describe(name, database.read_sync(store.read_document)["flags"][name])["gives"]
        tell_of_effect(database, revision, f"{name}: {gives}", as_json)


@app.command()
def history(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: AsJson = False) -> None:
    """The newest revisions: when, who, why."""
    with signed_in(*READERS) as (database, _):
        revisions = database.read_sync(lambda session: store.history(session, limit))
    rows = [{"rev": r.rev, "at": r.at, "actor": r.actor, "reason": r.reason, "doc": r.doc} for r in revisions]
    show(rows, as_json, ("rev", "at", "actor", "reason"))


@app.command()
def revert(revision: int, reason: Why, as_json: AsJson = False) -> None:
    """Make all flags what they were at this revision, as a new one."""
    with signed_in(Role.OPERATOR) as (database, who):
        made, names = database.write_sync(lambda session: store.revert(session, revision, who.subject, reason))
        tell_of_effect(database, made, f"as at revision {revision}: {', '.join(names)}", as_json)


def _audience(flag: JsonObject, internal: bool, beta: list[str] | None, percent: int | None) -> Audience | None:
    if beta is None and percent is None:
        return Audience() if internal else None
    now = document.audience_of(flag) or Audience()
    return Audience(now.beta if beta is None else tuple(beta), now.percent if percent is None else percent)


def tell_of_effect(database: Database, revision: int, what: str, as_json: bool, **more: object) -> JsonObject:
    """Wait until every running process goes by the revision, and print how long that took or who is late."""
    done, late, ms = processes.wait_for(database, revision, PATIENCE_S)
    told = {"revision": revision, "processes": len(done), "late": [f"{p.kind} {p.id}" for p in late], "ms": ms}
    if as_json:
        print_json(told | more)
        return told
    print(f"{what} (revision {revision})")
    if done or not late:
        print(f"in effect in {len(done)} running processes after {ms} ms" if done else "no process is running now")
    if late:
        names = ", ".join(told["late"])  # type: ignore[arg-type]
        print(f"svc: not confirmed after {PATIENCE_S:g} s by {names}: dead, or without the database", file=sys.stderr)
    return told
