"""Production starts with everything it needs, or not at all, with one line that says why."""

import subprocess
import sys

import pytest

from tests.processes import free_port
from tests.workflow.conftest import ROOT, clean_environment

GOOD = {
    "PROFILE": "production",
    "DATABASE_URL": "postgresql://127.0.0.1:1/service",
    "MODEL_URL": "https://models.internal/v1",
    "MODEL_NAME": "real-model",
    "VAULT_ROLE_ID": "role",
    "BUDGET_TENANT_USD": "50",
    "BUDGET_RELEASE_USD": "500",
}


def start(command: str, tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "secret-id").write_text("s.unusable")
    given = {**GOOD, "VAULT_SECRET_ID_FILE": str(tmp_path / "secret-id"), "VAR_DIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "service", command],
        cwd=ROOT,
        env=clean_environment(**{**given, **environment}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_unreachable_vault_stops_the_start(tmp_path, command):
    ended = start(command, tmp_path, VAULT_ADDR=f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "vault" in ended.stderr
    assert "VAULT_ADDR" in ended.stderr


def test_a_process_starts_with_what_it_needs_and_names_what_it_lacks(tmp_path):
    """Mounted files: the worker takes them, the API misses its own."""
    (mounted := tmp_path / "secrets").mkdir()
    for name in ("ticketing_token", "audit_key", "payload_key"):
        (mounted / name).write_text(f"{name}-planted".ljust(40, "x"))
    ended = start("worker", tmp_path, SECRETS_DIR=str(mounted))
    assert (ended.returncode, "set TICKETING_URL" in ended.stderr) == (2, True), ended.stderr
    ended = start("serve", tmp_path, SECRETS_DIR=str(mounted))
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert f"SECRETS_DIR {mounted} lacks digest_key, model_api_key" in ended.stderr
    ended = start("serve", tmp_path, SECRETS_DIR=str(mounted), INFERENCE_URL="http://127.0.0.1:1")
    assert "lacks digest_key, inference_token" in ended.stderr
    ended = start("serve-inference", tmp_path, SECRETS_DIR=str(mounted))
    assert "lacks model_api_key, inference_token" in ended.stderr
    assert "planted" not in ended.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"VAULT_ADDR": ""}, "set VAULT_ADDR"),
        ({"MODEL_API_KEY": "sk-planted"}, "unset MODEL_API_KEY"),  # pragma: allowlist secret
        ({"DATABASE_URL": "postgresql://u:hunter2@db/x"}, "password"),  # pragma: allowlist secret
        ({"DATABASE_URL": ""}, "Postgres"),
        ({"BUDGET_TENANT_USD": ""}, "BUDGET_TENANT_USD"),
        ({"MODEL_NAME": "stand-in-primary-1"}, "stand-in"),
        ({"PORT": "eighty"}, "PORT"),
        ({"DATABASE_CREDENTIALS": "yes"}, "DATABASE_CREDENTIALS"),
        ({"DATABASE_CREDENTIALS": "vault", "SECRETS_DIR": "/nowhere"}, "unset SECRETS_DIR"),
        ({"VAULT_K8S_ROLE": "api", "VAULT_ADDR": ""}, "set VAULT_ADDR"),
    ],
)
def test_what_production_must_not_have_stops_the_start(tmp_path, change, words):
    ended = start("serve", tmp_path, **{"VAULT_ADDR": "http://127.0.0.1:1", **change})
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert words in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "sk-planted" not in ended.stderr


def test_a_secret_in_a_dotenv_file_is_not_accepted(tmp_path):
    (tmp_path / ".env").write_text("VAULT_ADDR=http://127.0.0.1:9\nMODEL_API_KEY=planted\n")
    ended = subprocess.run(
        [sys.executable, "-m", "service", "serve"],
        cwd=tmp_path,
        env=clean_environment(**GOOD),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "set VAULT_ADDR" in ended.stderr
