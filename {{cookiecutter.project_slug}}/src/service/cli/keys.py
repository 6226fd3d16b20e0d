"""`svc keys`: API keys for callers, reviewers, operators and auditors."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from service.application.identity import Role
from service.cli.operator import READERS, AsJson, caller_in, opened, print_json, show, signed_in
from service.integration.database import api_keys

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, add_completion=False)


@app.command()
def create(
    subject: Annotated[str, typer.Option(help="Who uses it, as the audit log will name them.")],
    tenant: Annotated[str, typer.Option(help="The tenant whose data it reaches.")],
    role: Annotated[list[Role], typer.Option(help="May be given several times.")],
    days: Annotated[int | None, typer.Option(min=1, help="Refused after this many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once. The very first key needs no SVC_API_KEY."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    with opened() as database:
        first = not api_keys.list_keys(database)
        actor = "svc keys" if first else caller_in(database, Role.OPERATOR).subject
        roles = {each.value for each in role}
        key = api_keys.issue_key(database, subject, tenant, roles, expires_at, actor)
    if as_json:
        print_json({"key": key, "subject": subject, "tenant": tenant, "roles": sorted(roles)})
    else:
        print(key)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key ever made, without secrets."""
    with signed_in(*READERS) as (database, _):
        keys = api_keys.list_keys(database)
    rows = [asdict(key) | {"state": _state(key)} for key in keys]
    show(rows, as_json, ("id", "subject", "tenant", "roles", "created_at", "state"))


@app.command()
def revoke(key_id: str) -> None:
    """Refuse a key from now on."""
    with signed_in(Role.OPERATOR) as (database, who):
        api_keys.revoke_key(database, key_id, who.subject)
    print(f"{key_id} is revoked")


def _state(key: api_keys.KeyInfo) -> str:
    if key.revoked_at is not None:
        return "revoked"
    expired = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "expired" if expired else "valid"
