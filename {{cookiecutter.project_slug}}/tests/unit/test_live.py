"""The evaluators that judge what nobody has an expectation of."""

import pytest

from service.evaluation.live import judge_live, watched
from tests.evaluation_samples import answer

REQUEST = {"subject": "Refund", "body": "Please refund my payment.", "channel": None, "customer_ref": None}


def failed(**changes):
    return {name for name, judged in judge_live(REQUEST, answer(**changes)).items() if not judged.passed}


def test_a_good_answer_passes_on_everything():
    assert failed() == set()


@pytest.mark.parametrize(
    ("dimension", "changes"),
    [
        ("format", {"category": "banana"}),
        ("groundedness", {"evidence": ["I was never charged"]}),
        ("groundedness", {"draft_reply": "Your refund 4711 is on its way."}),
        ("tone", {"draft_reply": "Calm down and wait."}),
        ("over_refusal", {"draft_reply": "I'm sorry, but I can't help with that."}),
    ],
)
def test_a_bad_one_fails_where_it_is_bad(dimension, changes):
    assert dimension in failed(**changes)


def test_a_request_that_is_none_is_the_evaluators_failure():
    with pytest.raises(ValueError, match="request"):
        judge_live({}, answer())


def test_an_erased_answer_is_not_watched():
    assert watched({}, "auto") is None
    seen = watched(answer()["outcome"], "auto")
    assert (seen.label, seen.disposition, seen.confidence, seen.length) == ("billing", "auto", 0.9, 21)
