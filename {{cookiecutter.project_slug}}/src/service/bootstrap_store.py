"""The database and what is read from it all the time, for the API and the worker."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from sqlalchemy import text

from service.application.errors import Unavailable
from service.bootstrap_inference import CODE
from service.bootstrap_process import Held
from service.integration.database import installation
from service.integration.database.known_releases import SqlReleases
from service.integration.database.session import Database, open_database
from service.integration.encryption import Cipher
from service.integration.flags.processes import Presence
from service.integration.flags.provider import DatabaseFlagProvider
from service.integration.flags.switches import FlagSwitches
from service.integration.telemetry.setup import instrument_sql
from service.settings import Secrets, Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Store:
    """The database and what is read from it all the time: flags and releases, kept fresh by one poller.

    `watched` is the same database for the poller, which gives up on a silent server sooner than requests may.
    """

    database: Database
    watched: Database
    releases: SqlReleases
    flags: DatabaseFlagProvider
    switches: FlagSwitches
    presence: Presence
    check_secrets: Callable[[], bool | str] = lambda: True

    async def check(self) -> dict[str, bool | str]:
        """For readiness: each part by name, and whether it is there."""
        found: dict[str, bool | str] = {"database": True, "flags": self.flags.loaded and self.flags.fresh}
        try:
            await self.database.read(lambda session: session.execute(text("select 1")).scalar())
        except Unavailable:
            found["database"] = False
        return found | {"secrets": self.check_secrets()}

    async def close(self) -> None:
        await asyncio.to_thread(self.flags.shutdown)
        await asyncio.to_thread(self.presence.leave)
        if self.watched is not self.database:
            await self.watched.close()
        await self.database.close()


def open_store(config: Settings, kind: str, known: Secrets, held: Held | None = None) -> Store:
    """Open the migrated database, load flags and releases, and be known as a process of this kind.

    `held`: where its database user comes from, if that is the vault. Raises `Invalid` when the database is another
    profile's.
    """
    user = held.database_user if held else None
    database = open_database(config.database_url, user, cipher=_cipher(known))
    with suppress(Unavailable):  # it may come later
        database.read_sync(lambda session: installation.refuse_anothers(session, config.profile.value))
    instrument_sql(database.engines)
    # A network that swallows packets must not hold up a flip for longer than it lasts. SQLite has no network.
    postgres = database.dialect == "postgresql"
    watched = open_database(config.database_url, user, pool_size=1, patient=False) if postgres else database
    if user:
        user.on_change += [database.reconnect, watched.reconnect]
    releases, presence = SqlReleases(watched, CODE), Presence(watched, kind, asdict(CODE))
    kill_file = config.var_dir / "AI_OFF"
    flags = DatabaseFlagProvider(watched, kill_file, also_refresh=releases.refresh, tell=presence.tell)
    switches = FlagSwitches(flags, releases, internal_tenants=config.internal_tenants)
    check_secrets = held.keeper.check if held else lambda: True
    return Store(database, watched, releases, flags, switches, presence, check_secrets)


def _cipher(known: Secrets) -> Cipher:
    try:
        return Cipher(known.payload_key.get_secret_value)
    except ValueError as error:
        raise SettingsError(f"the vault: {error}") from None
