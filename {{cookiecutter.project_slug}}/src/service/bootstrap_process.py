"""What every process begins with: its secrets, kept fresh; logs, spans and metrics; an end that closes all of it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from service.api.app import Lifespan
from service.inference.destinations import is_private
from service.inference.pii import redacted
from service.inference.pii_structured import StructuredDetector
from service.integration.secrets.keeper import DatabaseUser, Keeper
from service.integration.secrets.sources import Fields, KvSecret, MountedFiles, Source
from service.integration.secrets.vault import AppRole, Kubernetes, Login, Vault
from service.integration.telemetry.redaction import Redactor
from service.integration.telemetry.setup import configure_logs, configure_telemetry
from service.project import slug
from service.settings import Profile, Secrets, Settings, SettingsError, require

RECORDS = ("digest_key", "audit_key", "payload_key")
INFERENCE = ("model_api_key", "inference_token")
WORKER = ("ticketing_token", "audit_key", "payload_key")


@dataclass(frozen=True, slots=True)
class Held:
    """This process's secrets, always the newest; its database user, if that comes from the vault; and their keeper."""

    known: Secrets
    database_user: DatabaseUser | None
    keeper: Keeper


def hold_secrets(config: Settings, process: str, closing: AsyncExitStack) -> Held:
    """Secrets of a process ("api", "worker" or "inference"), kept fresh until `closing` closes.

    They come from the vault, or from mounted files, and nowhere else. Raises `SettingsError`, `VaultUnavailable`.
    """
    shortest = 32 if config.profile is Profile.PRODUCTION else 1
    asked = Fields(tuple(Secrets.model_fields), needed(config, process), RECORDS, shortest)
    vault = None if config.vault.secrets_dir else Vault(config.vault.addr, _login(config))
    source: Source = MountedFiles(Path(config.vault.secrets_dir), asked)
    if vault:
        source = KvSecret(vault, config.vault.path or f"{slug()}/app", asked)
    user = None
    if config.database.credentials and process != "inference":
        if vault is None:
            raise SettingsError("DATABASE_CREDENTIALS=vault needs a login to the vault: unset SECRETS_DIR")
        user = DatabaseUser(vault, slug())
    known = Secrets.model_validate(source.news())
    keeper = Keeper(source, known.replace, vault, user)
    closing.callback(keeper.stop)
    keeper.start()
    return Held(known, user, keeper)


def needed(config: Settings, process: str) -> tuple[str, ...]:
    """The fields without which this process does not start. Only who asks models has their key."""
    thinks_elsewhere = ("inference_token",) if config.inference_urls else ("model_api_key",)
    return {"api": RECORDS + thinks_elsewhere, "worker": WORKER, "inference": INFERENCE}[process]


def telemetry(config: Settings, process: str, closing: AsyncExitStack) -> None:
    """Logs, spans and metrics of this process, until `closing` closes."""
    redactor = Redactor(partial(redacted, detector=StructuredDetector(), spared=is_private))
    configure_logs(process, redactor)
    endpoint, files = config.telemetry.otlp_endpoint, config.var_dir / "telemetry"
    closing.callback(configure_telemetry(slug(), process, endpoint, files, redactor))


def until_closed(closing: AsyncExitStack) -> Lifespan:
    """What closes when the application ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with closing:
            yield

    return lifespan


def _login(config: Settings) -> Login:
    vault = config.vault
    if vault.k8s_role:
        require(VAULT_ADDR=vault.addr)
        return Kubernetes(vault.k8s_role, vault.k8s_token_file)
    require(VAULT_ADDR=vault.addr, VAULT_ROLE_ID=vault.role_id, VAULT_SECRET_ID_FILE=vault.secret_id_file)
    return AppRole(vault.role_id, Path(vault.secret_id_file))
