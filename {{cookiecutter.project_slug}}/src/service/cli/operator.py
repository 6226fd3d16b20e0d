"""What operator commands share: the database, printing, and the caller behind SVC_API_KEY who answers for a change."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.identity import Caller, Role
from service.integration.database.api_keys import SqlKeyring
from service.integration.database.session import Database, NotMigrated, cause_of, open_database
from service.settings import Profile, Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """The settings and their database, closed afterwards."""
    settings = Settings()
    database = open_database(settings.database_url)
    try:
        yield settings, database
    except NotMigrated:
        raise
    except Unavailable as error:
        raise Unavailable(f"the database cannot be reached: {cause_of(error)}") from error
    finally:
        database.close_sync()


def operator(settings: Settings, database: Database, *allowed: Role) -> Caller:
    """The caller, if it has one of the `allowed` roles (default: operator). Raises `Invalid` otherwise.

    In development, without SVC_API_KEY, the operator key of the running `svc run` is used.
    """
    plaintext = os.environ.get("SVC_API_KEY") or _development_key(settings)
    if not plaintext:
        raise Invalid("set SVC_API_KEY to an operator's API key")
    caller = SqlKeyring(database).find_sync(plaintext)
    if caller is None:
        raise Invalid("SVC_API_KEY is not a valid API key")
    roles = allowed or (Role.OPERATOR,)
    if not caller.roles.intersection(roles):
        raise Invalid(f"this needs the role {' or '.join(roles)}, which the given key has not")
    return caller


def reader(settings: Settings, database: Database) -> Caller:
    """The caller, if it may look without changing anything."""
    return operator(settings, database, Role.OPERATOR, Role.AUDITOR)


def show(rows: list[JsonObject], as_json: bool, columns: tuple[str, ...]) -> None:
    """The rows as JSON, or these columns of them as a table, each as wide as its widest cell."""
    if as_json:
        print_json(rows)
        return
    cells = [[column.replace("_", " ").upper() for column in columns]]
    cells += [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Indented JSON; instants as ISO 8601."""
    print(json.dumps(value, indent=2, default=lambda instant: instant.isoformat()))


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _development_key(settings: Settings) -> str | None:
    file: Path = settings.var_dir / "dev.json"
    if settings.profile is not Profile.DEVELOPMENT or not file.is_file():
        return None
    try:
        key: str = json.loads(file.read_text(encoding="utf-8"))["keys"]["operator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key
