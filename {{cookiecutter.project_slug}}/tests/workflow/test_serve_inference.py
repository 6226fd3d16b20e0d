"""Thinking in processes of its own: the API asks two `svc serve-inference`, and one of them may die."""

import json
import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest

from tests.example import CLEAR, PATH, USE_CASE
from tests.workflow.conftest import Stack, eventually, running_stack
from tests.workflow.test_disconnect import SOON_S, hang_up

REQUESTS, AT_ONCE, KILL_AFTER = 200, 8, 60


@dataclass(frozen=True)
class Tier:
    """A whole service whose API thinks in two other processes."""

    stack: Stack

    @property
    def pids(self) -> dict[str, int]:
        return dict(json.loads((self.stack.var / "dev.json").read_text())["pids"])

    def spans(self, engine: int) -> str:
        file = self.stack.var / f"inference-{engine}" / "telemetry" / "inference-traces.jsonl"
        return file.read_text() if file.exists() else ""

    @property
    def api_said(self) -> str:
        return (self.stack.var / "log" / "api.log").read_text()


@pytest.fixture(scope="module")
def tier(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("tier"), INFERENCE="2") as stack:
        yield Tier(stack)


def test_the_answer_comes_from_the_other_process_in_one_trace(tier):
    answer = tier.stack.ask(CLEAR)
    assert (answer["source"], answer["degraded"], answer["disposition"]) == ("model", False, "auto")
    assert answer["usage"]["input_tokens"] > 0
    eventually(lambda: answer["trace_id"] in tier.spans(0))
    eventually(lambda: '"service.tenant"' in tier.spans(0))  # the first request may only ask for the release


def test_the_inference_process_has_no_database_and_wants_the_token(tier):
    printed = (tier.stack.var / "run.out").read_text()
    urls = [line.split()[1] for line in printed.splitlines() if line.startswith("  inference-")]
    assert len(urls) == 2
    for number, url in enumerate(urls):
        assert [path.name for path in (tier.stack.var / f"inference-{number}").iterdir()] == ["telemetry"]
        assert httpx2.post(f"{url}/v1/predict/{USE_CASE}", json={}).status_code == 401


def test_a_caller_who_hangs_up_is_noticed_behind_both_hops(tier):
    stack, key = tier.stack, str(uuid.uuid4())
    stack.fault("model", "hang")
    hang_up(stack, key)
    stack.fault("model", "ok")
    again = lambda: stack.post(PATH, json=CLEAR, headers={"Idempotency-Key": key})  # noqa: E731
    assert eventually(lambda: (answer := again()).status_code == 200 and answer, SOON_S).json()["source"] == "model"
    eventually(lambda: '"499"' in tier.spans(0), SOON_S)


def test_one_process_killed_under_load_fails_no_caller(tier):
    headers, first = {"X-API-Key": tier.stack.keys["caller"]}, tier.pids["inference-0"]
    killed = threading.Event()
    with httpx2.Client(base_url=tier.stack.base_url, headers=headers, timeout=30) as http:

        def ask(number: int) -> tuple[int, dict]:
            if number == KILL_AFTER:
                os.kill(first, signal.SIGKILL)
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
    assert "inference at 127.0.0.1" in tier.api_said  # somebody had to ask again
    assert "Traceback" not in tier.api_said
    eventually(lambda: tier.pids.get("inference-0", first) != first)  # and `svc run` starts it again
