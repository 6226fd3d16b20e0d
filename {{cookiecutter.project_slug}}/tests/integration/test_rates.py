"""Rate limits are exact under races, in memory and in a real Redis; without Redis they loosen and nobody waits."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack

import httpx2
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.asyncio import Redis

from service.api.app import create_app
from service.application.identity import Caller
from service.bootstrap import use_cases
from service.bootstrap_store import open_store
from service.integration import rates
from service.integration.database.api_keys import issue_key
from service.integration.rates import Rates, redis_storage
from service.settings import Settings
from tests.conftest import SECRETS
from tests.processes import free_port, redis_server, serving

HITS, LIMIT = 200, 50
ANN = Caller("ann", "acme", frozenset())
BEN = Caller("ben", "acme", frozenset())


@pytest.fixture(autouse=True)
def not_at_the_turn_of_a_minute():
    """Where windows begin, what the last one still counts shrinks: a call more may pass."""
    if time.time() % 60 > 57:
        time.sleep(3.1)


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def redis(port):
    with redis_server(port) as process:
        yield process


def limiter(port=None, per_subject=LIMIT, per_tenant=None, password="", meter=None) -> Rates:
    shared = redis_storage(f"redis://127.0.0.1:{port}", lambda: password, "test", HITS) if port else None
    return Rates(per_subject, per_tenant, shared, meter)


def patient(monkeypatch):
    """Two hundred new connections at once take a busy machine longer than a request would wait."""
    monkeypatch.setattr(rates, "PATIENCE_S", 5.0)


async def race(*limiters: Rates, callers=(ANN,)) -> list[int]:
    return await asyncio.gather(
        *(limiters[n % len(limiters)](callers[n // len(limiters) % len(callers)]) for n in range(HITS))
    )


def test_of_two_hundred_racing_calls_fifty_pass_in_memory():
    waits = asyncio.run(race(limiter()))
    assert waits.count(0) == LIMIT
    assert all(1 <= wait <= 60 for wait in waits if wait)


def test_a_new_password_is_used_at_the_next_connection(port, caplog, monkeypatch):
    monkeypatch.setattr(rates, "COOLDOWN_S", 0.1)
    monkeypatch.setattr(rates, "SAY_EVERY_S", 0.0)
    passwords = ["the-old-one"]
    with redis_server(port, "--requirepass", passwords[-1]):
        shared = redis_storage(f"redis://127.0.0.1:{port}", lambda: passwords[-1], "test", HITS)

        async def story() -> None:
            mine = Rates(LIMIT, None, shared)
            await mine(ANN)
            passwords.append("the-new-one")
            async with Redis(port=port, password=passwords[0]) as admin:
                await admin.config_set("requirepass", passwords[-1])
                await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await mine(ANN)  # finds the connection dead
            caplog.clear()
            await asyncio.sleep(0.2)
            await mine(ANN)

        asyncio.run(story())
    assert caplog.records == []


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("replicas", [1, 2])
def test_and_fifty_with_redis_however_many_replicas(port, monkeypatch, replicas):
    patient(monkeypatch)
    waits = asyncio.run(race(*(limiter(port) for _ in range(replicas))))
    assert waits.count(0) == LIMIT
    assert all(1 <= wait <= 60 for wait in waits if wait)


def test_without_redis_two_replicas_would_pass_twice_as_many():
    assert asyncio.run(race(limiter(), limiter())).count(0) == 2 * LIMIT


def test_a_tenant_has_a_limit_of_its_own_and_other_callers_are_not_touched():
    async def calls():
        few = limiter(per_subject=LIMIT, per_tenant=60)
        both = await race(few, callers=(ANN, BEN))
        return both.count(0), await few(Caller("ann", "other", frozenset()))

    assert asyncio.run(calls()) == (60, 0)


def test_what_a_subject_is_refused_takes_nothing_from_its_tenant():
    async def calls():
        few = limiter(per_subject=LIMIT, per_tenant=LIMIT + 10)
        await race(few)
        return [await few(BEN) for _ in range(11)]

    waits = asyncio.run(calls())
    assert waits[:10] == [0] * 10
    assert waits[10] > 0


def test_no_two_callers_share_a_name():
    names = [Caller(s, t, frozenset()).name for t, s in (("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c"), ("a", "b%2Fc"))]
    assert len(set(names)) == 4


class Metrics:
    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meter = MeterProvider([self._reader]).get_meter("test")

    def read(self) -> dict[str, int]:
        data = self._reader.get_metrics_data()
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return {metric.name: sum(point.value for point in metric.data.data_points) for metric in found}


async def timed(call) -> tuple[int, float]:
    began = time.monotonic()
    return await call, time.monotonic() - began


def test_redis_is_killed_and_comes_back(port, caplog):
    metrics = Metrics()

    async def story():
        mine = limiter(port, meter=metrics.meter)
        with redis_server(port) as redis:
            assert await mine(ANN) == 0
            redis.kill()
            redis.wait()
            away = [await timed(mine(ANN)) for _ in range(HITS)]
        with redis_server(port):
            await asyncio.sleep(rates.COOLDOWN_S)
            back = [await mine(ANN) for _ in range(HITS)]
        return away, back

    away, back = asyncio.run(story())
    assert Counter(wait == 0 for wait, _ in away) == {True: LIMIT, False: HITS - LIMIT}  # counted in memory
    assert max(took for _, took in away) < rates.PATIENCE_S + 0.1
    assert back.count(0) == LIMIT  # Redis had forgotten, and counts again
    assert [record.levelname for record in caplog.records if record.name == rates.__name__] == ["ERROR"]
    assert metrics.read() == {"service.rate.without_redis": HITS, "service.rate.refused": 2 * (HITS - LIMIT)}


def test_a_redis_that_hangs_costs_one_request_a_tenth_of_a_second(port, redis):
    async def story():
        mine = limiter(port)
        await mine(ANN)
        os.kill(redis.pid, signal.SIGSTOP)
        took = [(await timed(mine(ANN)))[1] for _ in range(100)]
        await asyncio.sleep(rates.COOLDOWN_S)
        return took, [took for _, took in await asyncio.gather(*(timed(mine(ANN)) for _ in range(100)))]

    took, later = asyncio.run(story())
    assert len([seconds for seconds in later if seconds > rates.PATIENCE_S / 2]) == 1
    assert rates.PATIENCE_S * 0.9 < took[0] < rates.PATIENCE_S + 0.15
    assert sum(took[1:]) < rates.PATIENCE_S


def test_a_redis_with_a_password_wants_it(port, caplog):
    with redis_server(port, "--requirepass", "of-this-test"):
        assert asyncio.run(limiter(port, password="of-this-test")(ANN)) == 0  # pragma: allowlist secret
        assert caplog.records == []
        assert asyncio.run(limiter(port, password="another")(ANN)) == 0  # pragma: allowlist secret
    assert "AuthenticationError" in caplog.text
    assert "of-this-test" not in caplog.text


@pytest.mark.usefixtures("redis")
def test_a_process_too_busy_to_listen_does_not_take_redis_for_away(port, caplog):
    async def busy():
        while True:
            time.sleep(0.6 * rates.PATIENCE_S)
            await asyncio.sleep(0)

    async def story():
        mine = limiter(port)
        await mine(ANN)
        task = asyncio.create_task(busy())
        for _ in range(5):
            await mine(ANN)
        task.cancel()

    asyncio.run(story())
    assert caplog.records == []


@pytest.fixture
def replicas(sqlite_database, tmp_path, redis, port, monkeypatch):
    """Base URLs of two APIs on one database and one Redis, as they are wired in production."""
    patient(monkeypatch)
    config = Settings(
        process={"profile": "development", "var_dir": tmp_path},
        database={"url": sqlite_database.writer.url.render_as_string()},
        load={"redis_url": f"redis://127.0.0.1:{port}", "per_minute": LIMIT},
    )
    with ExitStack() as stack:
        stores = [open_store(config, "api", SECRETS) for _ in range(2)]
        apps = [create_app(use_cases(store, config, SECRETS, None), "test") for store in stores]
        yield [stack.enter_context(serving(app)) for app in apps]
    for store in stores:
        store.flags.shutdown()
        store.database.close_sync()


def test_two_apis_with_one_redis_let_fifty_of_two_hundred_calls_in(replicas, sqlite_database):
    key = issue_key(sqlite_database, "caller", "acme", {"caller"})

    async def ask():
        limits = httpx2.Limits(max_connections=20)
        async with httpx2.AsyncClient(limits=limits, timeout=30, headers={"X-API-Key": key}) as http:
            path = "/v1/decisions/00000000-0000-0000-0000-000000000000"
            return await asyncio.gather(*(http.get(f"{replicas[n % 2]}{path}") for n in range(HITS)))

    answers = asyncio.run(ask())
    assert Counter(answer.status_code for answer in answers) == {404: LIMIT, 429: HITS - LIMIT}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["detail"] == "this caller asks too often"
    assert refused.headers["content-type"] == "application/problem+json"
