"""One customer message, from the request to the ticket downstream."""

import uuid

import pytest

from tests.example import CLEAR, CLEAR_BY_RULES, GRAVE, INJECTED, PATH, UNCLEAR, USE_CASE, Outcome, written
from tests.workflow.conftest import eventually


def effect_of(stack, decision_id):
    return stack.get(f"/v1/decisions/{decision_id}").json()["effect"]


def test_a_clear_message_becomes_a_ticket_downstream_exactly_once(stack):
    answer = stack.ask(CLEAR)
    assert answer["source"] == "model"
    assert answer["disposition"] == "auto"
    assert answer["degraded"] is False
    assert answer["model_version"].startswith("stand-in")
    Outcome.model_validate(answer["outcome"], strict=False)
    decision = answer["decision_id"]
    eventually(lambda: effect_of(stack, decision)["state"] == "done")
    [ticket] = [t for t in stack.tickets() if t["key"] == f"{USE_CASE}:{decision}"]
    assert ticket["times_seen"] == 1
    assert effect_of(stack, decision)["reference"] == ticket["reference"]
    assert ticket["body"].items() >= written(CLEAR, answer["outcome"]).items()


def test_decision_and_audit_row_are_in_the_database(stack):
    answer = stack.ask(CLEAR)
    [(release, prompt, model, source)] = stack.rows(
        "select release, prompt_version, model_version, source from decision where id = ?", answer["decision_id"]
    )
    assert (release, prompt, model, source) == (
        answer["release"],
        answer["prompt_version"],
        answer["model_version"],
        "model",
    )
    [(actor, action, trace_id)] = stack.rows(
        "select actor, action, trace_id from audit where object = ?", answer["decision_id"]
    )
    assert action == "decision.made"
    assert actor
    assert trace_id == answer["trace_id"]


def test_an_unclear_message_waits_for_a_person_and_writes_nothing(stack):
    answer = stack.ask(UNCLEAR)
    shown = stack.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert answer["disposition"] == "review"
    assert shown["review"]["state"] == "open"
    assert shown["effect"] == {"state": "none", "reference": None}


def test_a_grave_message_is_escalated_however_sure_the_model_is(stack):
    answer = stack.ask(GRAVE)
    assert answer["disposition"] == "escalate"


@pytest.mark.parametrize(
    ("mode", "reason"), [("503", "model_error"), ("garbage", "output_unusable"), ("refuse", "model_refused")]
)
def test_a_failing_primary_is_answered_by_the_backup_and_says_so(stack, mode, reason):
    stack.fault("model", mode)
    answer = stack.ask(CLEAR)
    assert (answer["source"], answer["degraded"], answer["reason"]) == ("backup", True, reason)


def test_with_both_models_down_the_rules_answer_and_a_person_looks(stack):
    stack.fault("model", "503")
    stack.fault("backup", "drop")
    answer = stack.ask(CLEAR | {"subject": "Asked for the first time"})
    assert (answer["source"], answer["degraded"], answer["reason"]) == ("rules", True, "model_error")
    assert answer["disposition"] == "review"
    assert answer["outcome"].items() >= CLEAR_BY_RULES.items()


def test_an_injected_instruction_that_the_model_obeys_does_not_reach_the_ticketing_system(stack):
    stack.fault("model", "obey")
    stack.fault("backup", "obey")
    answer = stack.ask(INJECTED)
    assert answer["disposition"] != "auto"
    assert stack.get(f"/v1/decisions/{answer['decision_id']}").json()["effect"]["state"] == "none"
    assert f"{USE_CASE}:{answer['decision_id']}" not in {ticket["key"] for ticket in stack.tickets()}


def test_the_same_idempotency_key_gets_the_same_answer_and_one_decision(stack):
    key = str(uuid.uuid4())
    ask = lambda request: stack.post(PATH, json=request, headers={"Idempotency-Key": key})  # noqa: E731
    first, again, other = ask(CLEAR), ask(CLEAR), ask(GRAVE)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert other.status_code == 422
    assert stack.rows("select count(*) from idempotency where key = ?", key) == [(1,)]


def test_a_downstream_outage_delays_the_ticket_but_loses_and_doubles_nothing(stack):
    eventually(lambda: stack.rows("select count(*) from effect where state != 'done'") == [(0,)])
    stack.fault("ticketing", "drop-after-write", times=1)
    decision = stack.ask(CLEAR)["decision_id"]
    eventually(lambda: effect_of(stack, decision)["state"] == "done", seconds=20)
    written = [t for t in stack.tickets() if t["key"] == f"{USE_CASE}:{decision}"]
    assert len(written) == 1
    assert written[0]["times_seen"] == 2
    [(attempts,)] = stack.rows("select attempts from effect where decision_id = ?", decision)
    assert attempts == 2


def test_another_tenant_cannot_see_the_decision(stack):
    decision = stack.ask(CLEAR)["decision_id"]
    assert stack.get(f"/v1/decisions/{decision}", key="other_tenant").status_code == 404
