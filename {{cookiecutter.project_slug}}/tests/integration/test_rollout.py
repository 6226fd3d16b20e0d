"""Canary, rollback, the last release that fits, and what is counted of each."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from service.application.decision import Disposition, Reason, Source, Usage
from service.application.errors import ApplicationError, Invalid
from service.application.release import Code, Gate
from service.application.review.contract import Verdict
from service.application.review.use_case import Judgement
from service.integration.database import releases
from service.integration.database.measured import measure
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.tables import ProcessRow, ReviewItemRow
from service.integration.flags import document, processes, rollout, store
from service.integration.flags.processes import Presence
from service.integration.flags.provider import DatabaseFlagProvider
from service.integration.flags.switches import FlagSwitches
from tests.example import RELEASE_FLAG, USE_CASE
from tests.integration.examples import ALICE, REVIEWER, Clock, Queue, decision, rows
from tests.integration.examples import store as store_decision
from tests.integration.test_flag_provider import CODE, UNAPPROVED, activate, arrived, publish, release, seed

NEWER = Code(contract=("c",), rules=("r",), guards=("g2", "g"))


def flag(database):
    return database.read_sync(store.read_document)["flags"][RELEASE_FLAG]


def canary(database, chosen, percent):
    database.write_sync(lambda s: rollout.canary(s, chosen.name, percent, "olga", "try it", UNAPPROVED))


def roll_back(database):
    return database.write_sync(lambda s: rollout.rollback(s, USE_CASE, "olga", "it lies", CODE))[1:]


@pytest.fixture
def two(database):
    """Two published releases, of which the first is active."""
    seed(database)
    first, second = publish(database, "1"), publish(database, "2")
    activate(database, first)
    return first, second


@pytest.fixture
def live(database):
    """Switches and provider on the newest revision, refreshed by hand."""
    published = releases.SqlReleases(database, CODE)
    provider = DatabaseFlagProvider(database, None, published.refresh)
    yield FlagSwitches(provider, published), provider
    provider.shutdown()


def test_a_canary_meets_its_share_of_customers_grows_and_another_meets_others(database, two, live):
    (first, second), (switches, provider) = two, live
    refs = [f"customer-{n}" for n in range(10_000)]

    def on(chosen):
        arrived(database, provider)
        found = {ref: switches.release(USE_CASE, ALICE, ref) for ref in refs}
        assert set(found.values()) <= {first, chosen}
        return {ref for ref, got in found.items() if got == chosen}

    inside = [set()]
    for percent in (5, 20, 50):
        canary(database, second, percent)
        inside.append(on(second))
        assert inside[-2] < inside[-1]
        assert abs(len(inside[-1]) - 100 * percent) <= 150
        print(f"\ncanary {percent:2} %: {len(inside[-1])} of {len(refs)} customers", end="")
    third = publish(database, "3")
    canary(database, third, 5)
    assert len(on(third) & inside[1]) < 0.5 * len(inside[1])


def test_rolling_back_ends_a_canary_first_and_then_returns_to_what_was_active(database, two):
    first, second = two
    activate(database, second)
    canary(database, first, 5)
    assert document.canary_of(flag(database)) == (first.name, 5)
    assert roll_back(database) == (first.name, second.name)
    assert (document.canary_of(flag(database)), flag(database)["defaultVariant"]) == (None, second.name)
    assert roll_back(database) == (second.name, first.name)
    assert roll_back(database) == (first.name, second.name)


def test_with_one_release_there_is_nothing_to_go_back_to(database):
    seed(database)
    activate(database, publish(database, "1"))
    with pytest.raises(Invalid, match="nothing to go back to"):
        roll_back(database)


@pytest.mark.parametrize(
    ("percent", "which", "message"), [(0, 1, "1 to 99"), (100, 1, "1 to 99"), (5, 0, "is active already")]
)
def test_a_canary_that_cannot_be_is_refused(database, two, percent, which, message):
    before = database.read_sync(store.newest_revision)
    with pytest.raises(Invalid, match=message):
        canary(database, two[which], percent)
    assert database.read_sync(store.newest_revision) == before


def test_a_canary_needs_an_incumbent(database):
    seed(database)
    with pytest.raises(Invalid, match="no release is active"):
        canary(database, publish(database, "1"), 5)


def test_code_rolled_back_under_a_newer_release_answers_by_the_last_that_fits_and_says_so(database, two, live, caplog):
    """A release for newer guards is active; this process has the older code."""
    (first, _), (switches, provider) = two, live
    newer = release("9").model_copy(update={"guards_version": "g2"})
    gate = Gate(NEWER, production=False, override=True)
    database.write_sync(lambda s: releases.draft(s, newer, "ann"))
    database.write_sync(lambda s: releases.publish(s, newer.name, "ann", gate))
    database.write_sync(lambda s: rollout.activate(s, newer.name, "olga", "new guards", gate))
    caplog.set_level(logging.ERROR)
    arrived(database, provider)
    assert {switches.release(USE_CASE, ALICE, str(n)) for n in range(100)} == {first}
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{newer.name} does not fit: it was made for guards g2, and this code has g; {first.name}" in line
    on_new_code = releases.SqlReleases(database, NEWER)
    on_new_code.refresh()
    assert on_new_code.find(USE_CASE, newer.name) == newer
    assert on_new_code.find(USE_CASE, first.name) == first


def test_when_no_release_fits_none_is_given_and_neither_is_a_strangers(database, two):
    first, _ = two
    known = releases.SqlReleases(database, Code(("c",), ("r",), ("g3",)))
    known.refresh()
    assert known.find(USE_CASE, first.name) is None
    fits = releases.SqlReleases(database, CODE)
    fits.refresh()
    assert fits.find("billing", first.name) is None
    assert fits.find(USE_CASE, "none") is None


def test_a_release_is_not_activated_before_the_running_code_fits_it(database, two):
    _, second = two
    Presence(database, "api", {"contract": ["c"], "rules": ["r"], "guards": ["g0"]}, "old-one").tell(1, kill_file=False)
    with pytest.raises(Invalid, match=r"does not fit the running api old-one: .* guards g, .* deploy the code first"):
        activate(database, second)


def test_who_runs_is_known_by_which_revision_it_goes_and_forgotten_when_it_leaves(database):
    seed(database)
    presence = Presence(database, "api", {})
    provider = DatabaseFlagProvider(database, tell=presence.tell)
    provider.poll()
    newest = database.read_sync(store.newest_revision)
    (found,) = database.read_sync(processes.alive)
    assert (found.id, found.kind, found.flag_rev, found.kill_file) == (presence.id, "api", newest, False)
    assert processes.wait_for(database, newest, 0)[1] == []
    assert [late.id for late in processes.wait_for(database, newest + 1, 0.05)[1]] == [presence.id]
    presence.tell(newest, kill_file=True)
    assert database.read_sync(processes.alive)[0].kill_file
    presence.leave()
    assert database.read_sync(processes.alive) == []


def test_who_is_silent_is_no_longer_counted(database):
    presence = Presence(database, "api", {})
    presence.tell(1, kill_file=False)
    (row,) = database.read_sync(processes.alive)
    old = row.seen_at - processes.GONE_AFTER - timedelta(seconds=2)
    database.write_sync(lambda s: s.execute(update(ProcessRow).values(seen_at=old)))
    assert database.read_sync(processes.alive) == []


SINCE = datetime(2026, 11, 22, tzinfo=UTC)


def test_what_is_counted_of_a_release(database):
    clock = Clock()
    made = [
        decision("d-1"),
        decision("d-2", Disposition.REVIEW, degraded=True, source=Source.BACKUP, reason=Reason.DEADLINE),
        decision("d-3", Disposition.REVIEW, repaired=True, usage=Usage(1, 1, None)),
        decision("d-4", Disposition.REVIEW, degraded=True, source=Source.RULES, reason=Reason.UNREACHABLE),
        # none of these says anything about the release, or not about this one
        decision("d-5", Disposition.REVIEW, source=Source.RULES, reason=Reason.AI_OFF),
        decision("d-6", Disposition.REVIEW, source=Source.RULES, reason=Reason.BUDGET_SPENT, degraded=True),
        decision("d-7", source=Source.CACHE, reason=Reason.REPEATED),
        decision("d-8", release="another"),
        decision("d-9", supersedes="d-4", latency_ms=None),
        decision("d-0", at=SINCE - timedelta(days=1)),
    ]
    for each in made:
        asyncio.run(store_decision(database, clock, each))
    items = {item.decision_id: item.id for item in rows(database, ReviewItemRow)}
    desk = SqlReviewDesk(database, Queue(), clock)
    for id_, verdict in (("d-2", Verdict.REJECT), ("d-3", Verdict.APPROVE)):
        judged = Judgement(verdict, "n", corrected=None, effect=None)
        asyncio.run(desk.settle(REVIEWER, items[id_], lambda _item, judged=judged: judged))
    found = database.read_sync(lambda s: measure(s, f"{USE_CASE}-abc", SINCE))
    assert found.answers == 4
    assert found.shares == {"failure": (2, 4), "repair": (1, 4), "review": (3, 4), "correction": (1, 2)}
    assert found.latency_ms == [120] * 4
    assert sorted(found.cost_usd, key=str) == [0.001, 0.001, 0.001, None]


def test_by_default_those_on_canary_are_compared_since_it_began(database, two):
    first, second = two
    for names in (("", ""), (first.name, second.name)):
        with pytest.raises(ApplicationError, match=r"no canary now|never on canary"):
            database.read_sync(lambda s, names=names: rollout.compared(s, *names))
    canary(database, second, 5)
    began = database.read_sync(lambda s: releases.steps_of(s, USE_CASE))[0].at
    canary(database, second, 20)
    assert database.read_sync(lambda s: rollout.compared(s, "", "")) == (first.name, second.name, began)
    roll_back(database)
    assert database.read_sync(lambda s: rollout.compared(s, first.name, second.name))[2] == began
