"""After an outage: what waits for people only because the models were down is asked again, and nothing else is."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from service.application.errors import Invalid
from service.cli import decisions
from tests.example import CLEAR, GRAVE, TEXT, UNCLEAR, USE_CASE
from tests.workflow.conftest import ROOT, clean_environment, eventually

MANY, HELD = 30, 3


class Outage:
    """Messages answered while both models were down: `ids` in the order they came, `window` around just them."""

    def __init__(self, stack, messages):
        self.stack, self.since = stack, datetime.now(UTC)
        for part in ("model", "backup"):
            stack.fault(part, "503")
        # Unlike any other message, so that no earlier answer is found for it.
        answers = [
            stack.ask({**m, TEXT: f"{m[TEXT]} Sent as number {n} at {self.since}."}) for n, m in enumerate(messages)
        ]
        self.until = datetime.now(UTC)
        assert {(a["source"], a["degraded"]) for a in answers} == {("rules", True)}
        assert "auto" not in {a["disposition"] for a in answers}
        self.ids = [a["decision_id"] for a in answers]
        self.window = ("--since", self.since.isoformat(), "--until", self.until.isoformat())

    def ends(self):
        for part in ("model", "backup"):
            self.stack.fault(part, "ok")
        eventually(lambda: self.stack.ask(CLEAR)["source"] == "model")  # the breaker has found its way back

    def redrive(self, *more):
        return self.stack.svc("decisions", "redrive", *self.window, "--rate", "50", *more)

    def shown(self, decision):
        return self.stack.get(f"/v1/decisions/{decision}").json()

    def review_ids(self):
        found = self.stack.rows("select decision_id, id from review_item")
        return {decision: id_ for decision, id_ in found if decision in self.ids}


@pytest.fixture
def outage(stack):
    """A few clear messages, answered by rules; the models are still down."""
    return Outage(stack, [CLEAR] * 6)


def claim(stack, review):
    answer = stack.post(f"/v1/reviews/{review}/claim", key="reviewer")
    assert answer.status_code == 200, answer.text


def reject(stack, review):
    answer = stack.post(f"/v1/reviews/{review}/verdict", key="reviewer", json={"verdict": "reject", "note": "spam"})
    assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Aftermath:
    """A long outage, redriven: what `svc` told, what people had touched before, what came in place of the rest."""

    outage: Outage
    touched: dict[str, Any]
    counted: str
    told: dict[str, Any]
    new: dict[str, str]


@pytest.fixture(scope="module")
def aftermath(stack):
    outage = Outage(stack, [CLEAR] * (MANY - 8) + [UNCLEAR] * 5 + [GRAVE] * 3)
    reviews = outage.review_ids()
    for decision in outage.ids[:HELD]:
        claim(stack, reviews[decision])
    reject(stack, reviews[outage.ids[HELD]])
    touched = {decision: outage.shown(decision) for decision in outage.ids[: HELD + 1]}
    outage.ends()
    counted, done = outage.redrive("--dry-run"), outage.redrive("--json")
    assert (counted.returncode, done.returncode) == (0, 0), counted.stderr + done.stderr
    new = {old: outage.shown(old)["superseded_by"] for old in outage.ids[HELD + 1 :]}
    return Aftermath(outage, touched, counted.stdout, json.loads(done.stdout), new)


def test_everything_nobody_touched_is_answered_and_the_queue_is_shorter_by_what_passed(aftermath):
    told, left = aftermath.told, MANY - HELD - 1
    assert f"candidates: {left}" in aftermath.counted
    assert (told["before"]["candidates"], told["after"]["candidates"]) == (left, 0)
    assert (told["auto"], told["review"], told["escalate"]) == (left - 8, 5, 3)
    assert (told["taken"], told["unchanged"]) == (0, 0)
    before, after = told["before"]["queue"], told["after"]["queue"]
    assert sum(before.values()) - sum(after.values()) == told["auto"]
    assert before["held"] == after["held"] >= HELD


def test_what_people_have_decided_or_hold_is_as_it_was(aftermath):
    assert {decision: aftermath.outage.shown(decision) for decision in aftermath.touched} == aftermath.touched


def test_the_new_decision_takes_the_old_ones_place(stack, aftermath):
    opened = dict(stack.rows("select decision_id, opened_at from review_item"))
    for old, new in aftermath.new.items():
        was, now = aftermath.outage.shown(old), aftermath.outage.shown(new)
        assert (was["review"]["state"], was["review"]["verdict"], was["effect"]["state"]) == (
            "superseded",
            None,
            "none",
        )
        assert (now["source"], now["degraded"], now["supersedes"]) == ("model", False, old)
        assert now["disposition"] == "auto" or opened[new] == opened[old]
    redriven = stack.rows("select object from audit where action = 'decision.redriven'")
    assert {object_ for (object_,) in redriven} >= set(aftermath.new)


def test_each_ticket_is_written_once_and_none_for_what_was_replaced(stack, aftermath):
    outage = aftermath.outage
    passed = [new for new in aftermath.new.values() if outage.shown(new)["disposition"] == "auto"]
    assert len(passed) == aftermath.told["auto"]
    eventually(lambda: all(outage.shown(new)["effect"]["state"] == "done" for new in passed))
    seen = {ticket["key"]: ticket["times_seen"] for ticket in stack.tickets()}
    assert [seen.get(f"{USE_CASE}:{new}") for new in passed] == [1] * len(passed)
    assert not {f"{USE_CASE}:{old}" for old in outage.ids} & seen.keys()


def test_a_second_redrive_finds_nothing(aftermath):
    again = aftermath.outage.redrive()
    assert (again.returncode, "candidates: 0" in again.stdout) == (0, True)


def test_what_a_model_answered_meanwhile_can_be_neither_claimed_nor_decided(stack, outage):
    review = outage.review_ids()[outage.ids[0]]
    outage.ends()
    done = outage.redrive()
    assert done.returncode == 0, done.stderr
    assert "auto" in done.stdout
    taken = stack.post(f"/v1/reviews/{review}/claim", key="reviewer")
    body = {"verdict": "approve", "note": ""}
    decided = stack.post(f"/v1/reviews/{review}/verdict", key="reviewer", json=body)
    assert (taken.status_code, decided.status_code) == (409, 409)
    assert "newer" in decided.json()["detail"]
    listed = {
        state: stack.get(f"/v1/reviews?limit=500&state={state}", "reviewer").json()
        for state in ("superseded", "closed", "open")
    }
    assert [review in {item["id"] for item in items} for items in listed.values()] == [True, False, False]


def test_while_the_model_still_fails_it_stops_early_and_changes_nothing(stack, outage):
    stopped = outage.redrive()
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert re.search(r"svc: the model (still fails \(\w+\)|failed a short while ago)", stopped.stderr)
    assert f"svc decisions redrive --since {outage.since.isoformat()}" in stopped.stderr
    assert "--rate 50" in stopped.stderr
    assert {outage.shown(decision)["review"]["state"] for decision in outage.ids} == {"open"}


def test_switched_off_it_asks_nobody_and_says_why(stack, outage):
    kill_file = stack.var / "AI_OFF"
    kill_file.touch()
    try:
        eventually(lambda: stack.ask(CLEAR)["reason"] == "ai_off", seconds=2.0)
        left = outage.redrive()
    finally:
        kill_file.unlink()
    assert left.returncode == 1
    assert "6 wait on: the AI is off" in left.stderr
    assert {outage.shown(decision)["review"]["state"] for decision in outage.ids} == {"open"}
    outage.ends()


def test_two_redrives_at_once_answer_everything_once(stack, outage):
    outage.ends()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: outage.redrive("--json"), range(2)))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert sum(json.loads(done.stdout)["auto"] for done in both) == len(outage.ids)
    new = [outage.shown(old)["superseded_by"] for old in outage.ids]
    eventually(lambda: all(outage.shown(id_)["effect"]["state"] == "done" for id_ in new))
    tickets = [ticket for ticket in stack.tickets() if ticket["key"] in {f"{USE_CASE}:{id_}" for id_ in new}]
    assert sorted(ticket["times_seen"] for ticket in tickets) == [1] * len(outage.ids)


def test_it_keeps_to_the_rate_and_interrupted_it_says_how_to_go_on(stack, outage):
    outage.ends()
    command = [sys.executable, "-m", "service", "decisions", "redrive", *outage.window, "--rate", "2"]
    environment = clean_environment(VAR_DIR=str(stack.var))
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a background job would not hear it
    slow = subprocess.Popen(
        command, cwd=ROOT, env=environment, preexec_fn=heed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    states = lambda: [outage.shown(decision)["review"]["state"] for decision in outage.ids]  # noqa: E731
    eventually(lambda: states().count("superseded") >= 2)
    os.kill(slow.pid, signal.SIGINT)
    _, told = slow.communicate(timeout=20)
    assert slow.returncode == 1, told
    assert "nothing is lost; to go on: svc decisions redrive --since" in told
    assert 2 <= states().count("superseded") <= 4
    assert outage.redrive().returncode == 0
    assert states() == ["superseded"] * len(outage.ids)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--since", "yesterday"], "operator"),
        (["--since", "99999999h"], "operator"),
        (["--since", "4h", "--until", "5h"], "operator"),
        (["--since", "4h", "--source", "model"], "operator"),
        (["--since", "4h", "--rate", "0"], "operator"),
        ([], "operator"),
        (["--since", "4h"], "reviewer"),
        (["--since", "4h", "--url", "ftp://nowhere"], "operator"),
        (["--since", "4h", "--url", "http://nowhere:port"], "operator"),
        (["--since", "4h", "--url", "http://127.0.0.1:1"], None),  # the key of `svc run` goes nowhere else
    ],
)
def test_wrong_use_is_refused(stack, monkeypatch, arguments, key):
    for name, value in {"VAR_DIR": str(stack.var), "SVC_API_KEY": stack.keys[key] if key else ""}.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(decisions.app, ["redrive", *arguments])
    assert refused.exit_code == 2 or isinstance(refused.exception, Invalid)
    assert refused.stdout == ""


def test_an_unreachable_service_is_one_clear_line(stack):
    refused = stack.svc("decisions", "redrive", "--since", "4h", "--url", "http://127.0.0.1:1")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr == "svc: no usable answer from the service at http://127.0.0.1:1 (ConnectError)\n"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "2026-11-22T10:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"since": "2026-11-22T10:00:00Z", "limit": 51},
        {"since": "2026-11-22T10:00:00Z", "limit": 0},
        {"since": "2026-11-22T10:00:00Z", "source": "backup"},
        {"since": "2026-11-22T10:00:00Z", "until": "2026-11-22T10:00:00Z"},
        {"since": "2026-11-22T10:00:00Z", "after": "x"},
        {"since": "2026-11-22T10:00:00Z", "after": "1~2026-13-22T10:00:00+00:00~" + "a" * 36},
        {"since": "2026-11-22T10:00:00Z", "after": "1~2026-11-22T10:00:00+00:00~" + "\0" * 36},
        {"since": "2026-11-22T10:00:00Z", "tenant": "demo"},
    ],
)
def test_an_order_that_does_not_fit_is_refused(stack, body):
    assert stack.post("/v1/redrive", key="operator", json=body).status_code == 422


def test_only_operators_redrive(stack):
    body = {"since": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    for key in ("caller", "reviewer", "auditor", "other_tenant"):
        assert stack.post("/v1/redrive", key=key, json=body).status_code == 403
    started = time.monotonic()
    answer = stack.post("/v1/redrive", key="operator", json=body).json()
    assert (answer["redriven"], answer["stopped"], answer["next"]) == (0, None, None)
    assert time.monotonic() - started < 2
