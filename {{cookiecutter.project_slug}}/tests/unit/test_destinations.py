"""Where customers' words may go. Anything else is refused before a byte leaves."""

import asyncio
from contextlib import AsyncExitStack

import httpx2
import pytest

from service import bootstrap_inference
from service.inference.destinations import (
    BadDestination,
    Destination,
    HostNotAllowed,
    host_of,
    is_loopback,
    only,
    parse,
)
from service.inference.task import Limits
from service.settings import Secrets, Settings, SettingsError

LISTED = "models.example eu-central-1 DPA-2026-014, llm.internal:8000 on-premises none needed"
SECRETS = Secrets.model_validate(dict.fromkeys(Secrets.model_fields, "x"))


def test_the_list_names_host_region_and_agreement():
    assert parse(LISTED) == (
        Destination("models.example", "eu-central-1", "DPA-2026-014"),
        Destination("llm.internal:8000", "on-premises", "none needed"),
    )


@pytest.mark.parametrize("text", ["models.example", "models.example eu", "https://models.example eu DPA-1"])
def test_an_entry_that_lacks_something_says_how_to_write_it(text):
    with pytest.raises(BadDestination, match="HOST REGION AGREEMENT"):
        parse(text)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://models.example/v1", "models.example"),
        ("https://MODELS.example:443/v1", "models.example"),
        ("http://llm.internal:8000/v1", "llm.internal:8000"),
        ("http://user@models.example/v1", "models.example"),
        ("", ""),
    ],
)
def test_the_host_of_a_url(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:9/v1", True),
        ("http://[::1]:9/v1", True),
        ("http://localhost/v1", True),
        ("http://localhost.evil.example/v1", False),
        ("http://127.0.0.1.evil.example/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_only_this_machine_is_this_machine(url, local):
    assert is_loopback(url) is local


async def _get(url: str) -> list[str]:
    """The hosts that a request reached."""
    reached = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        reached.append(request.url.host)
        return httpx2.Response(307, headers={"Location": "https://elsewhere.example/steal"})

    hooks = {"request": [only({"models.example"})]}
    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, event_hooks=hooks, follow_redirects=True) as http:
        with pytest.raises(HostNotAllowed):
            await http.get(url)
    return reached


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "http://models.example:8080/", "https://models.example.evil/"]
)
def test_another_host_is_refused_before_anything_is_sent(url):
    assert asyncio.run(_get(url)) == []


def test_a_redirect_to_another_host_is_refused_too():
    assert asyncio.run(_get("https://models.example/")) == ["models.example"]


def engine(hosts: str, url: str = "https://models.example/v1", backup: str = ""):
    model = {"url": url, "name": "m", "backup_url": backup, "backup_name": "b"}
    config = Settings(model=model, data={"model_hosts": hosts})
    return bootstrap_inference.local_engine(config, SECRETS, AsyncExitStack())


def test_the_engine_starts_when_its_models_are_listed():
    assert engine(LISTED, backup="http://llm.internal:8000/v1").backup is not None


@pytest.mark.parametrize(
    ("hosts", "url", "backup"),
    [
        ("", "https://models.example/v1", ""),
        (LISTED, "https://models.example.evil/v1", ""),
        (LISTED, "https://models.example/v1", "https://other.example/v1"),
        (LISTED, "http://llm.internal:8001/v1", ""),
    ],
)
def test_the_engine_does_not_start_when_one_is_not_and_says_what_to_add(hosts, url, backup):
    with pytest.raises(SettingsError, match="add it to MODEL_HOSTS as HOST REGION AGREEMENT"):
        engine(hosts, url, backup)


def test_a_stand_in_on_this_machine_needs_no_entry_in_development():
    assert engine("", "http://127.0.0.1:9001/v1").primary.name == "m"


def test_a_short_deadline_shortens_attempts_so_that_one_that_hangs_counts_in_full():
    model = {"url": "http://127.0.0.1:1/v1", "name": "m", "deadline_s": 5.0}
    engine_ = bootstrap_inference.local_engine(Settings(model=model), SECRETS, AsyncExitStack())
    assert engine_.limits == Limits(deadline_s=5.0, attempt_s=4.0, reserve_s=0.5)


def test_a_model_without_a_price_is_said_at_the_start(caplog):
    engine(LISTED)
    assert "no price is known for m" in caplog.text


def test_a_proxy_that_the_environment_names_is_not_used(monkeypatch):
    """It would read what customers wrote, and it is on no list."""
    asked = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        async with server, AsyncExitStack() as closing:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            http = bootstrap_inference.http_client(closing, 1.0, frozenset({"models.invalid"}))
            for scheme in ("http", "https"):
                with pytest.raises(httpx2.ConnectError):
                    await http.get(f"{scheme}://models.invalid/v1")

    asyncio.run(scenario())
    assert asked == []
