"""What crosses to the inference process and back arrives as it was, also between versions that differ."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from service.application.decision import ModelUnusable, Prediction, Reason, Source, Usage
from service.application.release import Release, Thresholds
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.exchange import PredictAnswer, PredictRequest, answer_of

OUTCOME = TriageOutcome.model_validate(
    {
        "category": "billing",
        "priority": "high",
        "entities": [{"type": "order", "value": "4711"}],
        "draft_reply": "Grüße\n✓",
        "evidence": ["I was charged twice"],
        "confidence": 1.0,
    }
)
PLAIN = Prediction(OUTCOME, Source.MODEL, "model-1")
FULL = Prediction(
    OUTCOME, Source.BACKUP, "model-2", True, Reason.DEADLINE, Usage(12, 34, 0.0056), True, ("customer_text", "override")
)
RELEASE = Release(
    use_case="triage",
    prompt_id="triage",
    prompt_version="7",
    prompt="## System\nSort.\n## User\n$ticket\n",
    thresholds=Thresholds(auto=0.9),
    contract_version="c",
    rules_version="r",
    guards_version="g",
)
REQUEST = PredictRequest(
    ticket=Ticket(subject="Hi", body="Where is it? 😀", channel="mail", customer_ref="C-1"),
    digest=RELEASE.digest,
    tenant="acme",
    deadline_ms=1500,
)


def crossed(result):
    return PredictAnswer.model_validate_json(answer_of(result).to_json()).result()


@pytest.mark.parametrize("cost", [None, 0.0, 0.25])
@pytest.mark.parametrize("prediction", [PLAIN, FULL])
def test_a_prediction_arrives_as_it_was(prediction, cost):
    prediction = replace(prediction, usage=replace(prediction.usage, cost_usd=cost))
    assert crossed(prediction) == prediction


def test_the_record_of_calls_arrives_either_way_and_does_not_print():
    calls = ({"messages": [{"role": "user", "content": "my words"}], "answer": None, "ms": 7},)
    arrived = crossed(replace(PLAIN, calls=calls))
    assert (arrived.calls, "my words" in repr(arrived)) == (calls, False)
    with pytest.raises(ModelUnusable) as caught:
        crossed(ModelUnusable(Reason.DEADLINE, calls=calls))
    assert (caught.value.calls, "my words" in repr(caught.value)) == (calls, False)


@pytest.mark.parametrize("source", Source)
def test_every_source_arrives(source):
    assert crossed(replace(FULL, source=source)).source is source


@pytest.mark.parametrize("cost", [None, 0.0, 0.25])
@pytest.mark.parametrize("reason", Reason)
def test_why_there_is_no_prediction_arrives_with_what_was_spent(reason, cost):
    with pytest.raises(ModelUnusable) as caught:
        crossed(ModelUnusable(reason, Usage(1, 2, cost)))
    assert (caught.value.reason, caught.value.usage) == (reason, Usage(1, 2, cost))


def test_a_reason_that_only_a_newer_server_knows_is_a_model_error():
    sent = answer_of(ModelUnusable(Reason.CANARY)).to_json().replace(b"output_canary", b"moon_phase")
    with pytest.raises(ModelUnusable) as caught:
        PredictAnswer.model_validate_json(sent).result()
    assert caught.value.reason is Reason.MODEL_ERROR
    sent = answer_of(FULL).to_json().replace(b'"deadline"', b'"moon_phase"')
    assert PredictAnswer.model_validate_json(sent).result() == replace(FULL, reason=Reason.MODEL_ERROR)


def test_what_is_at_its_default_is_not_sent():
    assert json.loads(answer_of(PLAIN).to_json()) == {
        "prediction": {"outcome": OUTCOME.model_dump(mode="json"), "source": "model", "model_version": "model-1"}
    }


def test_a_request_arrives_as_it_was_and_its_release_keeps_its_digest():
    assert PredictRequest.model_validate_json(REQUEST.to_json()) == REQUEST
    with_bundle = REQUEST.model_copy(update={"release": RELEASE})
    arrived = PredictRequest.model_validate_json(with_bundle.to_json())
    assert arrived == with_bundle
    assert arrived.release is not None
    assert arrived.release.digest == arrived.digest


@pytest.mark.parametrize(
    "change",
    [
        {"mood": "new"},
        {"digest": "triage-1"},
        {"deadline_ms": 0},
        {"ticket": {"subject": "Hi", "body": " "}},
        {"tenant": "a\x00b"},
    ],
)
def test_a_request_outside_the_contract_is_refused(change):
    with pytest.raises(ValidationError):
        PredictRequest.model_validate_json(json.dumps(json.loads(REQUEST.to_json()) | change))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"prediction": null}',
        '{"unusable": {"reason": 7}}',
        '{"unusable": {"reason": "deadline", "usage": {"cost_usd": NaN}}}',
        '{"unusable": {"reason": "deadline", "usage": {"input_tokens": -1}}}',
        '{"unusable": {"reason": "deadline", "extra": 1}}',
        json.dumps(json.loads(answer_of(PLAIN).to_json()) | {"unusable": {"reason": "deadline"}}),
        answer_of(PLAIN).to_json().decode().replace("billing", "banana"),
        answer_of(PLAIN).to_json().decode().replace('"model"', '"oracle"'),
        "[" * 100_000,
    ],
)
def test_an_answer_outside_the_contract_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 - whoever asks catches just that
        PredictAnswer.model_validate_json(body).result()
