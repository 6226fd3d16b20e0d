"""What every ticketing adapter promises, on the memory adapter and over real HTTP to the ticketing stand-in."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from service.application.effects.contract import EffectRefused, EffectUnavailable, Ticketing
from service.integration.ticketing.http import HttpTicketing
from service.integration.ticketing.memory import MemoryTicketing
from tests.processes import free_port, running

Use = Callable[[Ticketing], Awaitable[object]]
BODY = {"subject": "Refund", "body": "charged twice – ✓", "category": "billing"}


@pytest.fixture(scope="module")
def downstream(tmp_path_factory):
    data = tmp_path_factory.mktemp("ticketing") / "tickets.db"
    with running(["dev.ticketing", "--data", str(data)], free_port(), TICKETING_TOKEN="right") as url:
        yield url


@pytest.fixture(params=["memory", "http"])
def with_ticketing(request):
    """Runs a coroutine function with a fresh adapter."""
    if request.param == "memory":
        return lambda use: asyncio.run(use(MemoryTicketing()))
    url = request.getfixturevalue("downstream")
    return lambda use: over_http(url, use)


def over_http(url: str, use: Use, token: str = "right", timeout_s: float = 1.0):
    async def scenario():
        async with httpx2.AsyncClient(timeout=5) as http:
            return await use(HttpTicketing(http, url, lambda: token, timeout_s))

    return asyncio.run(scenario())


class TestEveryAdapter:
    def test_a_ticket_gets_a_reference(self, with_ticketing):
        assert with_ticketing(lambda t: t.create("a-1", BODY))

    def test_the_same_key_gives_the_same_reference(self, with_ticketing):
        async def twice(ticketing):
            return await ticketing.create("a-2", BODY), await ticketing.create("a-2", BODY)

        first, second = with_ticketing(twice)
        assert first == second

    def test_other_keys_give_other_references(self, with_ticketing):
        async def two(ticketing):
            return await ticketing.create("a-3", BODY), await ticketing.create("a-4", BODY)

        first, second = with_ticketing(two)
        assert first != second

    def test_a_key_reused_for_another_ticket_is_refused(self, with_ticketing):
        async def reuse(ticketing):
            await ticketing.create("a-5", BODY)
            await ticketing.create("a-5", {**BODY, "subject": "Other"})

        with pytest.raises(EffectRefused):
            with_ticketing(reuse)


class TestOverHttp:
    @pytest.mark.parametrize("mode", ["hang", "503", "429", "drop-after-write"])
    def test_a_fault_is_unavailable_and_a_repeat_gives_one_ticket(self, downstream, mode):
        httpx2.post(f"{downstream}/faults", json={"mode": mode, "for": 1}).raise_for_status()
        key = f"fault-{mode}"
        with pytest.raises(EffectUnavailable):
            over_http(downstream, lambda t: t.create(key, BODY))
        assert over_http(downstream, lambda t: t.create(key, BODY))
        written = [t for t in httpx2.get(f"{downstream}/tickets").json() if t["key"] == key]
        assert len(written) == 1

    def test_a_wrong_token_is_ours_to_fix_so_the_effect_waits(self, downstream):
        with pytest.raises(EffectUnavailable, match="401"):
            over_http(downstream, lambda t: t.create("token", BODY), token="wrong")

    def test_nobody_listening_is_unavailable(self):
        with pytest.raises(EffectUnavailable):
            over_http(f"http://127.0.0.1:{free_port()}", lambda t: t.create("x", BODY))
