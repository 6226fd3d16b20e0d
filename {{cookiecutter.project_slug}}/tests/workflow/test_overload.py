"""More is asked than can be answered: whoever is admitted is answered in time, the rest is told at once.

An open loop: requests come at their rate whether or not earlier ones are answered, as callers' do, and each caller
leaves after three seconds. The figures of a real size, with a process that sheds nothing beside:

    OVERLOAD_SECONDS=30 pytest -s tests/workflow/test_overload.py
"""

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median

import pytest

from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import open_database
from service.settings import Settings
from tests.example import CLEAR, PATH
from tests.processes import free_port, running

SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "3"))
DEADLINE_S, TIMES = 3.0, 3
AT_FULL = 24  # callers that keep a process busy without overloading it


@dataclass(frozen=True)
class Api:
    """An API process, and the bytes of a good request to it."""

    url: str
    request: bytes

    async def ask(self) -> tuple[int, float]:
        """The status, 0 for none in time, and the seconds it took."""
        began, host, port = time.monotonic(), *self.url.removeprefix("http://").split(":")
        writer = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(self.request)
                answer = await reader.read()
            return int(answer[9:12]), time.monotonic() - began
        except (OSError, TimeoutError, ValueError):
            return 0, time.monotonic() - began
        finally:
            if writer is not None:
                writer.close()


async def capacity(api: Api, seconds: float) -> float:
    """Answers a second to callers who each wait for their answer."""
    until = time.monotonic() + seconds
    answered: list[int] = []

    async def caller() -> None:
        while time.monotonic() < until:
            status, _ = await api.ask()
            answered.append(status)

    await asyncio.gather(*(caller() for _ in range(AT_FULL)))
    return answered.count(200) / seconds


async def flood(api: Api, rate: float) -> list[tuple[int, float]]:
    began, asked = time.monotonic(), []
    while (elapsed := time.monotonic() - began) < SECONDS:
        while len(asked) < elapsed * rate:
            asked.append(asyncio.create_task(api.ask()))
        await asyncio.sleep(0.005)
    return list(await asyncio.gather(*asked))


@pytest.fixture(scope="module")
def started(postgres_migrated, tmp_path_factory):
    prepare(Settings(process={"profile": "development"}, database={"url": postgres_migrated}), project_root())
    database = open_database(postgres_migrated)
    key = issue_key(database, "caller", "acme", {"caller"})
    database.close_sync()
    body = json.dumps(CLEAR).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    request = f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    given = {"DATABASE_URL": postgres_migrated, "VAR_DIR": str(tmp_path_factory.mktemp("api"))}
    given |= dict.fromkeys(("PROFILE", "BACKUP_MODEL_URL", "INFERENCE_URL", "REDIS_URL"), "")
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as model:
        given |= {"MODEL_URL": f"{model}/v1", "MODEL_NAME": "stand-in-primary-1"}

        def api(most_at_once: int):
            return running(["tests.workflow.api_process"], free_port(), MAX_CONCURRENCY=str(most_at_once), **given)

        yield api, request


def overload(started, most_at_once: int) -> tuple[float, float]:
    """Answers a second at capacity, and good answers a second at three times as many requests."""
    start, request = started
    with start(most_at_once) as url:
        api = Api(url, request)
        asyncio.run(capacity(api, 1))  # warms up
        full = asyncio.run(capacity(api, min(SECONDS, 5)))
        seen = asyncio.run(flood(api, TIMES * full))
    statuses, good = Counter(status for status, _ in seen), [took for status, took in seen if status == 200]
    shed = [took for status, took in seen if status == 503]
    print(
        f"\nMAX_CONCURRENCY={most_at_once}: capacity {full:.0f}/s, {len(seen)} requests in {SECONDS:g} s: "
        f"{dict(statuses)}, goodput {len(good) / SECONDS:.1f}/s, median {median(good or [0]):.2f} s, "
        f"a refusal {median(shed or [0]) * 1000:.0f} ms",
        end="",
    )
    return full, len(good) / SECONDS


def test_goodput_stays_near_capacity_under_three_times_the_load(started):
    full, good = overload(started, 64)
    assert good > full / 10  # generously: the generator and other tests share these cores
    if SECONDS >= 10:
        _, without = overload(started, 10_000)
        assert good > 1.5 * without
