"""One key, one effect: over real HTTP, on both databases, in a race and across the death of the process."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier

import httpx2
import pytest
from sqlalchemy import select, text

from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import Database, open_database
from service.integration.database.tables import IdempotencyRow
from service.settings import Settings
from tests.example import CLEAR, PATH, TEXT
from tests.processes import free_port, running
from tests.workflow.conftest import eventually

RACE = 40
HTTP = httpx2.Client(timeout=30, limits=httpx2.Limits(max_connections=RACE))


@dataclass
class Api:
    """An API process on its own database, with a model stand-in."""

    database: Database
    key: str
    model: str
    environment: dict[str, str]
    url: str = ""
    process: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.url = self.process.enter_context(running(["tests.workflow.api_process"], free_port(), **self.environment))

    def kill(self) -> None:
        """SIGKILL, which is how `running` ends."""
        self.process.close()

    def ask(self, key: str, timeout: float = 30, **more: str) -> httpx2.Response:
        headers = {"X-API-Key": self.key, "Idempotency-Key": key}
        return HTTP.post(f"{self.url}{PATH}", json=CLEAR | more, headers=headers, timeout=timeout)

    def count(self, table: str) -> int:
        return self.database.read_sync(lambda session: session.execute(text(f"select count(*) from {table}")).scalar())  # noqa: S608

    def calls(self) -> int:
        return int(HTTP.get(f"{self.model}/calls").json()["calls"])


@pytest.fixture(scope="module")
def model():
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def api(request, tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("api")
    url = f"sqlite:///{folder / 'service.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_migrated")
    prepare(Settings(process={"profile": "development"}, database={"url": url}), project_root())
    database = open_database(url)
    given = {
        "DATABASE_URL": url,
        "MODEL_URL": f"{model}/v1",
        "MODEL_NAME": "stand-in-primary-1",
        "VAR_DIR": str(folder),
    }
    given |= dict.fromkeys(("PROFILE", "BACKUP_MODEL_URL", "INFERENCE_URL", "REDIS_URL"), "")
    with ExitStack() as stack:
        stack.callback(database.close_sync)
        key = issue_key(database, "caller", "acme", {"caller"})
        api = Api(database, key, model, given)
        stack.callback(api.kill)
        api.start()
        yield api


def race(api: Api, key: str) -> tuple[Counter, set[str]]:
    """The statuses and the decisions of forty calls that begin together."""
    together = Barrier(RACE)

    def one(_number):
        together.wait(30)
        return api.ask(key)

    with ThreadPoolExecutor(RACE) as threads:
        answers = list(threads.map(one, range(RACE)))
    seen = Counter(answer.status_code for answer in answers)
    print(f"\n{api.database.dialect}: {RACE} racing calls with one key: {dict(seen)}", end="")
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 409} <= {"1"}
    return seen, {answer.json()["decision_id"] for answer in answers if answer.status_code == 200}


def done(api: Api) -> list[int]:
    """Decisions, effects and model calls so far."""
    return [api.count("decision"), api.count("effect"), api.calls()]


def test_forty_racing_calls_with_one_key_have_one_effect(api):
    key, before = str(uuid.uuid4()), done(api)
    seen, decisions = race(api, key)
    replayed = api.ask(key)
    other = api.ask(key, **{TEXT: "another message"})
    assert set(seen) <= {200, 409}
    assert decisions == {replayed.json()["decision_id"]}
    assert [now - earlier for now, earlier in zip(done(api), before, strict=True)] == [1, 1, 1]
    assert other.status_code == 422
    assert other.json()["detail"] == "this idempotency key was used with another request"


def lease(api: Api, key: str, ends: datetime | None = None) -> datetime:
    """Until when the claim holds; given an end, that is the new one, as if time had passed."""

    def look(session):
        row = session.execute(select(IdempotencyRow).where(IdempotencyRow.key == key)).scalar_one()
        row.lease_until = ends or row.lease_until
        return row.lease_until

    return api.database.write_sync(look)


def test_a_process_killed_between_claim_and_answer_leaves_a_claim_that_ends(api):
    key, before = str(uuid.uuid4()), done(api)
    HTTP.post(f"{api.model}/faults", json={"mode": "hang"}).raise_for_status()
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(api.ask, key)
        eventually(lambda: api.calls() > before[2])
        api.kill()
        assert isinstance(asked.exception(10), httpx2.TransportError)
    HTTP.post(f"{api.model}/faults", json={"mode": "ok"}).raise_for_status()
    api.start()
    refused = api.ask(key)
    assert (refused.status_code, refused.headers["retry-after"]) == (409, "1")
    assert lease(api, key) - datetime.now(UTC) <= timedelta(seconds=60)
    lease(api, key, ends=datetime.now(UTC) - timedelta(seconds=1))
    seen, decisions = race(api, key)
    assert set(seen) <= {200, 409}
    assert len(decisions) == 1
    assert [now - earlier for now, earlier in zip(done(api), before, strict=True)] == [1, 1, 2]
