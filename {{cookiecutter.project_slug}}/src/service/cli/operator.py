"""What operator commands share: printing, and the database or the running service for the caller behind SVC_API_KEY."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx2
import typer
from sqlalchemy.exc import ProgrammingError

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.identity import Caller, Role
from service.integration.database.api_keys import SqlKeyring, key_info
from service.integration.database.session import Database, NotMigrated, cause_of, open_database
from service.settings import Profile, Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ask = Callable[..., JsonObject]
READERS = (Role.OPERATOR, Role.AUDITOR)
NO_PRIVILEGE = "42501"
NO_KEY = "set SVC_API_KEY to an operator's API key"
EXPIRES_SOON = timedelta(days=14)  # without one valid operator's key nobody can make another (docs/runbook.md)
PATIENCE_S = 150.0  # longer than MODEL_DEADLINE_S can be


@contextmanager
def opened() -> Iterator[Database]:
    """The database of the settings, closed afterwards."""
    database = open_database(Settings().database_url)
    try:
        yield database
    except NotMigrated:
        raise
    except Unavailable as error:
        raise Unavailable(f"the database cannot be reached: {cause_of(error)}") from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NO_PRIVILEGE:
            raise
        raise Invalid(
            "this database user may not do that: DATABASE_URL must name a member of DATABASE_operator, or the owner"
        ) from None
    finally:
        database.close_sync()


@contextmanager
def signed_in(*allowed: Role) -> Iterator[tuple[Database, Caller]]:
    """The database, and the caller if it has one of the `allowed` roles. Raises `Invalid` otherwise."""
    with opened() as database:
        yield database, caller_in(database, *allowed)


def caller_in(database: Database, *allowed: Role) -> Caller:
    """Whose key SVC_API_KEY is or, without one in development, the operator of the running `svc run`."""
    plaintext = os.environ.get("SVC_API_KEY") or _svc_run().get("keys", {}).get("operator")
    if not plaintext:
        raise Invalid(NO_KEY)
    caller, key = SqlKeyring(database).find_sync(plaintext), key_info(database, plaintext)
    if caller is None or key is None:
        raise Invalid("SVC_API_KEY is not a valid API key")
    if not caller.roles.intersection(allowed):
        raise Invalid(f"this needs the role {' or '.join(allowed)}, which the given key has not")
    if key.expires_at and (left := key.expires_at - datetime.now(UTC)) < EXPIRES_SOON:
        print(f"svc: your key ends in {left.days} days: svc keys rotate {key.id}", file=sys.stderr)
    return caller


def _is_http(url: str) -> bool:
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)


@contextmanager
def running_service(given: str | None, role: Role = Role.OPERATOR) -> Iterator[Ask]:
    """Asks the service at `given`, else at SVC_URL, else, in development, the `svc run` of VAR_DIR.

    Method, path and content in, JSON out; a list as `items`. The key is SVC_API_KEY; that of `svc run` for the `role`
    is used for no other address.
    Raises `Unavailable` without a usable answer, and `Invalid` when the service refuses or nobody says where it is.
    """
    running = _svc_run()
    url = (given or os.environ.get("SVC_URL") or running.get("base_url") or "").rstrip("/")
    if not _is_http(url):
        raise Invalid("say where the service is, as http(s)://...: --url or SVC_URL (or start `svc run`)")
    own = running.get("keys", {}).get(role.value) if url == running.get("base_url") else None
    key = os.environ.get("SVC_API_KEY") or own
    if not key:
        raise Invalid(NO_KEY.replace("operator", role.value))
    with httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=PATIENCE_S) as http:

        def ask(method: str, path: str, **content: Any) -> JsonObject:
            try:
                answer = http.request(method, path, **content)
                told = answer.json()
                body = {"items": told} if isinstance(told, list) else dict(told)
            except (httpx2.TransportError, ValueError, TypeError) as error:
                raise Unavailable(f"no usable answer from the service at {url} ({type(error).__name__})") from None
            if answer.status_code == 200:
                return body
            if answer.status_code == 429:  # a long walk in many steps goes on when it may
                time.sleep(min(60, int(answer.headers.get("Retry-After", "1"))))
                return ask(method, path, **content)
            said = f"{url} answers {answer.status_code}: {body.get('detail') or body.get('title')}"
            raise Unavailable(said) if answer.status_code >= 500 else Invalid(said)

        yield ask


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


def _svc_run() -> JsonObject:
    """What dev.json tells of the running `svc run`; empty when nothing runs, and in production."""
    settings = Settings()
    if settings.profile is Profile.DEVELOPMENT:
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads((settings.var_dir / "dev.json").read_bytes()))
    return {}
