"""The scanner of the pre-commit hook finds each kind of secret, and none in this project."""

import base64
import json
import secrets
import string

import pytest

from dev import secret_scan


def random_text(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def jwt() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": random_text(12)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, random_text(43)])


PLANTED = {
    "a Vault token": lambda: f"token: hvs.{random_text(90)}",
    "an OpenBao token": lambda: f"BAO_TOKEN=s.{random_text(24)}",
    "a recovery token": lambda: f"hvr.{random_text(40)}",
    "an API key of ours": lambda: f"X-API-Key: svk_{secrets.token_hex(8)}_{random_text(43)}",
    "a cloud key": lambda: f"key = AKIA{random_text(16, string.ascii_uppercase + string.digits)}",
    "a private key": lambda: f"-----BEGIN {'RSA'} PRIVATE KEY-----",
    "a password in a URL": lambda: f"postgresql://app:{random_text(16)}@db/app",
    "a signed token": jwt,
    "a password": lambda: f'password = "{random_text(20)}"',
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_secret_is_found_and_not_repeated(kind, tmp_path):
    file, planted = tmp_path / "notes.txt", PLANTED[kind]()
    file.write_text(f"nothing here\n{planted}\n", encoding="utf-8")
    found = secret_scan.find([file])
    assert [line for line in found if ":2: " in line] == found != []
    assert planted not in str(found)


def test_the_project_holds_none():
    files = secret_scan.project_files()
    assert {"README.md", "src/service/settings/groups.py", ".pre-commit-config.yaml"} <= {
        file.relative_to(secret_scan.ROOT).as_posix() for file in files
    }
    assert secret_scan.find(files) == []
