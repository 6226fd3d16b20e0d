"""Daily budgets: exact under races on any number of replicas, and nothing unknown is ever given back."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import date
from threading import Barrier

import pytest

from service.application.held import Scope, Spender
from service.integration.database.budgets import Budgets, Limits
from service.integration.database.session import Database, open_database
from tests.integration.examples import used

TODAY, TOMORROW = date(2026, 11, 22), date(2026, 11, 23)
ACME, OTHER = Spender("acme", "r-1", "acme/app"), Spender("other", "r-1", "other/app")
BATCH = Spender("acme", "r-1", "acme/batch")
THREADS = 40


@pytest.fixture
def told() -> list:
    return []


@pytest.fixture
def budgets(told) -> Budgets:
    return Budgets(Limits(1.0, 2.0, 0.25), lambda *news: told.append(news))


def unwatched(tenant_usd, release_usd, request_usd) -> Budgets:
    return Budgets(Limits(tenant_usd, release_usd, request_usd), lambda *_news: None)


def hold(database, budgets, spender=ACME, day=TODAY):
    return database.write_sync(lambda session: budgets.hold(session, spender, day))


def settle(database, budgets, held, usd):
    database.write_sync(lambda session: budgets.settle(session, held, usd))


@contextmanager
def two_replicas(database: Database):
    url = database.writer.url.render_as_string(hide_password=False)
    second = open_database(url)
    with closing(second.writer.raw_connection()):  # so that the race is not about who connects first
        pass
    yield database, second
    second.close_sync()


def race(database: Database, do, times: int = THREADS) -> list:
    """The results of `do(replica, number)` in forty threads that begin together, on two replicas in turn."""
    together = Barrier(THREADS)
    with two_replicas(database) as replicas, ThreadPoolExecutor(THREADS) as threads:

        def one(number):
            if number < THREADS:
                together.wait(30)
            return do(replicas[number % 2], number)

        return list(threads.map(one, range(times)))


@pytest.mark.parametrize(("limit", "request_usd", "granted"), [(1.0, 0.1, 10), (0.3, 0.1, 3), (1.0, 0.3, 3)])
def test_of_forty_racing_holds_exactly_those_that_fit_are_granted(database, limit, request_usd, granted):
    budgets = unwatched(limit, None, request_usd)
    holds = race(database, lambda replica, _: hold(replica, budgets))
    assert sum(held is not None for held in holds) == granted
    assert used(database) == {("2026-11-22", "acme"): round(granted * request_usd * 1_000_000)}


def test_tenants_racing_for_one_release_share_its_budget_and_those_refused_hold_nothing(database):
    budgets = unwatched(100, 1.25, 0.05)
    holds = race(database, lambda replica, number: hold(replica, budgets, (ACME, OTHER)[number // 2 % 2]))
    by_tenant = {name: sum(held.spender.tenant == name for held in holds if held) for name in ("acme", "other")}
    assert sum(by_tenant.values()) == 25
    counted = used(database)
    assert counted["2026-11-22", "r-1"] == 1_250_000
    assert {name: counted["2026-11-22", name] // 50_000 for name in by_tenant} == by_tenant


def test_of_two_hundred_holds_a_subject_gets_its_share_and_its_tenant_the_rest(database):
    budgets = Budgets(Limits(1.0, None, 0.01, subject_usd=0.3), lambda *_news: None)
    holds = race(database, lambda replica, number: hold(replica, budgets, (ACME, BATCH)[number % 20 == 0]), times=200)
    granted = Counter(held.spender.subject for held in holds if held)
    assert granted == {"acme/app": 30, "acme/batch": 10}
    assert used(database) == {
        ("2026-11-22", "acme/app"): 300_000,
        ("2026-11-22", "acme/batch"): 100_000,
        ("2026-11-22", "acme"): 400_000,
    }


def test_what_a_subject_is_refused_takes_nothing_from_its_tenant(database):
    budgets = Budgets(Limits(1.0, 1.0, 0.25, subject_usd=0.25), lambda *_news: None)
    assert hold(database, budgets) is not None
    before = used(database)
    assert hold(database, budgets) is None
    assert used(database) == before
    assert hold(database, budgets, BATCH) is not None


def test_what_racing_requests_settle_is_free_for_others_and_nothing_is_lost(database):
    """Each holds a tenth of the budget and costs a hundredth of that, or nobody knows."""
    budgets = unwatched(1.0, 1.0, 0.1)

    def request(replica, number):
        held = hold(replica, budgets)
        if held is None:
            return 0
        cost = None if number % 10 == 0 else 0.001
        settle(replica, budgets, held, cost)
        return 100_000 if cost is None else 1_000

    total = sum(race(database, request))
    assert used(database) == {("2026-11-22", "acme"): total, ("2026-11-22", "r-1"): total}
    assert total <= 1_000_000


def test_a_hold_refused_by_the_release_leaves_nothing_held_in_either_budget(database, told):
    budgets = Budgets(Limits(1.0, 0.25, 0.25), lambda *news: told.append(news))
    assert hold(database, budgets, OTHER) is not None
    before = used(database)
    told.clear()
    assert hold(database, budgets, ACME) is None
    assert used(database) == before | {("2026-11-22", "acme"): 0}
    assert told == [(Scope.RELEASE, "r-1", 1.0, TODAY)]


def test_a_hold_refused_by_the_tenant_does_not_touch_the_release(database, told):
    budgets = Budgets(Limits(0.25, 1.0, 0.25), lambda *news: told.append(news))
    hold(database, budgets)
    before = used(database)
    assert hold(database, budgets) is None
    assert used(database) == before
    assert told[-1] == (Scope.TENANT, "acme", 1.0, TODAY)


@pytest.mark.parametrize("tenant_usd", [0.0, 0.2])
def test_a_budget_smaller_than_one_request_grants_none(database, tenant_usd):
    assert hold(database, unwatched(tenant_usd, None, 0.25)) is None
    assert used(database) == {}


def test_a_scope_without_a_limit_is_not_counted(database):
    assert hold(database, unwatched(None, None, 0.25)) is not None
    assert used(database) == {}
    assert hold(database, unwatched(None, 1.0, 0.25)) is not None
    assert used(database) == {("2026-11-22", "r-1"): 250_000}


def test_a_request_that_would_hold_nothing_is_no_limit_and_refused():
    for nothing in (0.0, -1.0, 1e-12):
        with pytest.raises(ValueError, match="must hold something"):
            Limits(1.0, 1.0, nothing)


@pytest.mark.parametrize(
    ("cost", "counted"),
    [
        (0.0, 0),
        (0.001, 1_000),
        (0.0079, 7_900),  # 7900.000000000001 as a float
        (0.0000004, 1),  # rounded up, so that many of them count
        (0.25, 250_000),
        (3.0, 3_000_000),
        (None, 250_000),
        (float("nan"), 250_000),
        (-1.0, 250_000),
    ],
)
def test_a_settled_hold_counts_its_cost_and_an_unknown_cost_stays_held(database, budgets, cost, counted):
    settle(database, budgets, hold(database, budgets), cost)
    assert used(database) == {("2026-11-22", "acme"): counted, ("2026-11-22", "r-1"): counted}


def test_a_costly_answer_may_end_a_day_above_its_limit_and_nothing_more_is_granted(database, budgets, told):
    settle(database, budgets, hold(database, budgets), 1.5)
    assert (Scope.TENANT, "acme", 1.5, TODAY) in told
    assert hold(database, budgets) is None
    assert used(database)["2026-11-22", "acme"] == 1_500_000


def test_a_crash_between_hold_and_settlement_stays_held_for_the_day(database, budgets):
    for _ in range(4):
        hold(database, budgets)
    assert hold(database, budgets) is None
    assert hold(database, budgets, day=TOMORROW) is not None


def test_a_hold_from_before_midnight_is_settled_on_its_own_day(database, budgets, told):
    yesterdays = hold(database, budgets)
    hold(database, budgets, day=TOMORROW)
    settle(database, budgets, yesterdays, 0.01)
    assert used(database) == {
        ("2026-11-22", "acme"): 10_000,
        ("2026-11-22", "r-1"): 10_000,
        ("2026-11-23", "acme"): 250_000,
        ("2026-11-23", "r-1"): 250_000,
    }
    assert told[-2:] == [(Scope.TENANT, "acme", 0.01, TODAY), (Scope.RELEASE, "r-1", 0.005, TODAY)]


def test_a_rolled_back_transaction_holds_nothing(database, budgets):
    def fail(session):
        budgets.hold(session, ACME, TODAY)
        raise KeyError("a bug after the hold")

    with pytest.raises(KeyError):
        database.write_sync(fail)
    assert used(database) == {}


def test_the_watch_is_told_the_share_of_each_budget_after_each_change(database, budgets, told):
    settle(database, budgets, hold(database, budgets), 0.5)
    assert told == [
        (Scope.TENANT, "acme", 0.25, TODAY),
        (Scope.RELEASE, "r-1", 0.125, TODAY),
        (Scope.TENANT, "acme", 0.5, TODAY),
        (Scope.RELEASE, "r-1", 0.25, TODAY),
    ]


def test_a_broken_watch_undoes_nothing(database):
    def broken(*_news):
        raise RuntimeError("the watch is broken")

    budgets = Budgets(Limits(0.25, 1.0, 0.25), broken)
    held = hold(database, budgets)
    assert hold(database, budgets) is None
    settle(database, budgets, held, 0.1)
    assert used(database) == {("2026-11-22", "acme"): 100_000, ("2026-11-22", "r-1"): 100_000}


def test_a_budget_emptied_by_hand_is_simply_empty(database, budgets, told):
    """An operator deletes the row to let a tenant go on."""
    held = hold(database, budgets)
    database.write_sync(lambda session: session.connection().exec_driver_sql("DELETE FROM budget"))
    settle(database, budgets, held, 0.01)
    assert used(database) == {}
    assert told[-1] == (Scope.RELEASE, "r-1", 0.0, TODAY)
