"""Where a process's secrets come from: a KV v2 secret, or files that the vault's agent or a driver mounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from service.integration.secrets.vault import Vault, VaultUnavailable, content_of


@dataclass(frozen=True, slots=True)
class Fields:
    """The names that are read; what else is there is left alone. Without the required ones nothing is taken."""

    known: tuple[str, ...]
    required: tuple[str, ...]
    keys: tuple[str, ...] = ()  # of which others are derived; several are separated by commas
    shortest: int = 1  # characters of such a key: what is too short could be guessed

    def checked(self, values: Mapping[str, object], where: str) -> dict[str, str]:
        """The known ones. Raises `VaultUnavailable` when one is missing, is no text or, of a key, too short."""
        if missing := [name for name in self.required if not values.get(name)]:
            raise VaultUnavailable(f"{where} lacks {', '.join(missing)}")
        texts = {name: value for name in self.known if isinstance(value := values.get(name), str)}
        if odd := [name for name in self.known if name in values and name not in texts]:
            raise VaultUnavailable(f"{where}: {', '.join(odd)} must be text")
        for name in (name for name in self.keys if name in texts):
            if min(len(key.strip()) for key in texts[name].split(",")) < self.shortest:
                raise VaultUnavailable(f"{where}: each key in {name} must have at least {self.shortest} characters")
        return texts


class Source(Protocol):
    """One set of secrets that may change."""

    def news(self) -> dict[str, str] | None:
        """The fields, if they are others than the last time. Raises `VaultUnavailable`."""
        ...


@dataclass(slots=True)
class KvSecret:
    """The fields at `path` of the mount `secret`. Only a new version is read; to see that there is one reads none."""

    vault: Vault
    path: str
    fields: Fields
    _seen: int = field(default=-1, init=False)

    def news(self) -> dict[str, str] | None:
        newest = self.vault.version(self.path)
        if newest == self._seen:
            return None
        values = self.fields.checked(self.vault.read(self.path), f"vault path secret/{self.path}")
        self._seen = newest
        return values


@dataclass(slots=True)
class MountedFiles:
    """One file a field, named like it. They are read each time: that costs less than to know when not to."""

    folder: Path
    fields: Fields
    _seen: dict[str, str] | None = field(default=None, init=False, repr=False)

    def news(self) -> dict[str, str] | None:
        if not self.folder.is_dir():
            raise VaultUnavailable(f"SECRETS_DIR {self.folder} is no folder")
        files = {name: self.folder / name for name in self.fields.known}
        values = {name: content_of(file, "SECRETS_DIR") for name, file in files.items() if file.exists()}
        values = self.fields.checked(values, f"SECRETS_DIR {self.folder}")
        if values == self._seen:
            return None
        self._seen = values
        return values
