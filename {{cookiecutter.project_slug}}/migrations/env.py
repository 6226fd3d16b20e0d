"""Alembic's entry point. `svc migrate` hands over its connection; the alembic command uses the settings."""

from alembic import context
from sqlalchemy import Connection

from service.integration import jobs
from service.integration.database.columns import UtcDateTime
from service.integration.database.session import open_database
from service.integration.database.tables import Base
from service.settings import Settings


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Hide the job engine's tables, which share a SQLite file with ours: they are migrated by the engine."""
    return kind != "table" or name not in jobs.TABLES


def render_item(kind: str, item: object, _context: object) -> str | bool:
    """Migrations name plain column types, so that they keep working when ours are renamed."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    """All migrations in the connection's transaction: on both databases, all or none."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=include_name,
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = open_database(Settings().database_url)
    with database.writer.begin() as own:
        run(own)
    database.close_sync()
