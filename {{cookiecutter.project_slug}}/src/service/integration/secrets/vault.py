"""Settings from Vault or OpenBao KV v2, by AppRole with a wrapped secret id.

Copyable: needs hvac and pydantic-settings, nothing of this project. It leaves to you when to call it: it is
synchronous, so call it at start or in a thread. A wrapped secret id can be unwrapped once: if somebody else
was first, login fails and the theft shows.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions as vault_errors
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

S = TypeVar("S", bound=BaseSettings)
_TRIES = 3
_PAUSE_S = 0.5
_TIMEOUT_S = 5


class VaultUnavailable(Exception):
    """No secrets could be had. The message is one line: what failed and what to check."""


@dataclass(frozen=True, slots=True)
class AppRole:
    """How to log in. `secret_id_file` holds a response-wrapping token of a secret id."""

    addr: str
    role_id: str
    secret_id_file: Path


def read_secrets(settings: type[S], login: AppRole, path: str, mount: str = "secret") -> S:
    """An instance of `settings` filled from the KV v2 secret at `path`, and from nowhere else.

    Raises `VaultUnavailable` when the vault is unreachable (after three tries), sealed, refuses the login or
    the read, or lacks a required field.
    """
    values = _tried(lambda: _read(login, path, mount), login.addr)
    missing = [n for n, f in settings.model_fields.items() if f.is_required() and not values.get(n)]
    if missing:
        raise VaultUnavailable(f"vault path {mount}/{path} lacks {', '.join(missing)}")
    odd = [n for n in settings.model_fields if n in values and not isinstance(values[n], str)]
    if odd:
        raise VaultUnavailable(f"vault path {mount}/{path}: {', '.join(odd)} must be text")

    class FromVault(settings):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], **_: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_KnownFields(settings_cls, values),)

    return FromVault()


class _KnownFields(PydanticBaseSettingsSource):
    """A pydantic-settings source over values read before; unknown ones are dropped."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: self._values[name] for name in self.settings_cls.model_fields if name in self._values}


def _read(login: AppRole, path: str, mount: str) -> dict[str, Any]:
    client = hvac.Client(url=login.addr, timeout=_TIMEOUT_S, token=_wrapping_token(login.secret_id_file))
    secret_id = client.sys.unwrap()["data"]["secret_id"]  # type: ignore[no-untyped-call]
    client.auth.approle.login(role_id=login.role_id, secret_id=secret_id)
    try:
        answer = client.secrets.kv.v2.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)
        return dict(answer["data"]["data"])
    finally:
        client.auth.token.revoke_self()


def _wrapping_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise VaultUnavailable(f"cannot read VAULT_SECRET_ID_FILE {file}: {error.strerror}") from error


def _tried(read: Callable[[], dict[str, Any]], addr: str) -> dict[str, Any]:
    """Only an unreachable vault is tried again: a refusal is an answer, and a wrapped id works only once."""
    for attempt in range(1, _TRIES + 1):
        try:
            return read()
        except requests.ConnectionError:
            if attempt == _TRIES:
                raise VaultUnavailable(f"vault at {addr} cannot be reached: check VAULT_ADDR") from None
            time.sleep(_PAUSE_S)
        except requests.Timeout:
            raise VaultUnavailable(f"vault at {addr} does not answer within {_TIMEOUT_S} s") from None
        except vault_errors.VaultDown:
            raise VaultUnavailable(f"vault at {addr} is sealed or not ready") from None
        except vault_errors.InvalidPath:
            raise VaultUnavailable("the vault has no secret at this service's path: see README, Settings") from None
        except (vault_errors.Forbidden, vault_errors.InvalidRequest):
            raise VaultUnavailable(
                f"vault at {addr} refused the login: VAULT_ROLE_ID is wrong or the wrapped secret id was used"
            ) from None
        except vault_errors.VaultError as error:
            raise VaultUnavailable(f"vault at {addr} answered {type(error).__name__}") from None
        except requests.RequestException as error:
            raise VaultUnavailable(f"VAULT_ADDR {addr}: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # their texts may quote a secret
            raise VaultUnavailable(f"{addr} does not answer as a vault does: {type(error).__name__}") from None
    raise AssertionError("unreachable")
