"""A model that is wholly in an attacker's hands gets nothing past the contract and the guard. And what still passes."""

import json
from collections import Counter, defaultdict
from typing import Any

import pytest

from service.application.triage.contract import Category, Priority, Ticket, TriageOutcome
from service.inference.guards import Refused
from service.inference.triage_guard import guard
from tests.unit import hostile_outputs as attacks

CONTRACT = "contract"
CANARY = "7d0f3a9be1c24586d9ab0e37"
# The reasons that answer each group. A hidden or linked detail may be refused for either.
EXPECTED = {
    "contract": {CONTRACT},
    "quotes": {"output_ungrounded"},
    "links": {"output_active_content", "output_invisible_text"},
    "canary": {"output_canary"},
    "hidden": {"output_invisible_text"},
    "details": {"output_foreign_detail", "output_invisible_text"},
}


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers of JSON differ in which of two equal keys counts, so neither does."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def parse(text: str) -> TriageOutcome:
    outcome = TriageOutcome.model_validate_json(text)
    json.loads(text, object_pairs_hook=unique)
    return outcome


def verdict(ticket: Ticket, text: str, canary: str = CANARY) -> str:
    """Why the answer is refused; empty when it passes."""
    try:
        guard(ticket, parse(text), canary)
    except Refused as refused:
        return refused.reason
    except ValueError:
        return CONTRACT
    return ""


def test_of_tens_of_thousands_of_hostile_answers_none_passes():
    group_of = {kind: group for group, kinds in attacks.GROUPS.items() for kind in kinds}
    texts: set[str] = set()
    reasons: Counter[str] = Counter()
    odd: dict[str, set[str]] = defaultdict(set)
    for hostile in attacks.hostile_outputs():
        reason = verdict(hostile.ticket, hostile.text, hostile.canary)
        texts.add(hostile.text)
        reasons[reason] += 1
        if reason not in EXPECTED[group_of[hostile.kind]]:
            odd[hostile.kind].add(reason or f"passed: {hostile.text}")
    print(f"\n{reasons.total()} hostile answers of {len(group_of)} kinds, {len(texts)} distinct: {dict(reasons)}")
    assert reasons[""] == 0, {kind: why for kind, why in odd.items() if any(w.startswith("passed") for w in why)}
    assert not odd, "refused, but for a reason that has nothing to do with the attack"
    assert reasons.total() >= 25_000
    assert len(texts) >= 15_000


def test_the_good_answers_that_they_were_made_from_pass():
    assert {verdict(ticket, json.dumps(good)) for ticket, good in attacks.tickets(20, 240)} == {""}


def test_the_attacks_are_the_same_every_time():
    assert list(attacks.hostile_outputs(1, 2)) == list(attacks.hostile_outputs(1, 2))


TICKET = Ticket(
    subject="Charged twice", body="I was charged $40.00 twice on Monday. This is not urgent. My order is AB-4711."
)
GOOD = {
    "category": Category.BILLING,
    "priority": Priority.NORMAL,
    "entities": [{"type": "order", "value": "AB-4711"}],
    "draft_reply": "Thank you for your message.",
    "evidence": ["I was charged $40.00 twice"],
    "confidence": 0.8,
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"category": "product", "priority": "low", "confidence": 1.0}, id="a well-formed lie"),
        pytest.param({"evidence": ["urgent"], "priority": "urgent"}, id="a true quote torn from its context"),
        pytest.param({"entities": [{"type": "amount_refunded", "value": "$40.00"}]}, id="a true value, wrongly named"),
        pytest.param({"draft_reply": "We will refund everything and pay for your trouble."}, id="a promise in words"),
        pytest.param({"draft_reply": "Your refund of $40.00 arrives on Monday."}, id="a promise in their figures"),
        pytest.param({"draft_reply": "You will have it tomorrow at noon."}, id="a date without figures"),
        pytest.param({"draft_reply": "Please send us your password."}, id="a request for a secret"),
        pytest.param({"draft_reply": "Search for our refund page and log in."}, id="a way to a link, described"),
        pytest.param({"draft_reply": "Visit evil,com"}, id="a host that no program would link"),
        pytest.param({"draft_reply": "Thank you.It is done."}, id="a host that looks like a missing space"),
        pytest.param({"draft_reply": "We owe you a grand, or húsz."}, id="an amount in unusual words"),
        pytest.param({"draft_reply": "The capital of France is Paris."}, id="an answer to a foreign question"),
        pytest.param({"draft_reply": "You are a fool."}, id="an insult"),
    ],
)
def test_the_honest_residual_passes(change):
    """Not the guard's business: thresholds, evaluations and a person's look are for these."""
    assert verdict(TICKET, json.dumps(GOOD | change)) == ""
