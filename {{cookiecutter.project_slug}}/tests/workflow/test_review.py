"""People decide what the service would not: list, claim, verdict, and what follows downstream."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.example import CORRECTED, OUTSIDE_THE_CONTRACT, UNCLEAR, USE_CASE, Outcome, written
from tests.workflow.conftest import eventually


@pytest.fixture(scope="module")
def desk(stack):
    """The service as a tenant of its own sees it: no other test fills its queue, of which only the head is listed."""
    keys = {}
    for role in ("caller", "reviewer"):
        made = stack.svc("keys", "create", "--subject", f"desk-{role}", "--tenant", "desk", "--role", role, "--json")
        keys[role] = json.loads(made.stdout)["key"]
    return replace(stack, keys=keys)


@pytest.fixture
def review(desk):
    """An open review item: (review id, decision id)."""
    decision = desk.ask(UNCLEAR)["decision_id"]
    [item] = [r for r in desk.get("/v1/reviews?state=open", "reviewer").json() if r["decision_id"] == decision]
    return item["id"], decision


def verdict(desk, review_id, **body):
    return desk.post(f"/v1/reviews/{review_id}/verdict", key="reviewer", json=body)


def effect(desk, decision):
    return desk.get(f"/v1/decisions/{decision}").json()["effect"]


def ticket(desk, decision):
    return [t for t in desk.tickets() if t["key"] == f"{USE_CASE}:{decision}"]


def test_the_reviewer_sees_the_message_and_the_outcome(desk, review):
    [item] = [r for r in desk.get("/v1/reviews?state=open", "reviewer").json() if r["id"] == review[0]]
    assert item["request"].items() >= UNCLEAR.items()
    Outcome.model_validate(item["outcome"], strict=False)


def test_approve_sends_the_same_job(desk, review):
    review_id, decision = review
    assert desk.post(f"/v1/reviews/{review_id}/claim", key="reviewer").json()["state"] == "claimed"
    closed = verdict(desk, review_id, verdict="approve", note="fine")
    assert closed.status_code == 200, closed.text
    eventually(lambda: effect(desk, decision)["state"] == "done")
    assert len(ticket(desk, decision)) == 1
    shown = desk.get(f"/v1/decisions/{decision}").json()["review"]
    assert (shown["state"], shown["verdict"], shown["note"]) == ("closed", "approve", "fine")


def test_correct_writes_the_corrected_outcome(desk, review):
    review_id, decision = review
    assert verdict(desk, review_id, verdict="correct", outcome=CORRECTED, note="").status_code == 200
    eventually(lambda: effect(desk, decision)["state"] == "done")
    assert ticket(desk, decision)[0]["body"].items() >= written(UNCLEAR, CORRECTED).items()


def test_reject_writes_nothing(desk, review):
    review_id, decision = review
    assert verdict(desk, review_id, verdict="reject", note="spam").status_code == 200
    assert effect(desk, decision) == {"state": "none", "reference": None}
    assert ticket(desk, decision) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "reject"}, 422),
        ({"verdict": "correct", "note": "x"}, 422),
        ({"verdict": "approve", "outcome": CORRECTED}, 422),
        ({"verdict": "correct", "outcome": OUTSIDE_THE_CONTRACT}, 422),
        ({"verdict": "correct", "outcome": {**CORRECTED, "extra": 1}}, 422),
        ({"verdict": "perhaps"}, 422),
        ({}, 422),
    ],
)
def test_a_verdict_that_does_not_fit_is_refused_and_the_item_stays_open(desk, review, body, status):
    review_id, decision = review
    assert verdict(desk, review_id, **body).status_code == status
    assert desk.get(f"/v1/decisions/{decision}").json()["review"]["state"] == "open"


def test_a_closed_review_stays_closed(desk, review):
    review_id, _ = review
    assert verdict(desk, review_id, verdict="reject", note="n").status_code == 200
    assert verdict(desk, review_id, verdict="approve").status_code == 409
    assert desk.post(f"/v1/reviews/{review_id}/claim", key="reviewer").status_code == 409


def test_racing_verdicts_give_one_ticket(desk, review):
    review_id, decision = review
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: verdict(desk, review_id, verdict="approve").status_code, range(8)))
    assert sorted(answers) == [200] + [409] * 7
    eventually(lambda: effect(desk, decision)["state"] == "done")
    assert len(ticket(desk, decision)) == 1


def test_only_reviewers_of_the_tenant_review(desk, stack, review):
    review_id, _ = review
    assert desk.get("/v1/reviews", key="caller").status_code == 403
    assert desk.post(f"/v1/reviews/{review_id}/claim", key="caller").status_code == 403
    assert stack.post(f"/v1/reviews/{review_id}/claim", key="reviewer").status_code == 404
    assert desk.post("/v1/reviews/no-such-review/claim", key="reviewer").status_code == 404
