"""Secrets that stay fresh: logins, rotation, outages, database users. Real OpenBao and Postgres, set up by deploy/.

HashiCorp Vault speaks the same API; its program cannot be had here, so it is not run.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from service.bootstrap import _keyed_digest, open_store
from service.bootstrap_process import Held
from service.integration.database.migrate import migrate
from service.integration.database.session import Database, open_database
from service.integration.flags.listener import Listener
from service.integration.secrets import vault as vault_module
from service.integration.secrets.keeper import DatabaseUser, Keeper
from service.integration.secrets.sources import Fields, KvSecret, MountedFiles
from service.integration.secrets.vault import AppRole, Kubernetes, Vault, VaultUnavailable
from service.settings import Secrets, Settings
from tests.conftest import SECRETS
from tests.integration.kubernetes import fake_kubernetes
from tests.production import (
    FIRST_PASSWORD,
    ROOT,
    Bao,
    Postgres,
    grant,
    make_roles,
    open_bao,
    owner_url,
    set_up_vault,
    strict_postgres,
)  # fmt: skip

SLUG, DATABASE, NAMESPACE = "secrets-test", "shop", "prod"
PROCESSES = ("api", "worker", "inference")
FIELDS = Fields(("ticketing_token", "model_api_key"), ("ticketing_token",))


@dataclass(frozen=True)
class Place:
    bao: Bao
    postgres: Postgres

    def vault(self, folder: Path, process: str = "api") -> Vault:
        return Vault(self.bao.addr, self.login(folder, process))

    def login(self, folder: Path, process: str = "api") -> AppRole:
        return AppRole(self.bao.role_id(process), self.bao.secret_id(process, folder / f"{process}.secret-id"))

    def ttl(self, token: str = "1h", longest: str = "24h", database: str = "1h") -> None:
        """How long what is issued from now on lives."""
        self.bao.root.write(f"auth/approle/role/{SLUG}-api", token_ttl=token, token_max_ttl=longest)
        self.bao.root.write(f"database/roles/{SLUG}", **self._role() | {"default_ttl": database})

    def _role(self) -> dict:
        return dict(self.bao.root.read(f"database/roles/{SLUG}")["data"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with strict_postgres() as postgres, open_bao(tmp_path_factory.mktemp("secrets"), SLUG) as bao:
        make_roles(postgres, DATABASE)
        set_up_vault(bao, postgres, DATABASE)
        for process in PROCESSES:
            bao.put(process, ticketing_token=f"of-{process}")
        yield Place(bao, postgres)


@pytest.fixture(autouse=True)
def unchanged(request):
    yield
    if "place" in request.fixturenames:
        request.getfixturevalue("place").ttl()


@contextmanager
def kept(keeper: Keeper) -> Iterator[Keeper]:
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def eventually(condition, seconds: float = 5.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.02)
    return value


# Logging in, and staying so


def test_a_token_is_renewed_and_replaced_before_its_longest_life_ends(place, tmp_path):
    place.ttl(token="4s", longest="6s")
    vault = place.vault(tmp_path)
    began, logins = time.monotonic(), {}
    while (age := time.monotonic() - began) < 4.8:
        vault.keep()
        assert vault.token_ttl_s > 0.5
        logins[int(age)] = vault.logins
        assert vault.read(f"{SLUG}/api")
        time.sleep(0.1)
    assert logins[2] == 1  # renewed at half its four seconds
    assert logins[4] == 2  # six seconds are the longest, of which two are left


def test_a_revoked_token_is_replaced_with_the_kept_secret_id(place, tmp_path):
    vault = place.vault(tmp_path)
    vault.read(f"{SLUG}/api")
    (tmp_path / "api.secret-id").unlink()  # it would not work a second time anyway
    for accessor in accessors(place):
        place.bao.root.auth.token.revoke_accessor(accessor)
    assert vault.read(f"{SLUG}/api")
    assert vault.logins == 2


def accessors(place: Place) -> list[str]:
    """Of the tokens of the API's role."""
    root = place.bao.root
    found = [root.auth.token.lookup_accessor(a)["data"] for a in root.list("auth/token/accessors")["data"]["keys"]]
    return [t["accessor"] for t in found if f"{SLUG}-api" in t["policies"]]


def test_a_secret_id_that_ended_is_replaced_by_a_fresh_one_in_its_file(place, tmp_path, monkeypatch):
    monkeypatch.setattr(vault_module, "ASK_AGAIN_S", 0.2)
    place.ttl(token="2s", longest="2s")
    vault = place.vault(tmp_path)
    vault.keep()
    place.bao.root.delete(f"auth/approle/role/{SLUG}-api")  # with all its secret ids
    set_up_vault(place.bao, None, DATABASE)
    eventually(lambda: not vault.token_ttl_s)
    with pytest.raises(VaultUnavailable, match="refused the login"):
        vault.keep()
    vault._log_in.role_id = place.bao.role_id("api")
    place.bao.secret_id("api", tmp_path / "api.secret-id")
    with pytest.raises(VaultUnavailable, match="refused the login"):
        vault.keep()  # it does not ask again at once, lest the role be locked
    time.sleep(0.3)
    vault.keep()
    assert vault.read(f"{SLUG}/api")


def test_a_pod_logs_in_by_its_service_account_and_another_one_is_refused(place, tmp_path):
    with fake_kubernetes(tmp_path, NAMESPACE) as cluster:
        set_up_vault(
            place.bao,
            None,
            DATABASE,
            K8S_HOST=cluster.url,
            K8S_CA_FILE=str(cluster.ca_file),
            K8S_NAMESPACE=NAMESPACE,
        )
        own = Kubernetes(f"{SLUG}-api", cluster.token_of(f"{SLUG}-api"))
        assert Vault(place.bao.addr, own).read(f"{SLUG}/api") == {"ticketing_token": "of-api"}
        forged = cluster.token_of(f"{SLUG}-api", forged=True)
        for other in (forged, cluster.token_of(f"{SLUG}-worker"), tmp_path / "absent"):
            with pytest.raises(VaultUnavailable, match="VAULT_K8S_") as caught:
                Vault(place.bao.addr, Kubernetes(f"{SLUG}-api", other)).read(f"{SLUG}/api")
            assert "\n" not in str(caught.value)
        assert cluster.reviews >= 2


# Least privilege


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_reads_its_own_secrets_and_no_others(place, tmp_path, process):
    vault = place.vault(tmp_path, process)
    assert vault.read(f"{SLUG}/{process}") == {"ticketing_token": f"of-{process}"}
    for other in {*PROCESSES, "app"} - {process}:
        with pytest.raises(VaultUnavailable, match=f"refused secret/{SLUG}/{other}"):
            vault.read(f"{SLUG}/{other}")
        with pytest.raises(VaultUnavailable, match="refused"):
            vault.version(f"{SLUG}/{other}")
    if process == "inference":
        with pytest.raises(VaultUnavailable, match="refused database/creds"):
            vault.database_credentials(SLUG)
    else:
        assert vault.database_credentials(SLUG).user.startswith("v-")


def test_set_up_again_changes_nothing(place, tmp_path):
    login = place.login(tmp_path)
    printed = set_up_vault(place.bao, place.postgres, DATABASE)
    assert "rotate-root" not in printed
    assert Vault(place.bao.addr, login).database_credentials(SLUG)


def test_the_vaults_first_database_password_is_gone(place):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(place.postgres.url(f"{DATABASE}_vault", DATABASE), password=FIRST_PASSWORD)


# Database users


@pytest.fixture(scope="module")
def migrated(place, tmp_path_factory):
    """URL of the service's database, migrated by its owner."""
    database = open_database(owner_url(place.postgres, DATABASE, tmp_path_factory.mktemp("owner")))
    migrate(database, ROOT)
    database.close_sync()
    grant(place.postgres, DATABASE)
    return place.postgres.url(database=DATABASE)


def user_in(database: Database) -> str:
    return str(database.read_sync(lambda session: session.execute(text("select session_user")).scalar()))


def test_the_running_service_owns_nothing_and_may_not_change_tables(place, migrated, tmp_path):
    owners = "select distinct tableowner from pg_tables where schemaname in ('public', 'dbos')"
    assert place.postgres.run(owners, DATABASE) == [(f"{DATABASE}_owner",)]
    lease = place.vault(tmp_path).database_credentials(SLUG)
    with psycopg.connect(place.postgres.url(lease.user, DATABASE), password=lease.password, autocommit=True) as own:
        assert own.execute("select count(*) from decision").fetchall() == [(0,)]
        assert own.execute("select count(*) from dbos.workflow_status").fetchall() == [(0,)]
        for forbidden in (
            "CREATE TABLE x (a int)", "DROP TABLE decision", "ALTER TABLE audit DISABLE TRIGGER ALL",
            "TRUNCATE decision", "CREATE SCHEMA x", "CREATE ROLE x", f"SET ROLE {DATABASE}_owner",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute(forbidden)


def test_a_new_user_comes_at_half_its_life_and_every_connection_becomes_its(place, migrated, tmp_path):
    place.ttl(database="6s")
    user = DatabaseUser(place.vault(tmp_path), SLUG)
    database = open_database(migrated, user)
    user.on_change.append(database.reconnect)
    jobs, heard = database.engine_for(2), []
    listener = Listener(database.engine_for(1), lambda: heard.append(1))
    listener.start()
    first = user_in(database)
    with jobs.connect() as held:
        held.execute(text("select 1"))
        eventually(lambda: heard)
        user.refresh()
        assert user_in(database) == first  # not yet
        time.sleep(3.1)
        user.refresh()
        second = user_in(database)
        assert second == user()[0] != first
        assert held.execute(text("select session_user")).scalar() == first  # a transaction under way is let finish
    with jobs.connect() as again:
        assert again.execute(text("select session_user")).scalar() == second
    listening = "select usename from pg_stat_activity where query = 'LISTEN flags'"
    eventually(lambda: place.postgres.run(listening) == [(second,)])
    assert (first,) in place.postgres.run("select usename from pg_user")  # it did not wait for that one's end
    eventually(lambda: (first,) not in place.postgres.run("select usename from pg_user"))
    assert user_in(database) == second  # the first is dropped, and nobody misses it
    listener.stop()
    database.close_sync()


def test_the_store_of_a_process_lets_go_of_the_old_user(place, migrated, tmp_path):
    place.ttl(database="20s")
    vault = place.vault(tmp_path)
    user = DatabaseUser(vault, SLUG)
    held = Held(Secrets.model_validate({}), user, Keeper(KvSecret(vault, f"{SLUG}/api", FIELDS), print, vault, user))
    given = {"process": {"profile": "development", "var_dir": tmp_path}, "database": {"url": migrated}}
    store = open_store(Settings(**given), "test", SECRETS, held)
    try:
        first = user()[0]
        assert [user_in(store.database), user_in(store.watched)] == [first, first]
        vault._log_in_anew()  # the first user lives on meanwhile
        held.keeper.look()
        assert [user_in(store.database), user_in(store.watched)] == [user()[0]] * 2 != [first, first]
    finally:
        asyncio.run(store.close())


def test_a_new_login_brings_a_new_user_because_the_old_one_ends_with_its_token(place, migrated, tmp_path):
    vault = place.vault(tmp_path)
    user = DatabaseUser(vault, SLUG)
    first = user()
    vault.keep()
    user.refresh()
    assert user() == first
    for accessor in accessors(place):
        place.bao.root.auth.token.revoke_accessor(accessor)
    vault.version(f"{SLUG}/api")
    user.refresh()
    assert user() != first


def test_readiness_says_with_what_a_process_works_when_the_vault_is_away(place, migrated, tmp_path):
    place.ttl(database="2s")
    vault = place.vault(tmp_path)
    keeper = Keeper(KvSecret(vault, f"{SLUG}/api", FIELDS), lambda _: None, vault, DatabaseUser(vault, SLUG))
    keeper.look()
    assert keeper.check() is True
    place.bao.kill()
    try:
        keeper.look()
        assert str(keeper.check()).startswith("the last good ones")
        eventually(lambda: str(keeper.check()).endswith("the database user has expired"))
    finally:
        place.bao.start()
    keeper.look()
    assert keeper.check() is True


# Rotation and outage


def test_a_new_version_is_in_use_within_two_seconds_by_whoever_kept_the_callable(place, tmp_path):
    place.bao.put("worker", ticketing_token="old")
    vault = place.vault(tmp_path, "worker")
    source = KvSecret(vault, f"{SLUG}/worker", FIELDS)
    known = Secrets.model_validate(source.news())
    token = known.ticketing_token.get_secret_value
    with kept(Keeper(source, known.replace, vault)):
        assert token() == "old"
        place.bao.put("worker", ticketing_token="new", model_api_key="and-this")  # pragma: allowlist secret
        eventually(lambda: (token(), known.model_api_key.get_secret_value()) == ("new", "and-this"), 2.0)
    assert "new" not in repr(known)


def test_what_cannot_be_used_is_not_taken_and_said_once(place, tmp_path, caplog):
    vault, taken = place.vault(tmp_path, "worker"), []
    place.bao.put("worker", ticketing_token="good")
    keeper = Keeper(KvSecret(vault, f"{SLUG}/worker", FIELDS), taken.append, vault)
    keeper.look()
    place.bao.put("worker", model_api_key="planted-key")  # pragma: allowlist secret
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            keeper.look()
        assert str(keeper.check()).startswith("the last good ones")
        place.bao.kill()
        keeper.look()
        place.bao.start()
        place.bao.put("worker", ticketing_token="better")
        keeper.look()
    assert taken == [{"ticketing_token": "good"}, {"ticketing_token": "better"}]
    assert keeper.check() is True
    said = [record.getMessage() for record in caplog.records if record.name.endswith("keeper")]
    assert [line.split(" ", 3)[:3] for line in said] == [
        ["secrets", "are", "not"], ["new", "secrets", "are"], ["secrets", "are", "fresh"],
    ]  # fmt: skip
    assert "lacks ticketing_token" in said[0]
    assert "planted-key" not in caplog.text


def test_mounted_files_are_read_again_when_they_change(tmp_path):
    mounted = tmp_path / "secrets"
    for version, token in (("v1", "old"), ("v2", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "ticketing_token").write_text(f"{token}\n")
        (tmp_path / version / "of-somebody-else").write_text("x")
    mounted.symlink_to(tmp_path / "v1")
    taken: list[dict[str, str]] = []
    keeper = Keeper(MountedFiles(mounted, FIELDS), taken.append)
    keeper.look()
    keeper.look()
    (swapped := tmp_path / "swapped").symlink_to(tmp_path / "v2")
    swapped.replace(mounted)  # as the kubelet does it
    keeper.look()
    assert taken == [{"ticketing_token": "old"}, {"ticketing_token": "new"}]
    (tmp_path / "v2" / "ticketing_token").unlink()
    keeper.look()
    assert str(keeper.check()).startswith("the last good ones")
    with pytest.raises(VaultUnavailable, match=r"SECRETS_DIR .* lacks ticketing_token"):
        MountedFiles(mounted, FIELDS).news()


def test_what_is_made_with_a_secret_is_made_with_the_newest():
    known = Secrets.model_validate({"digest_key": "old"})
    digest = _keyed_digest(known)
    before = digest({"a": 1})
    known.replace({"digest_key": "new"})
    after = digest({"a": 1})
    known.replace({"digest_key": "old"})
    assert digest({"a": 1}) == before != after


def test_secrets_of_one_process_do_not_become_anothers():
    first, second = Secrets.model_validate({}), Secrets.model_validate({})
    first.replace({"audit_key": "mine"})
    assert (first.audit_key.get_secret_value(), second.audit_key.get_secret_value()) == ("mine", "")
    first.replace({"digest_key": "other"})
    assert first.audit_key.get_secret_value() == ""
