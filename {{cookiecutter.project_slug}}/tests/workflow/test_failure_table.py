"""The failure contract as a table: every fault of a model, and what the caller of the service sees.

Real HTTP from the caller to the stand-ins: the API with its database, and behind it the engine in the same process or
in an inference process of its own. `pytest -s` prints the table. A deadline of 3.2 s, 0.8 s for one attempt.
"""

import time
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

import httpx2
import pytest

from service.api.app import create_app
from service.api.inference import Engine, create_inference_app
from service.bootstrap import use_cases
from service.bootstrap_inference import engine, local_engine
from service.bootstrap_store import open_store
from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.settings import Settings
from tests.conftest import SECRETS
from tests.example import CLEAR, PATH
from tests.processes import free_port, running, serving

DEADLINE_S, ATTEMPT_S = 3.2, 0.8
HTTP = httpx2.Client(timeout=30)


@dataclass(frozen=True)
class Fault:
    """What a fault of the primary means: its reason, and how often it is called. None: it is no failure."""

    reason: str | None
    calls: int = 1
    refused: bool = False


FAULTS = {
    "ok": Fault(None),
    "hang": Fault("deadline"),
    "drip": Fault("deadline"),
    "drop": Fault("model_unreachable"),
    "503": Fault("model_error"),
    "429": Fault("model_rate_limited"),
    "401": Fault("model_rejected_request"),
    "garbage": Fault("output_unusable", 2),
    "html": Fault("output_unusable", 2),
    "empty": Fault("output_unusable", 2),
    "badschema": Fault("output_unusable", 2),
    "badtool": Fault("output_unusable", 2),
    "refuse": Fault("model_refused"),
    "length": Fault("output_cut_off"),
    "filter": Fault("content_filtered"),
    "othermodel": Fault(None),
    "obey": Fault("output_active_content", refused=True),
}


@dataclass
class Seen:
    """What a caller sees of one request."""

    status: int
    seconds: float
    primary: int
    backup: int
    body: dict = field(repr=False)
    retry_after: str | None = None


class Table:
    """One running service; each row is one request during one fault."""

    def __init__(self, url: str, key: str, models: tuple[str, str], breakers: dict) -> None:
        self.url, self.key, self.models, self.breakers = url, key, models, breakers

    def row(self, mode: str, subject: str, asked_before: bool = False) -> Seen:
        self.breakers.clear()
        if asked_before:
            assert self._ask(subject).json()["source"] == "model"
        HTTP.post(f"{self.models[0]}/faults", json={"mode": mode}).raise_for_status()
        before, started = [_calls(url) for url in self.models], time.monotonic()
        try:
            answer = self._ask(subject)
        finally:
            HTTP.post(f"{self.models[0]}/faults", json={"mode": "ok"}).raise_for_status()
        seconds = time.monotonic() - started
        primary, backup = (_calls(url) - earlier for url, earlier in zip(self.models, before, strict=True))
        return Seen(answer.status_code, seconds, primary, backup, answer.json(), answer.headers.get("retry-after"))

    def _ask(self, subject: str) -> httpx2.Response:
        request = CLEAR | {"subject": subject}
        return HTTP.post(f"{self.url}{PATH}", json=request, headers={"X-API-Key": self.key})


def _calls(url: str) -> int:
    return int(HTTP.get(f"{url}/calls").json()["calls"])


@pytest.fixture(scope="module")
def models():
    with (
        running(["dev.model", "--name", "stand-in-primary"], free_port()) as primary,
        running(["dev.model", "--name", "stand-in-backup"], free_port()) as backup,
    ):
        yield primary, backup


@contextmanager
def service(var, models, remote: bool, backup: bool, by_rules: bool):
    model = {"url": f"{models[0]}/v1", "name": "stand-in-primary-1", "deadline_s": DEADLINE_S, "attempt_s": ATTEMPT_S}
    second = {"backup_url": f"{models[1]}/v1", "backup_name": "stand-in-backup-1"} if backup else {}
    config = Settings(process={"profile": "development", "var_dir": var}, model=model | second)
    prepare(config, project_root())
    store = open_store(config, "api", SECRETS)
    key = issue_key(store.database, "caller", "acme", {"caller"})
    local = local_engine(config, SECRETS, AsyncExitStack())
    apart = create_inference_app(Engine(local.triage, lambda: "test"), "inference")
    with serving(apart) if remote else nullcontext("") as url:
        config = Settings(process={"profile": "development", "var_dir": var}, model={**model, "inference_url": url})
        thinks = engine(config, SECRETS, AsyncExitStack()) if remote else local
        without = {} if by_rules else {"by_rules": lambda _ticket: None}
        with serving(create_app(use_cases(store, config, SECRETS, thinks, **without), "test")) as base:
            yield Table(base, key, models, local.breakers)
    store.flags.shutdown()
    store.database.close_sync()


@pytest.fixture(scope="module", params=["local", "remote"])
def place(request):
    return request.param


@pytest.fixture(scope="module")
def complete(tmp_path_factory, models, place):
    with service(tmp_path_factory.mktemp("complete"), models, place == "remote", backup=True, by_rules=True) as table:
        yield table


@pytest.fixture(scope="module")
def alone(tmp_path_factory, models, place):
    with service(tmp_path_factory.mktemp("alone"), models, place == "remote", backup=False, by_rules=True) as table:
        yield table


@pytest.fixture(scope="module")
def bare(tmp_path_factory, models, place):
    with service(tmp_path_factory.mktemp("bare"), models, place == "remote", backup=False, by_rules=False) as table:
        yield table


def shown(place: str, setup: str, mode: str, seen: Seen) -> None:
    told = [seen.body.get(name) for name in ("source", "disposition", "reason")]
    source, disposition, reason = (str(value) if value else "-" for value in told)
    calls = f"{seen.primary}+{seen.backup}"
    print(f"{place:7}{setup:18}{mode:11}{seen.status:5} {source:7}{disposition:9}{reason:23}", end="")
    print(f"{seen.seconds:5.2f} s  {calls}")


def expect(seen: Seen, fault: Fault, source: str, backup_calls: int = 0) -> None:
    assert seen.status == 200, seen
    assert seen.body["source"] == ("model" if fault.reason is None else source)
    assert seen.body["degraded"] is (fault.reason is not None)
    assert seen.body["reason"] == fault.reason
    assert (seen.primary, seen.backup) == (fault.calls, backup_calls if fault.reason else 0)
    assert seen.seconds < DEADLINE_S


@pytest.mark.parametrize("mode", FAULTS)
def test_with_a_backup(complete, place, mode):
    fault, seen = FAULTS[mode], complete.row(mode, f"Backup {place} {mode}")
    shown(place, "with backup", mode, seen)
    expect(seen, fault, "rules" if fault.refused else "backup", backup_calls=0 if fault.refused else 1)


@pytest.mark.parametrize("mode", FAULTS)
def test_without_a_backup(alone, place, mode):
    seen = alone.row(mode, f"Alone {place} {mode}")
    shown(place, "no backup", mode, seen)
    expect(seen, FAULTS[mode], "rules")
    assert FAULTS[mode].reason is None or seen.body["disposition"] == "review"


@pytest.mark.parametrize("mode", FAULTS)
def test_without_a_backup_when_the_same_was_asked_before(alone, place, mode):
    seen = alone.row(mode, f"Again {place} {mode}", asked_before=True)
    shown(place, "asked before", mode, seen)
    expect(seen, FAULTS[mode], "rules" if FAULTS[mode].refused else "cache")
    assert FAULTS[mode].reason is None or seen.body["disposition"] == "review"


@pytest.mark.parametrize("mode", FAULTS)
def test_without_backup_and_rules(bare, place, mode):
    seen = bare.row(mode, f"Bare {place} {mode}")
    shown(place, "no backup, rules", mode, seen)
    if FAULTS[mode].reason is None:
        expect(seen, FAULTS[mode], "model")
        return
    assert (seen.status, seen.retry_after, seen.body["title"]) == (503, "5", "Unavailable")
    assert seen.primary == FAULTS[mode].calls
    assert seen.seconds < DEADLINE_S
