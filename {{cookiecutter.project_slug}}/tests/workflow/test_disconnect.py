"""A caller who hangs up stops the model call, frees the idempotency key, and is nobody's fault."""

import json
import time
import uuid

import httpx2
import pytest

from tests.example import CLEAR, PATH
from tests.workflow.conftest import eventually

HANGS_UP_S, SOON_S = 0.3, 3.0  # a model's time-out is 8 s


def calls(url: str) -> int:
    return int(httpx2.get(f"{url}/calls").json()["calls"])


def hang_up(stack, key: str) -> None:
    """Ask, and close the connection while the model is being asked."""
    before = calls(stack.model_url)
    headers = {"X-API-Key": stack.keys["caller"], "Idempotency-Key": key}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{stack.base_url}{PATH}", json=CLEAR, headers=headers, timeout=HANGS_UP_S)
    assert calls(stack.model_url) == before + 1


def spans(stack, status: int) -> list[dict]:
    """What the API wrote of requests that ended with this status."""
    found = []
    for line in (stack.var / "telemetry" / "api-traces.jsonl").read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    attributes = {a["key"]: a["value"] for a in span.get("attributes", [])}
                    if attributes.get("http.response.status_code") in ({"intValue": status}, {"intValue": str(status)}):
                        found.append(span)
    return found


@pytest.fixture
def hanging_models(stack):
    stack.fault("model", "hang")
    stack.fault("backup", "hang")


@pytest.fixture
def key():
    return str(uuid.uuid4())


@pytest.mark.usefixtures("hanging_models")
def test_the_key_can_be_used_again_at_once_and_the_backup_was_never_asked(stack, key):
    before, started = calls(stack.backup_url), time.monotonic()
    hang_up(stack, key)
    stack.fault("model", "ok")
    again = lambda: stack.post(PATH, json=CLEAR, headers={"Idempotency-Key": key})  # noqa: E731
    answered = eventually(lambda: (answer := again()).status_code == 200 and answer, SOON_S)
    assert time.monotonic() - started < SOON_S
    assert answered.json()["source"] == "model"
    assert calls(stack.backup_url) == before
    assert stack.rows("select count(*) from idempotency where key = ?", key) == [(1,)]


@pytest.mark.usefixtures("hanging_models")
def test_it_is_no_error_in_the_log_and_a_499_in_the_trace(stack, key):
    log = stack.var / "log" / "api.log"
    said, seen, failed = log.stat().st_size, len(spans(stack, 499)), len(spans(stack, 500))
    hang_up(stack, key)
    [span] = eventually(lambda: spans(stack, 499)[seen:], SOON_S)
    assert span["name"] == f"POST {PATH}"
    assert span.get("status", {}).get("code", 0) == 0
    lines = [json.loads(line) for line in log.read_bytes()[said:].decode().splitlines()]
    assert [line for line in lines if line["level"] in ("error", "critical") or "exception" in line] == []
    assert spans(stack, 500)[failed:] == []
