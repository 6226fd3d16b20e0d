"""Every setting of the service, grouped by who owns it. Read by the composition root only.

Settings come from the environment, never from files; secrets come from Vault, never from the environment.
"""

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from service.settings import groups
from service.settings.groups import Profile, SettingsError
from service.settings.secrets import Secrets

__all__ = ["Profile", "Secrets", "Settings", "SettingsError", "require"]

_SECRET_PARAMETERS = {"password", "sslpassword", "api_key", "apikey", "key", "token", "secret"}


class Settings:
    """All groups. Raises `SettingsError` when a value is malformed or the profile forbids it."""

    def __init__(self, **overrides: Any) -> None:
        try:
            self.process = groups.ProcessSettings(**overrides.get("process", {}))
            self.database = groups.DatabaseSettings(**overrides.get("database", {}))
            self.vault = groups.VaultSettings(**overrides.get("vault", {}))
            self.oidc = groups.OidcSettings(**overrides.get("oidc", {}))
            self.model = groups.ModelSettings(**overrides.get("model", {}))
            self.data = groups.DataSettings(**overrides.get("data", {}))
            self.product = groups.ProductSettings(**overrides.get("product", {}))
            self.load = groups.LoadSettings(**overrides.get("load", {}))
            self.audit = groups.AuditSettings(**overrides.get("audit", {}))
            self.live = groups.LiveSettings(**overrides.get("live", {}))
            self.ticketing = groups.TicketingSettings(**overrides.get("ticketing", {}))
            self.telemetry = groups.TelemetrySettings(**overrides.get("telemetry", {}))
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
    def reviewed_share(self) -> float:
        """Of what passes without a person: if nothing is said, one in fifty in production and none in development."""
        usual = 0.02 if self.profile is Profile.PRODUCTION else 0.0
        return usual if self.live.reviewed is None else self.live.reviewed

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
