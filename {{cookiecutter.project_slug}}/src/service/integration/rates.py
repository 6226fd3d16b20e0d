"""How often a caller may ask: so many times in any minute, per subject and per tenant, shared through Redis.

Without Redis, because none is given or it is away, each process counts by itself: an outage of Redis loosens a limit
and stops nobody. Money does not depend on it: budgets are in the database.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter as Window
from opentelemetry import metrics

from service.application.identity import Caller

PATIENCE_S = 0.1  # the longest that a request waits for Redis
COOLDOWN_S = 2.0  # between two looks whether it is back, by one request each
SAY_EVERY_S = 60.0
log = logging.getLogger(__name__)


def redis_storage(url: str, password: Callable[[], str], prefix: str, connections: int) -> RedisStorage:
    """Counters in the Redis at `url`. It does not connect yet; if there is a password, each connection asks anew."""
    from redis.asyncio import ConnectionPool  # not needed, and not quick, where there is no Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.credentials import CredentialProvider

    class Newest(CredentialProvider):
        def get_credentials(self) -> tuple[str] | tuple[str, str]:
            return (user, password()) if user else (password(),)

        async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
            return self.get_credentials()

    waiting: dict[str, Any] = {"socket_timeout": PATIENCE_S, "socket_connect_timeout": PATIENCE_S}
    parts = urlsplit(url)
    user, known = parts.username, {"credential_provider": Newest()} if password() else {}
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if known else url
    pool = ConnectionPool.from_url(plain, max_connections=connections, retry=Retry(NoBackoff(), 0), **known, **waiting)
    given: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage(f"async+{url}", implementation="redispy", key_prefix=prefix, **given)


class Rates:
    """To be asked before each request. A limit of None is none."""

    def __init__(
        self,
        per_subject: int | None,
        per_tenant: int | None,
        shared: RedisStorage | None = None,
        meter: metrics.Meter | None = None,
    ) -> None:
        # The subject's first: what it is refused takes nothing from its tenant.
        each = {"subject": per_subject, "tenant": per_tenant}
        self._limits = {scope: RateLimitItemPerMinute(most) for scope, most in each.items() if most is not None}
        self._alone, self._shared = Window(MemoryStorage()), Window(shared) if shared else None
        self._look_again = self._say_again = 0.0
        meter = meter or metrics.get_meter("service")
        self._refused = meter.create_counter("service.rate.refused", "{request}", "Requests over a rate limit")
        self._counted_alone = meter.create_counter(
            "service.rate.without_redis", "{request}", "Requests counted by this process alone, because Redis is away"
        )

    async def __call__(self, caller: Caller) -> int:
        """0 if the caller may go on, otherwise the seconds after which it may ask again."""
        now = time.monotonic()
        if self._shared is None:
            return await self._wait(self._alone, caller)
        if now >= self._look_again:
            if self._look_again:  # it was away: this request alone finds out
                self._look_again = now + COOLDOWN_S
            try:
                async with asyncio.timeout(PATIENCE_S):
                    wait = await self._wait(self._shared, caller)
                self._look_again = 0.0
                return wait
            except Exception as error:  # whatever is wrong there, nobody is stopped by it
                # If that took much longer than it may, this process was too busy to hear what Redis said.
                if time.monotonic() - now < 2 * PATIENCE_S:
                    self._look_again = time.monotonic() + COOLDOWN_S
                    self._say(error)
        self._counted_alone.add(1)
        return await self._wait(self._alone, caller)

    async def _wait(self, window: Window, caller: Caller) -> int:
        whose = {"subject": caller.name, "tenant": caller.tenant}
        for scope, limit in self._limits.items():
            if not await window.hit(limit, scope, whose[scope]):
                self._refused.add(1, {"scope": scope})
                until = (await window.get_window_stats(limit, scope, whose[scope])).reset_time
                return max(1, math.ceil(until - time.time()))
        return 0

    def _say(self, error: Exception) -> None:
        if time.monotonic() >= self._say_again:
            self._say_again = time.monotonic() + SAY_EVERY_S
            log.error("Redis cannot be asked (%s): each process limits rates by itself", type(error).__name__)
