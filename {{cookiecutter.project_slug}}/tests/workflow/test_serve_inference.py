"""Thinking in processes of its own: `svc serve` asks two `svc serve-inference`, and one of them may die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import hvac
import pytest

from service.project import slug
from tests.example import CLEAR, PATH, USE_CASE
from tests.processes import free_port
from tests.workflow.conftest import ROOT, Stack, clean_environment, eventually
from tests.workflow.test_disconnect import SOON_S, hang_up

REQUESTS, AT_ONCE, KILL_AFTER = 200, 8, 60


@dataclass(frozen=True)
class Process:
    """One started `svc` command, its address and its own var directory."""

    pid: int
    url: str
    var: Path

    @property
    def said(self) -> str:
        return (self.var / "output").read_text()


def login(stack: Stack, var: Path) -> dict[str, str]:
    """A secret id for one process, as an operator would issue it."""
    root_token = json.loads((stack.var / "vault" / "root.json").read_text())["root_token"]
    address = json.loads((stack.var / "dev.json").read_text())["vault_addr"]
    vault = hvac.Client(url=address, token=root_token)
    wrapped = vault.auth.approle.generate_secret_id(slug(), wrap_ttl="120s")["wrap_info"]["token"]
    (var / "secret-id").write_text(wrapped)
    role_id = vault.auth.approle.read_role_id(slug())["data"]["role_id"]
    return {"VAULT_ADDR": address, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID_FILE": str(var / "secret-id")}


@contextmanager
def svc(command: str, stack: Stack, var: Path, **settings: str) -> Iterator[Process]:
    """`svc COMMAND` on a port of its own until the block ends; not waited for."""
    var.mkdir()
    port = free_port()
    environment = clean_environment(VAR_DIR=str(var), PORT=str(port), **login(stack, var), **settings)
    with open(var / "output", "wb") as output:
        argv = [sys.executable, "-m", "service", command]
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Process(process.pid, f"http://127.0.0.1:{port}", var)
    finally:
        process.kill()
        process.wait()


def wait_until_ready(*processes: Process) -> None:
    def ready(process: Process) -> bool:
        try:
            return httpx2.get(f"{process.url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    for process in processes:
        eventually(lambda process=process: ready(process), seconds=30)


@dataclass(frozen=True)
class Tier:
    """The stack as seen through an API process that thinks elsewhere."""

    stack: Stack
    api: Process
    engines: tuple[Process, Process]


@pytest.fixture(scope="module")
def tier(stack, tmp_path_factory):
    var = tmp_path_factory.mktemp("tier")
    models = {
        "MODEL_URL": f"{stack.model_url}/v1",
        "MODEL_NAME": "stand-in-primary",
        "BACKUP_MODEL_URL": f"{stack.backup_url}/v1",
        "BACKUP_MODEL_NAME": "stand-in-backup",
    }
    with ExitStack() as started:
        engines = [
            started.enter_context(svc("serve-inference", stack, var / f"engine-{number}", **models))
            for number in range(2)
        ]
        urls = ", ".join(engine.url for engine in engines)
        database = f"sqlite:///{stack.var / 'service.db'}"
        api = started.enter_context(svc("serve", stack, var / "api", INFERENCE_URL=urls, DATABASE_URL=database))
        wait_until_ready(api, *engines)
        yield Tier(replace(stack, base_url=api.url), api, (engines[0], engines[1]))


def test_the_answer_comes_from_the_other_process_in_one_trace(tier):
    answer = tier.stack.ask(CLEAR)
    assert (answer["source"], answer["degraded"], answer["disposition"]) == ("model", False, "auto")
    assert answer["usage"]["input_tokens"] > 0
    first = tier.engines[0].var / "telemetry" / "inference-traces.jsonl"
    eventually(lambda: first.exists() and answer["trace_id"] in first.read_text())


def test_the_inference_process_has_no_database_and_wants_the_token(tier):
    for engine in tier.engines:
        assert sorted(path.name for path in engine.var.iterdir()) == ["output", "secret-id", "telemetry"]
        assert httpx2.post(f"{engine.url}/v1/predict/{USE_CASE}", json={}).status_code == 401


def test_a_caller_who_hangs_up_is_noticed_behind_both_hops(tier):
    stack, key = tier.stack, str(uuid.uuid4())
    stack.fault("model", "hang")
    hang_up(stack, key)
    stack.fault("model", "ok")
    again = lambda: stack.post(PATH, json=CLEAR, headers={"Idempotency-Key": key})  # noqa: E731
    assert eventually(lambda: (answer := again()).status_code == 200 and answer, SOON_S).json()["source"] == "model"
    cancelled = tier.engines[0].var / "telemetry" / "inference-traces.jsonl"
    eventually(lambda: '"499"' in cancelled.read_text(), SOON_S)


def test_one_process_killed_under_load_fails_no_caller(tier):
    headers = {"X-API-Key": tier.stack.keys["caller"]}
    killed = threading.Event()
    with httpx2.Client(base_url=tier.stack.base_url, headers=headers, timeout=30) as http:

        def ask(number: int) -> tuple[int, dict]:
            if number == KILL_AFTER:
                os.kill(tier.engines[0].pid, signal.SIGKILL)
                killed.set()
            answer = http.post(PATH, json=CLEAR)
            return answer.status_code, answer.json()

        started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as callers:
            answers = list(callers.map(ask, range(REQUESTS)))
    assert killed.is_set()
    assert {(status, answer.get("source"), answer.get("degraded")) for status, answer in answers} == {
        (200, "model", False)
    }
    assert time.monotonic() - started < 30
    assert "inference at 127.0.0.1" in tier.api.said  # somebody had to ask again
    assert "Traceback" not in tier.api.said
