"""`svc keys`: API keys for callers, reviewers, operators and auditors."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from service.application.identity import Role
from service.cli.operator import READERS, AsJson, caller_in, opened, print_json, show, signed_in
from service.integration.database import api_keys
from service.integration.database.session import Database

app = typer.Typer(help="Create, rotate, list and revoke API keys.", no_args_is_help=True, add_completion=False)


Days = Annotated[int, typer.Option(min=1, max=api_keys.LONGEST.days, help="Refused after this many days.")]


@app.command()
def create(
    subject: Annotated[str, typer.Option(help="Who uses it, as the audit log will name them.")],
    tenant: Annotated[str, typer.Option(help="The tenant whose data it reaches.")],
    role: Annotated[list[Role], typer.Option(help="May be given several times.")],
    days: Days = api_keys.LASTS.days,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once. The very first key needs no SVC_API_KEY, and must be an operator's."""
    roles = {each.value for each in role}
    with opened() as database:
        first = database.read_sync(api_keys.no_key_ever)
        actor = api_keys.FIRST if first else caller_in(database, Role.OPERATOR).subject
        key = api_keys.issue_key(database, subject, tenant, roles, _in(days), actor)
        _print_key(database, key, as_json)


@app.command()
def rotate(
    key_id: str,
    overlap: Annotated[int, typer.Option(min=0, max=168, help="Hours for which the old key stays valid.")] = 24,
    days: Days = api_keys.LASTS.days,
    as_json: AsJson = False,
) -> None:
    """Create a key that takes the place of this one, and print it, this once. The old one ends after the overlap."""
    with signed_in(Role.OPERATOR) as (database, who):
        key = api_keys.rotate_key(database, key_id, timedelta(hours=overlap), who.subject, _in(days))
        _print_key(database, key, as_json)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key ever made, without secrets."""
    with signed_in(*READERS) as (database, _):
        keys = api_keys.list_keys(database)
    rows = [asdict(key) | {"state": key.state} for key in keys]
    show(rows, as_json, ("id", "subject", "tenant", "roles", "created_at", "expires_at", "state"))


@app.command()
def revoke(key_id: str) -> None:
    """Refuse a key from now on."""
    with signed_in(Role.OPERATOR) as (database, who):
        api_keys.revoke_key(database, key_id, who.subject)
    print(f"{key_id} is revoked")


def _in(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _print_key(database: Database, key: str, as_json: bool) -> None:
    info = api_keys.key_info(database, key)
    if as_json and info is not None:
        print_json({"key": key} | asdict(info))
    else:
        print(key)
