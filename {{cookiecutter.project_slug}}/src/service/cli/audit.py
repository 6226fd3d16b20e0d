"""`svc audit`: is the log whole? Give it to an auditor; let go of what is old enough."""

import json
import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.identity import Role
from service.cli.decisions import instant
from service.cli.operator import READERS, AsJson, print_json, running_service, signed_in
from service.integration import audit_chain, audit_export
from service.integration.database import audit, audit_reading
from service.integration.database.audit_seals import newest_anchor
from service.settings import Settings

app = typer.Typer(help="The audit log: verify, export, prune.", no_args_is_help=True, add_completion=False)
ANCHOR = re.compile("[0-9]{1,18}:[0-9a-f]{64}")
When = "ISO 8601 (UTC unless it names a zone), or how long ago: 30m, 4h, 2d."


@app.command()
def verify(
    anchor: Annotated[str | None, typer.Option(help="POSITION:MAC noted earlier, or a worker's audit.anchors.")] = None,
    file: Annotated[Path | None, typer.Option(help="Verify an export instead, without a service.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="With --file: what the vault's audit_key is.")] = None,
    url: Annotated[str | None, typer.Option(help="The service; else SVC_URL; else the `svc run` of VAR_DIR.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every seal; exit 1 if the log was tampered with. Without an anchor a log cut at its end looks whole."""
    if bool(file) != bool(key_file):
        raise Invalid("--file and --key-file go together")
    if file and anchor:
        raise Invalid("--anchor is for the running service: an export need not hold the row that it names")
    found = _in_file(file, key_file) if file and key_file else _in_service(url, _anchor(anchor))
    if as_json:
        print_json(found)
    else:
        for flaw in found["flaws"]:
            named = {"position": flaw["position"], "row": flaw["audit_seq"]}
            where = ", ".join(f"{name} {number}" for name, number in named.items() if number)
            print(f"{where}: {flaw['what']}" if where else flaw["what"])
        more = f", {found['unsealed']} rows without a seal" if file else f"; head {found['head']}"
        print(f"{found['checked']} seals checked, {found['flawed']} flaws{more}")
    if found["flawed"]:
        raise typer.Exit(1)


@app.command()
def export(
    since: Annotated[str, typer.Option(help=When)],
    until: Annotated[str | None, typer.Option(help="Only rows before this; the same forms.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Only its rows. An auditor gets its own tenant's and those of `-`, the service.")
    ] = None,
    format: Annotated[Literal["jsonl"], typer.Option(help="One row with its seal a line.")] = "jsonl",
) -> None:
    """Print rows, each with its seal. That it was done is the newest row of the log."""
    begin, end = (datetime.fromisoformat(instant(text)) if text else datetime.now(UTC) for text in (since, until))
    with signed_in(*READERS) as (database, who):
        tenants = None if tenant is None else [tenant]
        if Role.OPERATOR not in who.roles:
            tenants = tenants or [who.tenant, audit.SERVICE]
            if tenant not in (None, who.tenant, audit.SERVICE):
                raise Invalid(
                    f"an auditor's key exports the rows of its own tenant and of `{audit.SERVICE}`, the service"
                )
        window = {"since": begin.isoformat(), "until": end.isoformat(), "tenants": tenants}
        told = ", ".join(tenants or ["all"])
        entry = audit.Entry(datetime.now(UTC), who.tenant, who.subject, "audit.exported", told, window)
        database.write_sync(lambda session: audit.append(session, entry))
        database.read_sync(
            lambda session: sys.stdout.writelines(
                json.dumps(line) + "\n" for line in audit_reading.export(session, begin, end, tenants)
            )
        )


@app.command()
def prune() -> None:
    """Delete what is older than AUDIT_DAYS, but its newest row. Needs a database user who may: the tables' owner."""
    days = Settings().audit.days
    with signed_in(Role.OPERATOR) as (database, who):
        now = datetime.now(UTC)
        gone = database.write_sync(lambda session: audit_reading.prune(session, days, who.subject, now))
    print(f"{gone} rows sealed more than {days} days ago are gone")


def _in_service(url: str | None, anchor: str | None) -> JsonObject:
    """Page after page."""
    total: JsonObject = {"checked": 0, "flawed": 0, "flaws": [], "head": None}
    with running_service(url) as ask:
        more = True
        while more:
            params = {"after": total["head"], "anchor": anchor}
            page = ask("GET", "/v1/audit/verify", params={name: at for name, at in params.items() if at})
            more = page.pop("more")
            total = page | {name: total[name] + page[name] for name in ("checked", "flawed", "flaws")}
    return total


def _in_file(file: Path, key_file: Path) -> JsonObject:
    text, key = _text(file), _text(key_file)
    keys = audit_chain.Keys(lambda: key)
    if not keys.all():
        raise Invalid(f"{key_file} holds no key")
    try:
        checked, unsealed, flaws = audit_export.check(keys, text)
    except audit_export.NoExport:
        raise Invalid(f"{file} is not an export of `svc audit export`") from None
    shown = [asdict(flaw) for flaw in flaws]
    return {"checked": checked, "unsealed": unsealed, "flawed": len(flaws), "flaws": shown, "head": None}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{file} is not text") from None


def _anchor(given: str | None) -> str | None:
    if given is None or ANCHOR.fullmatch(given):
        return given
    found = newest_anchor(Path(given))
    if found is None:
        raise Invalid("--anchor is POSITION:MAC, or a file that holds such lines")
    return f"{found[0]}:{found[1]}"
