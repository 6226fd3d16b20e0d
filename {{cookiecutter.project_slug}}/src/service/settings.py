"""Every setting of the service, grouped by who owns it. Read by the composition root only.

Settings come from the environment, never from files; secrets come from Vault, never from the environment.
"""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_SECRET_PARAMETERS = {"password", "sslpassword", "api_key", "apikey", "key", "token", "secret"}
Output = Literal["auto", "schema", "text"]


class Profile(StrEnum):
    """Development runs on embedded parts; production refuses them."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class SettingsError(Exception):
    """The service cannot start like this. The message is one line that says what to change."""


class Group(BaseSettings):
    """A group of settings: environment variables only, unknown ones ignored, values fixed after start."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        env_prefix="by_alias_only_",  # else fields' own names count, too: PATH, LANGUAGE, URL of the shell
    )

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
    """Platform: where decisions, reviews, effects, flags and jobs live.

    `DATABASE_CREDENTIALS`: "vault" takes short-lived users from the vault; empty leaves it to the URL.
    """

    url: str = Field("", validation_alias="DATABASE_URL")
    credentials: Literal["", "vault"] = Field("", validation_alias="DATABASE_CREDENTIALS")


class VaultSettings(Group):
    """Security: how this process proves itself to the vault, or in its place a folder of mounted files.

    The secret id is a file, wrapped, single-use. With `VAULT_K8S_ROLE` the pod's service account is the proof.
    """

    secrets_dir: str = Field("", validation_alias="SECRETS_DIR")
    path: str = Field("", validation_alias="VAULT_PATH")
    k8s_role: str = Field("", validation_alias="VAULT_K8S_ROLE")
    k8s_token_file: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount/token"), validation_alias="VAULT_K8S_TOKEN_FILE"
    )
    addr: str = Field("", validation_alias="VAULT_ADDR")
    role_id: str = Field("", validation_alias="VAULT_ROLE_ID")
    secret_id_file: str = Field("", validation_alias="VAULT_SECRET_ID_FILE")


class OidcSettings(Group):
    """Security: whose bearer tokens are accepted beside API keys, and which claims name tenant and roles."""

    issuer: str = Field("", validation_alias="OIDC_ISSUER")
    audience: str = Field("", validation_alias="OIDC_AUDIENCE")
    jwks_url: str = Field("", validation_alias="OIDC_JWKS_URL")
    tenant_claim: str = Field("tenant", validation_alias="OIDC_TENANT_CLAIM")
    roles_claim: str = Field("roles", validation_alias="OIDC_ROLES_CLAIM")


class ModelSettings(Group):
    """AI owner: which models are asked, and for how long (seconds) a caller may have to wait for them.

    `MODEL_OUTPUT`: how the answer's schema is given (inference/models.py). `MODEL_PRICE`: USD per million tokens,
    INPUT/OUTPUT, for models that the price table does not know.
    """

    url: str = Field("", validation_alias="MODEL_URL")
    name: str = Field("", validation_alias="MODEL_NAME")
    output: Output = Field("auto", validation_alias="MODEL_OUTPUT")
    price: str = Field("", validation_alias="MODEL_PRICE")
    backup_url: str = Field("", validation_alias="BACKUP_MODEL_URL")
    backup_name: str = Field("", validation_alias="BACKUP_MODEL_NAME")
    backup_output: Output = Field("auto", validation_alias="BACKUP_MODEL_OUTPUT")
    backup_price: str = Field("", validation_alias="BACKUP_MODEL_PRICE")
    deadline_s: float = Field(20.0, gt=0, le=120, validation_alias="MODEL_DEADLINE_S")
    attempt_s: float = Field(8.0, gt=0, le=120, validation_alias="MODEL_ATTEMPT_S")
    inference_url: str = Field("", validation_alias="INFERENCE_URL")


class DataSettings(Group):
    """Data protection: where customers' words may go, and what becomes of names in them.

    `MODEL_HOSTS`: "HOST REGION AGREEMENT, ..."; in development this machine is allowed as well.
    `PII_SPACY_MODEL`: the spaCy model that finds names (extra `names`). Without it production wants
    `PII_NAMES_EXCEPTION`: "WHO, UNTIL (YYYY-MM-DD), WHY". `PAYLOAD_DAYS`, `RECORD_DAYS`: how long what customers wrote
    is kept in full, and what else of it is in a decision, its review and its effect.
    """

    model_hosts: str = Field("", validation_alias="MODEL_HOSTS")
    spacy_model: str = Field("", validation_alias="PII_SPACY_MODEL")
    language: str = Field("en", validation_alias="PII_LANGUAGE")
    names_exception: str = Field("", validation_alias="PII_NAMES_EXCEPTION")
    payload_days: int = Field(30, ge=1, le=3650, validation_alias="PAYLOAD_DAYS")
    record_days: int = Field(365, ge=1, le=3650, validation_alias="RECORD_DAYS")


class ProductSettings(Group):
    """Product owner: who is internal for staged rollout (comma list of tenants); what a day (UTC) may cost in USD.

    Without a limit nothing is counted; production needs those of tenant and release. `BUDGET_REQUEST_USD` is held
    while a request runs.
    """

    internal_tenants: str = Field("", validation_alias="INTERNAL_TENANTS")
    tenant_usd: float | None = Field(None, ge=0, le=1e9, validation_alias="BUDGET_TENANT_USD")
    subject_usd: float | None = Field(None, ge=0, le=1e9, validation_alias="BUDGET_SUBJECT_USD")
    release_usd: float | None = Field(None, ge=0, le=1e9, validation_alias="BUDGET_RELEASE_USD")
    request_usd: float = Field(0.05, gt=0, le=1e4, validation_alias="BUDGET_REQUEST_USD")


class LoadSettings(Group):
    """Operations: how much is taken on, from whom, and whether the API describes itself."""

    most_at_once: int = Field(64, ge=1, le=10_000, validation_alias="MAX_CONCURRENCY")
    per_minute: int | None = Field(None, ge=1, validation_alias="RATE_PER_MINUTE")
    tenant_per_minute: int | None = Field(None, ge=1, validation_alias="RATE_TENANT_PER_MINUTE")
    redis_url: str = Field("", validation_alias="REDIS_URL")
    api_docs: bool | None = Field(None, validation_alias="API_DOCS")

class AuditSettings(Group):
    """Governance: how many days the audit log is kept at least. EU AI Act, article 26(6): no less than six months."""

    days: int = Field(400, ge=183, le=36_500, validation_alias="AUDIT_DAYS")


class TicketingSettings(Group):
    """Integration owner: the downstream ticketing system."""

    url: str = Field("", validation_alias="TICKETING_URL")
    timeout_s: float = Field(10.0, gt=0, le=60, validation_alias="TICKETING_TIMEOUT_S")


class TelemetrySettings(Group):
    """Operations: with an endpoint, OTLP over HTTP goes there; without, OTLP JSON files go to VAR_DIR/telemetry."""

    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")


class _Replaceable(SecretStr):
    def replace(self, value: str) -> None:
        self._secret_value = value


# Each instance its own: a default shared by all would be replaced for all.
Secret = Annotated[_Replaceable, Field(default_factory=lambda: _Replaceable(""))]


class Secrets(BaseModel):
    """What only the vault knows; empty where this process has no use for it. Values do not print.

    They change while the process runs: keep `known.NAME.get_secret_value`, call it each time, and keep no answer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_api_key: Secret
    backup_model_api_key: Secret
    audit_key: Secret
    digest_key: Secret
    payload_key: Secret
    ticketing_token: Secret
    inference_token: Secret
    redis_password: Secret

    def replace(self, values: Mapping[str, str]) -> None:
        """Use these from now on; what they do not name becomes empty."""
        for name in type(self).model_fields:
            getattr(self, name).replace(values.get(name, ""))


class Settings:
    """All groups. Raises `SettingsError` when a value is malformed or the profile forbids it."""

    def __init__(self, **overrides: Any) -> None:
        try:
            self.process = ProcessSettings(**overrides.get("process", {}))
            self.database = DatabaseSettings(**overrides.get("database", {}))
            self.vault = VaultSettings(**overrides.get("vault", {}))
            self.oidc = OidcSettings(**overrides.get("oidc", {}))
            self.model = ModelSettings(**overrides.get("model", {}))
            self.data = DataSettings(**overrides.get("data", {}))
            self.product = ProductSettings(**overrides.get("product", {}))
            self.load = LoadSettings(**overrides.get("load", {}))
            self.audit = AuditSettings(**overrides.get("audit", {}))
            self.ticketing = TicketingSettings(**overrides.get("ticketing", {}))
            self.telemetry = TelemetrySettings(**overrides.get("telemetry", {}))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        for name, url in self._urls():
            scheme = "redis" if name == "REDIS_URL" else "http"
            if url and name != "DATABASE_URL" and not _is_url(url, scheme):
                raise SettingsError(f"{name} is no URL: write {scheme}(s)://HOST, with :PORT and /PATH if any")
        if bool(self.oidc.issuer) != bool(self.oidc.audience) or (self.oidc.jwks_url and not self.oidc.issuer):
            raise SettingsError("tokens need both OIDC_ISSUER and OIDC_AUDIENCE, which says that they are meant for us")
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
        """The given URL, or SQLite under `var_dir`. Raises `SettingsError` in production for anything but Postgres."""
        if self.profile is Profile.PRODUCTION and not self.database.url.startswith("postgresql"):
            raise SettingsError("production needs Postgres: set DATABASE_URL to postgresql://host/name")
        if self.database.credentials and not self.database.url.startswith("postgresql"):
            raise SettingsError("DATABASE_CREDENTIALS=vault needs Postgres: set DATABASE_URL to postgresql://host/name")
        return self.database.url or f"sqlite:///{self.var_dir / 'service.db'}"

    @property
    def internal_tenants(self) -> frozenset[str]:
        return frozenset(filter(None, (t.strip() for t in self.product.internal_tenants.split(","))))

    @property
    def rates(self) -> tuple[int | None, int | None]:
        """Calls a minute per subject and per tenant. Production always has limits; None: no limit."""
        usual = (600, 6000) if self.profile is Profile.PRODUCTION else (None, None)
        return self.load.per_minute or usual[0], self.load.tenant_per_minute or usual[1]

    @property
    def api_docs(self) -> bool:
        """Whether /openapi.json, /docs and /redoc exist: if nothing is said, in development only."""
        told = self.load.api_docs
        return self.profile is Profile.DEVELOPMENT if told is None else told

    @property
    def inference_urls(self) -> tuple[str, ...]:
        return tuple(filter(None, (url.strip() for url in self.model.inference_url.split(","))))

    def _urls(self) -> list[tuple[str, str]]:
        return [
            ("DATABASE_URL", self.database.url),
            ("VAULT_ADDR", self.vault.addr),
            ("OIDC_ISSUER", self.oidc.issuer),
            ("OIDC_JWKS_URL", self.oidc.jwks_url),
            ("MODEL_URL", self.model.url),
            ("BACKUP_MODEL_URL", self.model.backup_url),
            *(("INFERENCE_URL", url) for url in self.inference_urls),
            ("TICKETING_URL", self.ticketing.url),
            ("REDIS_URL", self.load.redis_url),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.telemetry.otlp_endpoint),
        ]

    def _refuse_development_parts(self) -> None:
        for name in [*(field.upper() for field in Secrets.model_fields), "PGPASSWORD"]:
            if os.environ.get(name):
                raise SettingsError(f"production takes no secret from the environment: unset {name}")
        for name, value in self._urls():
            url = urlsplit(value)
            if url.password or _SECRET_PARAMETERS & {key.casefold() for key, _ in parse_qsl(url.query)}:
                raise SettingsError(f"production refuses a password in {name}: it must not be in the environment")
            if name.startswith("OIDC_") and value and url.scheme != "https":
                raise SettingsError(f"production needs https in {name}: whoever answers there says who is an operator")
        if "stand-in" in (self.model.name + self.model.backup_name).casefold():
            raise SettingsError("production refuses the model stand-in: set MODEL_URL and MODEL_NAME to a real one")

    def refuse_unbounded_spending(self) -> None:
        """For the process that answers requests. Raises `SettingsError` in production without daily budgets."""
        if self.profile is Profile.PRODUCTION and None in (self.product.tenant_usd, self.product.release_usd):
            raise SettingsError("production needs BUDGET_TENANT_USD and BUDGET_RELEASE_USD, what a day may cost")

    def refuse_unseen_names(self) -> None:
        """For the process that asks models. Names pass the detectors that are always on.

        Raises `SettingsError` in production unless somebody has said that this is all right, why, and until when.
        """
        if self.profile is not Profile.PRODUCTION or self.data.spacy_model:
            return
        who, until, why = ([part.strip() for part in self.data.names_exception.split(",", 2)] + ["", "", ""])[:3]
        try:
            days_left = (date.fromisoformat(until) - datetime.now(UTC).date()).days if who and why else None
        except ValueError:
            days_left = None
        if days_left is None:
            how = "set PII_SPACY_MODEL, or PII_NAMES_EXCEPTION to: WHO, UNTIL (YYYY-MM-DD), WHY"
            raise SettingsError(f"production would send names to the model: {how}")
        if days_left < 0:
            raise SettingsError(f"PII_NAMES_EXCEPTION ended on {until}: renew it or set PII_SPACY_MODEL")


def _is_url(url: str, scheme: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in (scheme, f"{scheme}s") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port
        return False


def require(**settings: object) -> None:
    """Raise `SettingsError` naming each of the given environment variables whose value is empty."""
    missing = [name for name, value in settings.items() if not value]
    if missing:
        raise SettingsError(f"set {', '.join(missing)} (in development `svc run` sets everything)")
