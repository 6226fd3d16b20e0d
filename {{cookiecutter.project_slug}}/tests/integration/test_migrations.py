"""The migrations build what the models say, beside the job engine's tables, on both databases."""

import asyncio
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from service.integration import jobs
from service.integration.database.migrate import NoProject, migrate, project_root
from service.integration.database.records import SqlRecords
from service.integration.database.session import NotMigrated, open_database
from service.integration.database.tables import Base
from tests.integration.examples import ALICE, REQUEST, Clock, Queue, digest

ROOT = Path(__file__).resolve().parents[2]
NEWEST = max(file.name[:4] for file in (ROOT / "migrations" / "versions").glob("*.py"))
both = pytest.mark.parametrize("empty_database_url", ["sqlite", "postgres"], indirect=True)


def differences(database, include_name=None):
    with database.writer.connect() as connection:
        options = {"include_name": include_name, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


def not_of_the_job_engine(name, kind, _parents):
    return kind != "table" or name not in {*jobs.TABLES, "alembic_version"}


def test_models_and_migrations_agree(database):
    assert differences(database, not_of_the_job_engine) == []


def test_the_job_engines_tables_are_listed_exactly(sqlite_database):
    found = set(inspect(sqlite_database.writer).get_table_names())
    assert found - set(Base.metadata.tables) - {"alembic_version"} == jobs.TABLES


def test_on_postgres_they_have_a_schema_of_their_own(postgres_database):
    tables = inspect(postgres_database.writer)
    assert set(tables.get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    assert set(tables.get_table_names("dbos")) >= {"workflow_status", "workflow_input", "queues"}


@both
def test_several_migrate_an_empty_database_at_once(empty_database_url):
    databases = [open_database(empty_database_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda database: migrate(database, ROOT), databases))
    assert differences(databases[0], not_of_the_job_engine) == []
    for database in databases:
        database.close_sync()


@both
def test_a_database_without_tables_says_what_to_do(empty_database_url):
    database = open_database(empty_database_url)
    records = SqlRecords(database, Queue(), digest, Clock())
    with pytest.raises(NotMigrated, match="svc migrate"):
        asyncio.run(records.open(ALICE, "k", REQUEST, None))
    database.close_sync()


@both
def test_a_failing_migration_leaves_nothing_behind(empty_database_url, tmp_path):
    """Both databases roll DDL back, so a broken deployment can simply be repeated."""
    copy = project_copy(tmp_path)
    versions = copy / "migrations" / "versions"
    newest = max(file.name for file in versions.glob("0*.py"))[:4]
    (versions / "9999_broken.py").write_text(
        f'from alembic import op\nrevision = "9999"\ndown_revision = "{newest}"\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE half (x int)")\n    op.execute("nonsense")\n'
    )
    database = open_database(empty_database_url)
    with pytest.raises(Exception, match="nonsense"):
        migrate(database, copy)
    assert inspect(database.writer).get_table_names() == []
    migrate(database, ROOT)
    database.close_sync()


def test_the_alembic_command_sees_no_difference_either(sqlite_database, tmp_path):
    """As a developer runs it; the project is copied because its folder may be read-only or have an odd name."""
    check = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=project_copy(tmp_path),
        env={"DATABASE_URL": f"sqlite:///{sqlite_database.writer.url.database}", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stderr
    assert "No new upgrade operations" in check.stdout


def test_the_project_folder_is_found_or_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("PROJECT_ROOT", raising=False)
    assert project_root() == ROOT
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    with pytest.raises(NoProject, match="set PROJECT_ROOT"):
        project_root()


def project_copy(tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "migrations", copy / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", copy)
    return copy
