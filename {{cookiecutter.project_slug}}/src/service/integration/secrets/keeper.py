"""Keeps a process's secrets, its vault token and its database user fresh, from a thread of its own.

When the vault is away the last good values stay in use: the log says so once a minute, readiness and the metrics say
since when. No process becomes unready by that alone. Postgres keeps connections whose user has expired, and a vault
that is away drops nobody, so requests go on; if the database refuses after all, that is what readiness checks anyway.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from service.integration.secrets.sources import Source
from service.integration.secrets.vault import Vault, VaultUnavailable

SAY_AGAIN_S = 60.0
log = logging.getLogger(__name__)


class DatabaseUser:
    """User and password from the vault's database role. Raises `VaultUnavailable` when none can be had at the start.

    A new one is fetched after half its life, and after each new login, with whose token the old one ends. Whoever is
    in `on_change` is then called, and has half a life's time to let go of connections of the old one.
    """

    def __init__(self, vault: Vault, role: str) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._vault, self._role = vault, role
        self._fetch()

    def __call__(self) -> tuple[str, str]:
        return self._lease.user, self._lease.password

    @property
    def ttl_s(self) -> float:
        """Seconds until the vault drops it; until then, too, new connections are possible."""
        return max(0.0, self._ends_at - time.monotonic())

    def refresh(self) -> None:
        """Fetch a new one if it is time. Raises `VaultUnavailable`; the old one then stays."""
        if self.ttl_s > self._lease.ttl_s / 2 and self._login == self._vault.logins:
            return
        self._fetch()
        for changed in self.on_change:
            changed()

    def _fetch(self) -> None:
        self._lease = self._vault.database_credentials(self._role)
        self._ends_at, self._login = time.monotonic() + self._lease.ttl_s, self._vault.logins


class Keeper:
    """Looks for news every `interval_s` seconds between `start` and `stop`, and gives new secrets to `take`."""

    def __init__(
        self,
        source: Source,
        take: Callable[[dict[str, str]], None],
        vault: Vault | None = None,
        user: DatabaseUser | None = None,
        interval_s: float = 1.0,
    ) -> None:
        self._source, self._take, self._vault, self._user = source, take, vault, user
        self._interval_s, self._stop = interval_s, threading.Event()
        self._trouble, self._good_at, self._said_at = "", time.monotonic(), -SAY_AGAIN_S
        self._thread = threading.Thread(target=self._run, name="secrets-keeper", daemon=True)
        gauge = metrics.get_meter("service").create_observable_gauge
        gauge("service.secrets.age", [self._observe(lambda: self.age_s)], "s", "Since secrets were last seen fresh")
        if vault:
            gauge(
                "service.secrets.token_ttl", [self._observe(lambda: vault.token_ttl_s)], "s", "Life left of the token"
            )
        if user:
            gauge("service.database.user_ttl", [self._observe(lambda: user.ttl_s)], "s", "Life left of the user")

    @property
    def age_s(self) -> float:
        """Seconds since everything was last known to be fresh."""
        return time.monotonic() - self._good_at

    def check(self) -> bool | str:
        """For readiness: True when all is fresh, else what this process works with instead."""
        if not self._trouble:
            return True
        ended = "; the database user has expired" if self._user and not self._user.ttl_s else ""
        return f"the last good ones, {self.age_s:.0f} s old{ended}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and give back the token, and with it the database user."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        if self._vault:
            self._vault.close()

    def look(self) -> None:
        """One turn. Each step is made whatever became of the one before; trouble is kept, not raised."""
        steps = [self._vault.keep] if self._vault else []
        steps += [self._look_for_secrets, *([self._user.refresh] if self._user else [])]
        trouble = ""
        for step in steps:
            try:
                step()
            except VaultUnavailable as error:
                trouble = trouble or str(error)
            except Exception as error:  # a keeper that dies would let everything expire
                trouble = trouble or type(error).__name__
        self._tell(trouble)

    def _look_for_secrets(self) -> None:
        news = self._source.news()
        if news is not None:
            self._take(news)
            log.info("new secrets are in use")

    def _tell(self, trouble: str) -> None:
        now = time.monotonic()
        if trouble and now - self._said_at >= SAY_AGAIN_S:
            log.error("secrets are not fresh, the last good ones stay in use: %s", trouble)
            self._said_at = now
        if not trouble:
            if self._trouble:
                log.info("secrets are fresh again after %.0f s", self.age_s)
            self._good_at, self._said_at = now, -SAY_AGAIN_S
        self._trouble = trouble

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.look()

    @staticmethod
    def _observe(value: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _options: [Observation(value())]
