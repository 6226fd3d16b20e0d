"""Bringing a database up to date: the application's migrations, then the job engine's own."""

import os
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from service.application.errors import Unavailable
from service.integration import jobs
from service.integration.database import audit
from service.integration.database.session import Database, sql_errors_end_here

# Any number, always the same: it makes two `svc migrate` at once take turns.
LOCK = 7_203_114


class NoProject(Unavailable):
    """The project's files (alembic.ini, migrations/, prompts/, flags/) are not where they are looked for."""


def migrate(database: Database, project_root: Path, actor: str | None = None) -> None:
    """Upgrade to the newest migration. Safe to run at any time, by several at once, on a database in use.

    With an `actor` the audit log says so, if there was anything to do.
    """
    if database.dialect == "sqlite":
        Path(str(database.writer.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with sql_errors_end_here(), database.writer.begin() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = _version(connection)
        _upgrade(connection, project_root)
        if actor and (after := _version(connection)) != before:
            now, told = datetime.now(UTC), {"from": before}
            with Session(connection) as session:
                audit.append(session, audit.Entry(now, audit.SERVICE, actor, "database.migrated", str(after), told))
    jobs.migrate_jobs(database)


def project_root() -> Path:
    """The folder of alembic.ini: PROJECT_ROOT, else that of the source tree, else the current directory."""
    if given := os.environ.get("PROJECT_ROOT"):
        candidates = [Path(given)]
    else:
        candidates = [Path(__file__).resolve().parents[4], Path.cwd()]
    for candidate in candidates:
        if (candidate / "alembic.ini").is_file() and (candidate / "migrations" / "env.py").is_file():
            return candidate.absolute()
    raise NoProject(f"no alembic.ini in {' or '.join(map(str, candidates))}: set PROJECT_ROOT to the project's folder")


def _version(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, project_root: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(project_root / "alembic.ini")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
