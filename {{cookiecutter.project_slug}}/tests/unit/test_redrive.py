"""Asking a model again about what waits for people: who is asked, who is left alone, when it stops."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from service.application.decision import Disposition, ModelUnusable, Prediction, Reason, Source, Usage
from service.application.errors import Invalid
from service.application.held import Hold, Opened
from service.application.identity import Caller, Role
from service.application.release import Release
from service.application.triage.contract import TriageOutcome
from service.application.triage.redrive import BATCH_S, OUTSIDE_CONTRACT, PAGE, RedriveTickets
from service.application.triage.use_case import TriageTicket
from service.application.waiting import Counted, Place, Queue, Waiter, Window

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WINDOW = Window(Source.RULES, NOON)
OPERATOR = Caller("olga", "platform", frozenset({Role.OPERATOR}))
REQUEST = {"subject": "Refund", "body": "I was charged twice.", "channel": None, "customer_ref": "c-1"}
OUTCOME = TriageOutcome(
    category="billing", priority="normal", entities=[], draft_reply=None, evidence=["charged twice"], confidence=0.9
)
RELEASE = Release(
    use_case="triage",
    prompt_id="triage",
    prompt_version="1",
    prompt="",
    contract_version="c",
    rules_version="r",
    guards_version="g",
)
ANSWER = Prediction(OUTCOME, Source.MODEL, "m-1", usage=Usage(5, 3, 0.01))
OUTAGE = ModelUnusable(Reason.MODEL_ERROR, Usage(7, 0, 0.02))
REFUSAL = ModelUnusable(Reason.REFUSED, Usage(7, 2, 0.03))
COUNTED = Counted(3, Queue(review=4, escalate=1, held=2))


def waiter(number: int = 1, tenant: str = "acme", request: dict = REQUEST) -> Waiter:
    return Waiter(f"r-{number:03}", f"d-{number:03}", tenant, "ann", request, NOON + timedelta(seconds=number))


@dataclass
class Line:
    """The waiting in a list. `taken` names reviews that a person takes before the model has answered."""

    waiters: list
    taken: tuple = ()
    replaced: list = field(default_factory=list)

    async def count(self, window):
        return COUNTED

    async def oldest(self, window, after, limit):
        behind = [
            w for w in self.waiters if after is None or (w.opened_at, w.review_id) > (after.opened_at, after.review_id)
        ]
        return behind[:limit]

    async def replace(self, old, decision, effect, operator, calls=()):
        if old.review_id in self.taken:
            return False
        self.replaced.append((old, decision, effect, operator))
        return True


@dataclass
class Purse:
    """Records that only hold and settle. `broke` tenants get nothing."""

    broke: tuple = ()
    settled: list = field(default_factory=list)

    async def open(self, caller, key, request, spender):
        assert key is None
        if caller.tenant in self.broke:
            return Opened(granted=False)
        return Opened(hold=Hold(spender, NOON.date(), 0.05))

    async def abandon(self, opened, usage):
        assert opened.hold is not None
        self.settled.append(usage)


@dataclass
class Flags:
    """`off` names the customers and tenants whose AI is off."""

    off: tuple = ()
    auto: bool = True
    chosen: Release | None = RELEASE
    asked_for: list = field(default_factory=list)

    def ai_on(self, use_case, caller, customer_ref):
        self.asked_for.append((caller.tenant, caller.subject, customer_ref))
        return not {caller.tenant, customer_ref} & set(self.off)

    def auto_on(self, use_case, caller, customer_ref):
        return self.auto

    def release(self, use_case, caller, customer_ref):
        return self.chosen


@dataclass
class Thinker:
    """Answers in turn what it is given, the last for ever."""

    answers: list = field(default_factory=lambda: [ANSWER])
    asked: int = 0
    while_thinking: object = lambda: None

    async def triage(self, ticket, release, tenant):
        self.while_thinking()
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass
class World:
    """A use case and what it works with."""

    waiting: Line
    thinker: Thinker = field(default_factory=Thinker)
    flags: Flags = field(default_factory=Flags)
    purse: Purse = field(default_factory=Purse)
    time: datetime = NOON

    def redrive(self, limit: int = 50, after: Place | None = None, window: Window = WINDOW):
        triage = TriageTicket(
            triager=self.thinker,
            rollout=self.flags,
            records=self.purse,
            digest=lambda question: "same",
            now=lambda: self.time,
            new_id=lambda: f"new-{self.thinker.asked}",
            trace_id=lambda: "0" * 32,
        )
        return asyncio.run(RedriveTickets(triage, self.waiting)(OPERATOR, window, limit, after))


def queue(length: int, **changes) -> Line:
    return Line([waiter(number) for number in range(1, length + 1)], **changes)


def test_a_models_answer_replaces_the_decision_for_the_same_tenant_and_actor():
    world = World(queue(1))
    batch = world.redrive()
    [(old, decision, effect, operator)] = world.waiting.replaced
    assert (decision.supersedes, decision.tenant, decision.actor) == (old.decision_id, "acme", "ann")
    assert (decision.source, decision.release, decision.disposition) == ("model", RELEASE.name, "auto")
    assert (effect.decision_id, effect.body["body"], operator) == (decision.id, REQUEST["body"], OPERATOR)
    assert (batch.became, batch.asked, batch.next, batch.stopped) == ({Disposition.AUTO: 1}, 1, None, None)
    assert batch.counted == COUNTED


def test_an_answer_that_may_not_pass_waits_for_a_person_without_an_effect():
    world = World(queue(1), flags=Flags(auto=False))
    assert world.redrive().became == {Disposition.REVIEW: 1}
    assert world.waiting.replaced[0][2] is None


def test_flags_are_asked_for_the_original_caller_and_customer():
    world = World(queue(1))
    world.redrive()
    assert world.flags.asked_for == [("acme", "ann", "c-1")]


@pytest.mark.parametrize(
    ("answer", "taken", "spent"),
    [(ANSWER, (), ANSWER.usage), (ANSWER, ("r-001",), ANSWER.usage), (OUTAGE, (), OUTAGE.usage)],
    ids=["answered", "taken meanwhile", "failed"],
)
def test_what_was_spent_is_settled_whatever_became_of_it(answer, taken, spent):
    world = World(queue(1, taken=taken), Thinker([answer]))
    world.redrive()
    assert world.purse.settled == [spent]


def test_when_it_is_cancelled_while_the_model_thinks_the_cost_is_unknown_and_stays_held():
    world = World(queue(1), Thinker([asyncio.CancelledError()]))
    with pytest.raises(asyncio.CancelledError):
        world.redrive()
    assert (world.purse.settled, world.waiting.replaced) == ([None], [])


def test_what_a_person_took_meanwhile_is_counted_as_taken():
    batch = World(queue(2, taken=("r-001",))).redrive()
    assert (batch.taken, batch.became.total(), batch.why.total()) == (1, 1, 0)


def test_a_model_that_still_fails_leaves_everything_as_it_is_and_stops_after_five():
    world = World(queue(9), Thinker([OUTAGE]))
    batch = world.redrive()
    assert (world.thinker.asked, batch.why, batch.stopped) == (5, {"model_error": 5}, "model_error")
    assert world.waiting.replaced == []


def test_the_row_of_failures_goes_on_in_the_next_batch():
    world = World(queue(9), Thinker([OUTAGE]))
    first = world.redrive(limit=3)
    assert (first.stopped, first.next.failing) == (None, 3)
    second = world.redrive(limit=3, after=first.next)
    assert (second.stopped, second.asked) == ("model_error", 2)
    assert second.next.failing == 0  # who goes on from here does so on purpose


def test_one_answer_ends_the_row():
    four = [OUTAGE] * 4
    batch = World(queue(9), Thinker([*four, ANSWER, *four])).redrive(limit=8)
    assert (batch.stopped, batch.became.total(), batch.next.failing) == (None, 1, 3)


def test_a_model_that_fails_on_the_last_ones_is_still_ill():
    assert World(queue(2), Thinker([ANSWER, OUTAGE])).redrive().stopped == "model_error"
    assert World(queue(2), Thinker([OUTAGE, ANSWER])).redrive().stopped is None


@pytest.mark.parametrize("reason", [Reason.UNUSABLE_OUTPUT, Reason.REJECTED, Reason.GUARD_FAILED])
def test_messages_that_make_a_model_fail_stop_nobody_behind_them(reason):
    world = World(queue(9), Thinker([ModelUnusable(reason, Usage(7, 0, 0.01))] * 8 + [ANSWER]))
    batch = world.redrive()
    assert (batch.stopped, batch.why, batch.became.total()) == (None, {reason: 8}, 1)


def test_messages_that_a_model_will_not_answer_stop_nobody_else():
    world = World(queue(9), Thinker([*[REFUSAL] * 8, ANSWER]))
    batch = world.redrive()
    assert (batch.stopped, batch.why, batch.became.total()) == (None, {"model_refused": 8}, 1)


@pytest.mark.parametrize(
    ("flags", "purse", "why"),
    [
        (Flags(off=("acme",)), Purse(), "ai_off"),
        (Flags(chosen=None), Purse(), "no_release"),
        (Flags(), Purse(broke=("acme",)), "budget_spent"),
    ],
)
def test_whom_no_model_may_answer_costs_no_call_and_stays(flags, purse, why):
    world = World(queue(3), flags=flags, purse=purse)
    batch = world.redrive()
    assert (batch.why, batch.asked, world.thinker.asked, purse.settled) == ({why: 3}, 0, 0, [])
    assert batch.next is None


def test_one_tenants_spent_budget_stops_no_other_tenant():
    line = Line([*(waiter(number) for number in range(1, 9)), waiter(9, tenant="other")])
    batch = World(line, purse=Purse(broke=("acme",))).redrive(limit=1)
    assert (batch.became.total(), line.replaced[0][1].tenant) == (1, "other")


def test_a_message_that_no_longer_fits_the_contract_stays():
    world = World(Line([waiter(request={"text": "of an older contract"})]))
    assert world.redrive().why == {OUTSIDE_CONTRACT: 1}
    assert world.thinker.asked == 0


def test_a_batch_asks_at_most_its_limit_and_says_where_to_go_on():
    world = World(queue(3))
    first = world.redrive(limit=2)
    assert (first.asked, first.next.review_id) == (2, "r-002")
    assert (world.redrive(limit=2, after=first.next).next, world.thinker.asked) == (None, 3)


def test_a_full_page_is_followed_by_another():
    batch = World(queue(PAGE + 1), flags=Flags(off=("acme",))).redrive()
    assert (batch.why.total(), batch.next.review_id) == (PAGE, f"r-{PAGE:03}")


def test_a_batch_that_takes_long_asks_nobody_else():
    world = World(queue(3))

    def slowly():
        world.time += timedelta(seconds=BATCH_S)

    world.thinker.while_thinking = slowly
    batch = world.redrive()
    assert (batch.asked, batch.next.review_id) == (1, "r-001")


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(Invalid):
        World(queue(1)).redrive(window=Window(Source.RULES, NOON, NOON))
