"""Nobody notices a rotation: `svc serve` and `svc worker` under load while everything secret is replaced.

Real OpenBao and Postgres, set up by deploy/. What the vault hands out as keys is checked by guards in front of the
stand-ins: a key that was replaced is refused a few seconds later. `pytest -s` prints the figures; for those of the
documents: ROTATION_S=60 RATE=20 LEASE_S=10 OUTAGE_S=20.
"""

import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from dev.model import ModelStandIn
from dev.ticketing import TicketingStandIn, Tickets
from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import open_database
from service.project import slug
from service.settings import Settings
from tests.example import CLEAR, PATH
from tests.processes import free_port, serving
from tests.production import (
    Bao,
    Postgres,
    grant,
    make_roles,
    open_bao,
    owner_url,
    process,
    set_up_vault,
    strict_postgres,
)  # fmt: skip
from tests.workflow.conftest import clean_environment

SLUG, DATABASE = slug(), "shop"
ROTATION_S = float(os.environ.get("ROTATION_S", "7"))
RATE = int(os.environ.get("RATE", "10"))
LEASE_S = int(os.environ.get("LEASE_S", "6"))
OUTAGE_S = float(os.environ.get("OUTAGE_S", "2"))
EVERY_S, OLD_KEY_WORKS_S = 2.0, 2.5
KEYS = {"audit_key": "a" * 64, "payload_key": "p" * 64}


@dataclass
class Guard:
    """In front of a stand-in: 401 for any key but the newest and, some seconds more, the one before."""

    behind: object
    until: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def accept(self, key: str) -> None:
        self.until[key] = float("inf")

    def replaced_by(self, key: str) -> None:
        """From now on nobody can read the older ones in the vault."""
        ends = time.monotonic() + OLD_KEY_WORKS_S
        self.until |= {old: min(until, ends) for old, until in self.until.items() if old != key}

    async def __call__(self, scope, receive, send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if scope["method"] == "POST":
            self.seen[given] += 1
            if self.until.get(given, 0) < time.monotonic():
                self.refused += 1
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
        await self.behind(scope, receive, send)


@dataclass(frozen=True)
class Answer:
    at: float
    status: int
    source: str | None
    took_s: float


@dataclass(frozen=True)
class Running:
    """The service, and what it works with."""

    bao: Bao
    postgres: Postgres
    model: Guard
    ticketing: Guard
    tickets: Tickets
    url: str
    key: str
    log: Path

    def rotate(self, number: int) -> None:
        """New keys for the model and the ticketing system, accepted there before anybody can have them."""
        model, token = f"model-key-{number}", f"ticketing-token-{number}"
        self.model.accept(model)
        self.ticketing.accept(token)
        self.bao.put("api", digest_key="d" * 64, model_api_key=model, **KEYS)
        self.model.replaced_by(model)
        self.bao.put("worker", ticketing_token=token, **KEYS)
        self.ticketing.replaced_by(token)

    def ready(self) -> tuple[int, object]:
        answer = httpx2.get(f"{self.url}/health/ready", timeout=15)
        return answer.status_code, answer.json()["checks"]["secrets"]

    @contextmanager
    def load(self) -> Iterator[list[Answer]]:
        """RATE requests a second until the block ends, whether or not earlier ones have been answered."""
        answers: list[Answer] = []
        stop, began = threading.Event(), time.monotonic()
        with httpx2.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=30) as http:

            def ask() -> None:
                at = time.monotonic()
                try:
                    answer = http.post(PATH, json=CLEAR)
                    status, source = answer.status_code, answer.json().get("source")
                except httpx2.HTTPError:
                    status, source = 0, None
                answers.append(Answer(at - began, status, source, time.monotonic() - at))

            def drive(threads: ThreadPoolExecutor) -> None:
                for number in range(1_000_000):
                    if stop.wait(max(0.0, began + number / RATE - time.monotonic())):
                        return
                    threads.submit(ask)

            with ThreadPoolExecutor(64) as threads:
                driver = threading.Thread(target=drive, args=(threads,))
                driver.start()
                try:
                    yield answers
                finally:
                    stop.set()
                    driver.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotation")
    tickets = Tickets(folder / "tickets.db")
    model, ticketing = Guard(ModelStandIn("stand-in-primary").app()), Guard(TicketingStandIn(tickets, None).app())
    with ExitStack() as stack:
        postgres = stack.enter_context(strict_postgres())
        bao = stack.enter_context(open_bao(folder, SLUG))
        make_roles(postgres, DATABASE)
        set_up_vault(bao, postgres, DATABASE, DATABASE_TTL=f"{LEASE_S}s", TOKEN_TTL=f"{2 * LEASE_S}s")
        as_owner = owner_url(postgres, DATABASE, folder)
        prepare(Settings(process={"profile": "development"}, database={"url": as_owner}), project_root())
        grant(postgres, DATABASE)
        database = open_database(as_owner)
        key = issue_key(database, "caller", "acme", {"caller"})
        database.close_sync()
        common = {
            "DATABASE_URL": postgres.url(database=DATABASE),
            "DATABASE_CREDENTIALS": "vault",
            "VAULT_ADDR": bao.addr,
            "MODEL_URL": f"{stack.enter_context(serving(model))}/v1",
            "MODEL_NAME": "stand-in-primary-1",
            "TICKETING_URL": stack.enter_context(serving(ticketing)),
        }
        port = free_port()
        made = Running(bao, postgres, model, ticketing, tickets, f"http://127.0.0.1:{port}", key, folder)
        made.rotate(0)
        for kind, ready in (("api", lambda: answers(made)), ("worker", (folder / "worker" / "worker.ready").exists)):
            (var := folder / kind).mkdir()
            own = {
                "VAULT_ROLE_ID": bao.role_id(kind),
                "VAULT_SECRET_ID_FILE": str(bao.secret_id(kind, folder / f"{kind}.secret-id")),
                "VAULT_PATH": f"{SLUG}/{kind}",
                "VAR_DIR": str(var),
                "PORT": str(port),
            }
            command = {"api": "serve"}.get(kind, kind)
            given = clean_environment(**common, **own)
            stack.enter_context(process(command, folder / f"{kind}.log", ready, **given))
        yield made


def answers(made: Running) -> bool:
    try:
        return made.ready()[0] == 200
    except httpx2.HTTPError:
        return False


def users(postgres: Postgres) -> set[str]:
    connected = "select distinct usename from pg_stat_activity where usename like 'v-%'"
    return {name for (name,) in postgres.run(connected)}


def say(what: str, got: list[Answer]) -> None:
    by = Counter((answer.status, answer.source) for answer in got)
    took = [answer.took_s * 1000 for answer in got]
    p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
    print(
        f"\n{what}: {len(got)} requests, {dict(by)}; p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(took):.0f} ms", end=""
    )


def delivered(running: Running, at_least: int) -> int:
    deadline = time.monotonic() + 30
    while (found := len(running.tickets.all())) < at_least:
        assert time.monotonic() < deadline, f"{found} of {at_least} tickets"
        time.sleep(0.1)
    return found


def test_no_request_fails_while_keys_and_database_users_are_replaced(running):
    before, connected, number = len(running.tickets.all()), set(), 0
    with running.load() as got:
        until = time.monotonic() + ROTATION_S
        while time.monotonic() < until:
            number += 1
            running.rotate(number)
            for _ in range(4):
                connected |= users(running.postgres)
                time.sleep(EVERY_S / 4)
    say(f"{ROTATION_S:g} s of rotation", got)
    written = delivered(running, before + len(got)) - before
    print(
        f"\n{number} rotations of both keys, {len(connected)} database users, leases of {LEASE_S} s; "
        f"{written} tickets; refused for an old key: model {running.model.refused}, "
        f"ticketing {running.ticketing.refused}",
        end="",
    )
    assert {(answer.status, answer.source) for answer in got} == {(200, "model")}
    assert len(got) >= ROTATION_S * RATE * 0.9
    assert (running.model.refused, running.ticketing.refused) == (0, 0)
    assert running.model.seen[f"model-key-{number}"] > 0
    assert running.ticketing.seen[f"ticketing-token-{number}"] > 0
    assert len(connected) >= ROTATION_S / LEASE_S  # two processes, each with a new one at half its lease
    assert written == len(got)


@dataclass
class Outage:
    """What readiness said, and when: seconds since the load began."""

    running: Running
    began: float = field(default_factory=time.monotonic)
    ready: list[tuple[float, int, object]] = field(default_factory=list)
    sealed_at: float = 0.0
    back_at: float = 0.0
    fresh_at: float = 0.0

    def now(self) -> float:
        return time.monotonic() - self.began

    def look(self, seconds: float) -> None:
        until = self.now() + seconds
        while self.now() < until:
            self.ready.append((self.now(), *self.running.ready()))
            time.sleep(0.1)

    def happens(self) -> None:
        """Sealed for a third of the time, then gone, then back."""
        self.look(1.0)
        self.sealed_at = self.now()
        self.running.bao.root.sys.seal()
        self.look(OUTAGE_S / 3)
        self.running.bao.kill()
        self.look(OUTAGE_S * 2 / 3)
        self.running.bao.start()
        self.back_at = self.now()
        self.look(0.1)
        while self.ready[-1][2] is not True:
            assert self.now() < self.back_at + 20, self.ready[-1]
            self.look(0.1)
        self.fresh_at = self.ready[-1][0]
        self.look(2.0)

    def say(self, got: list[Answer]) -> None:
        parts = {"away": (self.sealed_at, self.back_at), "back": (self.back_at, self.fresh_at)}
        for what, (begin, end) in (parts | {"fresh again": (self.fresh_at, 1e9)}).items():
            if len(part := [answer for answer in got if begin <= answer.at < end]) > 1:
                say(f"vault {what}", part)
        print(
            f"\nsealed at {self.sealed_at:.1f} s, back {self.back_at:.1f}, fresh {self.fresh_at:.1f}"
            f"; readiness: {[f'{at:.1f} s: {status}, {said}' for at, status, said in changes(self.ready)]}",
            end="",
        )


def test_while_the_vault_is_sealed_killed_and_started_again(running):
    """Every request is answered as usual for as long as the database user lasts, which is at least half a lease."""
    with running.load() as got:
        outage = Outage(running)
        outage.happens()
    outage.say(got)
    lasts_until = min(outage.sealed_at + LEASE_S * 0.4, outage.back_at)
    unlike = [answer for answer in got if (answer.status, answer.source) != (200, "model")]
    assert [answer for answer in unlike if answer.at < lasts_until or answer.at > outage.fresh_at + 0.5] == []
    assert {answer.status for answer in got} <= {200, 503}
    assert {status for at, status, _ in outage.ready if at < lasts_until or at > outage.fresh_at} == {200}
    assert any(isinstance(said, str) for _, _, said in outage.ready)
    lines = (running.log / "api.log").read_text().splitlines()
    assert any("the last good ones stay in use" in line for line in lines)
    assert not any("Traceback" in line for line in lines)


def changes(seen: list[tuple[float, int, object]]) -> list[tuple[float, int, object]]:
    """When readiness became another: the age in its words does not count."""
    kind = [(status, said if isinstance(said, bool) else "old") for _, status, said in seen]
    return [seen[i] for i in range(len(seen)) if i == 0 or kind[i] != kind[i - 1]]
