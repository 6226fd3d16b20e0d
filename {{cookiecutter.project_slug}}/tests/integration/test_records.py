"""Claims and held money, the transaction that stores an answer, and earlier answers to the same question."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, update

from service.application.decision import Disposition, Earlier, Source, Usage
from service.application.errors import Conflict, InProgress, KeyReused, Unavailable
from service.application.held import Opened, Spender
from service.application.identity import Caller
from service.integration.database.budgets import Budgets, Limits
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
from tests.integration.examples import (
    ALICE,
    REQUEST,
    Clock,
    Queue,
    contents,
    decision,
    digest,
    effect,
    rows,
    store,
    used,
)

SPENDER = Spender("acme", f"{USE_CASE}-abc", "acme/caller")
HELD, COST = 250_000, 1_000  # millionths of a dollar: one request's hold, and what `decision()` costs
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


@pytest.fixture
def thrifty(database: Database, queue: Queue, clock: Clock) -> SqlRecords:
    """Records with a budget for four requests a day."""
    budgets = Budgets(Limits(1.0, 1.0, 0.25), lambda *_news: None)
    return SqlRecords(database, queue, digest, clock, budgets=budgets)


def spent(database: Database) -> int:
    """What the tenant and the release have used alike."""
    (total,) = set(used(database).values())
    return total


def test_of_twenty_racing_requests_one_gets_the_claim(records):
    async def race():
        racing = [records.open(ALICE, "k", REQUEST, None) for _ in range(20)]
        return await asyncio.gather(*racing, return_exceptions=True)

    results = asyncio.run(race())
    assert sum(isinstance(result, Opened) for result in results) == 1
    assert sum(isinstance(result, InProgress) for result in results) == 19


def test_an_answered_key_gives_the_same_answer_byte_for_byte(records):
    made = decision(outcome={"z": 1, "category": "delivery", "a": [1.5, None, "é"]})

    async def story():
        opened = await records.open(ALICE, "k", REQUEST, None)
        assert opened.answer is None
        await records.close(made, opened, REQUEST, effect())
        return await records.open(ALICE, "k", REQUEST, None)

    again = asyncio.run(story())
    assert again == Opened(made.answer())
    assert json.dumps(again.answer) == json.dumps(made.answer())


def test_a_key_with_another_body_is_refused_before_and_after_the_answer(records):
    other = {**REQUEST, "body": "something else"}

    async def story():
        mine = await records.open(ALICE, "k", REQUEST, None)
        with pytest.raises(KeyReused):
            await records.open(ALICE, "k", other, None)
        await records.close(decision(), mine, REQUEST, effect())
        with pytest.raises(KeyReused):
            await records.open(ALICE, "k", other, None)

    asyncio.run(story())


def test_a_key_belongs_to_one_caller_of_one_tenant(records):
    async def story():
        for caller in (ALICE, Caller("bob", "acme", ALICE.roles), Caller("alice", "other", ALICE.roles)):
            claim = (await records.open(caller, "k", REQUEST, None)).claim
            assert (claim.tenant, claim.actor, claim.key) == (caller.tenant, caller.subject, "k")

    asyncio.run(story())


def test_without_a_key_opening_touches_no_database(records, database):
    asyncio.run(database.close())
    assert asyncio.run(records.open(ALICE, None, REQUEST, None)) == Opened()
    asyncio.run(records.abandon(Opened(), None))


def test_an_auto_decision_is_stored_with_its_effect_and_job(records, database, queue):
    asyncio.run(records.close(decision(), Opened(), REQUEST, effect()))
    (stored,), (payload,), (audit,) = rows(database, DecisionRow), rows(database, PayloadRow), rows(database, AuditRow)
    assert (stored.tenant, stored.outcome["category"], stored.cost_usd) == ("acme", "delivery", 0.001)
    assert stored.at == decision().at
    assert stored.at.utcoffset().total_seconds() == 0
    assert contents(database, "payload") == {"d-1": {"request": REQUEST, "calls": []}}
    assert (payload.created_at, b"order" in payload.encrypted) == (decision().at, False)
    assert (audit.action, audit.object, audit.actor) == ("decision.made", "d-1", "alice")
    (queued,) = rows(database, EffectRow)
    assert (queued.state, queued.enqueues, queued.attempts) == ("queued", 1, 0)
    assert contents(database, "effect") == {"d-1": effect().body}
    assert queue.jobs == [(f"{USE_CASE}:d-1", 1)]
    assert rows(database, ReviewItemRow) == []


def test_any_other_decision_opens_a_review(records, database, queue):
    asyncio.run(records.close(decision(disposition=Disposition.ESCALATE), Opened(), REQUEST, None))
    (item,) = rows(database, ReviewItemRow)
    assert (item.decision_id, item.state, item.disposition, item.tenant) == ("d-1", "open", "escalate", "acme")
    assert rows(database, EffectRow) == []
    assert queue.jobs == []


def test_the_audit_row_holds_none_of_the_customers_words(records, database):
    asyncio.run(records.close(decision(), Opened(), REQUEST, effect()))
    (audit,) = rows(database, AuditRow)
    assert "order" not in str(audit.details)
    assert "Soon" not in str(audit.details)


def test_a_broken_queue_leaves_nothing_of_the_decision(records, database, queue):
    async def story():
        mine = await records.open(ALICE, "k", REQUEST, None)
        queue.broken = True
        with pytest.raises(RuntimeError):
            await records.close(decision(), mine, REQUEST, effect())
        await records.abandon(mine, None)

    asyncio.run(story())
    assert [rows(database, table) for table in EVERYTHING] == [[]] * len(EVERYTHING)


def test_an_abandoned_claim_is_free_at_once(records):
    async def story():
        first = await records.open(ALICE, "k", REQUEST, None)
        await records.abandon(first, None)
        second = await records.open(ALICE, "k", REQUEST, None)
        assert second.claim.owner != first.claim.owner

    asyncio.run(story())


def test_abandoning_takes_no_answer_and_no_claim_of_another(records, clock):
    async def story():
        late = await records.open(ALICE, "k", REQUEST, None)
        clock.forward(61)
        mine = await records.open(ALICE, "k", REQUEST, None)
        await records.abandon(late, None)
        with pytest.raises(InProgress):
            await records.open(ALICE, "k", REQUEST, None)
        await records.close(decision(), mine, REQUEST, effect())
        await records.abandon(mine, None)
        assert (await records.open(ALICE, "k", REQUEST, None)).answer == decision().answer()

    asyncio.run(story())


@pytest.mark.parametrize("lease_s", [60, 90])
def test_a_crashed_owner_loses_its_claim_when_the_lease_ends(database, queue, clock, lease_s):
    records = SqlRecords(database, queue, digest, clock, lease_s=lease_s)

    async def story():
        await records.open(ALICE, "k", REQUEST, None)
        clock.forward(lease_s - 1)
        with pytest.raises(InProgress):
            await records.open(ALICE, "k", REQUEST, None)
        clock.forward(2)
        racing = [records.open(ALICE, "k", REQUEST, None) for _ in range(5)]
        results = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(result, Opened) for result in results) == 1

    asyncio.run(story())


def test_who_lost_the_claim_writes_nothing(records, clock, database):
    async def story():
        lost = await records.open(ALICE, "k", REQUEST, None)
        clock.forward(61)
        await records.open(ALICE, "k", REQUEST, None)  # somebody else's, from now on
        with pytest.raises(Conflict):
            await records.close(decision(), lost, REQUEST, effect())
        await records.abandon(lost, None)

    asyncio.run(story())
    assert rows(database, DecisionRow) == []
    assert len(rows(database, IdempotencyRow)) == 1


def test_a_slow_owner_nobody_replaced_may_still_answer(records, clock):
    async def story():
        mine = await records.open(ALICE, "k", REQUEST, None)
        clock.forward(300)
        await records.close(decision(), mine, REQUEST, effect())
        assert (await records.open(ALICE, "k", REQUEST, None)).answer == decision().answer()

    asyncio.run(story())


def test_a_caller_that_hangs_up_while_claiming_leaves_no_claim(records, database):
    asyncio.run(hang_up(lambda: records.open(ALICE, "k", REQUEST, None)))
    assert rows(database, IdempotencyRow) == []


async def hang_up(call):
    """Begin, leave at once, and wait for what goes on without the caller."""
    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])
    await the_rest()
    assert calling.cancelled()


async def the_rest():
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def test_money_is_held_with_the_claim_and_settled_with_the_answer(thrifty, database):
    async def story():
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        assert (opened.granted, opened.hold.spender, opened.hold.usd) == (True, SPENDER, 0.25)
        assert spent(database) == HELD
        await thrifty.close(decision(), opened, REQUEST, effect())

    asyncio.run(story())
    assert used(database) == {("2026-11-22", "acme"): COST, ("2026-11-22", SPENDER.release): COST}


def test_a_conflict_or_a_replay_holds_nothing(thrifty, database):
    async def story():
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        with pytest.raises(InProgress):
            await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        with pytest.raises(KeyReused):
            await thrifty.open(ALICE, "k", {**REQUEST, "body": "else"}, SPENDER)
        assert spent(database) == HELD
        await thrifty.close(decision(), opened, REQUEST, effect())
        assert await thrifty.open(ALICE, "k", REQUEST, SPENDER) == Opened(decision().answer())

    asyncio.run(story())
    assert spent(database) == COST


def test_without_a_key_money_is_held_all_the_same(thrifty, database):
    opened = asyncio.run(thrifty.open(ALICE, None, REQUEST, SPENDER))
    assert (opened.claim, opened.granted, spent(database)) == (None, True, HELD)


def test_who_asks_no_model_holds_nothing(thrifty, database):
    assert asyncio.run(thrifty.open(ALICE, "k", REQUEST, None)).hold is None
    assert used(database) == {}


def test_a_spent_budget_leaves_the_claim_and_grants_no_model(thrifty, database):
    by_rules = decision(source=Source.RULES, usage=Usage())

    async def story():
        for number in range(4):
            assert (await thrifty.open(ALICE, f"k{number}", REQUEST, SPENDER)).granted
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        assert (opened.granted, opened.hold, opened.claim.key) == (False, None, "k")
        await thrifty.close(by_rules, opened, REQUEST, effect())
        assert (await thrifty.open(ALICE, "k", REQUEST, SPENDER)).answer == by_rules.answer()

    asyncio.run(story())
    assert spent(database) == 4 * HELD


def test_an_unknown_cost_stays_held(thrifty, database):
    async def story():
        opened = await thrifty.open(ALICE, None, REQUEST, SPENDER)
        await thrifty.close(decision(usage=Usage(10, 5, None)), opened, REQUEST, effect())

    asyncio.run(story())
    assert spent(database) == HELD


def test_an_answer_that_is_not_stored_is_not_settled_until_it_is_abandoned(thrifty, database, queue):
    async def story():
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        queue.broken = True
        with pytest.raises(RuntimeError):
            await thrifty.close(decision(), opened, REQUEST, effect())
        assert spent(database) == HELD
        await thrifty.abandon(opened, decision().usage)

    asyncio.run(story())
    assert spent(database) == COST


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (Usage(cost_usd=0.4), 400_000),
        (Usage(), 0),
        (Usage(cost_usd=None, at_most_usd=0.02), 20_000),
        (Usage(cost_usd=None), HELD),
        (None, HELD),
    ],
)
def test_abandoning_settles_what_is_known_to_be_spent(thrifty, database, usage, counted):
    async def story():
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        await thrifty.abandon(opened, usage)
        assert (await thrifty.open(ALICE, "k", REQUEST, None)).claim is not None

    asyncio.run(story())
    assert spent(database) == counted


def test_who_lost_the_claim_still_pays(thrifty, database, clock):
    async def story():
        lost = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        clock.forward(61)
        await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        with pytest.raises(Conflict):
            await thrifty.close(decision(), lost, REQUEST, effect())
        await thrifty.abandon(lost, decision().usage)

    asyncio.run(story())
    assert spent(database) == HELD + COST


def test_a_crash_between_the_transactions_leaves_the_money_held(thrifty, database, clock):
    async def story():
        await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        clock.forward(61)
        await thrifty.open(ALICE, "k", REQUEST, SPENDER)

    asyncio.run(story())
    assert spent(database) == 2 * HELD


def test_an_answer_after_midnight_is_settled_on_the_day_it_was_asked(thrifty, database, clock):
    async def story():
        opened = await thrifty.open(ALICE, "k", REQUEST, SPENDER)
        clock.forward(86_400)
        await thrifty.close(decision(), opened, REQUEST, effect())

    asyncio.run(story())
    assert used(database) == {("2026-11-22", "acme"): COST, ("2026-11-22", SPENDER.release): COST}


@pytest.mark.parametrize("key", ["k", None])
def test_a_caller_that_hangs_up_while_opening_leaves_nothing_held(thrifty, database, key):
    asyncio.run(hang_up(lambda: thrifty.open(ALICE, key, REQUEST, SPENDER)))
    assert rows(database, IdempotencyRow) == []
    assert spent(database) == 0


@pytest.mark.parametrize("key", ["k", None])
def test_a_caller_that_hangs_up_while_its_answer_is_stored_pays_once(thrifty, database, key):
    async def story():
        opened = await thrifty.open(ALICE, key, REQUEST, SPENDER)
        await hang_up(lambda: thrifty.close(decision(), opened, REQUEST, effect()))
        await thrifty.abandon(opened, decision().usage)

    asyncio.run(story())
    asyncio.run(database.close())  # waits for what still runs
    assert len(rows(database, DecisionRow)) == 1
    assert spent(database) == COST


def test_an_answer_stored_after_the_patience_for_it_ended_is_paid_once(database, clock):
    def slow_queue(*_job):
        time.sleep(0.5)

    budgets = Budgets(Limits(1.0, 1.0, 0.25), lambda *_news: None)
    slow = SqlRecords(database, slow_queue, digest, clock, budgets=budgets)

    async def story():
        opened = await slow.open(ALICE, None, REQUEST, SPENDER)
        database.patience_s = 0.2
        with pytest.raises(Unavailable):
            await slow.close(decision(), opened, REQUEST, effect())
        await slow.abandon(opened, decision().usage)

    asyncio.run(story())
    asyncio.run(database.close())  # waits for what still runs
    assert spent(database) == COST


AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def earlier(records, since=None, **other):
    question = {"tenant": "acme", "release": f"{USE_CASE}-abc", "digest": "q-1", "since": since, **other}
    return asyncio.run(records.earlier(**question))


def made(database, clock, id_="d-1", **changes):
    asyncio.run(store(database, clock, decision(id_, **changes)))


def test_a_models_answer_to_the_same_question_is_found_with_what_it_read(records, database, clock):
    made(database, clock, taint=("customer_text", "link"))
    outcome = {"category": "delivery", "draft_reply": "Soon."}
    assert earlier(records) == Earlier(outcome, "m-1", ("customer_text", "link"))


@pytest.mark.parametrize("other", [{"tenant": "other"}, {"release": "another"}, {"digest": "q-2"}])
def test_another_tenant_release_or_question_is_not_found(records, database, clock, other):
    made(database, clock)
    assert earlier(records, **other) is None


@pytest.mark.parametrize(("source", "found"), [("model", True), ("backup", True), ("cache", False), ("rules", False)])
def test_only_what_a_model_said_is_found(records, database, clock, source, found):
    made(database, clock, source=Source(source))
    assert (earlier(records) is not None) is found


@pytest.mark.parametrize(("verdict", "found"), [(None, True), ("approve", True), ("correct", False), ("reject", False)])
def test_what_a_person_found_wrong_is_not_found(records, database, clock, verdict, found):
    made(database, clock, disposition=Disposition.REVIEW)
    database.write_sync(lambda session: session.execute(update(ReviewItemRow).values(verdict=verdict)))
    assert (earlier(records) is not None) is found


def test_one_rejection_is_enough_for_no_older_or_repeated_answer_to_be_given_either(records, database, clock):
    made(database, clock, "d-old", at=AT)
    made(
        database, clock, "d-said-again", at=AT + timedelta(days=1), source=Source.CACHE, disposition=Disposition.REVIEW
    )
    assert earlier(records) is not None
    database.write_sync(lambda session: session.execute(update(ReviewItemRow).values(verdict="reject")))
    assert earlier(records) is None


def test_a_rejection_is_not_forgotten_however_often_the_question_comes_again(records, database, clock):
    made(database, clock, "d-old", at=AT, disposition=Disposition.REVIEW)
    database.write_sync(lambda session: session.execute(update(ReviewItemRow).values(verdict="reject")))
    for number in range(30):
        made(database, clock, f"d-{number}", at=AT + timedelta(minutes=number + 1))
    assert earlier(records) is None
    assert earlier(records, AT + timedelta(minutes=10)) is None


def test_the_newest_answer_is_found_and_none_from_before_the_asked_instant(records, database, clock):
    for day in (1, 3, 2):
        made(database, clock, f"d-{day}", model_version=f"m-{day}", at=AT + timedelta(days=day))
    assert earlier(records).model_version == "m-3"
    assert earlier(records, AT + timedelta(days=3)).model_version == "m-3"
    assert earlier(records, AT + timedelta(days=3, seconds=1)) is None


def test_earlier_answers_are_found_by_their_own_index(records, database, clock):
    """And not by the index on tenant and instant, which would read the whole tenant to find nothing."""
    made(database, clock, "d-1", at=AT)
    statements = []

    def remember(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters))

    reader = database.engines[-1]
    event.listen(reader, "before_cursor_execute", remember)
    earlier(records)
    event.remove(reader, "before_cursor_execute", remember)
    statement, parameters = statements[-1]
    postgres = database.dialect == "postgresql"
    with reader.connect() as connection:
        if postgres:  # any plan is as good for a few rows, so it gets as many as a tenant has
            connection.exec_driver_sql(
                "CREATE TEMPORARY TABLE many ON COMMIT DROP AS SELECT d.* FROM decision d, generate_series(1, 5000)"
            )
            connection.exec_driver_sql("UPDATE many SET id = gen_random_uuid(), input_digest = gen_random_uuid()")
            connection.exec_driver_sql("INSERT INTO decision SELECT * FROM many")
            connection.exec_driver_sql("ANALYZE decision")
        explain = "EXPLAIN" if postgres else "EXPLAIN QUERY PLAN"
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
    assert "ix_decision_input_digest_release_tenant_at" in plan
