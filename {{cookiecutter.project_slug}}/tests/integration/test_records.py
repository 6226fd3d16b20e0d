"""Claims, and the transaction that stores an answer."""

import asyncio

import pytest

from service.application.decision import Disposition
from service.application.errors import Conflict, InProgress, KeyReused
from service.application.idempotency import Opened
from service.application.identity import Caller
from service.integration.database.records import SqlRecords
from service.integration.database.session import Database
from service.integration.database.tables import (
    AuditRow,
    DecisionRow,
    EffectRow,
    IdempotencyRow,
    PayloadRow,
    ReviewItemRow,
)
from tests.example import USE_CASE
from tests.integration.examples import ALICE, REQUEST, Clock, Queue, decision, digest, effect, rows

ANSWER = {"z": 1, "decision_id": "d-1", "a": [1.5, None, "é"]}
EVERYTHING = (DecisionRow, PayloadRow, AuditRow, EffectRow, ReviewItemRow, IdempotencyRow)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def records(database: Database, queue: Queue, clock: Clock) -> SqlRecords:
    return SqlRecords(database, queue, digest, clock)


def test_of_twenty_racing_requests_one_gets_the_claim(records):
    async def race():
        return await asyncio.gather(*(records.open(ALICE, "k", REQUEST) for _ in range(20)), return_exceptions=True)

    results = asyncio.run(race())
    assert sum(isinstance(result, Opened) for result in results) == 1
    assert sum(isinstance(result, InProgress) for result in results) == 19


def test_an_answered_key_gives_the_same_answer_byte_for_byte(records):
    async def story():
        opened = await records.open(ALICE, "k", REQUEST)
        assert opened.answer is None
        await records.close(decision(), opened.claim, REQUEST, ANSWER, effect())
        return await records.open(ALICE, "k", REQUEST)

    again = asyncio.run(story())
    assert again == Opened(ANSWER, claim=None)
    assert list(again.answer) == list(ANSWER)


def test_a_key_with_another_body_is_refused_before_and_after_the_answer(records):
    other = {**REQUEST, "body": "something else"}

    async def story():
        mine = (await records.open(ALICE, "k", REQUEST)).claim
        with pytest.raises(KeyReused):
            await records.open(ALICE, "k", other)
        await records.close(decision(), mine, REQUEST, ANSWER, effect())
        with pytest.raises(KeyReused):
            await records.open(ALICE, "k", other)

    asyncio.run(story())


def test_a_key_belongs_to_one_caller_of_one_tenant(records):
    async def story():
        for caller in (ALICE, Caller("bob", "acme", ALICE.roles), Caller("alice", "other", ALICE.roles)):
            claim = (await records.open(caller, "k", REQUEST)).claim
            assert (claim.tenant, claim.actor, claim.key) == (caller.tenant, caller.subject, "k")

    asyncio.run(story())


def test_without_a_key_opening_touches_no_database(records, database):
    asyncio.run(database.close())
    assert asyncio.run(records.open(ALICE, None, REQUEST)) == Opened(answer=None, claim=None)
    asyncio.run(records.abandon(None))


def test_an_auto_decision_is_stored_with_its_effect_and_job(records, database, queue):
    asyncio.run(records.close(decision(), None, REQUEST, ANSWER, effect()))
    (stored,), (payload,), (audit,) = rows(database, DecisionRow), rows(database, PayloadRow), rows(database, AuditRow)
    assert (stored.tenant, stored.outcome["category"], stored.cost_usd) == ("acme", "delivery", 0.001)
    assert stored.at == decision().at
    assert stored.at.utcoffset().total_seconds() == 0
    assert (payload.request, payload.customer_ref, payload.expires_at) == (REQUEST, "c-1", None)
    assert (audit.action, audit.object, audit.actor) == ("decision.made", "d-1", "alice")
    (queued,) = rows(database, EffectRow)
    assert (queued.state, queued.enqueues, queued.attempts, queued.body) == ("queued", 1, 0, effect().body)
    assert queue.jobs == [(f"{USE_CASE}:d-1", 1)]
    assert rows(database, ReviewItemRow) == []


def test_any_other_decision_opens_a_review(records, database, queue):
    asyncio.run(records.close(decision(disposition=Disposition.ESCALATE), None, REQUEST, ANSWER, None))
    (item,) = rows(database, ReviewItemRow)
    assert (item.decision_id, item.state, item.disposition, item.tenant) == ("d-1", "open", "escalate", "acme")
    assert rows(database, EffectRow) == []
    assert queue.jobs == []


def test_the_audit_row_holds_none_of_the_customers_words(records, database):
    asyncio.run(records.close(decision(), None, REQUEST, ANSWER, effect()))
    (audit,) = rows(database, AuditRow)
    assert "order" not in str(audit.details)
    assert "Soon" not in str(audit.details)


def test_a_broken_queue_leaves_nothing_of_the_decision(records, database, queue):
    async def story():
        mine = (await records.open(ALICE, "k", REQUEST)).claim
        queue.broken = True
        with pytest.raises(RuntimeError):
            await records.close(decision(), mine, REQUEST, ANSWER, effect())
        await records.abandon(mine)

    asyncio.run(story())
    assert [rows(database, table) for table in EVERYTHING] == [[]] * len(EVERYTHING)


def test_an_abandoned_claim_is_free_at_once(records):
    async def story():
        first = (await records.open(ALICE, "k", REQUEST)).claim
        await records.abandon(first)
        second = (await records.open(ALICE, "k", REQUEST)).claim
        assert second.owner != first.owner

    asyncio.run(story())


def test_abandoning_takes_no_answer_and_no_claim_of_another(records, clock):
    async def story():
        late = (await records.open(ALICE, "k", REQUEST)).claim
        clock.forward(61)
        mine = (await records.open(ALICE, "k", REQUEST)).claim
        await records.abandon(late)
        with pytest.raises(InProgress):
            await records.open(ALICE, "k", REQUEST)
        await records.close(decision(), mine, REQUEST, ANSWER, effect())
        await records.abandon(mine)
        assert (await records.open(ALICE, "k", REQUEST)).answer == ANSWER

    asyncio.run(story())


@pytest.mark.parametrize("lease_s", [60, 90])
def test_a_crashed_owner_loses_its_claim_when_the_lease_ends(database, queue, clock, lease_s):
    records = SqlRecords(database, queue, digest, clock, lease_s=lease_s)

    async def story():
        await records.open(ALICE, "k", REQUEST)
        clock.forward(lease_s - 1)
        with pytest.raises(InProgress):
            await records.open(ALICE, "k", REQUEST)
        clock.forward(2)
        racing = [records.open(ALICE, "k", REQUEST) for _ in range(5)]
        results = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(result, Opened) for result in results) == 1

    asyncio.run(story())


def test_who_lost_the_claim_writes_nothing(records, clock, database):
    async def story():
        lost = (await records.open(ALICE, "k", REQUEST)).claim
        clock.forward(61)
        await records.open(ALICE, "k", REQUEST)  # somebody else's, from now on
        with pytest.raises(Conflict):
            await records.close(decision(), lost, REQUEST, ANSWER, effect())
        await records.abandon(lost)

    asyncio.run(story())
    assert rows(database, DecisionRow) == []
    assert len(rows(database, IdempotencyRow)) == 1


def test_a_slow_owner_nobody_replaced_may_still_answer(records, clock):
    async def story():
        mine = (await records.open(ALICE, "k", REQUEST)).claim
        clock.forward(300)
        await records.close(decision(), mine, REQUEST, ANSWER, effect())
        assert (await records.open(ALICE, "k", REQUEST)).answer == ANSWER

    asyncio.run(story())


def test_a_caller_that_hangs_up_while_claiming_leaves_no_claim(records, database):
    async def story():
        opening = asyncio.create_task(records.open(ALICE, "k", REQUEST))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    asyncio.run(story())
    assert rows(database, IdempotencyRow) == []
