"""The side-effect ledger and the sweep that works it off."""

import asyncio

import pytest

from service.integration.database.ledger import SqlBacklog, SqlLedger
from service.integration.database.session import Database
from service.integration.database.tables import EffectRow
from tests.example import USE_CASE
from tests.integration.examples import Clock, Queue, decision, effect, rows, store

KEY = f"{USE_CASE}:d-1"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(database: Database, clock: Clock) -> SqlLedger:
    asyncio.run(store(database, clock, decision(), with_effect=True))
    return SqlLedger(database, clock)


def the_row(database: Database) -> EffectRow:
    (row,) = rows(database, EffectRow)
    return row


def test_of_two_workers_one_begins(ledger, database):
    async def race():
        return await asyncio.gather(*(ledger.begin(KEY) for _ in range(8)))

    begun = [result for result in asyncio.run(race()) if result is not None]
    assert begun == [(effect(), 1)]
    assert the_row(database).attempts == 1


def test_an_unknown_effect_cannot_begin(ledger):
    assert asyncio.run(ledger.begin(f"{USE_CASE}:nothing")) is None


def test_done_is_final(ledger, database):
    async def story():
        await ledger.begin(KEY)
        await ledger.done(KEY, "T-1")
        await ledger.failed(KEY, "too late")
        await ledger.retry_in(KEY, 0, "too late")
        await ledger.hold(KEY)
        await ledger.done(KEY, "T-2")
        assert await ledger.begin(KEY) is None

    asyncio.run(story())
    row = the_row(database)
    assert (row.state, row.reference, row.last_error, row.leased_until) == ("done", "T-1", None, None)


def test_a_failed_effect_is_not_tried_again(ledger, database):
    async def story():
        await ledger.begin(KEY)
        await ledger.failed(KEY, "HTTP 422")
        assert await ledger.begin(KEY) is None

    asyncio.run(story())
    assert (the_row(database).state, the_row(database).last_error) == ("failed", "HTTP 422")


def test_a_dead_workers_lease_ends(ledger, clock):
    async def story():
        assert (await ledger.begin(KEY))[1] == 1
        clock.forward(59)
        assert await ledger.begin(KEY) is None
        clock.forward(2)
        assert (await ledger.begin(KEY))[1] == 2

    asyncio.run(story())


def test_an_effect_on_hold_can_begin_once_the_switch_is_on(ledger, database):
    async def story():
        await ledger.hold(KEY)
        assert the_row(database).state == "held"
        assert (await ledger.begin(KEY))[1] == 1

    asyncio.run(story())
    assert the_row(database).state == "queued"


def test_holding_leaves_a_running_attempt_alone(ledger, database):
    async def story():
        await ledger.begin(KEY)
        await ledger.hold(KEY)

    asyncio.run(story())
    assert the_row(database).state == "queued"
    assert the_row(database).leased_until is not None


def test_the_sweep_queues_what_is_overdue_and_counts_its_jobs(ledger, database, clock):
    queue = Queue()
    backlog = SqlBacklog(database, queue, clock)

    async def story():
        assert await backlog.requeue_due(include_held=True) == 0
        clock.forward(61)
        assert await backlog.requeue_due(include_held=False) == 1
        assert await backlog.requeue_due(include_held=False) == 0
        clock.forward(61)
        assert await backlog.requeue_due(include_held=False) == 1

    asyncio.run(story())
    assert queue.jobs == [(KEY, 2), (KEY, 3)]
    assert the_row(database).enqueues == 3


def test_the_sweep_waits_for_a_retry_to_be_due(ledger, database, clock):
    backlog = SqlBacklog(database, Queue(), clock)

    async def story():
        await ledger.begin(KEY)
        await ledger.retry_in(KEY, 8.0, "HTTP 503")
        clock.forward(7)
        assert await backlog.requeue_due(include_held=False) == 0
        clock.forward(2)
        assert await backlog.requeue_due(include_held=False) == 1

    asyncio.run(story())


def test_the_sweep_leaves_a_running_attempt_alone_until_its_lease_ends(ledger, database, clock):
    backlog = SqlBacklog(database, Queue(), clock)

    async def story():
        clock.forward(30)
        await ledger.begin(KEY)
        clock.forward(45)
        assert await backlog.requeue_due(include_held=True) == 0
        clock.forward(16)
        assert await backlog.requeue_due(include_held=True) == 1

    asyncio.run(story())


def test_held_effects_are_queued_only_when_asked_for(ledger, database, clock):
    backlog = SqlBacklog(database, Queue(), clock)

    async def story():
        await ledger.hold(KEY)
        clock.forward(3600)
        assert await backlog.requeue_due(include_held=False) == 0
        assert await backlog.requeue_due(include_held=True) == 1

    asyncio.run(story())
    assert the_row(database).state == "queued"


def test_two_sweeps_at_once_queue_each_effect_once_and_all_of_them(database, clock):
    queue = Queue()

    async def story():
        for number in range(120):
            await store(database, clock, decision(f"d-{number}"), with_effect=True)
        clock.forward(61)
        sweeps = [SqlBacklog(database, queue, clock).requeue_due(include_held=False) for _ in range(2)]
        return sum(await asyncio.gather(*sweeps))

    assert asyncio.run(story()) == len(queue.jobs)
    assert len(set(queue.jobs)) == len(queue.jobs) == 120


def test_a_broken_queue_leaves_the_effect_due(ledger, database, clock):
    queue = Queue(broken=True)
    backlog = SqlBacklog(database, queue, clock)

    async def story():
        clock.forward(61)
        with pytest.raises(RuntimeError):
            await backlog.requeue_due(include_held=False)
        queue.broken = False
        assert await backlog.requeue_due(include_held=False) == 1

    asyncio.run(story())
    assert queue.jobs == [(KEY, 2)]
