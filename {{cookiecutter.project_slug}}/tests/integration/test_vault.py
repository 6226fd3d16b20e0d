"""Secrets from a real OpenBao: AppRole, wrapped secret id, and every way it can refuse."""

import subprocess
from dataclasses import replace

import pytest

from dev.vault import Vault as DevelopmentVault
from service.integration.secrets.sources import Fields, KvSecret
from service.integration.secrets.vault import AppRole, Vault, VaultUnavailable
from service.settings import Secrets
from tests.processes import free_port

SLUG = "vault-test"
FIELDS = Fields(tuple(Secrets.model_fields), ("model_api_key", "digest_key"), ("digest_key",), shortest=32)


def read_secrets(vault, login, path=f"{SLUG}/app", addr=None) -> Secrets:
    return Secrets.model_validate(KvSecret(Vault(addr or vault.address, login), path, FIELDS).news())


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """A running OpenBao, set up as `svc run` sets it up."""
    made = DevelopmentVault(tmp_path_factory.mktemp("vault"), SLUG, free_port(), free_port())
    process = subprocess.Popen(made.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def still_running() -> None:
        assert process.poll() is None, "OpenBao ended: run its command by hand to see why"

    try:
        made.make_ready(still_running)
        made.app_secrets({"MODEL_API_KEY": "model-key"})  # pragma: allowlist secret
        yield made
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def login(vault, tmp_path):
    file = tmp_path / "secret-id"
    vault.issue_secret_id(file)
    return AppRole(vault.role_id, file)


def test_all_secrets_are_read_and_do_not_print(vault, login):
    known = read_secrets(vault, login)
    assert known.model_api_key.get_secret_value() == "model-key"
    assert len(known.audit_key.get_secret_value()) == 64
    assert "model-key" not in repr(known)


def test_the_environment_cannot_add_or_replace_a_secret(vault, login, monkeypatch):
    monkeypatch.setenv("MODEL_API_KEY", "from-the-environment")
    monkeypatch.setenv("AUDIT_KEY", "from-the-environment")
    known = read_secrets(vault, login)
    assert "from-the-environment" not in {v.get_secret_value() for v in known.__dict__.values()}


def test_a_wrapped_secret_id_works_once(vault, login):
    read_secrets(vault, replace(login))
    with pytest.raises(VaultUnavailable, match="refused the login"):
        read_secrets(vault, login)


def test_another_path_is_forbidden(vault, login):
    with pytest.raises(VaultUnavailable, match="refused"):
        read_secrets(vault, login, "other/app")


def test_a_wrong_role_is_refused(vault, login):
    with pytest.raises(VaultUnavailable, match="VAULT_ROLE_ID"):
        read_secrets(vault, replace(login, role_id="nobody"))


def test_a_missing_field_is_named(vault, login):
    kept = vault.read("app")
    vault.write("app", {name: value for name, value in kept.items() if name != "digest_key"})
    try:
        with pytest.raises(VaultUnavailable, match="lacks digest_key"):
            read_secrets(vault, login)
    finally:
        vault.write("app", kept)


@pytest.mark.parametrize("odd", [",", "short", f"{'x' * 40},", f"{'x' * 40},short"])
def test_a_key_that_could_be_guessed_is_not_taken(vault, login, odd):
    kept = vault.read("app")
    vault.write("app", {**kept, "digest_key": odd})
    try:
        with pytest.raises(VaultUnavailable, match="each key in digest_key must have at least 32 characters"):
            read_secrets(vault, login)
    finally:
        vault.write("app", kept)


@pytest.mark.parametrize("odd", [987654321, ["a"], {"a": "b"}])
def test_a_field_that_is_no_text_is_named_and_not_shown(vault, login, odd):
    kept = vault.read("app")
    vault.write("app", {**kept, "model_api_key": odd})
    try:
        with pytest.raises(VaultUnavailable, match="model_api_key must be text") as caught:
            read_secrets(vault, login)
        assert "987654321" not in str(caught.value)
    finally:
        vault.write("app", kept)


def test_a_missing_secret_id_file_is_named(vault, login, tmp_path):
    with pytest.raises(VaultUnavailable, match="VAULT_SECRET_ID_FILE"):
        read_secrets(vault, replace(login, secret_id_file=tmp_path / "absent"))


@pytest.mark.parametrize("addr", ["http://127.0.0.1:1", "not a url", "http://nowhere.invalid:8200"])
def test_an_unreachable_vault_is_one_line(vault, login, addr):
    with pytest.raises(VaultUnavailable) as caught:
        read_secrets(vault, login, addr=addr)
    assert "\n" not in str(caught.value)
    assert "VAULT_ADDR" in str(caught.value)


def test_a_model_key_other_than_the_kept_one_is_not_taken_and_said_so_without_the_key(vault):
    environment = {"MODEL_API_KEY": "a-newer-key", "BACKUP_MODEL_API_KEY": ""}  # pragma: allowlist secret
    kept = vault.app_secrets(environment)
    assert kept["model_api_key"] == "model-key"  # pragma: allowlist secret
    [line] = vault.other_keys(kept, environment)
    assert line.startswith("MODEL_API_KEY is not the key in the vault")
    assert f"{SLUG}/app model_api_key=" in line
    assert not {"a-newer-key", "model-key"} & set(line.replace("=", " ").split())
    assert vault.other_keys(kept, {"MODEL_API_KEY": "model-key"}) == []  # pragma: allowlist secret
