"""The use case alone: simple collaborators, no database, no network."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from service.application.decision import Prediction, Reason, Source, Usage
from service.application.idempotency import Claim, Opened
from service.application.identity import Caller, Role
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.use_case import TriageTicket
from service.application.unusable import ModelUnusable

CALLER = Caller("ann", "acme", frozenset({Role.CALLER}))
TICKET = Ticket(subject="Refund", body="I was charged twice for order 4711.")
RELEASE = Release(
    use_case="triage",
    prompt_id="triage",
    prompt_version="1",
    prompt="",
    contract_version="c",
    rules_version="r",
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


@dataclass
class Kept:
    """Records in a list."""

    earlier: dict | None = None
    closed: list = field(default_factory=list)
    closed_claims: list = field(default_factory=list)
    abandoned: list = field(default_factory=list)
    fail: bool = False

    async def open(self, caller, key, request):
        return Opened(self.earlier, None if self.earlier else CLAIM)

    async def close(self, decision, claim, request, answer, effect):
        if self.fail:
            raise RuntimeError("the database went away")
        self.closed.append((decision, effect))
        self.closed_claims.append(claim)

    async def abandon(self, claim):
        self.abandoned.append(claim)


@dataclass
class Flags:
    ai: bool = True
    auto: bool = True
    chosen: Release | None = RELEASE

    def ai_on(self, use_case, caller, customer_ref):
        return self.ai

    def auto_on(self, use_case, caller):
        return self.auto

    def release(self, use_case, caller, customer_ref):
        return self.chosen


@dataclass
class Thinker:
    result: object = None
    asked: int = 0

    async def triage(self, ticket, release):
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result or Prediction(OUTCOME, Source.MODEL, "m-1", usage=Usage(5, 3))


def answer(records=None, flags=None, thinker=None):
    use_case = TriageTicket(
        triager=thinker or Thinker(),
        rollout=flags or Flags(),
        records=records or Kept(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        new_id=lambda: "d-1",
        trace_id=lambda: "0" * 32,
    )
    return asyncio.run(use_case(CALLER, TICKET))


def test_a_confident_grounded_answer_is_auto_and_has_one_effect_keyed_by_its_decision():
    records = Kept()
    assert answer(records)["disposition"] == "auto"
    [(decision, effect)] = records.closed
    assert effect.key == f"triage:{decision.id}"
    assert effect.body["category"] == "billing"
    assert (records.closed_claims, records.abandoned) == ([CLAIM], [])


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
    assert answer(Kept(earlier={"decision_id": "old"}), thinker=thinker) == {"decision_id": "old"}
    assert thinker.asked == 0


def test_a_failed_second_transaction_fails_the_request_and_gives_the_claim_back():
    records = Kept(fail=True)
    with pytest.raises(RuntimeError):
        answer(records)
    assert records.abandoned == [CLAIM]
