"""Who looks first. Properties hold for every ticket, outcome and threshold, not for an example."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.application.decision import Disposition, Prediction, Source
from service.application.release import Thresholds
from service.application.triage.contract import Category, Priority, Ticket, TriageOutcome
from service.application.triage.policy import HIGH_STAKES, disposition, is_grounded, is_high_stakes

BODY = "I was charged twice for my March invoice. Please refund one payment."
TICKET = Ticket(subject="Charged twice", body=BODY)
CALM = "abcdefghij \n"  # letters that spell none of the high-stakes words
words = st.text(alphabet=CALM, min_size=1, max_size=60).filter(str.strip)
tickets = st.builds(Ticket, subject=words, body=words)
thresholds = st.builds(Thresholds, auto=st.floats(0, 1))


def outcome(**changes):
    good = {
        "category": Category.BILLING,
        "priority": Priority.NORMAL,
        "entities": [],
        "draft_reply": None,
        "evidence": ["I was charged twice"],
        "confidence": 0.9,
    }
    return TriageOutcome(**(good | changes))


outcomes = st.builds(
    TriageOutcome,
    category=st.sampled_from(Category),
    priority=st.sampled_from(Priority),
    entities=st.just([]),
    draft_reply=st.none() | words,
    evidence=st.lists(words, max_size=3),
    confidence=st.floats(0, 1),
)
predictions = st.builds(
    Prediction,
    outcome=outcomes,
    source=st.sampled_from(Source),
    model_version=st.just("m"),
    degraded=st.booleans(),
)


def decided(ticket=TICKET, source=Source.MODEL, auto_allowed=True, auto=0.75, **changes):
    prediction = Prediction(outcome=outcome(**changes), source=source, model_version="m")
    return disposition(ticket, prediction, Thresholds(auto=auto), auto_allowed)


@pytest.mark.parametrize("source", [Source.MODEL, Source.BACKUP])
def test_a_confident_grounded_answer_of_a_model_passes(source):
    assert decided(source=source) is Disposition.AUTO


@pytest.mark.parametrize("category", [Category.COMPLAINT, Category.OTHER])
def test_complaints_and_the_unclassified_are_reviewed(category):
    assert decided(category=category) is Disposition.REVIEW


def test_confidence_at_the_threshold_passes_and_below_it_does_not():
    assert decided(confidence=0.75) is Disposition.AUTO
    assert decided(confidence=0.7499) is Disposition.REVIEW


def test_no_evidence_is_not_grounded():
    assert decided(evidence=[]) is Disposition.REVIEW


def test_one_invented_quote_among_true_ones_is_enough_for_a_review():
    assert decided(evidence=["I was charged twice", "I hereby waive my rights"]) is Disposition.REVIEW


def test_spacing_and_case_of_a_quote_do_not_matter():
    assert is_grounded(TICKET, outcome(evidence=["i was\n CHARGED   twice"]))


@pytest.mark.parametrize("word", HIGH_STAKES)
def test_each_high_stakes_word_escalates_wherever_it_stands(word):
    assert decided(ticket=Ticket(subject="", body=f"well, {word.upper()}!")) is Disposition.ESCALATE
    assert decided(ticket=Ticket(subject=word, body="see above")) is Disposition.ESCALATE


def test_an_ordinary_message_names_nothing_high_stakes():
    assert not is_high_stakes(TICKET)


@pytest.mark.parametrize(
    "body",
    [
        "The issue you mentioned is back.",
        "Which pressure regulator fits the cylinder?",
        "Der Versand betrug 4,90 Euro.",
        "Avez-vous un couteau à avocat ?",
        "He probado a reiniciarlo y la pegatina no se ha adherido.",
        "Ładowanie prądem 2 A trwa zbyt długo.",
        "Nothing poisonous please, I want to live with my slugs.",
    ],
)
def test_a_look_alike_of_a_high_stakes_word_is_none(body):
    assert not is_high_stakes(Ticket(subject="", body=body))


def test_line_breaks_and_curly_apostrophes_hide_no_high_stakes_word():
    assert is_high_stakes(Ticket(subject="", body="I will go\n  to the\npolice."))
    assert is_high_stakes(Ticket(subject="", body="I don’t\nwant to live."))


@given(tickets, predictions, thresholds, st.booleans())
@settings(deadline=None)
def test_urgent_always_escalates(ticket, prediction, limits, auto_allowed):
    urgent = Prediction(
        outcome=prediction.outcome.model_copy(update={"priority": Priority.URGENT}),
        source=prediction.source,
        model_version="m",
    )
    assert disposition(ticket, urgent, limits, auto_allowed) is Disposition.ESCALATE


@given(tickets, predictions, thresholds, st.booleans(), st.sampled_from(HIGH_STAKES))
@settings(deadline=None)
def test_a_high_stakes_message_escalates_whatever_was_predicted(ticket, prediction, limits, allowed, word):
    grave = ticket.model_copy(update={"body": f"{ticket.body} {word}"})
    assert disposition(grave, prediction, limits, allowed) is Disposition.ESCALATE


@given(outcomes, thresholds, st.sampled_from([Source.RULES, Source.CACHE]))
@settings(deadline=None)
def test_rules_and_an_emergency_cache_never_pass_alone(predicted, limits, source):
    quoting = predicted.model_copy(update={"evidence": ["charged twice"], "confidence": 1.0})
    prediction = Prediction(outcome=quoting, source=source, model_version="m", degraded=True)
    assert disposition(TICKET, prediction, limits, True) is not Disposition.AUTO


@given(predictions, thresholds)
@settings(deadline=None)
def test_nothing_passes_alone_while_auto_is_off(prediction, limits):
    assert disposition(TICKET, prediction, limits, False) is not Disposition.AUTO


@given(words, thresholds)
@settings(deadline=None)
def test_an_ungrounded_quote_never_passes(quote, limits):
    invented = f"{quote} zzz"
    prediction = Prediction(outcome=outcome(evidence=[invented]), source=Source.MODEL, model_version="m")
    assert disposition(TICKET, prediction, limits, True) is not Disposition.AUTO


@given(tickets, predictions, thresholds, st.booleans())
@settings(deadline=None)
def test_what_passes_is_always_sure_grounded_and_of_a_model(ticket, prediction, limits, auto_allowed):
    if disposition(ticket, prediction, limits, auto_allowed) is Disposition.AUTO:
        assert auto_allowed
        assert prediction.source is not Source.RULES
        assert prediction.source is not Source.CACHE or not prediction.degraded  # the release's choice
        assert prediction.outcome.confidence >= limits.auto
        assert is_grounded(ticket, prediction.outcome)


@pytest.mark.parametrize("nothing", [" ", "\u00a0", "\t\n", "\u3000", "I", "..."])
def test_a_quote_that_says_nothing_grounds_nothing(nothing):
    assert decided(evidence=[nothing]) is Disposition.REVIEW


@pytest.mark.parametrize(
    "draft",
    [
        "See https://evil.example",
        "See evil.com/login",
        "See //evil",
        "Write to mailto:a",
        "Call tel:x",
        "Open [x][1]",
        "ｈｔｔｐ://evil",
        "ht\u200btps",
        "&lt;a href",
        "<script>",
        "abc \u202e cba",
        "bell \x1b[31m",
        "We asked Booking.com",
        "Go to evil.example.COM!",
        "Write to ann@evil.example",
        "Evil.Com",
        "evil.RU or t.co",
        "evil.рф",
        "evil.中国",
        "192.0.2.7/login",
    ],
)
def test_a_draft_with_a_link_markup_or_invisible_characters_is_looked_at(draft):
    assert decided(draft_reply=draft) is Disposition.REVIEW


@pytest.mark.parametrize(
    "draft", ["We saw it at 10:30, order 4711.", "Liebe Kund:in, z.B. v3.2.1 um 10.30, m.in. morgen", None]
)
def test_a_plain_draft_passes(draft):
    assert decided(draft_reply=draft) is Disposition.AUTO


@pytest.mark.parametrize("entity", [{"type": "link", "value": "http://evil"}, {"type": "<b>", "value": "x"}])
def test_entities_are_looked_at_for_links_too(entity):
    assert decided(entities=[entity]) is Disposition.REVIEW


@pytest.mark.parametrize("text", ["true", '"1e0"', '" 0.9 "'])
def test_a_confidence_that_is_no_number_is_refused(text):
    good = outcome().model_dump_json()
    with pytest.raises(ValueError, match="confidence"):
        TriageOutcome.model_validate_json(good.replace('"confidence":0.9', f'"confidence":{text}'))
