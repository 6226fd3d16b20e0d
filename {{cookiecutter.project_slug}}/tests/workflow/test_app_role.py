"""The running service as the database role of deploy/postgres/grants.sql: it works, and can falsify no record."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url

from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import open_database
from service.integration.database.tables import Base
from service.settings import Settings
from tests.example import AI_FLAG, AUTO_FLAG, CLEAR, PATH, UNCLEAR
from tests.processes import free_port, running
from tests.workflow.conftest import ROOT, clean_environment, eventually

ROLES, GRANTS = (ROOT / "deploy" / "postgres" / name for name in ("roles.sql", "grants.sql"))
APPEND_ONLY = ("audit", "audit_seal", "flag_revision", "release", "release_draft", "release_step", "eval_report")


@dataclass(frozen=True)
class Running:
    """The service as the restricted role, and the same database as its owner and as that role."""

    url: str
    keys: dict[str, str]
    owner: psycopg.Connection
    app: psycopg.Connection

    def ask(self, role: str, method: str, path: str, **content: object) -> httpx2.Response:
        """Over a connection of its own: after a fault the server closes it."""
        return httpx2.request(method, self.url + path, headers={"X-API-Key": self.keys[role]}, timeout=30, **content)

    def ok(self, role: str, method: str, path: str, **content: object) -> dict:
        answer = self.ask(role, method, path, **content)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def counts(self) -> dict[str, int]:
        tables = ("decision", "payload", "audit", "review_item", "effect", "idempotency")
        return {t: self.owner.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}  # noqa: S608


@pytest.fixture(scope="module")
def service(postgres_server, tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("role")
    name = "app_role_test"
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(postgres_server, autocommit=True))
        admin.execute(f"CREATE DATABASE {name}")
        stack.callback(_drop, admin, name)
        url = make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        prepare(Settings(process={"profile": "development"}, database={"url": url}), project_root())
        database = open_database(url)
        keys = {
            role: issue_key(database, role, "acme", {role}) for role in ("caller", "reviewer", "operator", "auditor")
        }
        database.close_sync()
        owner = stack.enter_context(psycopg.connect(url, autocommit=True))
        for file in (ROLES, ROLES, GRANTS, GRANTS):  # they may be repeated
            owner.execute(file.read_text())
        owner.execute(f"CREATE ROLE {name}_process LOGIN IN ROLE {name}_app")
        owner.execute(f"CREATE ROLE {name}_person LOGIN IN ROLE {name}_operator")
        as_app = make_url(url).set(username=f"{name}_process").render_as_string(hide_password=False)
        app = stack.enter_context(psycopg.connect(as_app, autocommit=True))
        api = stack.enter_context(_api(folder, as_app))
        stack.enter_context(_worker(folder, as_app))
        yield Running(api, keys, owner, app)


def _drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    made = ("process", "person", "operator", "app", "owner", "vault")
    admin.execute(f"DROP ROLE IF EXISTS {', '.join(f'{name}_{role}' for role in made)}")


@contextmanager
def _api(folder: Path, url: str) -> Iterator[str]:
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as model:
        given = clean_environment(
            VAR_DIR=str(folder), DATABASE_URL=url, MODEL_URL=f"{model}/v1", MODEL_NAME="stand-in-primary-1"
        )
        with running(["tests.workflow.api_process"], free_port(), **given) as api:
            yield api


@contextmanager
def _worker(folder: Path, url: str) -> Iterator[None]:
    tickets = folder / "downstream.db"
    command = [sys.executable, "-m", "tests.integration.worker_process", url, str(tickets), "w"]
    with closing(sqlite3.connect(tickets)) as file:
        file.execute("CREATE TABLE ticket (key TEXT PRIMARY KEY, asked INTEGER)")
    worker = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    assert worker.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def test_the_whole_flow_works(service):
    flags = "/v1/flags"
    made = service.ok("caller", "POST", PATH, json=CLEAR)
    service.ok("caller", "POST", PATH, json=UNCLEAR)
    (item,) = service.ok("reviewer", "GET", "/v1/reviews?state=open")
    service.ok("reviewer", "POST", f"/v1/reviews/{item['id']}/claim")
    service.ok("reviewer", "POST", f"/v1/reviews/{item['id']}/verdict", json={"verdict": "approve", "note": "fine"})
    before = service.ok("operator", "GET", flags)["revision"]
    service.ok("operator", "PUT", f"{flags}/{AI_FLAG}", json={"variant": "off", "reason": "a test"})
    service.ok("operator", "POST", f"{flags}/revert", json={"revision": before, "reason": "back"})
    service.ok("operator", "GET", "/v1/redrive?since=2026-01-01T00:00:00Z")
    for decision_id in (made["decision_id"], item["decision_id"]):
        shown = f"/v1/decisions/{decision_id}"
        eventually(lambda shown=shown: service.ok("caller", "GET", shown)["effect"]["state"] == "done", 20)

    def verified() -> bool:
        found = service.ok("auditor", "GET", "/v1/audit/verify")
        return found["checked"] == service.counts()["audit"] and found["flawed"] == 0

    eventually(verified)
    done = {action for (action,) in service.owner.execute("SELECT DISTINCT action FROM audit")}
    assert done >= {
        "database.migrated", "installation.claimed", "key.created", "flag.added", "flag.set", "flag.reverted",
        "release.activated", "decision.made", "reviews.read", "review.claimed", "review.closed", "effect.done",
    }  # fmt: skip


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_record_can_be_altered_or_taken_out(service, table, statement):
    """Refused for lack of privilege, so that it needs no trigger; and the role cannot switch triggers off either."""
    column = Base.metadata.tables[table].c[1].name
    for order in (statement.format(table, f"{column} = {column}"), f"ALTER TABLE {table} DISABLE TRIGGER ALL"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.app.execute(order)


def test_it_cannot_seal_what_is_not_there_yet(service):
    seal = "SELECT max(position) + 1, 9000000000, 'x', 'x', 'x', now() FROM audit_seal"
    with pytest.raises(psycopg.errors.RaiseException, match="takes only the next seal"):
        service.app.execute(f"INSERT INTO audit_seal {seal}")


def test_the_grants_name_every_table_and_no_more(service):
    """A new table must be thought about: without a line in the grants the service cannot even read it."""

    def may(table: str, what: str) -> bool:
        query = "SELECT has_table_privilege(current_user, %s, %s)"
        return bool(service.app.execute(query, (f'public."{table}"', what)).fetchone()[0])

    assert [table for table in Base.metadata.tables if not may(table, "SELECT")] == []
    tables = [*Base.metadata.tables, "alembic_version"]
    assert [t for t in tables if any(may(t, what) for what in ("TRUNCATE", "REFERENCES", "TRIGGER"))] == []
    assert not may("alembic_version", "SELECT")
    for statement in ("CREATE TABLE x (i int)", "SET session_replication_role = replica", "CREATE ROLE x"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.app.execute(statement)


def test_what_cannot_be_audited_is_not_done(service):
    before = service.counts()
    service.owner.execute("REVOKE INSERT ON audit FROM app_role_test_app")
    try:
        refused = service.ask("caller", "POST", PATH, json=CLEAR)
        assert refused.status_code == 500
        assert service.ask("reviewer", "GET", "/v1/reviews").status_code == 500  # nobody reads unseen
        assert service.counts() == before
    finally:
        service.owner.execute("GRANT INSERT ON audit TO app_role_test_app")
    assert service.ask("caller", "POST", PATH, json=CLEAR).status_code == 200


def command(service, role, *arguments):
    """`svc ARGUMENTS` by an operator whose database login is this role."""
    info = service.app.info
    url = make_url(f"postgresql://{info.dbname}_{role}@/{info.dbname}?host={info.host}")
    given = clean_environment(
        DATABASE_URL=url.render_as_string(hide_password=False), SVC_API_KEY=service.keys["operator"]
    )
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments], cwd=ROOT, env=given, capture_output=True, text=True
    )


CREATE = ("keys", "create", "--tenant", "acme", "--role", "caller", "--subject")


def test_a_command_as_the_services_own_role_is_refused_in_a_line(service):
    ended = command(service, "process", *CREATE, "x")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "DATABASE_operator" in ended.stderr


def test_peoples_commands_work_as_their_own_role_which_owns_nothing(service):
    created = command(service, "person", *CREATE, "x")
    assert created.returncode == 0, created.stderr
    assert command(service, "person", "keys", "revoke", created.stdout.split("_")[1]).returncode == 0
    for arguments in (
        ("release", "draft"), ("release", "list"), ("flags", "list"), ("audit", "export", "--since", "1h"),
        ("flags", "set", AUTO_FLAG, "off", "--reason", "a test"),
    ):  # fmt: skip
        ended = command(service, "person", *arguments)
        assert ended.returncode in (0, 1), (arguments, ended.stderr)
        assert "may not" not in ended.stderr
