"""What may enter as a ticket and as a model's answer, and what may not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.application.triage.contract import Ticket, TriageOutcome

GOOD = {
    "category": "billing",
    "priority": "normal",
    "entities": [{"type": "amount", "value": "29.00 EUR"}],
    "draft_reply": "We are looking into it.",
    "evidence": ["charged twice"],
    "confidence": 0.8,
}


def refused(**changes):
    with pytest.raises(ValidationError) as caught:
        TriageOutcome.model_validate_json(json.dumps(GOOD | changes))
    return [".".join(map(str, error["loc"])) for error in caught.value.errors()]


def test_a_good_answer_survives_the_round_trip():
    outcome = TriageOutcome.model_validate_json(json.dumps(GOOD))
    assert outcome.model_dump(mode="json") == GOOD


@pytest.mark.parametrize("field", GOOD)
def test_no_field_may_be_missing(field):
    with pytest.raises(ValidationError, match=field):
        TriageOutcome.model_validate({name: value for name, value in GOOD.items() if name != field})


def test_unknown_fields_are_refused_at_every_depth():
    assert refused(mood="sunny") == ["mood"]
    assert refused(entities=[{"type": "a", "value": "b", "score": 1}]) == ["entities.0.score"]
    with pytest.raises(ValidationError, match="extra"):
        Ticket.model_validate({"subject": "", "body": "x", "priority": "urgent"})


@pytest.mark.parametrize("confidence", [float("nan"), float("inf"), -0.01, 1.01, "very", None])
def test_confidence_is_a_number_from_0_to_1(confidence):
    assert refused(confidence=confidence) == ["confidence"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("category", "banana"),
        ("priority", "URGENT"),
        ("evidence", [""]),
        ("evidence", ["q" * 501]),
        ("evidence", ["q"] * 11),
        ("entities", [{"type": "a", "value": "b"}] * 21),
        ("draft_reply", "r" * 4001),
    ],
)
def test_values_outside_the_contract_are_refused(field, value):
    assert refused(**{field: value})[0].startswith(field)


@pytest.mark.parametrize("body", ["", "   \n\t", "b" * 8001])
def test_a_body_is_neither_blank_nor_endless(body):
    with pytest.raises(ValidationError, match="body"):
        Ticket(subject="", body=body)


def test_the_longest_ticket_is_accepted():
    Ticket(subject="s" * 200, body="b" * 8000, channel="c" * 50, customer_ref="r" * 100)


def test_a_ticket_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Ticket(subject="", body="x").body = "y"


# What Postgres (NUL) and UTF-8 (lone surrogates) cannot hold.
unstorable = st.sampled_from(["\x00"]) | st.characters(categories=["Cs"])


@given(before=st.text(max_size=20), bad=unstorable, after=st.text(max_size=20))
@settings(deadline=None)
@pytest.mark.parametrize("field", ["subject", "body", "channel", "customer_ref"])
def test_no_text_of_a_ticket_holds_nul_or_a_lone_surrogate(field, before, bad, after):
    with pytest.raises(ValidationError):
        Ticket(**({"subject": "", "body": "x"} | {field: f"{before}{bad}{after}"}))


@given(bad=unstorable)
@settings(deadline=None)
@pytest.mark.parametrize("where", ["draft_reply", "evidence", "type", "value"])
def test_no_text_of_an_outcome_holds_nul_or_a_lone_surrogate(where, bad):
    text = f"a{bad}b"
    changes = {
        "draft_reply": {"draft_reply": text},
        "evidence": {"evidence": [text]},
        "type": {"entities": [{"type": text, "value": "v"}]},
        "value": {"entities": [{"type": "t", "value": text}]},
    }[where]
    with pytest.raises(ValidationError):
        TriageOutcome.model_validate(GOOD | changes)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_every_storable_text_is_kept_as_it_came(text):
    if "\x00" not in text:
        assert Ticket(subject=text, body="x").subject == text
