"""The use case alone: simple collaborators, no database, no network."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from service.application.decision import Earlier, ModelUnusable, Prediction, Reason, Source, Usage
from service.application.errors import Unavailable
from service.application.held import Claim, Hold, Opened, Spender
from service.application.identity import Caller, Role
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.use_case import TriageTicket

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
CALLER = Caller("ann", "acme", frozenset({Role.CALLER}))
TICKET = Ticket(subject="Refund", body="I was charged twice for order 4711.")
RELEASE = Release(
    use_case="triage",
    prompt_id="triage",
    prompt_version="1",
    prompt="",
    contract_version="c",
    rules_version="r",
    guards_version="g",
)
OUTCOME = TriageOutcome(
    category="billing",
    priority="normal",
    entities=[],
    draft_reply=None,
    evidence=["charged twice"],
    confidence=0.9,
)
CLAIM = Claim("acme", "ann", "k", "this-attempt")


SPENDER = Spender("acme", RELEASE.name, CALLER.name)
HOLD = Hold(SPENDER, datetime(2026, 1, 1, tzinfo=UTC).date(), 0.05)


@dataclass
class Kept:
    """Records in a list."""

    answered: dict | None = None
    granted: bool = True
    before: Earlier | None = None
    spenders: list = field(default_factory=list)
    looked_up: list = field(default_factory=list)
    closed: list = field(default_factory=list)
    closed_with: list = field(default_factory=list)
    abandoned: list = field(default_factory=list)
    fail: bool = False

    async def open(self, caller, key, request, spender):
        self.spenders.append(spender)
        return Opened(self.answered) if self.answered else Opened(None, CLAIM, HOLD, self.granted)

    async def earlier(self, tenant, release, digest, since):
        self.looked_up.append((tenant, release, digest, since))
        return self.before

    async def close(self, decision, opened, request, effect, calls=()):
        if self.fail:
            raise RuntimeError("the database went away")
        self.closed.append((decision, effect))
        self.closed_with.append((opened.claim, opened.hold))

    async def abandon(self, opened, usage):
        self.abandoned.append((opened.claim, usage))


@dataclass
class Flags:
    ai: bool = True
    auto: bool = True
    chosen: Release | None = RELEASE

    def ai_on(self, use_case, caller, customer_ref):
        return self.ai

    def auto_on(self, use_case, caller, customer_ref):
        return self.auto

    def release(self, use_case, caller, customer_ref):
        return self.chosen


@dataclass
class Thinker:
    result: object = None
    asked: int = 0

    async def triage(self, ticket, release, tenant):
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result or Prediction(OUTCOME, Source.MODEL, "m-1", usage=Usage(5, 3))


def answer(records=None, flags=None, thinker=None, rules=None, ticket=TICKET, now=lambda: MIDNIGHT):
    use_case = TriageTicket(
        triager=thinker or Thinker(),
        rollout=flags or Flags(),
        records=records or Kept(),
        digest=lambda asked: json.dumps(asked, sort_keys=True),
        now=now,
        new_id=lambda: "d-1",
        trace_id=lambda: "0" * 32,
        **({"by_rules": rules} if rules else {}),
    )
    return asyncio.run(use_case(CALLER, ticket))


def test_a_confident_grounded_answer_is_auto_and_has_one_effect_keyed_by_its_decision():
    records = Kept()
    assert answer(records)["disposition"] == "auto"
    [(decision, effect)] = records.closed
    assert effect.key == f"triage:{decision.id}"
    assert effect.body["category"] == "billing"
    assert (records.closed_with, records.abandoned) == ([(CLAIM, HOLD)], [])


def test_a_decision_says_how_long_its_caller_waited():
    records, instants = Kept(), iter([MIDNIGHT, MIDNIGHT + timedelta(seconds=1.234)])
    answer(records, now=lambda: next(instants))
    assert records.closed[0][0].latency_ms == 1234


def test_ai_off_answers_by_rules_without_asking_and_is_not_degraded():
    thinker, records = Thinker(), Kept()
    got = answer(records, Flags(ai=False), thinker)
    assert (got["source"], got["reason"], got["degraded"]) == ("rules", "ai_off", False)
    assert got["disposition"] == "review"
    assert thinker.asked == 0
    assert records.closed[0][1] is None


def test_an_unusable_model_answers_by_rules_says_why_and_keeps_the_tokens():
    got = answer(thinker=Thinker(ModelUnusable(Reason.DEADLINE, Usage(9, 0))))
    assert (got["source"], got["reason"], got["degraded"]) == ("rules", "deadline", True)
    assert got["disposition"] == "review"
    assert got["usage"]["input_tokens"] == 9


def test_without_a_release_the_model_is_not_asked():
    thinker = Thinker()
    got = answer(flags=Flags(chosen=None), thinker=thinker)
    assert (got["reason"], got["release"], thinker.asked) == ("no_release", "none", 0)


def test_auto_switched_off_sends_everything_to_review():
    assert answer(flags=Flags(auto=False))["disposition"] == "review"


def test_an_earlier_answer_is_given_again_without_asking_anybody():
    thinker = Thinker()
    assert answer(Kept(answered={"decision_id": "old"}), thinker=thinker) == {"decision_id": "old"}
    assert thinker.asked == 0


def test_a_failed_second_transaction_fails_the_request_and_gives_the_claim_back():
    records = Kept(fail=True)
    with pytest.raises(RuntimeError):
        answer(records)
    assert records.abandoned == [(CLAIM, Usage(5, 3))]


BEFORE = Earlier(OUTCOME.model_dump(mode="json"), "m-0", ("customer_text",))
READ_FIRST = RELEASE.model_copy(update={"read_first_hours": 24})
DOWN = ModelUnusable(Reason.MODEL_ERROR)


def test_money_is_held_for_the_tenant_and_the_release_that_would_be_asked():
    records = Kept()
    answer(records)
    assert records.spenders == [SPENDER]


@pytest.mark.parametrize("flags", [Flags(ai=False), Flags(chosen=None)])
def test_no_money_is_held_when_no_model_will_be_asked(flags):
    records = Kept()
    answer(records, flags)
    assert records.spenders == [None]


def test_a_spent_budget_means_the_rules_and_not_an_error():
    thinker = Thinker()
    got = answer(Kept(granted=False), thinker=thinker)
    assert (got["source"], got["reason"], got["degraded"]) == ("rules", "budget_spent", True)
    assert (thinker.asked, got["usage"]["cost_usd"]) == (0, 0.0)


def test_in_an_outage_the_last_answer_to_the_same_question_is_given_for_review():
    got = answer(Kept(before=BEFORE), thinker=Thinker(DOWN))
    assert (got["source"], got["degraded"], got["reason"]) == ("cache", True, "model_error")
    assert (got["disposition"], got["model_version"]) == ("review", "m-0")


def test_after_a_refusal_by_a_guard_no_earlier_answer_is_given():
    got = answer(Kept(before=BEFORE), thinker=Thinker(ModelUnusable(Reason.ACTIVE_CONTENT)))
    assert (got["source"], got["reason"], got["disposition"]) == ("rules", "output_active_content", "review")


def test_without_an_outage_earlier_answers_are_not_even_looked_up():
    records = Kept(before=BEFORE)
    assert answer(records)["source"] == "model"
    assert records.looked_up == []


def test_a_release_that_reads_first_repeats_its_answer_without_asking_and_by_choice():
    thinker, records = Thinker(), Kept(before=BEFORE)
    got = answer(records, Flags(chosen=READ_FIRST), thinker)
    assert (got["source"], got["degraded"], got["reason"]) == ("cache", False, "repeated_question")
    assert (thinker.asked, got["disposition"]) == (0, "auto")
    assert records.looked_up[0][3] == datetime(2025, 12, 31, tzinfo=UTC)


def test_a_question_asked_for_the_first_time_goes_to_the_model():
    assert answer(Kept(), Flags(chosen=READ_FIRST))["source"] == "model"


def test_an_earlier_answer_that_no_longer_fits_the_contract_is_not_given():
    odd = Earlier({"category": "gone"}, "m-0", ())
    assert answer(Kept(before=odd), thinker=Thinker(DOWN))["source"] == "rules"


def test_who_asks_is_no_part_of_the_question():
    records = Kept()
    for customer in ("a", "b"):
        answer(records, ticket=TICKET.model_copy(update={"customer_ref": customer}))
    first, second = (decision.input_digest for decision, _ in records.closed)
    assert first == second
    assert "customer_ref" not in first


def test_without_model_and_rules_there_is_no_answer_but_the_cost_is_settled():
    records, spent = Kept(), Usage(9, 9, 0.01)
    with pytest.raises(Unavailable) as caught:
        answer(records, thinker=Thinker(ModelUnusable(Reason.DEADLINE, spent)), rules=lambda _ticket: None)
    assert caught.value.retry_after > 0
    assert records.abandoned == [(CLAIM, spent)]


class Away(Kept):
    async def open(self, caller, key, request, spender):
        raise Unavailable("the database cannot be reached now")


def test_while_budgets_cannot_be_read_no_model_is_asked():
    thinker = Thinker(Prediction(OUTCOME, Source.MODEL, "m-1"))
    with pytest.raises(Unavailable):
        answer(Away(), thinker=thinker)
    assert thinker.asked == 0


def test_a_repaired_answer_and_its_taint_are_recorded():
    records = Kept()
    result = Prediction(OUTCOME, Source.MODEL, "m-1", repaired=True, taint=("customer_text", "role_claim"))
    assert answer(records, thinker=Thinker(result))["repaired"] is True
    assert records.closed[0][0].taint == ("customer_text", "role_claim")
