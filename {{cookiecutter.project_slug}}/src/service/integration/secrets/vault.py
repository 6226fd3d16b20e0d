"""A login to Vault or OpenBao that is kept, and what may be read with it: KV v2 secrets and database credentials.

Copyable: needs hvac, nothing of this project. It is synchronous and for one thread at a time: call it at start, then
from a thread of its own. Messages say what failed and what to check, and never quote what the vault answered.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import hvac
import requests
from hvac import exceptions as vault_errors

T = TypeVar("T")
_TRIES = 3
_PAUSE_S = 0.5
_TIMEOUT_S = 5
ASK_AGAIN_S = 30.0  # after a refused login: asking each second may lock the role, and fills the vault's audit log
_REFUSALS = (vault_errors.Forbidden, vault_errors.InvalidRequest)


class VaultUnavailable(Exception):
    """No secrets could be had. The message is one line: what failed and what to check."""


class Login(Protocol):
    """A way to prove who this process is. `check` says what to look at when the vault refuses it."""

    @property
    def check(self) -> str: ...

    def __call__(self, client: hvac.Client) -> Any:
        """The vault's answer to a login, whose token the client then has."""
        ...


@dataclass(slots=True)
class AppRole:
    """By role id, and a file with a response-wrapping token of a secret id.

    That token can be unwrapped once: if somebody else was first, login fails and the theft shows. The secret id is kept
    in memory for later logins. When it is refused one day, the file is read again, for a fresh one.
    """

    role_id: str
    secret_id_file: Path
    check: ClassVar[str] = "VAULT_ROLE_ID is wrong or the wrapped secret id was used"
    _secret_id: str = field(default="", init=False, repr=False)

    def __call__(self, client: hvac.Client) -> Any:
        if self._secret_id:
            with suppress(*_REFUSALS):
                return client.auth.approle.login(role_id=self.role_id, secret_id=self._secret_id)
        client.token = content_of(self.secret_id_file, "VAULT_SECRET_ID_FILE")
        self._secret_id = client.sys.unwrap()["data"]["secret_id"]  # type: ignore[no-untyped-call]
        return client.auth.approle.login(role_id=self.role_id, secret_id=self._secret_id)


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """By the pod's service account, whose projected token is read anew for each login, since it is replaced."""

    role: str
    token_file: Path
    check: ClassVar[str] = "VAULT_K8S_ROLE is wrong or not bound to this service account"

    def __call__(self, client: hvac.Client) -> Any:
        return client.auth.kubernetes.login(self.role, content_of(self.token_file, "VAULT_K8S_TOKEN_FILE"))


@dataclass(frozen=True, slots=True)
class Lease:
    """A database user that the vault made, and drops `ttl_s` seconds later."""

    user: str
    password: str = field(repr=False)
    ttl_s: float


class Vault:
    """One process's login. Every method raises `VaultUnavailable`, of which only `close` makes nothing."""

    def __init__(self, addr: str, log_in: Login) -> None:
        self.logins = 0
        self._addr, self._log_in = addr, log_in
        self._client = self._new_client()
        self._ttl_s = self._expires_at = self._refused_until = 0.0
        self._refusal = f"vault at {addr} refused the login: {log_in.check}"

    @property
    def token_ttl_s(self) -> float:
        """Seconds until the token expires if nobody renews it; 0 without one."""
        return max(0.0, self._expires_at - time.monotonic())

    def keep(self) -> None:
        """To be called often: renews the token at half its life, or logs in anew when that does not help."""
        if self.token_ttl_s > self._ttl_s / 2:
            return
        if not self.token_ttl_s or not self._renewed():
            self._log_in_anew()

    def version(self, path: str, mount: str = "secret") -> int:
        """The number of the newest version of a secret, without reading it."""
        kv = f"{mount}/{path}"
        answer = self._ask(kv, lambda client: client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount))
        return int(answer["data"]["current_version"])

    def read(self, path: str, mount: str = "secret") -> dict[str, Any]:
        """The fields of the newest version of a secret."""

        def ask(client: hvac.Client) -> dict[str, Any]:
            kv = client.secrets.kv.v2
            return dict(kv.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"])

        return self._ask(f"{mount}/{path}", ask)

    def database_credentials(self, role: str, mount: str = "database") -> Lease:
        """A new database user. It is gone with its lease, or with the token of this login if that ends earlier."""

        def ask(client: hvac.Client) -> Lease:
            answer: Any = client.secrets.database.generate_credentials(role, mount)  # type: ignore[no-untyped-call]
            return Lease(answer["data"]["username"], answer["data"]["password"], answer["lease_duration"])

        return self._ask(f"{mount}/creds/{role}", ask)

    def close(self) -> None:
        """Give the token back, and with it every database user. A vault that is away will find out by itself."""
        with suppress(requests.RequestException, vault_errors.VaultError):
            self._client.auth.token.revoke_self()

    def _ask(self, what: str, ask: Callable[[hvac.Client], T]) -> T:
        """With a token that is valid. One that is refused is replaced once: somebody may have revoked it."""
        if not self.token_ttl_s:
            self._log_in_anew()
        with self._in_one_line(what):
            try:
                return ask(self._client)
            except vault_errors.Forbidden:
                if self._client.is_authenticated():
                    raise
            self._log_in_anew()
            return ask(self._client)

    def _renewed(self) -> bool:
        """Whether the token lives on. Near the longest that it may live, a renewal adds little, then is an error."""
        with self._in_one_line("a renewal"), suppress(*_REFUSALS, vault_errors.InternalServerError):
            left_s = self._client.auth.token.renew_self()["auth"]["lease_duration"]
            self._expires_at = time.monotonic() + left_s
            return bool(left_s > self._ttl_s / 2)
        return False

    def _log_in_anew(self) -> None:
        if time.monotonic() < self._refused_until:
            raise VaultUnavailable(self._refusal)
        client = self._new_client()
        for attempt in range(1, _TRIES + 1):
            with self._in_one_line("the login"):
                try:
                    auth = self._log_in(client)["auth"]
                    break
                except _REFUSALS:
                    self._refused_until = time.monotonic() + ASK_AGAIN_S
                    raise VaultUnavailable(self._refusal) from None
                except requests.ConnectionError:
                    if attempt == _TRIES:
                        raise
            time.sleep(_PAUSE_S)
        self._client, self._ttl_s = client, auth["lease_duration"]
        self._expires_at = time.monotonic() + self._ttl_s
        self.logins += 1

    def _new_client(self) -> hvac.Client:
        return hvac.Client(url=self._addr, timeout=_TIMEOUT_S, token="")

    @contextmanager
    def _in_one_line(self, what: str) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.SSLError:
            why = f"vault at {self._addr} has a certificate that is not trusted: set VAULT_CACERT"
        except requests.ConnectionError:
            why = f"vault at {self._addr} cannot be reached: check VAULT_ADDR"
        except requests.Timeout:
            why = f"vault at {self._addr} does not answer within {_TIMEOUT_S} s"
        except vault_errors.VaultDown:
            why = f"vault at {self._addr} is sealed or not ready"
        except vault_errors.InvalidPath:
            why = f"the vault has nothing at {what}: see README, Settings"
        except vault_errors.Forbidden:
            why = f"vault at {self._addr} refused {what}: the policy of this process does not allow it"
        except vault_errors.VaultError as error:
            why = f"vault at {self._addr} answered {type(error).__name__} to {what}"
        except requests.RequestException as error:
            why = f"VAULT_ADDR {self._addr}: {type(error).__name__}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # their texts may quote a secret
            why = f"{self._addr} does not answer as a vault does: {type(error).__name__}"
        else:
            return
        raise VaultUnavailable(why) from None


def content_of(file: Path, setting: str) -> str:
    """What the file holds. Raises `VaultUnavailable` naming the setting that names the file."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise VaultUnavailable(f"cannot read {setting} {file}: {why}") from None
