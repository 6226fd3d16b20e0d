"""What a redrive may take from the review queue, and that a person always comes first."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select

from service.application.decision import Disposition, Reason, Source, Usage
from service.application.errors import Conflict
from service.application.held import Opened
from service.application.identity import Caller, Role
from service.application.review.contract import ReviewState, Verdict
from service.application.review.use_case import Judgement, Reviewable, ReviewWork
from service.application.waiting import Place, Queue, Window
from service.integration.database.decisions import SqlDecisions
from service.integration.database.records import SqlRecords
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.tables import AuditRow, DecisionRow, EffectRow, PayloadRow, ReviewItemRow
from service.integration.database.waiting import SqlWaiting
from tests.example import USE_CASE
from tests.integration import examples
from tests.integration.examples import REQUEST, REVIEWER, Clock, contents, digest, effect, rows
from tests.integration.examples import Queue as Jobs

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WINDOW = Window(Source.RULES, NOON)
OPERATOR = Caller("olga", "platform", frozenset({Role.OPERATOR}))
FALLBACK = {
    "source": Source.RULES,
    "degraded": True,
    "reason": Reason.MODEL_ERROR,
    "disposition": Disposition.REVIEW,
    "usage": Usage(),
}


def decision(id_, at=NOON, **changes):
    inference = {"repaired": False, "taint": (), "input_digest": "same", "supersedes": None}
    return examples.decision(id_, **{"at": at, **inference, **changes})


class Service:
    """The adapters of one service on this database."""

    def __init__(self, database, clock=None):
        self.database, self.clock, self.jobs = database, clock or Clock(), Jobs()
        self.records = SqlRecords(database, self.jobs, digest, self.clock)
        self.waiting = SqlWaiting(database, self.jobs, self.clock, USE_CASE)
        self.desk = SqlReviewDesk(database, self.jobs, self.clock)

    async def fell_back(self, id_="d-1", **changes):
        made = decision(id_, **{**FALLBACK, **changes})
        await self.records.close(made, Opened(), REQUEST, None)

    async def candidates(self, window=WINDOW, after=None):
        return [waiter.decision_id for waiter in await self.waiting.oldest(window, after, 50)]

    async def review_of(self, decision_id):
        items = [item for item in await self.desk.list(REVIEWER, None, 500) if item.decision_id == decision_id]
        return items[0]

    async def replace(self, old, id_="new", auto=True):
        """As the use case does when a model has answered."""
        disposition = Disposition.AUTO if auto else Disposition.REVIEW
        made = decision(id_, at=self.clock(), disposition=disposition, supersedes=old.decision_id)
        return await self.waiting.replace(old, made, effect(id_) if auto else None, OPERATOR)

    def of(self, row):
        return rows(self.database, row)


@pytest.fixture
def service(database):
    return Service(database)


def approve(item):
    return Judgement(Verdict.APPROVE, "fine", None, effect(item.decision_id))


async def all_kinds(service):
    """A decision for each reason to leave it alone, and three to take: the oldest, an escalated, and a lost claim."""
    await service.fell_back("lost-claim", at=NOON + timedelta(seconds=3))
    await service.desk.claim(REVIEWER, (await service.review_of("lost-claim")).id)
    service.clock.forward(3600)
    await service.fell_back("oldest", at=NOON)
    await service.fell_back("escalated", at=NOON + timedelta(seconds=2), disposition=Disposition.ESCALATE)
    await service.fell_back("before", at=NOON - timedelta(seconds=1))
    await service.fell_back("ai-off", degraded=False, reason=Reason.AI_OFF)
    await service.fell_back("suspect", reason=Reason.CANARY)
    await service.fell_back("refused", reason=Reason.REFUSED)
    await service.fell_back("by-backup", source=Source.BACKUP)
    await service.fell_back("from-cache", source=Source.CACHE)
    await service.fell_back("other-use-case", use_case="another")
    await service.fell_back("passed", disposition=Disposition.AUTO)
    for id_ in ("held", "decided", "superseded", "erased"):
        await service.fell_back(id_)
    await service.desk.claim(REVIEWER, (await service.review_of("held")).id)
    await service.desk.settle(REVIEWER, (await service.review_of("decided")).id, approve)
    [old] = [waiter for waiter in await service.waiting.oldest(WINDOW, None, 50) if waiter.decision_id == "superseded"]
    assert await service.replace(old)
    service.database.write_sync(
        lambda session: session.execute(delete(PayloadRow).where(PayloadRow.decision_id == "erased"))
    )


def test_only_what_waits_untouched_because_the_model_failed_is_taken_oldest_first(service):
    async def story():
        await all_kinds(service)
        assert await service.candidates() == ["oldest", "escalated", "lost-claim"]
        assert await service.candidates(Window(Source.CACHE, NOON)) == ["from-cache"]
        assert await service.candidates(Window(Source.RULES, NOON, NOON + timedelta(seconds=2))) == ["oldest"]
        return await service.waiting.count(WINDOW)

    counted = asyncio.run(story())
    assert counted.candidates == 3
    # Open: these, and those left alone but for what passed, is held, decided or superseded.
    assert counted.queue == Queue(review=10, escalate=1, held=1)


def test_candidates_of_every_tenant_are_found(service):
    async def story():
        await service.fell_back("a")
        await service.fell_back("b", at=NOON + timedelta(seconds=1), tenant="elsewhere", actor="bob")
        return await service.waiting.oldest(WINDOW, None, 50)

    assert [(w.tenant, w.actor, w.request) for w in asyncio.run(story())] == [
        ("acme", "alice", REQUEST),
        ("elsewhere", "bob", REQUEST),
    ]


def test_a_walk_meets_each_once_even_those_of_the_same_instant(service):
    async def story():
        for number in range(7):
            await service.fell_back(f"d-{number}", at=NOON + timedelta(microseconds=number // 3))
        met, after = [], None
        while page := await service.waiting.oldest(WINDOW, after, 2):
            met += [waiter.decision_id for waiter in page]
            after = Place(page[-1].opened_at, page[-1].review_id)
        return met

    met = asyncio.run(story())
    assert sorted(met) == [f"d-{number}" for number in range(7)]
    assert set(met[:3]) == {"d-0", "d-1", "d-2"}


def test_an_answer_that_passes_replaces_the_old_decision_in_one_transaction(service, database):
    async def story():
        await service.fell_back()
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        service.clock.forward(60)
        assert await service.replace(old)
        decisions = SqlDecisions(database)
        return await decisions.show(REVIEWER, "d-1"), await decisions.show(REVIEWER, "new")

    old, new = asyncio.run(story())
    assert (old["superseded_by"], old["review"]["state"], old["review"]["verdict"]) == ("new", "superseded", None)
    assert (old["review"]["reviewer"], old["effect"]["state"]) == (None, "none")
    assert (new["supersedes"], new["review"], new["effect"]["state"]) == ("d-1", None, "queued")
    assert service.jobs.jobs == [(f"{USE_CASE}:new", 1)]
    [item] = service.of(ReviewItemRow)
    assert item.closed_at == service.clock()
    kept = contents(service.database, "payload")
    assert {id_: content["request"] for id_, content in kept.items()} == {"d-1": REQUEST, "new": REQUEST}
    told = [(row.action, row.actor, row.tenant, row.object) for row in service.of(AuditRow)]
    assert told[1:] == [
        ("decision.made", "alice", "acme", "new"),
        ("decision.redriven", "olga", "acme", "d-1"),
    ]
    assert service.of(AuditRow)[-1].details == {
        "superseded_by": "new",
        "review": item.id,
        "operator_tenant": "platform",
    }


def test_an_answer_that_needs_a_person_keeps_the_place_in_the_queue(service):
    async def story():
        await service.fell_back("first")
        await service.fell_back("second", at=NOON + timedelta(seconds=1))
        service.clock.forward(60)
        [old, _] = await service.waiting.oldest(WINDOW, None, 2)
        assert await service.replace(old, auto=False)
        return await service.desk.list(REVIEWER, ReviewState.OPEN, 10)

    items = asyncio.run(story())
    assert [(item.decision_id, item.source) for item in items] == [("new", "model"), ("second", "rules")]
    assert items[0].opened_at == NOON
    assert service.of(EffectRow) == []


def test_a_superseded_review_is_listed_apart_and_can_be_neither_claimed_nor_decided(service):
    reviewable = Reviewable(validate=lambda outcome: outcome, effect=lambda id_, request, outcome: effect(id_))
    work = ReviewWork(service.desk, {USE_CASE: reviewable})

    async def story():
        await service.fell_back()
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        await service.replace(old)
        for state in (ReviewState.OPEN, ReviewState.CLAIMED, ReviewState.CLOSED):
            assert await work.list(REVIEWER, state) == []
        assert [item.id for item in await work.list(REVIEWER, ReviewState.SUPERSEDED)] == [old.review_id]
        with pytest.raises(Conflict, match="newer"):
            await work.claim(REVIEWER, old.review_id)
        with pytest.raises(Conflict, match="newer"):
            await work.decide(REVIEWER, old.review_id, Verdict.APPROVE, None, "")

    asyncio.run(story())
    assert [row.key for row in service.of(EffectRow)] == [f"{USE_CASE}:new"]


async def claimed(service, old):
    await service.desk.claim(REVIEWER, old.review_id)


async def decided(service, old):
    await service.desk.settle(REVIEWER, old.review_id, approve)


async def superseded(service, old):
    assert await service.replace(old, "quicker")


async def erased(service, old):
    gone = delete(PayloadRow).where(PayloadRow.decision_id == old.decision_id)
    service.database.write_sync(lambda session: session.execute(gone))


@pytest.mark.parametrize("what_happens", [claimed, decided, superseded, erased])
def test_what_happens_while_the_model_thinks_counts_and_its_answer_does_not(service, what_happens):
    async def story():
        await service.fell_back()
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        await what_happens(service, old)
        before = state(service)
        assert not await service.replace(old, "late")
        assert state(service) == before

    asyncio.run(story())


def state(service):
    """Everything stored, as text."""
    kept = []
    for table in (DecisionRow, PayloadRow, ReviewItemRow, EffectRow, AuditRow):
        query = select(*table.__table__.columns)
        kept.append(service.database.read_sync(lambda session, query=query: session.execute(query).all()))
    return repr(kept), list(service.jobs.jobs)


def test_a_claim_that_ended_while_the_model_thought_is_no_claim(service):
    async def story():
        await service.fell_back()
        await service.desk.claim(REVIEWER, (await service.review_of("d-1")).id)
        service.clock.forward(1801)
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        assert await service.replace(old)

    asyncio.run(story())
    [item] = service.of(ReviewItemRow)
    assert (item.state, item.claimed_by, item.reviewer) == ("superseded", None, None)


def test_of_many_redrives_at_once_one_replaces(service):
    async def story():
        await service.fell_back()
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        return await asyncio.gather(*(service.replace(old, f"new-{number}") for number in range(8)))

    assert sorted(asyncio.run(story())) == [False] * 7 + [True]
    assert len(service.of(DecisionRow)) == 2
    assert len(service.of(EffectRow)) == len(service.jobs.jobs) == 1


def test_a_person_and_a_redrive_at_the_same_moment_never_both_get_it(service):
    async def story():
        for number in range(20):
            await service.fell_back(f"d-{number:02}")
        outcomes = []
        for old in await service.waiting.oldest(WINDOW, None, 50):
            person, model = service.desk.claim(REVIEWER, old.review_id), service.replace(old, f"new-{old.decision_id}")
            racing = (person, model) if len(outcomes) % 2 else (model, person)
            got = await asyncio.gather(*racing, return_exceptions=True)
            outcomes.append((any(hasattr(each, "claimed_by") for each in got), True in got))
            assert all(each in (True, False) or isinstance(each, Conflict) or each.claimed_by for each in got)
        return outcomes

    outcomes = asyncio.run(story())
    assert len(outcomes) == 20
    assert all(person != model for person, model in outcomes)
    states = [row.state for row in service.of(ReviewItemRow)]
    assert states.count("superseded") == sum(model for _, model in outcomes)


def test_a_broken_queue_leaves_the_old_review_open(service):
    async def story():
        await service.fell_back()
        [old] = await service.waiting.oldest(WINDOW, None, 1)
        before = state(service)
        service.jobs.broken = True
        with pytest.raises(RuntimeError):
            await service.replace(old)
        assert state(service) == before

    asyncio.run(story())
