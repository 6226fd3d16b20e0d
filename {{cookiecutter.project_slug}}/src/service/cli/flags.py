"""`svc flags`: see and change what is on, from the next fifth of a second, in every process."""

from typing import Annotated

import typer

from service.application.errors import Invalid
from service.application.identity import Role
from service.cli.operator import READERS, AsJson, print_json, show, signed_in
from service.integration.flags import store

app = typer.Typer(help="Show and set feature flags.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_flags(as_json: AsJson = False) -> None:
    """Every flag with what it gives by default, and whether rules decide for some callers."""
    with signed_in(*READERS) as (database, _):
        flags = database.read_sync(store.read_document)["flags"]
    rows = [
        {
            "name": name,
            "default": flag["defaultVariant"],
            "targeting": bool(flag.get("targeting")),
            "state": flag["state"],
            "variants": list(flag["variants"]),
        }
        for name, flag in sorted(flags.items())
    ]
    show(rows, as_json, ("name", "default", "targeting", "state", "variants"))


@app.command("show")
def show_flag(name: str) -> None:
    """One flag as it is written."""
    with signed_in(*READERS) as (database, _):
        flags = database.read_sync(store.read_document)["flags"]
    if name not in flags:
        raise Invalid(f"there is no flag {name}; there are: {', '.join(sorted(flags))}")
    print_json({name: flags[name]})


@app.command("set")
def set_flag(
    name: str,
    variant: str,
    reason: Annotated[str, typer.Option(help="Why; kept for ever in the history.")],
) -> None:
    """Give every caller this variant. Rules of the flag are dropped; the history keeps them."""
    with signed_in(Role.OPERATOR) as (database, who):
        revision = database.write_sync(lambda session: store.set_flag(session, name, variant, who.subject, reason))
    print(f"{name} is {variant} for everybody, revision {revision}")


@app.command()
def history(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: AsJson = False) -> None:
    """The newest revisions: when, who, why."""
    with signed_in(*READERS) as (database, _):
        revisions = database.read_sync(lambda session: store.history(session, limit))
    rows = [{"rev": r.rev, "at": r.at, "actor": r.actor, "reason": r.reason, "doc": r.doc} for r in revisions]
    show(rows, as_json, ("rev", "at", "actor", "reason"))
