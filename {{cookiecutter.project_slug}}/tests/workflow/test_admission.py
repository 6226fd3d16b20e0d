"""What stands before the application, over real HTTP: bodies, places, headers, the clock of a connection."""

import asyncio
import json
import os
import socket
import time
from collections import Counter

import httpx2
import pytest
from fastapi import Request
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from service.api.admission import Places, SecurityHeaders, WholeBody
from service.api.app import bare_app
from service.api.problems import MAX_BODY_BYTES
from tests.processes import serving

# The figures of a real size: SLOW_BODIES=100 GOOD_CALLS=64 PLACES=64 BODY_WITHIN_S=5
SLOW, GOOD = int(os.environ.get("SLOW_BODIES", "40")), int(os.environ.get("GOOD_CALLS", "16"))
PLACES, WITHIN_S = int(os.environ.get("PLACES", "16")), float(os.environ.get("BODY_WITHIN_S", "0.6"))


def sized_app(**options):
    """An application that says how many bytes it was sent."""
    app = bare_app("test", None, **options)

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/fail")
    async def fail() -> None:
        raise KeyError("a bug")

    @app.get("/health/live")
    async def live() -> str:
        return "live"

    return app


@pytest.fixture(scope="module")
def url():
    with serving(sized_app()) as url:
        yield url


def chunks(size: int):
    yield b"x" * (size // 2)
    yield b"x" * (size - size // 2)


@pytest.mark.parametrize("sent", [lambda n: b"x" * n, chunks], ids=["Content-Length", "chunked"])
def test_a_body_of_64_kb_is_read_and_of_one_byte_more_refused(url, sent):
    assert httpx2.post(f"{url}/size", content=sent(MAX_BODY_BYTES)).json() == MAX_BODY_BYTES
    refused = httpx2.post(f"{url}/size", content=sent(MAX_BODY_BYTES + 1))
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["connection"] == "close"
    assert refused.json()["detail"] == f"the body may have at most {MAX_BODY_BYTES} bytes"


@pytest.mark.parametrize("sent", [lambda n: b"x" * n, chunks], ids=["Content-Length", "chunked"])
def test_whoever_sends_far_too_much_still_reads_why(url, sent):
    assert httpx2.post(f"{url}/size", content=sent(3_000_000)).status_code == 413


def test_also_if_it_reads_only_after_it_has_sent_everything(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for part in (ask("/size", b"x" * 3_000_000)[n : n + 100_000] for n in range(0, 3_000_000, 100_000)):
            connection.sendall(part)
            time.sleep(0.005)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_length_of_more_digits_than_python_reads_is_too_large(url):
    told = ask("/size").replace(b"Content-Length: 2", b"Content-Length: %s2" % (b"0" * 5000))
    assert asyncio.run(answer_to(url, told))[0] == 413


class Slot:
    """An application whose requests stay in work until they are let go."""

    def __init__(self) -> None:
        self.inside, self.let_go = 0, asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return
        self.inside += 1
        try:
            if scope["path"] == "/stay":
                await self.let_go.wait()
            if scope["path"] == "/fail":
                raise KeyError("a bug")
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
        finally:
            self.inside -= 1


def ask(path: str = "/", body: bytes = b"{}") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


async def answer_to(url: str, sent: bytes) -> tuple[int, bytes]:
    """Status and whole answer to these bytes, as they are."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


def slow_ones_and_good_ones(protected):
    """Seconds, and the statuses of those who stop in the middle of a body, and of those who do not."""

    async def all_at_once(url):
        slow = [asyncio.create_task(answer_to(url, ask(body=b"x" * 9)[:-5])) for _ in range(SLOW)]
        await asyncio.sleep(0.1)
        good = await asyncio.gather(*(answer_to(url, ask()) for _ in range(GOOD)))
        return [status for status, _ in await asyncio.gather(*slow)], [status for status, _ in good]

    with serving(protected) as url:
        slow, good = asyncio.run(all_at_once(url))
    print(f"\n{SLOW} slow bodies: {dict(Counter(slow))}; {GOOD} good calls meanwhile: {dict(Counter(good))}", end="")
    return slow, good


def test_slow_bodies_are_refused_in_time_and_take_no_place():
    slow, good = slow_ones_and_good_ones(WholeBody(Places(Slot(), PLACES), 100, WITHIN_S))
    assert (slow, good) == ([408] * SLOW, [200] * GOOD)


def test_if_they_took_places_others_would_be_turned_away():
    """The test above can fail: here the body is read in the place."""
    _, good = slow_ones_and_good_ones(Places(WholeBody(Slot(), 100, WITHIN_S), PLACES))
    assert good.count(503) > GOOD / 2


@pytest.fixture
def metrics():
    reader = InMemoryMetricReader()

    def read() -> dict[str, float]:
        [resource] = reader.get_metrics_data().resource_metrics
        return {m.name: m.data.data_points[0].value for scope in resource.scope_metrics for m in scope.metrics}

    read.meter = MeterProvider([reader]).get_meter("test")
    return read


def test_who_finds_no_place_is_told_at_once_and_health_always_answers(metrics):
    slot = Slot()

    async def crowd(url):
        staying = [asyncio.create_task(answer_to(url, ask("/stay"))) for _ in range(2)]
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(answer_to(url, ask("/stay"))) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        status, answer = await answer_to(url, ask())
        assert (status, time.monotonic() - began < 0.2) == (503, True)
        assert b"retry-after: 1\r\n" in answer
        assert json.loads(answer.split(b"\r\n\r\n")[1])["title"] == "Unavailable"
        assert metrics()["service.requests.in_work"] == 2
        assert (await answer_to(url, ask("/health/live")))[0] == 200
        assert [status for status, _ in await asyncio.gather(*waiting)] == [503, 503]  # they waited for half a second
        assert 0.3 < time.monotonic() - began < 2
        late = asyncio.create_task(answer_to(url, ask()))
        await asyncio.sleep(0.1)
        slot.let_go.set()
        return [status for status, _ in await asyncio.gather(late, *staying)]

    with serving(Places(slot, 2, metrics.meter)) as url:
        assert asyncio.run(crowd(url)) == [200, 200, 200]
    assert metrics() == {"service.requests.in_work": 0, "service.requests.shed": 3}


def test_a_place_is_free_again_after_a_bug():
    with serving(Places(Slot(), 1)) as url:
        assert [asyncio.run(answer_to(url, ask("/fail")))[0] for _ in range(3)] == [500] * 3
        assert asyncio.run(answer_to(url, ask()))[0] == 200


def test_who_does_not_read_an_answer_keeps_no_place_from_others():
    stuck, answered, places = [], [], Places(Slot(), 1)

    async def one_reads_never():
        async def receive():
            return {"type": "http.request"}

        async def never(message):
            stuck.append(message)
            await asyncio.Event().wait()

        async def send(message):
            answered.append(message)

        scope = {"type": "http", "path": "/"}
        unread = asyncio.create_task(places(scope, receive, never))
        await asyncio.sleep(0)
        await places(scope, receive, send)
        unread.cancel()

    asyncio.run(one_reads_never())
    assert answered[0]["status"] == 200
    assert len(stuck) == 1


ANSWERS = {
    "200": ("POST", "/size", 200),
    "health": ("GET", "/health/live", 200),
    "404": ("GET", "/nothing", 404),
    "405": ("PUT", "/size", 405),
    "413": ("POST", "/size", 413),
    "500": ("POST", "/fail", 500),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_every_answer_has_the_security_headers(url, case):
    method, path, status = ANSWERS[case]
    answer = httpx2.request(method, f"{url}{path}", content=b"x" * (100_000 if status == 413 else 1))
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_refusals_before_the_application_have_them_too():
    async def both(url):
        stays = asyncio.create_task(answer_to(url, ask("/stay")))
        await asyncio.sleep(0.1)
        answers = await asyncio.gather(*(answer_to(url, ask()) for _ in range(3)))
        slow = await answer_to(url, ask()[:-1])
        stays.cancel()
        return [*answers, slow]

    with serving(SecurityHeaders(WholeBody(Places(Slot(), 1), 100, 0.2))) as url:
        answers = asyncio.run(both(url))
    assert [status for status, _ in answers] == [503, 503, 503, 408]
    assert all(b"x-content-type-options: nosniff\r\n" in answer for _, answer in answers)


def test_another_origin_gets_no_permission(url):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = httpx2.options(f"{url}/size", headers=asked)
    answer = httpx2.post(f"{url}/size", headers=asked)
    assert preflight.status_code == 405
    assert [name for name in {**preflight.headers, **answer.headers} if name.startswith("access-control")] == []


def test_a_host_of_the_callers_choosing_is_repeated_nowhere(url):
    answers = [httpx2.post(f"{url}{path}", headers={"Host": "evil.example"}) for path in ("/size", "/size/", "/x")]
    assert [answer.status_code for answer in answers] == [200, 404, 404]
    assert "evil" not in str([(dict(answer.headers), answer.text) for answer in answers])


@pytest.mark.parametrize(("documented", "status"), [(True, 200), (False, 404)])
def test_the_api_describes_itself_only_if_it_is_to(documented, status):
    with serving(sized_app(documented=documented)) as url:
        assert {httpx2.get(f"{url}/{page}").status_code for page in ("openapi.json", "docs", "redoc")} == {status}
