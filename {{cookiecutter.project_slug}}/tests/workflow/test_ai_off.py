"""Every way in which the AI can be off, and everything that must go on without it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.example import AI_FLAG, CLEAR, CLEAR_BY_RULES, PATH, RELEASE_FLAG
from tests.workflow.conftest import Stack, eventually, running_stack

WHY = {"reason": "a test"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A service of its own, in which the AI is off most of the time."""
    with running_stack(tmp_path_factory.mktemp("off")) as stack:
        yield stack


@contextmanager
def flag(stack: Stack, name: str, variant: str, **audience: object) -> Iterator[None]:
    """Set through the API, and reverted through it."""
    body = {"variant": variant, **({"audience": audience["audience"]} if audience else {}), **WHY}
    made = stack.put(f"/v1/flags/{name}", "operator", json=body)
    assert made.status_code == 200, made.text
    yield
    revert(stack, made.json()["revision"] - 1)


def revert(stack: Stack, revision: int) -> None:
    made = stack.post("/v1/flags/revert", "operator", json={"revision": revision, **WHY})
    assert made.status_code == 200, made.text


@contextmanager
def kill_file(stack: Stack) -> Iterator[None]:
    (stack.var / "AI_OFF").touch()
    yield
    (stack.var / "AI_OFF").unlink()


@contextmanager
def no_release(stack: Stack) -> Iterator[None]:
    """Back to the very first revision, in which no release was chosen yet."""
    before = stack.get("/v1/flags", "operator").json()["revision"]
    revert(stack, 1)
    yield
    revert(stack, before)


# way -> (how, the reason that answers give)
WAYS = {
    "for everybody": (lambda stack: flag(stack, "ai.enabled", "off"), "ai_off"),
    "for this use case": (lambda stack: flag(stack, AI_FLAG, "off"), "ai_off"),
    "for all but internal tenants": (lambda stack: flag(stack, AI_FLAG, "on", audience={}), "ai_off"),
    "for all but a beta tenant": (lambda stack: flag(stack, AI_FLAG, "on", audience={"beta": ["another"]}), "ai_off"),
    "for this share of customers": (lambda stack: flag(stack, AI_FLAG, "on", audience={"percent": 0}), "ai_off"),
    "by the kill file": (kill_file, "ai_off"),
    "without a release": (no_release, "no_release"),
}


def calls(stack: Stack) -> int:
    urls = (stack.model_url, stack.backup_url)
    return sum(int(httpx2.get(f"{url}/calls").json()["calls"]) for url in urls)


@pytest.mark.parametrize("way", WAYS)
def test_with_the_ai_off_rules_answer_people_decide_and_writes_go_out(stack, way):
    eventually(lambda: stack.ask(CLEAR)["source"] == "model")
    how, reason = WAYS[way]
    with how(stack):
        eventually(lambda: stack.ask(CLEAR)["reason"] == reason, seconds=1.0)
        before, key = calls(stack), {"Idempotency-Key": str(uuid.uuid4())}
        answer = stack.post(PATH, json=CLEAR, headers=key).json()
        told = (answer["source"], answer["reason"], answer["degraded"], answer["disposition"])
        assert told == ("rules", reason, reason != "ai_off", "review")
        assert answer["outcome"] | CLEAR_BY_RULES == answer["outcome"]
        assert stack.post(PATH, json=CLEAR, headers=key).json() == answer
        review = stack.get(f"/v1/decisions/{answer['decision_id']}").json()["review"]
        stack.post(f"/v1/reviews/{review['id']}/verdict", "reviewer", json={"verdict": "approve"}).raise_for_status()
        state = lambda: stack.get(f"/v1/decisions/{answer['decision_id']}").json()["effect"]["state"]  # noqa: E731
        eventually(lambda: state() == "done", seconds=15)
        assert calls(stack) == before, "a model was asked"
    eventually(lambda: stack.ask(CLEAR)["source"] == "model")


def test_asking_again_after_an_outage_stops_when_the_ai_is_off(stack):
    stack.fault("model", "503")
    stack.fault("backup", "503")
    waiting = stack.ask({**CLEAR, "subject": "During an outage"})["decision_id"]
    stack.fault("model", "ok")
    stack.fault("backup", "ok")
    with flag(stack, "ai.enabled", "off"):
        before = calls(stack)
        redriven = stack.svc("decisions", "redrive", "--since", "5m")
        assert "ai_off" in redriven.stdout + redriven.stderr
        assert calls(stack) == before
        assert stack.get(f"/v1/decisions/{waiting}").json()["superseded_by"] is None


def test_writes_held_by_the_switch_all_go_out_when_it_is_on_again_and_none_meanwhile(stack):
    """400 queued writes, switched off in the midst of it."""
    mine = [stack.ask(CLEAR)["decision_id"] for _ in range(400)]
    told = stack.done("flags", "set", "effects.enabled", "off", "--reason", "a test")
    assert "in effect in 2 running processes" in told
    mine += [stack.ask(CLEAR)["decision_id"] for _ in range(10)]

    def states() -> list[str]:
        found = dict(stack.rows("select decision_id, state from effect"))
        return [found[decision] for decision in mine]

    eventually(lambda: set(states()) <= {"held", "done"}, seconds=30)
    written, held = len(stack.tickets()), states().count("held")
    assert held > 100, "nearly all were written before the switch: make them more"
    time.sleep(3)  # longer than the sweep takes to come by
    assert (len(stack.tickets()), states().count("held")) == (written, held)
    assert "in effect in 2" in stack.done("flags", "set", "effects.enabled", "on", "--reason", "a test")
    eventually(lambda: set(states()) == {"done"}, seconds=60)
    seen = {ticket["body"]["decision_id"]: ticket["times_seen"] for ticket in stack.tickets()}
    assert [seen[decision] for decision in mine] == [1] * 410
    print(f"\n410 writes: {held} held, none of them written while the switch was off; then all, each seen once", end="")


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        ("ai.enabled", {"variant": "off", **WHY}, "caller", 403),
        ("ai.enabled", {"variant": "off", **WHY}, "reviewer", 403),
        ("ai.enabled", {"variant": "off", **WHY}, "auditor", 403),
        ("ai.enabled", {"variant": "off"}, "operator", 422),
        ("ai.enabled", {"variant": "off", "reason": " "}, "operator", 422),
        ("ai.enabled", {"variant": "MARKER", **WHY}, "operator", 422),
        ("MARKER", {"variant": "off", **WHY}, "operator", 422),
        ("ai.enabled", {"variant": "off", "audience": {"percent": 5}, **WHY}, "operator", 422),
        (AI_FLAG, {"variant": "on", "audience": {"percent": 101}, **WHY}, "operator", 422),
        (AI_FLAG, {"variant": "on", "audience": {"beta": ["\x00"]}, **WHY}, "operator", 422),
        (RELEASE_FLAG, {"variant": "none", **WHY}, "operator", 422),
    ],
)
def test_a_flip_that_must_not_be_is_refused_and_changes_nothing(stack, path, body, key, status):
    before = stack.rows("select max(rev) from flag_revision")
    answer = stack.put(f"/v1/flags/{path}", key, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "MARKER" not in answer.text
    assert stack.rows("select max(rev) from flag_revision") == before


def test_an_auditor_sees_what_is_on_who_changed_it_and_who_goes_by_it(stack):
    board = stack.get("/v1/flags", "auditor").json()
    assert {flag["name"]: flag["gives"] for flag in board["flags"]}["ai.enabled"] == "on for everybody"
    assert {process["kind"]: process["flag_rev"] for process in board["processes"]} == {
        "api": board["revision"],
        "worker": board["revision"],
    }
    newest = stack.get("/v1/flags/history?limit=1", "auditor").json()[0]
    assert (newest["rev"], newest["actor"], newest["reason"]) == (board["revision"], "dev-operator", "a test")
    assert stack.get("/v1/flags", "caller").status_code == 403
    assert stack.post("/v1/flags/revert", "operator", json={"revision": 10**9, **WHY}).status_code == 404
