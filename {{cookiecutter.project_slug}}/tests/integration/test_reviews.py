"""The review desk, and a decision read back with what became of it."""

import asyncio

import pytest

from service.application.decision import Disposition
from service.application.errors import Conflict, NotFound
from service.application.identity import Caller, Role
from service.application.review.contract import ReviewState, Verdict
from service.application.review.use_case import Judgement, Reviewable, ReviewWork
from service.integration.database.decisions import SqlDecisions
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, EffectRow, PayloadRow
from tests.example import USE_CASE
from tests.integration.examples import ALICE, REQUEST, REVIEWER, Clock, Queue, decision, effect, rows, store

RON = Caller("ron", "acme", frozenset({Role.REVIEWER}))
STRANGER = Caller("rita", "elsewhere", frozenset({Role.REVIEWER}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def desk(database: Database, queue: Queue, clock: Clock) -> SqlReviewDesk:
    return SqlReviewDesk(database, queue, clock)


@pytest.fixture
def work(desk: SqlReviewDesk) -> ReviewWork:
    reviewable = Reviewable(validate=lambda outcome: outcome, effect=lambda id_, request, outcome: effect(id_))
    return ReviewWork(desk, {USE_CASE: reviewable})


@pytest.fixture
def review_id(database: Database, desk: SqlReviewDesk, clock: Clock) -> str:
    asyncio.run(store(database, clock, decision(disposition=Disposition.REVIEW)))
    (item,) = asyncio.run(desk.list(REVIEWER, None, 10))
    return item.id


def approve(item):
    return Judgement(Verdict.APPROVE, "fine", None, effect(item.decision_id))


def actions(database: Database) -> list[str]:
    """What was done, besides reading the list."""
    return [row.action for row in rows(database, AuditRow) if row.action != "reviews.read"]


def test_escalated_items_come_first_then_the_oldest(desk, database, clock):
    async def story():
        for id_, disposition in (("a", "review"), ("b", "escalate"), ("c", "review"), ("d", "escalate")):
            clock.forward(1)
            await store(database, clock, decision(id_, Disposition(disposition), at=clock()))
        return await desk.list(REVIEWER, ReviewState.OPEN, 3)

    assert [item.decision_id for item in asyncio.run(story())] == ["b", "d", "a"]


def test_an_item_carries_the_message_and_the_outcome(desk, review_id):
    (item,) = asyncio.run(desk.list(REVIEWER, ReviewState.OPEN, 10))
    assert (item.request, item.outcome["category"], item.source) == (REQUEST, "delivery", "model")
    assert (item.claimed_by, item.verdict, item.corrected) == (None, None, None)


def test_of_racing_reviewers_one_gets_the_item(desk, review_id):
    async def race():
        callers = [Caller(f"r{n}", "acme", RON.roles) for n in range(10)]
        return await asyncio.gather(*(desk.claim(c, review_id) for c in callers), return_exceptions=True)

    results = asyncio.run(race())
    assert sum(isinstance(result, Conflict) for result in results) == 9


def test_a_claim_ends_after_half_an_hour(desk, review_id, clock, database):
    async def story():
        await desk.claim(REVIEWER, review_id)
        await desk.claim(REVIEWER, review_id)  # again by the same person is fine
        with pytest.raises(Conflict):
            await desk.claim(RON, review_id)
        assert await desk.list(REVIEWER, ReviewState.OPEN, 10) == []
        clock.forward(1801)
        (item,) = await desk.list(REVIEWER, ReviewState.OPEN, 10)
        assert item.claimed_by is None
        assert (await desk.claim(RON, review_id)).claimed_by == "ron"
        assert len(await desk.list(REVIEWER, ReviewState.CLAIMED, 10)) == 1

    asyncio.run(story())
    assert actions(database).count("review.claimed") == 3


def test_who_read_customers_words_is_on_record_with_the_decisions(desk, review_id, database, clock):
    asyncio.run(desk.list(STRANGER, None, 10))  # nothing to read there
    read = [row for row in rows(database, AuditRow) if row.action == "reviews.read"]
    assert [(row.actor, row.tenant, row.object, row.details) for row in read] == [
        ("rita", "acme", "all", {"decisions": ["d-1"]})
    ]


def test_another_tenant_sees_no_item(desk, review_id):
    async def story():
        assert await desk.list(STRANGER, None, 10) == []
        with pytest.raises(NotFound):
            await desk.claim(STRANGER, review_id)
        with pytest.raises(NotFound):
            await desk.settle(STRANGER, review_id, approve)

    asyncio.run(story())


def test_a_verdict_commits_with_effect_job_and_audit_row(work, review_id, database, queue):
    item = asyncio.run(work.decide(REVIEWER, review_id, Verdict.APPROVE, None, "looks right"))
    assert (item.state, item.verdict, item.note) == (ReviewState.CLOSED, Verdict.APPROVE, "looks right")
    assert item.claimed_by == "rita"  # who decides without having claimed has claimed by deciding
    (row,) = rows(database, EffectRow)
    assert (row.state, row.key) == ("queued", f"{USE_CASE}:d-1")
    assert queue.jobs == [(f"{USE_CASE}:d-1", 1)]
    assert actions(database) == ["decision.made", "review.closed"]


def test_of_racing_verdicts_one_counts(work, review_id, database, queue):
    async def race():
        callers = [Caller(f"r{n}", "acme", RON.roles) for n in range(5)]
        verdicts = [work.decide(c, review_id, Verdict.APPROVE, None, "yes") for c in callers]
        return await asyncio.gather(*verdicts, return_exceptions=True)

    assert sum(isinstance(result, Conflict) for result in asyncio.run(race())) == 4
    assert len(queue.jobs) == len(rows(database, EffectRow)) == 1


def test_a_closed_review_cannot_be_claimed_or_decided_again(work, review_id):
    async def story():
        await work.decide(REVIEWER, review_id, Verdict.REJECT, None, "spam")
        with pytest.raises(Conflict):
            await work.decide(REVIEWER, review_id, Verdict.APPROVE, None, "")
        with pytest.raises(Conflict):
            await work.claim(REVIEWER, review_id)

    asyncio.run(story())


def test_who_has_not_the_claim_cannot_decide(work, review_id, clock):
    async def story():
        await work.claim(REVIEWER, review_id)
        with pytest.raises(Conflict):
            await work.decide(RON, review_id, Verdict.APPROVE, None, "")
        clock.forward(1801)
        assert (await work.decide(RON, review_id, Verdict.APPROVE, None, "")).claimed_by == "ron"

    asyncio.run(story())


def test_a_broken_queue_leaves_the_review_open(work, review_id, database, queue, desk):
    queue.broken = True
    with pytest.raises(RuntimeError):
        asyncio.run(work.decide(REVIEWER, review_id, Verdict.APPROVE, None, ""))
    (item,) = asyncio.run(desk.list(REVIEWER, ReviewState.OPEN, 10))
    assert item.verdict is None
    assert rows(database, EffectRow) == []
    assert actions(database) == ["decision.made"]


def test_a_review_whose_message_was_erased_is_shown_but_not_decided(work, review_id, database):
    database.write_sync(lambda session: session.delete(session.get(PayloadRow, "d-1")))

    async def story():
        (item,) = await work.list(REVIEWER, None)
        assert item.request == {}
        with pytest.raises(Conflict):
            await work.decide(REVIEWER, review_id, Verdict.APPROVE, None, "")

    asyncio.run(story())


def test_a_decision_is_found_with_its_review_and_its_effect(work, review_id, database):
    decisions = SqlDecisions(database)

    async def story():
        before = await decisions.show(ALICE, "d-1")
        corrected = {"category": "billing"}
        await work.decide(REVIEWER, review_id, Verdict.CORRECT, corrected, "wrong box")
        return before, await decisions.show(ALICE, "d-1")

    before, after = asyncio.run(story())
    assert before["effect"] == {"state": "none", "reference": None}
    assert before["review"]["state"] == "open"
    assert after["effect"] == {"state": "queued", "reference": None}
    assert after["review"] == {
        "id": review_id,
        "state": "closed",
        "verdict": "correct",
        "note": "wrong box",
        "reviewer": "rita",
        "corrected": {"category": "billing"},
    }
    assert after["usage"] == {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.001}
    assert after["at"] == "2026-11-22T12:00:00+00:00"


def test_a_decision_of_another_tenant_is_not_found(database, clock):
    asyncio.run(store(database, clock, decision()))
    decisions = SqlDecisions(database)
    with pytest.raises(NotFound):
        asyncio.run(decisions.show(Caller("eve", "elsewhere", frozenset(Role)), "d-1"))
    assert asyncio.run(decisions.show(ALICE, "d-1"))["review"] is None
