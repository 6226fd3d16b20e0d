"""The groups of settings, each with its owner: what can be set, its default and its bounds."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

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


class LiveSettings(Group):
    """AI owner: which share of live answers is evaluated, how many an hour at most, and which share of those that pass
    without a person is reviewed all the same.
    """

    share: float = Field(0.1, ge=0, le=1, validation_alias="EVAL_SAMPLE")
    per_hour: int = Field(200, ge=0, le=100_000, validation_alias="EVAL_PER_HOUR")
    reviewed: float | None = Field(None, ge=0, le=1, validation_alias="REVIEW_SAMPLE")


class TicketingSettings(Group):
    """Integration owner: the downstream ticketing system."""

    url: str = Field("", validation_alias="TICKETING_URL")
    timeout_s: float = Field(10.0, gt=0, le=60, validation_alias="TICKETING_TIMEOUT_S")


class TelemetrySettings(Group):
    """Operations: with an endpoint, OTLP over HTTP goes there; without, OTLP JSON files go to VAR_DIR/telemetry."""

    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
