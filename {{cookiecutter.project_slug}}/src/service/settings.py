"""Every setting of the service, grouped by who owns it. Read by the composition root only.

Settings come from the environment, never from files; secrets come from Vault, never from the environment.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_SECRET_PARAMETERS = {"password", "sslpassword", "api_key", "apikey", "key", "token", "secret"}


class Profile(StrEnum):
    """Development runs on embedded parts; production refuses them."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class SettingsError(Exception):
    """The service cannot start like this. The message is one line that says what to change."""


class Group(BaseSettings):
    """A group of settings: environment variables only, unknown ones ignored, values fixed after start."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings


class ProcessSettings(Group):
    """Platform: what this process is and where it listens and writes."""

    profile: Profile = Field(Profile.DEVELOPMENT, validation_alias="PROFILE")
    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(8000, ge=0, le=65535, validation_alias="PORT")
    var_dir: Path = Field(Path("var"), validation_alias="VAR_DIR")
    executor_id: str = Field("worker-0", min_length=1, validation_alias="EXECUTOR_ID")


class DatabaseSettings(Group):
    """Platform: where decisions, reviews, effects, flags and jobs live."""

    url: str = Field("", validation_alias="DATABASE_URL")


class VaultSettings(Group):
    """Security: how this process proves itself to the vault. The secret id is a file, wrapped, single-use."""

    addr: str = Field("", validation_alias="VAULT_ADDR")
    role_id: str = Field("", validation_alias="VAULT_ROLE_ID")
    secret_id_file: str = Field("", validation_alias="VAULT_SECRET_ID_FILE")


class ModelSettings(Group):
    """AI owner: which models are asked, and for how long (seconds) a caller may have to wait for them."""

    url: str = Field("", validation_alias="MODEL_URL")
    name: str = Field("", validation_alias="MODEL_NAME")
    backup_url: str = Field("", validation_alias="BACKUP_MODEL_URL")
    backup_name: str = Field("", validation_alias="BACKUP_MODEL_NAME")
    deadline_s: float = Field(20.0, gt=0, le=120, validation_alias="MODEL_DEADLINE_S")
    attempt_s: float = Field(8.0, gt=0, le=120, validation_alias="MODEL_ATTEMPT_S")


class TicketingSettings(Group):
    """Integration owner: the downstream ticketing system."""

    url: str = Field("", validation_alias="TICKETING_URL")
    timeout_s: float = Field(10.0, gt=0, le=60, validation_alias="TICKETING_TIMEOUT_S")


class RolloutSettings(Group):
    """Product owner: who counts as internal for staged rollout (comma list of tenants)."""

    internal_tenants: str = Field("", validation_alias="INTERNAL_TENANTS")


class TelemetrySettings(Group):
    """Operations: with an endpoint, OTLP over HTTP goes there; without, OTLP JSON files go to VAR_DIR/telemetry."""

    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")


class Secrets(BaseSettings):
    """What only the vault knows: the fields of KV path `<slug>/app`. Values do not print."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    model_api_key: SecretStr
    backup_model_api_key: SecretStr = SecretStr("")
    audit_key: SecretStr
    digest_key: SecretStr
    payload_key: SecretStr
    ticketing_token: SecretStr
    inference_token: SecretStr


class Settings:
    """All groups. Raises `SettingsError` when a value is malformed or the profile forbids it."""

    def __init__(self, **overrides: Any) -> None:
        try:
            self.process = ProcessSettings(**overrides.get("process", {}))
            self.database = DatabaseSettings(**overrides.get("database", {}))
            self.vault = VaultSettings(**overrides.get("vault", {}))
            self.model = ModelSettings(**overrides.get("model", {}))
            self.ticketing = TicketingSettings(**overrides.get("ticketing", {}))
            self.rollout = RolloutSettings(**overrides.get("rollout", {}))
            self.telemetry = TelemetrySettings(**overrides.get("telemetry", {}))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if self.profile is Profile.PRODUCTION:
            self._refuse_development_parts()

    @property
    def profile(self) -> Profile:
        return self.process.profile

    @property
    def var_dir(self) -> Path:
        """Absolute, so that a child process in another directory finds the same place."""
        return self.process.var_dir.absolute()

    @property
    def database_url(self) -> str:
        """The given URL, or SQLite under `var_dir`."""
        return self.database.url or f"sqlite:///{self.var_dir / 'service.db'}"

    @property
    def internal_tenants(self) -> frozenset[str]:
        return frozenset(filter(None, (t.strip() for t in self.rollout.internal_tenants.split(","))))

    def _urls(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "VAULT_ADDR": self.vault.addr,
            "MODEL_URL": self.model.url,
            "BACKUP_MODEL_URL": self.model.backup_url,
            "TICKETING_URL": self.ticketing.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.telemetry.otlp_endpoint,
        }

    def _refuse_development_parts(self) -> None:
        for name in [*(field.upper() for field in Secrets.model_fields), "PGPASSWORD"]:
            if os.environ.get(name):
                raise SettingsError(f"production takes no secret from the environment: unset {name}")
        if not self.database_url.startswith("postgresql"):
            raise SettingsError("production needs Postgres: set DATABASE_URL to postgresql://host/name")
        for name, value in self._urls().items():
            url = urlsplit(value)
            if url.password or _SECRET_PARAMETERS & {key.casefold() for key, _ in parse_qsl(url.query)}:
                raise SettingsError(f"production refuses a password in {name}: it must not be in the environment")
        if "stand-in" in (self.model.name + self.model.backup_name).casefold():
            raise SettingsError("production refuses the model stand-in: set MODEL_URL and MODEL_NAME to a real one")


def require(**settings: object) -> None:
    """Raise `SettingsError` naming each of the given environment variables whose value is empty."""
    missing = [name for name, value in settings.items() if not value]
    if missing:
        raise SettingsError(f"set {', '.join(missing)} (in development `svc run` sets everything)")
