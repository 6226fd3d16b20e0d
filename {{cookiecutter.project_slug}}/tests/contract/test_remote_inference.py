"""The hop to the inference process, over real HTTP: what crosses it, who may, and what happens when one end goes.

Run as a module, this file is an inference process whose engine is scripted: `--port N`.
"""

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx2
import pytest
import uvicorn
from fastapi import Request
from opentelemetry import trace

from service.api import inference
from service.api.disconnect import ClientGone, while_connected
from service.api.inference import KEPT_RELEASES, MAX_BODY_BYTES, create_inference_app
from service.application.decision import ModelUnusable, Prediction, Reason, Source, Usage
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.exchange import PATH, PredictRequest, answer_of
from service.bootstrap_inference import http_client
from service.inference import remote
from service.inference.remote import RemoteTriager
from tests.processes import free_port, running, serving

HTTP = httpx2.Client(verify=False)
TOKEN = "clé-ключ-token"
TENANT = "acme"
TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
RELEASE = Release(
    use_case="triage",
    prompt_id="triage",
    prompt_version="1",
    prompt="## System\nSort.\n## User\n$ticket\n",
    contract_version="c",
    rules_version="r",
    guards_version="g",
)
OUTCOME = TriageOutcome.model_validate(
    {"category": "other", "priority": "low", "entities": [], "draft_reply": None, "evidence": [], "confidence": 0.5}
)
PREDICTION = Prediction(
    OUTCOME, Source.BACKUP, "scripted", True, Reason.RATE_LIMITED, Usage(3, 4, 0.5), True, ("customer_text",)
)


def ticket(says: str = "answer") -> Ticket:
    return Ticket(subject=says, body="A message.", customer_ref="C-1")


@dataclass
class Engine:
    """Does what the ticket's subject says, and remembers how it was asked."""

    asked: list[tuple[Ticket, Release, str, float]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    cancelled_at: float = 0.0
    tasks: int = 0

    def forget(self) -> None:
        for noted in (self.asked, self.calls, self.headers, self.statuses):
            noted.clear()
        self.cancelled_at = 0.0

    async def predict(
        self, asked: Ticket, release: Release, tenant: str, within_s: float, calls: int
    ) -> Prediction[TriageOutcome]:
        self.asked.append((asked, release, tenant, within_s))
        self.calls.append(calls)
        self.tasks = len(asyncio.all_tasks())
        does, _, more = asked.subject.partition(" ")
        if does == "unusable":
            raise ModelUnusable(Reason.CUT_OFF, Usage(5, 6, None))
        if does == "fault":
            raise RuntimeError("planted")
        if does == "late":
            await asyncio.sleep(within_s)
            raise ModelUnusable(Reason.DEADLINE, Usage(7, 8, 0.25))
        if does == "take":
            await self._take(float(more))
        return replace(PREDICTION, model_version=str(os.getpid())) if does == "pid" else PREDICTION

    async def _take(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # a clean-up that takes a moment
            self.cancelled_at = time.monotonic()
            raise

    def app(self) -> Any:
        """The real application around this engine; it also notes headers and statuses of the route."""
        app = create_inference_app(inference.Engine(self.predict, lambda: TOKEN), "test")

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self.statuses.append(message["status"])
                await send(message)

            if scope["type"] == "http" and scope["path"] == PATH:
                self.headers.append({name.decode(): value.decode("latin-1") for name, value in scope["headers"]})
                await app(scope, receive, sending)
            else:
                await app(scope, receive, send)

        return noting


@pytest.fixture(scope="module")
def server():
    engine = Engine()
    with serving(engine.app()) as url:
        yield engine, url


@pytest.fixture
def engine(server):
    server[0].forget()
    return server[0]


@pytest.fixture
def url(server, engine):
    """An inference process that may have seen `RELEASE` before."""
    return server[1]


@pytest.fixture
def fresh():
    """An engine and the URL of its process, which has seen nothing yet."""
    engine = Engine()
    with serving(engine.app()) as url:
        yield engine, url


def client(**more: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(verify=False, **more)  # no TLS here, and its set-up takes longer than a test


def ask(urls: str | Sequence[str], says: str = "answer", deadline_s: float = 5.0, token: str = TOKEN):
    async def scenario():
        async with client() as http:
            triager = RemoteTriager(http, [urls] if isinstance(urls, str) else urls, lambda: token, deadline_s)
            return await triager.triage(ticket(says), RELEASE, TENANT)

    return asyncio.run(scenario())


def unusable(*args: Any, **kwargs: Any) -> ModelUnusable:
    with pytest.raises(ModelUnusable) as caught:
        ask(*args, **kwargs)
    return caught.value


def post(url: str, release: Release | None = RELEASE, headers: Any = None, **change: Any) -> httpx2.Response:
    asked = PredictRequest(ticket=ticket(), digest=RELEASE.digest, tenant=TENANT, deadline_ms=1000, release=release)
    given = {"Authorization": f"Bearer {TOKEN}".encode()} if headers is None else headers
    body = asked.model_copy(update=change).to_json()
    sent = httpx2.Headers([("Content-Type", "application/json"), *dict(given).items()])
    return HTTP.post(f"{url}{PATH}", content=body, headers=sent)


# What crosses


def test_a_prediction_crosses_unchanged(url):
    assert ask(url) == PREDICTION


def test_that_no_model_was_usable_crosses_with_its_cost_and_nobody_else_is_asked(url, engine):
    failure = unusable([url, url], "unusable")
    assert (failure.reason, failure.usage) == (Reason.CUT_OFF, Usage(5, 6, None))
    assert len(engine.asked) == 1


def test_ticket_tenant_release_and_remaining_time_cross(url, engine):
    ask(url, deadline_s=4.0)
    [(asked, release, tenant, within_s)] = engine.asked
    assert (asked, release, tenant) == (ticket(), RELEASE, TENANT)
    assert 3.0 < within_s < 3.9


def test_the_trace_crosses(url, engine):
    parent = trace.SpanContext(TRACE_ID, 0x1, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(parent)):
        ask(url)
    assert format(TRACE_ID, "032x") in engine.headers[-1]["traceparent"]


def test_a_release_is_sent_once(fresh):
    engine, url = fresh

    async def scenario():
        async with client() as http:
            triager = RemoteTriager(http, [url], lambda: TOKEN, 5.0)
            for _ in range(3):
                await triager.triage(ticket(), RELEASE, TENANT)

    asyncio.run(scenario())
    assert engine.statuses == [409, 200, 200, 200]
    lengths = [int(headers["content-length"]) for headers in engine.headers]
    assert lengths[1] > max(lengths[0], lengths[2], lengths[3])


def test_a_release_that_is_not_the_one_named_is_refused_and_not_kept(fresh):
    engine, url = fresh
    wrong = RELEASE.model_copy(update={"prompt": "## System\nObey.\n## User\n$ticket\n"})
    refused = post(url, wrong)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert post(url, None).status_code == 409
    assert post(url).status_code == post(url, None).status_code == 200
    assert post(url, wrong).status_code == 422
    assert [release for _, release, _, _ in engine.asked] == [RELEASE, RELEASE]


def test_only_so_many_releases_are_kept(url):
    releases = [RELEASE.model_copy(update={"prompt_version": str(number)}) for number in range(KEPT_RELEASES + 1)]
    for release in releases:
        assert post(url, release, digest=release.digest).status_code == 200
    assert post(url, None, digest=releases[0].digest).status_code == 409
    assert post(url, None, digest=releases[1].digest).status_code == 200


def test_a_release_for_other_code_is_answered_by_the_next_process(engine, url, caplog):
    """As in the midst of a deployment: one process has the older code, another the newer."""
    misfit = lambda release: "it was made for guards g" if release == RELEASE else None  # noqa: E731
    older = create_inference_app(inference.Engine(Engine().predict, lambda: TOKEN, misfit), "test")
    with serving(older) as old_url:
        refused = post(old_url)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert ask([old_url, url]) == PREDICTION
        with pytest.raises(ModelUnusable):
            ask(old_url)
    assert f"release {RELEASE.name} does not fit: it was made for guards g" in caplog.text
    assert len(engine.asked) == 1


# Who may ask

STRANGERS = {
    "nobody": {},
    "empty": {"Authorization": b"Bearer"},
    "another token": {"Authorization": b"Bearer wrong"},
    "the beginning of it": {"Authorization": f"Bearer {TOKEN[:-1]}".encode()},
    "more than it": {"Authorization": f"Bearer {TOKEN}x".encode()},
    "another encoding": {"Authorization": "Bearer clé".encode("latin-1")},
    "another scheme": {"Authorization": f"Basic {TOKEN}".encode()},
    "an API key": {"X-API-Key": TOKEN.encode()},
    "two at once": {"Authorization": f"Bearer {TOKEN}".encode(), "authorization": b"Bearer wrong"},
}


@pytest.mark.parametrize("who", STRANGERS)
def test_strangers_are_refused(url, engine, who):
    refused = post(url, headers=STRANGERS[who])
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert engine.asked == []


def test_an_empty_token_opens_nothing():
    app = create_inference_app(inference.Engine(Engine().predict, lambda: ""), "test")
    with serving(app) as url:
        assert post(url, headers={"Authorization": b"Bearer"}).status_code == 401


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_needs_no_token(url, path):
    assert HTTP.get(f"{url}{path}").status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/v1/triage"])
def test_there_is_nothing_else(url, path):
    assert HTTP.get(f"{url}{path}").status_code == 404


def test_a_body_may_be_long_but_not_endless(url):
    long = RELEASE.model_copy(update={"prompt": "word " * 100_000})
    assert post(url, long, digest=long.digest).status_code == 200
    refused = post(url, RELEASE.model_copy(update={"prompt": "x" * MAX_BODY_BYTES}))
    assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")
    assert str(MAX_BODY_BYTES) in refused.text


# When an address fails


@contextmanager
def answering(status: int, body: bytes, delay: float = 0.0, **headers: str):
    """Something that always answers this; yields its URL and the paths that were asked for."""
    paths = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            paths.append(scope["path"])
            await asyncio.sleep(delay)
            given = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": given})
            await send({"type": "http.response.body", "body": body})

    with serving(app) as url:
        yield url, paths


BROKEN = {
    "garbage": (200, b"}{"),
    "html": (200, b"<!doctype html><title>Sign in</title>"),
    "empty": (200, b""),
    "neither": (200, b"{}"),
    "too long": (200, b" " * (remote.MAX_ANSWER_BYTES + 1)),
    "redirect": (302, b""),
    "500": (500, b"fault"),
    "502": (502, b"bad gateway"),
    "503": (503, b"busy"),
    "504": (504, b"gateway time-out"),
    "429": (429, b"slow down"),
}
NOTHING_SPENT = {"503", "429"}


@pytest.mark.parametrize("what", BROKEN)
def test_after_a_broken_answer_the_next_address_is_asked(url, what):
    with answering(*BROKEN[what], location="http://127.0.0.1:1/") as (broken, _):
        alone, prediction = unusable(broken), ask([broken, url])
    cost = 0.0 if what in NOTHING_SPENT else None
    assert (alone.reason, alone.usage) == (Reason.UNREACHABLE, Usage(0, 0, cost))
    assert prediction == replace(PREDICTION, usage=Usage(3, 4, 0.5 if what in NOTHING_SPENT else None))


def test_what_a_failed_attempt_cost_is_unknown_also_when_the_next_finds_no_model(url):
    with answering(200, b"}{") as (broken, _):
        failure = unusable([broken, url], "unusable")
    assert (failure.reason, failure.usage) == (Reason.CUT_OFF, Usage(5, 6, None))


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_is_an_error_in_the_log_and_the_next_address_is_asked(url, caplog, status):
    with answering(status, b"no") as (refusing, paths):
        alone, prediction = unusable(refusing), ask([refusing, url])
    assert (alone.reason, alone.usage, prediction) == (Reason.REJECTED, Usage(), PREDICTION)
    assert [r.levelno for r in caplog.records if r.name == remote.__name__] == [logging.ERROR] * 2
    assert paths == [PATH, PATH]


def test_a_wrong_token_is_our_mistake(url):
    assert unusable(url, token="wrong").reason == Reason.REJECTED


def test_a_server_that_never_takes_the_release_is_not_asked_a_third_time():
    with answering(409, b"") as (stubborn, paths):
        assert unusable(stubborn).reason == Reason.REJECTED
    assert len(paths) == 2


def test_a_fault_of_the_server_is_a_problem_there_and_an_unreachable_model_here(url, engine):
    assert unusable(url, "fault").reason == Reason.UNREACHABLE
    assert engine.statuses[-1] == 500


def test_nobody_listening_costs_nothing():
    failure = unusable([f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"])
    assert (failure.reason, failure.usage) == (Reason.UNREACHABLE, Usage(0, 0, 0.0))


def test_a_server_that_takes_too_long_is_cut_off_at_the_deadline(url, engine):
    started = time.monotonic()
    failure = unusable(url, "take 30", deadline_s=0.5)
    assert (failure.reason, failure.usage) == (Reason.DEADLINE, Usage(0, 0, None))
    assert time.monotonic() - started < 1.5
    wait_for(lambda: engine.cancelled_at)


def test_an_engine_that_runs_out_of_time_still_tells_what_was_spent(url):
    failure = unusable(url, "late", deadline_s=2.5)  # a quarter second is kept back
    assert (failure.reason, failure.usage) == (Reason.DEADLINE, Usage(7, 8, 0.25))


async def reads_and_says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A connection of a process that hangs: the kernel still accepts it, and what is sent."""
    while await reader.read(65_536):
        pass
    writer.close()


def test_a_hung_process_is_noticed_however_many_requests_it_holds(url):
    async def scenario() -> tuple[list[Prediction[TriageOutcome]], float]:
        server = await asyncio.start_server(reads_and_says_nothing, "127.0.0.1", 0, backlog=500)
        async with server, AsyncExitStack() as closing:
            hung = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            triager = RemoteTriager(http_client(closing, 20.0), [hung, url], lambda: TOKEN, 20.0)
            began = time.monotonic()
            asked = (triager.triage(ticket(), RELEASE, TENANT) for _ in range(150))
            return await asyncio.gather(*asked), time.monotonic() - began

    answers, seconds = asyncio.run(scenario())
    assert [answer for answer in answers if answer.outcome != OUTCOME] == []
    assert seconds < remote.SILENCE_S + remote.HEALTH_S + 4


def test_a_slow_process_is_waited_for_however_many_requests_it_holds(url):
    async def scenario() -> list[Prediction[TriageOutcome]]:
        async with AsyncExitStack() as closing:
            triager = RemoteTriager(http_client(closing, 20.0), [url], lambda: TOKEN, 20.0)
            slow = ticket(f"take {remote.SILENCE_S + remote.HEALTH_S + 0.5}")
            return await asyncio.gather(*(triager.triage(slow, RELEASE, TENANT) for _ in range(150)))

    assert asyncio.run(scenario()) == [PREDICTION] * 150


def test_what_a_lost_process_has_asked_is_not_asked_three_times_again(url, engine):
    async def scenario() -> Prediction[TriageOutcome]:
        async def reads_and_goes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65_536)
            writer.close()

        server = await asyncio.start_server(reads_and_goes, "127.0.0.1", 0)
        async with server, client() as http:
            lost = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await RemoteTriager(http, [lost, url], lambda: TOKEN, 5.0).triage(ticket(), RELEASE, TENANT)

    assert asyncio.run(scenario()).usage.cost_usd is None
    assert set(engine.calls) == {1}
    ask(url)
    assert engine.calls[-1] == 3


def test_an_unreachable_address_is_asked_last_for_a_while(url):
    connections = 0

    async def scenario():
        async def closes_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            writer.close()

        server = await asyncio.start_server(closes_at_once, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, client() as http:
            triager = RemoteTriager(http, [f"http://127.0.0.1:{port}", url], lambda: TOKEN, 5.0)
            return [await triager.triage(ticket(), RELEASE, TENANT) for _ in range(20)]

    predictions = asyncio.run(scenario())
    assert predictions == [replace(PREDICTION, usage=Usage(3, 4, None))] + [PREDICTION] * 19
    assert connections == 1


def test_an_address_that_failed_must_show_that_it_lives_before_it_is_asked_again(url):
    now = time.monotonic()
    with answering(503, b"", delay=0.2) as (dead, paths):

        async def scenario():
            async with client() as http:
                triager = RemoteTriager(http, [dead, url], lambda: TOKEN, 5.0)
                triager._avoided[dead] = now  # its time is just over
                asking = [triager.triage(ticket(), RELEASE, TENANT) for _ in range(5)]
                assert await asyncio.gather(*asking) == [PREDICTION] * 5
                triager._avoided[url] = now  # this one lives
                await triager.triage(ticket(), RELEASE, TENANT)
                assert list(triager._avoided) == [dead]

        asyncio.run(scenario())
    assert paths == ["/health/live"]  # one request finds out for all


# When a process goes


@contextmanager
def two_processes():
    with ExitStack() as stack:
        module = ["tests.contract.test_remote_inference"]
        yield [stack.enter_context(running(module, free_port())) for _ in range(2)]


def pid_of(url: str) -> int:
    return int(ask(url, "pid").model_version)


def test_a_process_killed_under_load_fails_no_caller():
    async def scenario(urls: list[str], first: int) -> list[Prediction[TriageOutcome]]:
        answers: list[Prediction[TriageOutcome]] = []
        numbers = iter(range(200))
        async with client() as http:
            triager = RemoteTriager(http, urls, lambda: TOKEN, 5.0)

            async def caller() -> None:
                for number in numbers:
                    if number == 60:
                        os.kill(first, signal.SIGKILL)
                    answers.append(await triager.triage(ticket("take 0.02"), RELEASE, TENANT))

            await asyncio.gather(*[caller() for _ in range(8)])
        return answers

    with two_processes() as urls:
        answers = asyncio.run(scenario(urls, pid_of(urls[0])))
    assert len(answers) == 200
    cut_off = [answer for answer in answers if answer.usage.cost_usd is None]
    assert 0 < len(cut_off) <= 8


def test_a_hung_process_delays_what_it_held_and_nothing_after():
    async def scenario(urls: list[str], first: int) -> tuple[list[float], float]:
        async with client() as http:
            triager = RemoteTriager(http, urls, lambda: TOKEN, 10.0)
            await triager.triage(ticket(), RELEASE, TENANT)
            os.kill(first, signal.SIGSTOP)

            async def timed() -> float:
                started = time.monotonic()
                await triager.triage(ticket(), RELEASE, TENANT)
                return time.monotonic() - started

            held = await asyncio.gather(*[timed() for _ in range(5)])
            return held, max([await timed() for _ in range(20)])

    with two_processes() as urls:
        held, after = asyncio.run(scenario(urls, pid_of(urls[0])))
    assert max(held) < remote.SILENCE_S + remote.HEALTH_S + 1.5
    assert after < 0.5


# When the caller goes


def wait_for(condition: Any, seconds: float = 1.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.01)


def test_a_caller_that_gives_up_stops_the_prediction(url, engine, caplog):
    async def scenario(url: str) -> float:
        async with client() as http:
            triager = RemoteTriager(http, [url], lambda: TOKEN, 10.0)
            await triager.triage(ticket(), RELEASE, TENANT)
            asking = asyncio.create_task(triager.triage(ticket("take 30"), RELEASE, TENANT))
            await asyncio.sleep(0.3)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert triager._avoided == {}  # that was nobody's fault
            return time.monotonic()

    gave_up = asyncio.run(scenario(url))
    wait_for(lambda: engine.cancelled_at)
    wait_for(lambda: engine.statuses[-1] == 499)
    assert engine.cancelled_at - gave_up < 1.0
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


class Line:
    """A request whose connection the test closes."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.closed.wait()
        return {"type": "http.disconnect"}


async def work(seconds: float, cleaned: list[str], fails: type[Exception] | None = None) -> str:
    try:
        await asyncio.sleep(seconds)
        if fails:
            raise fails
        return "done"
    finally:
        await asyncio.sleep(0)
        cleaned.append("clean")


@pytest.mark.parametrize("closes_after", [0.0, 0.02])
def test_work_for_a_closed_connection_is_cancelled_and_cleaned_up_first(closes_after):
    async def scenario() -> None:
        line, cleaned = Line(), list[str]()
        asyncio.get_running_loop().call_later(closes_after, line.closed.set)
        with pytest.raises(ClientGone):
            await while_connected(cast(Request, line), work(30, cleaned))
        assert cleaned == ["clean"]
        assert asyncio.current_task().cancelling() == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_work_that_ends_first_keeps_its_result_or_its_error_and_leaves_no_task():
    async def scenario() -> None:
        cleaned = list[str]()
        assert await while_connected(cast(Request, Line()), work(0.01, cleaned)) == "done"
        assert len(asyncio.all_tasks()) == 1
        with pytest.raises(KeyError):
            await while_connected(cast(Request, Line()), work(0.01, cleaned, KeyError))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_server_that_stops_cancels_the_handler_as_ever():
    async def scenario() -> None:
        cleaned = list[str]()
        handler = asyncio.create_task(while_connected(cast(Request, Line()), work(30, cleaned)))
        await asyncio.sleep(0.01)
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
        assert cleaned == ["clean"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_nothing_is_left_running_after_an_answer(url, engine):
    for _ in range(20):
        assert post(url).status_code == 200
    assert engine.tasks <= 4  # the server's own, this request and who watches its connection


def test_an_in_process_client_is_answered_too(engine):
    async def scenario() -> Prediction[TriageOutcome]:
        async with client(transport=httpx2.ASGITransport(engine.app())) as http:
            return await RemoteTriager(http, ["http://inference"], lambda: TOKEN, 5.0).triage(
                ticket("take 0.05"), RELEASE, TENANT
            )

    assert asyncio.run(scenario()) == PREDICTION


# Between versions


def test_a_reason_of_a_newer_server_is_a_model_error():
    newer = answer_of(ModelUnusable(Reason.CANARY)).to_json().replace(b"output_canary", b"moon_phase")
    with answering(200, newer) as (url, _):
        assert unusable(url).reason == Reason.MODEL_ERROR


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(Engine().app(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
