"""Canary, rollback, the last release that fits, and what is counted of each."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from service.application.decision import Disposition, Reason, Source, Usage
from service.application.errors import ApplicationError, Conflict, Invalid, Unavailable
from service.application.identity import Caller, Role
from service.application.release import Code, Gate
from service.application.review.contract import Verdict
from service.application.review.use_case import Judgement
from service.application.switchboard import Change, Process
from service.cli import flags
from service.cli.drill import Drill
from service.integration.database import releases
from service.integration.database.known_releases import SqlReleases
from service.integration.database.measured import measure
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.session import open_database
from service.integration.database.tables import FlagRevisionRow, ProcessRow, ReleaseDraftRow, ReleaseRow, ReviewItemRow
from service.integration.flags import document, processes, rollout, store
from service.integration.flags.processes import Presence
from service.integration.flags.provider import DatabaseFlagProvider
from service.integration.flags.switches import FlagSwitches
from tests.example import AI_FLAG, RELEASE_FLAG, USE_CASE
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
    published = SqlReleases(database, CODE)
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
    with pytest.raises(Invalid, match="nothing to go back to"):  # the second one was given up
        roll_back(database)


def test_rolling_back_twice_goes_further_back_and_never_to_what_was_given_up(database, two):
    first, second = two
    third = publish(database, "3")
    activate(database, second)
    activate(database, third)
    assert roll_back(database) == (third.name, second.name)
    assert roll_back(database) == (second.name, first.name)
    activate(database, third)  # on purpose, so that it counts again
    activate(database, second)
    assert roll_back(database) == (second.name, third.name)


def test_rolling_back_passes_over_what_this_code_cannot_read(database, two):
    """As after an application rollback: newer code has drafted and activated with a field that this code lacks."""
    first, second = two
    for digest in ("e" * 64, "f" * 64):
        bundle = {**second.model_dump(mode="json"), "field_of_the_future": 1}
        row = {"digest": digest, "name": f"{USE_CASE}-{digest[:12]}", "use_case": USE_CASE, "bundle": bundle}
        now = datetime.now(UTC)
        database.write_sync(lambda s, r=row, n=now: s.add(ReleaseDraftRow(**r, drafted_at=n, author="x")))
        database.write_sync(lambda s, r=row, n=now: s.add(ReleaseRow(**r, published_at=n, published_by="x")))
        document_now = database.read_sync(store.read_document)
        changed = document.with_release(document_now, RELEASE_FLAG, row["name"])
        database.write_sync(lambda s, c=changed: store.append_revision(s, c, "newer code", "theirs"))
    known = SqlReleases(database, CODE)
    known.refresh()
    assert known.find(USE_CASE, f"{USE_CASE}-{'f' * 12}") == first
    assert roll_back(database) == (f"{USE_CASE}-{'f' * 12}", first.name)


def test_going_back_to_a_revision_whose_release_no_longer_fits_is_refused(database, two):
    _, second = two
    revision = database.read_sync(store.newest_revision)
    activate(database, second)
    newer_code = Code(("c",), ("r",), ("g2",))
    with pytest.raises(Invalid, match="does not fit this code"):
        database.write_sync(lambda s: rollout.revert(s, revision, "olga", "back", newer_code))
    assert flag(database)["defaultVariant"] == second.name


def test_what_is_left_by_going_back_does_not_stand_in_for_anything(database, two):
    """The release given up must not answer in place of one that does not fit."""
    first, second = two
    activate(database, second)
    roll_back(database)
    known = SqlReleases(database, CODE)
    known.refresh()
    assert known.find(USE_CASE, f"{USE_CASE}-unknown") == first


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
    on_new_code = SqlReleases(database, NEWER)
    on_new_code.refresh()
    assert on_new_code.find(USE_CASE, newer.name) == newer
    assert on_new_code.find(USE_CASE, first.name) == first


def test_when_no_release_fits_none_is_given_and_neither_is_a_strangers(database, two):
    first, _ = two
    known = SqlReleases(database, Code(("c",), ("r",), ("g3",)))
    known.refresh()
    assert known.find(USE_CASE, first.name) is None
    fits = SqlReleases(database, CODE)
    fits.refresh()
    assert fits.find("billing", first.name) is None
    assert fits.find(USE_CASE, "none") is None
    assert fits.find(USE_CASE, "") is None


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


def test_who_lags_behind_or_has_a_kill_file_is_named(database):
    lagging, killed = (
        Process(id_, "api", rev, kill, {}, SINCE) for id_, rev, kill in (("a", 1, False), ("b", 2, True))
    )
    assert (flags._but(lagging, 2), flags._but(killed, 2)) == (" (behind, at 1)", " (AI off by its kill file)")


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
    assert database.read_sync(lambda s: measure(s, f"{USE_CASE}-abc", SINCE, made[0].at)).answers == 0
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
    assert database.read_sync(lambda s: rollout.compared(s, "", "")) == (first.name, second.name, began, None)
    roll_back(database)
    _, _, since, until = database.read_sync(lambda s: rollout.compared(s, first.name, second.name))
    assert (since, until) == (began, database.read_sync(lambda s: releases.steps_of(s, USE_CASE))[0].at)
    canary(database, second, 5)  # once more, later: the days between are not the canary's
    again = database.read_sync(lambda s: releases.steps_of(s, USE_CASE))[0].at
    assert database.read_sync(lambda s: rollout.compared(s, "", "")) == (first.name, second.name, again, None)
    with pytest.raises(Invalid, match="name both"):
        database.read_sync(lambda s: rollout.compared(s, first.name, ""))


def test_a_drill_that_is_interfered_with_undoes_nobodys_switch(database, two):
    activate(database, two[1])
    olga = Caller("olga", "acme", frozenset({Role.OPERATOR}))
    asked = []

    def ask(_method, _path):
        asked.append(1)
        if len(asked) == 2:  # after the kill switch of the drill: a real one, of another
            change = Change("effects.enabled", "off", "a real incident")
            database.write_sync(lambda s: store.set_flag(s, change, "peter"))
        return {"processes": []}

    practised = Drill(database, ask, olga, "a test")
    with pytest.raises(Conflict, match="somebody has changed a flag during the drill"):
        practised.practise(USE_CASE)
    flags = database.read_sync(store.read_document)["flags"]
    assert (flags["effects.enabled"]["defaultVariant"], flags["ai.enabled"]["defaultVariant"]) == ("off", "off")
    assert [row["step"] for row in practised.rows] == ["kill switch"]


def test_a_drill_that_fails_half_way_puts_back_what_was(database, two):
    before = database.read_sync(store.read_document)

    def ask(_method, _path):
        if database.read_sync(store.read_document) != before:
            raise Unavailable("the service is gone") if not ask.failed else None
        return {"processes": []}

    ask.failed = False

    def failing_once(method, path):
        try:
            return ask(method, path)
        except Unavailable:
            ask.failed = True
            raise

    with pytest.raises(Unavailable):
        Drill(database, failing_once, Caller("olga", "acme", frozenset()), "a test").practise(USE_CASE)
    assert database.read_sync(store.read_document) == before


def test_news_from_newer_code_leave_the_switches_of_older_code_alone(database, live, caplog):
    """A flag of a kind that this code does not know, as during a rolling deployment."""
    switches, provider = live
    seed(database)
    newer = database.read_sync(store.read_document)
    route = {"state": "ENABLED", "variants": {"a": "a", "b": "b"}, "defaultVariant": "a"}
    newer["flags"]["an.odd.route"] = route
    database.write_sync(lambda s: s.add(FlagRevisionRow(doc=newer, actor="x", reason="y", at=datetime.now(UTC))))
    arrived(database, provider)
    assert switches.ai_on(USE_CASE, ALICE, None)
    assert "an.odd.route is a switch" in caplog.text
    change = Change("ai.enabled", "off", "a test")
    database.write_sync(lambda s: store.set_flag(s, change, "olga"))
    arrived(database, provider)
    assert not switches.ai_on(USE_CASE, ALICE, None)
    kept = database.read_sync(store.read_document)["flags"]
    assert kept["an.odd.route"] == route
    (shown,) = [f for f in database.read_sync(store.read_board).flags if f["name"] == "an.odd.route"]
    assert shown["gives"].startswith("not understood by this code")


def test_a_damaged_flag_stays_what_it_was_and_the_others_follow(database, live):
    switches, provider = live
    seed(database)
    arrived(database, provider)
    first = database.read_sync(store.newest_revision)
    damaged = database.read_sync(store.read_document)
    damaged["flags"][AI_FLAG] = {"state": "ENABLED"}
    damaged["flags"]["effects.enabled"]["defaultVariant"] = "off"
    database.write_sync(lambda s: s.add(FlagRevisionRow(doc=damaged, actor="x", reason="y", at=datetime.now(UTC))))
    arrived(database, provider)
    assert (switches.ai_on(USE_CASE, ALICE, None), switches.effects_on()) == (True, False)
    with pytest.raises(Invalid, match=r"was not written by this code: svc flags revert"):
        database.write_sync(lambda s: store.set_flag(s, Change(AI_FLAG, "off", "a test"), "olga"))
    database.write_sync(lambda s: rollout.revert(s, first, "olga", "repair", CODE))
    arrived(database, provider)
    assert switches.effects_on()


def test_broken_releases_do_not_hold_up_a_switch(database):
    seed(database)

    def broken():
        raise RuntimeError("unreadable")

    provider = DatabaseFlagProvider(database, also_refresh=broken)
    provider.poll()
    assert provider.resolve_boolean_details("ai.enabled", False).value is True
    assert provider.revision == database.read_sync(store.newest_revision)


def test_who_holds_the_presence_row_does_not_hold_up_a_flip(postgres_database):
    seed(postgres_database)
    presence = Presence(postgres_database, "api", {})
    presence.tell(1, kill_file=False)
    with postgres_database.writer.begin() as other:
        other.execute(text("LOCK TABLE process"))
        start = time.monotonic()
        presence.tell(2, kill_file=False)
        assert time.monotonic() - start < 1


def test_a_server_that_never_answers_is_hung_up_on(postgres_server):
    """As behind a stuck pooler: the connection lives, and nothing comes."""
    database = open_database(postgres_server, pool_size=1, patient=False)
    start = time.monotonic()
    with pytest.raises(Unavailable):
        database.read_sync(lambda s: s.execute(text("SELECT pg_sleep(20)")))
    assert time.monotonic() - start < 8  # it is tried twice, on one connection after the other
    assert database.read_sync(lambda s: s.execute(text("SELECT 1")).scalar()) == 1
    database.close_sync()


def test_a_process_that_may_not_tell_of_itself_is_fresh_all_the_same_and_a_deaf_one_is_not(database, monkeypatch):
    def forbidden(_revision, _killed):
        raise RuntimeError("permission denied for table process")

    seed(database)
    provider = DatabaseFlagProvider(database, tell=forbidden)
    monkeypatch.setattr("service.integration.flags.provider.STALE_S", 0.2)
    time.sleep(0.3)
    assert not provider.fresh
    provider.poll()
    assert provider.fresh
    monkeypatch.setattr(provider, "_also_refresh", lambda: 1 / 0)
    time.sleep(0.3)
    provider.poll()
    assert not provider.fresh
