"""Switches thrown from outside take effect on the running service within a second."""

import time

import pytest

from tests.example import AUTO_FLAG, CLEAR
from tests.workflow.conftest import eventually


def throw(stack, flag, variant):
    thrown = stack.svc("flags", "set", flag, variant, "--reason", "a test")
    assert thrown.returncode == 0, thrown.stderr


@pytest.fixture
def all_on(stack):
    yield
    for flag in ("ai.enabled", AUTO_FLAG):
        throw(stack, flag, "on")
    eventually(lambda: stack.ask(CLEAR)["disposition"] == "auto")


def test_ai_off_reaches_the_running_service_within_a_second(stack, all_on):
    assert stack.ask(CLEAR)["source"] == "model"
    throw(stack, "ai.enabled", "off")
    thrown_at = time.monotonic()
    answer = eventually(lambda: (a := stack.ask(CLEAR))["source"] == "rules" and a, seconds=1.0)
    assert time.monotonic() - thrown_at < 1.0
    assert (answer["reason"], answer["degraded"], answer["disposition"]) == ("ai_off", False, "review")


def test_ai_off_asks_no_model(stack, all_on):
    throw(stack, "ai.enabled", "off")
    eventually(lambda: stack.ask(CLEAR)["source"] == "rules", seconds=1.0)
    stack.fault("model", "ok")
    asked = stack_calls(stack)
    stack.ask(CLEAR)
    assert stack_calls(stack) == asked


def test_the_kill_file_turns_ai_off_without_the_database(stack):
    kill_file = stack.var / "AI_OFF"
    kill_file.touch()
    try:
        eventually(lambda: stack.ask(CLEAR)["reason"] == "ai_off", seconds=1.0)
    finally:
        kill_file.unlink()
    eventually(lambda: stack.ask(CLEAR)["source"] == "model", seconds=1.0)


def test_a_flip_is_on_record_with_who_and_why(stack):
    throw(stack, AUTO_FLAG, "on")
    history = stack.svc("flags", "history", "--json")
    assert history.returncode == 0, history.stderr
    assert '"a test"' in history.stdout
    assert stack.rows("select count(*) from audit where action = 'flag.set'")[0][0] >= 1


@pytest.mark.parametrize(
    ("arguments", "key", "code"),
    [
        (["flags", "set", "ai.enabled", "off"], "operator", 2),
        (["flags", "set", "ai.enabled", "off", "--reason", " "], "operator", 2),
        (["flags", "set", "no.such.flag", "off", "--reason", "r"], "operator", 2),
        (["flags", "set", "ai.enabled", "maybe", "--reason", "r"], "operator", 2),
        (["flags", "set", "ai.enabled", "off", "--reason", "r"], "caller", 2),
    ],
)
def test_a_wrong_flip_is_refused_and_changes_nothing(stack, arguments, key, code):
    before = stack.rows("select max(rev) from flag_revision")
    refused = stack.svc(*arguments, key=key)
    assert refused.returncode == code, refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.rows("select max(rev) from flag_revision") == before


def stack_calls(stack) -> int:
    import httpx2

    return int(httpx2.get(f"{stack.model_url}/calls").json()["calls"])
