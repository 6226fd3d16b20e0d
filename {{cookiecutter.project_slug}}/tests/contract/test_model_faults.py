"""Every fault an OpenAI-compatible endpoint can have, over real HTTP: an outcome or a reason, within the deadline."""

import asyncio
import time

import httpx2
import pytest
from opentelemetry.util.genai.handler import TelemetryHandler

from service.application.triage.contract import Ticket
from service.application.unusable import ModelUnusable
from service.cli.migrate import releases_from
from service.inference.gateway import Limits
from service.inference.models import ChatModel
from service.inference.triage import ModelTriager
from service.integration.database.migrate import project_root
from tests.processes import free_port, running

LIMITS = Limits(deadline_s=3.0, attempt_s=1.0, reserve_s=0.5)
TICKET = Ticket(subject="Charged twice", body="I was charged twice for my order 4711, please refund 20 EUR.")
RELEASE = releases_from(project_root() / "prompts")[0]

# fault -> (reason when there is no backup, upstream calls at the primary)
OUTAGES = {
    "hang": ("deadline", 1),
    "drip": ("deadline", 1),
    "drop": ("model_unreachable", 1),
    "503": ("model_error", 1),
    "429": ("model_rate_limited", 1),
    "401": ("model_rejected_request", 1),
    "garbage": ("output_unusable", 2),
    "html": ("output_unusable", 2),
    "empty": ("output_unusable", 2),
    "badschema": ("output_unusable", 2),
    "badtool": ("output_unusable", 2),
    "refuse": ("model_refused", 1),
    "length": ("output_cut_off", 1),
    "filter": ("content_filtered", 1),
}


@pytest.fixture(scope="module")
def primary():
    with running(["dev.model", "--name", "stand-in-primary-1"], free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def backup():
    with running(["dev.model", "--name", "stand-in-backup-1"], free_port()) as url:
        yield url


def triage(primary_url: str, backup_url: str | None = None, ticket: Ticket = TICKET):
    async def scenario():
        spans = TelemetryHandler(instrumentation_scope_name="test")
        async with httpx2.AsyncClient(timeout=10) as http:

            def model(url: str) -> ChatModel:
                return ChatModel(http, f"{url}/v1", "stand-in", lambda: "key", spans)

            triager = ModelTriager(model(primary_url), model(backup_url) if backup_url else None, LIMITS)
            return await triager.triage(ticket, RELEASE)

    return asyncio.run(scenario())


def fault(url: str, mode: str) -> None:
    httpx2.post(f"{url}/faults", json={"mode": mode}).raise_for_status()


def calls(url: str) -> int:
    return int(httpx2.get(f"{url}/calls").json()["calls"])


@pytest.fixture(autouse=True)
def healthy_again(primary):
    yield
    fault(primary, "ok")


def test_a_healthy_model_answers(primary):
    prediction = triage(primary)
    assert prediction.source == "model"
    assert prediction.outcome.category == "billing"
    assert prediction.usage.input_tokens > 0
    assert prediction.degraded is False


@pytest.mark.parametrize("mode", OUTAGES)
def test_without_a_backup_a_fault_has_a_reason_within_the_deadline(primary, mode):
    reason, expected_calls = OUTAGES[mode]
    fault(primary, mode)
    before, started = calls(primary), time.monotonic()
    with pytest.raises(ModelUnusable) as caught:
        triage(primary)
    assert caught.value.reason == reason
    assert time.monotonic() - started < LIMITS.deadline_s
    assert calls(primary) - before == expected_calls


@pytest.mark.parametrize("mode", OUTAGES)
def test_with_a_backup_a_fault_is_answered_degraded_in_at_most_three_calls(primary, backup, mode):
    reason, _ = OUTAGES[mode]
    fault(primary, mode)
    before, started = calls(primary) + calls(backup), time.monotonic()
    prediction = triage(primary, backup)
    assert (prediction.source, prediction.degraded, prediction.reason) == ("backup", True, reason)
    assert time.monotonic() - started < LIMITS.deadline_s
    assert calls(primary) + calls(backup) - before <= 3


def test_one_unusable_answer_is_repaired_by_the_same_model(primary):
    httpx2.post(f"{primary}/faults", json={"mode": "badschema", "for": 1}).raise_for_status()
    prediction = triage(primary)
    assert (prediction.source, prediction.degraded) == ("model", False)


def test_the_customers_reference_is_not_sent_to_the_model(primary):
    triage(primary, ticket=Ticket(subject="Hello", body="Where is it?", customer_ref="CUST-SECRET-77"))
    assert "Where is it?" in httpx2.get(f"{primary}/requests").text
    assert "CUST-SECRET-77" not in httpx2.get(f"{primary}/requests").text


def test_nobody_listening_is_unreachable():
    with pytest.raises(ModelUnusable, match="model_unreachable"):
        triage(f"http://127.0.0.1:{free_port()}")
