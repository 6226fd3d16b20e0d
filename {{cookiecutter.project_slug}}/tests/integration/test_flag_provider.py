"""Flags from the database: fast, validated, and never worse than the last good state."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from service.application.errors import ApplicationError, Invalid, Unavailable
from service.application.identity import Caller, Role
from service.application.release import Code, Gate, Release
from service.application.switchboard import Audience, Change
from service.integration.database import releases
from service.integration.database.known_releases import SqlReleases
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, FlagRevisionRow
from service.integration.flags import document, rollout, store
from service.integration.flags.provider import DatabaseFlagProvider
from service.integration.flags.switches import FlagSwitches
from tests.example import AI_FLAG, AUTO_FLAG, RELEASE_FLAG, USE_CASE
from tests.integration.examples import ALICE, rows

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT = json.loads((ROOT / "flags" / "development.json").read_text())
PRODUCTION = json.loads((ROOT / "flags" / "production.json").read_text())
INSIDER = Caller("ina", "us", frozenset({Role.CALLER}))
CODE = Code(contract=("c",), rules=("r",), guards=("g",))
UNAPPROVED = Gate(CODE, production=False, override=True)


def release(version: str) -> Release:
    return Release(
        use_case=USE_CASE,
        prompt_id=USE_CASE,
        prompt_version=version,
        prompt="Sort this.",
        contract_version="c",
        rules_version="r",
        guards_version="g",
    )


def seed(database: Database, flags: dict = DEVELOPMENT) -> None:
    database.write_sync(lambda session: store.add_missing(session, flags, "test"))


def set_flag(database: Database, name: str, variant: str) -> None:
    database.write_sync(lambda session: store.set_flag(session, Change(name, variant, "a test"), "olga"))


def publish(database: Database, version: str) -> Release:
    new = release(version)
    database.write_sync(lambda session: releases.draft(session, new, "ann"))
    database.write_sync(lambda session: releases.publish(session, new.name, "ann", UNAPPROVED))
    return new


def activate(database: Database, chosen: Release) -> None:
    database.write_sync(lambda session: rollout.activate(session, chosen.name, "olga", "a test", UNAPPROVED))


@pytest.fixture
def provider(database: Database, tmp_path: Path):
    """A live provider with a poller of its own; the kill file is `tmp_path / "AI_OFF"`."""
    published = SqlReleases(database, CODE)
    provider = DatabaseFlagProvider(database, tmp_path / "AI_OFF", published.refresh)
    provider.releases = published
    yield provider
    provider.shutdown()


@pytest.fixture
def switches(provider):
    return FlagSwitches(provider, provider.releases, frozenset({"us"}))


def arrived(database: Database, provider: DatabaseFlagProvider) -> float:
    """Seconds until the provider goes by the newest revision."""
    newest = database.read_sync(store.newest_revision)
    return seconds_until(lambda: provider.revision == newest)


def seconds_until(condition, limit: float = 3.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, "it never happened"
        time.sleep(0.005)
    return time.monotonic() - start


def test_before_any_revision_everything_is_off(switches):
    assert not switches.ai_on(USE_CASE, ALICE, None)
    assert not switches.auto_on(USE_CASE, ALICE, None)
    assert not switches.effects_on()
    assert switches.release(USE_CASE, ALICE, None) is None


def test_a_flip_takes_effect_within_a_second(switches, database):
    seed(database)
    seconds_until(lambda: switches.ai_on(USE_CASE, ALICE, None))
    for variant in ("off", "on", "off"):
        set_flag(database, "ai.enabled", variant)
        took = seconds_until(lambda v=variant: switches.ai_on(USE_CASE, ALICE, None) == (v == "on"))
        assert took < 1.0


def test_in_production_ai_begins_with_internal_tenants_and_writes_nothing_alone(switches, database):
    seed(database, PRODUCTION)
    seconds_until(switches.effects_on)
    assert switches.ai_on(USE_CASE, INSIDER, "c-1")
    assert not switches.ai_on(USE_CASE, ALICE, "c-1")
    assert not switches.auto_on(USE_CASE, INSIDER, "c-1")


def test_a_release_published_and_chosen_is_used_and_so_is_the_one_before(switches, database):
    seed(database)
    assert switches.release(USE_CASE, ALICE, None) is None
    first, second = publish(database, "1"), publish(database, "2")
    for chosen in (first, second, first):
        activate(database, chosen)
        seconds_until(lambda chosen=chosen: switches.release(USE_CASE, ALICE, None) == chosen)
    assert switches.release("billing", ALICE, None) is None


def test_the_kill_file_turns_the_ai_off_without_the_database_and_lets_approved_writes_go(switches, database, tmp_path):
    seed(database)
    seconds_until(lambda: switches.ai_on(USE_CASE, ALICE, None))
    database.close_sync()
    (tmp_path / "AI_OFF").touch()
    assert not switches.ai_on(USE_CASE, ALICE, None)
    assert not switches.auto_on(USE_CASE, ALICE, None)
    assert switches.effects_on()
    (tmp_path / "AI_OFF").unlink()
    assert switches.ai_on(USE_CASE, ALICE, None)


def test_a_bad_document_is_ignored_and_the_next_good_one_is_not(database):
    seed(database)
    provider = DatabaseFlagProvider(database)
    provider.poll()

    def write_by_hand(session):
        session.add(FlagRevisionRow(doc={"flagz": {}}, actor="x", reason="y", at=datetime.now(UTC)))

    database.write_sync(write_by_hand)
    provider.poll()
    assert provider.resolve_boolean_details("ai.enabled", False).value is True
    fixed = {"flags": {"ai.enabled": {**DEVELOPMENT["flags"]["ai.enabled"], "defaultVariant": "off"}}}
    database.write_sync(lambda session: store.append_revision(session, fixed, "x", "repair"))
    provider.poll()
    assert provider.resolve_boolean_details("ai.enabled", True).value is False


def test_the_last_good_state_outlives_the_database(database, caplog):
    class Flaky:
        away = False

        def read_sync(self, fn):
            if self.away:
                raise Unavailable("the database cannot be reached now")
            return database.read_sync(fn)

    seed(database)
    provider = DatabaseFlagProvider(flaky := Flaky())
    provider.poll()
    flaky.away = True
    set_flag(database, "ai.enabled", "off")
    for _ in range(3):
        provider.poll()
    assert provider.resolve_boolean_details("ai.enabled", False).value is True
    assert len(caplog.records) == 1, "an outage is logged when it begins, not five times a second"
    flaky.away = False
    provider.poll()
    assert provider.resolve_boolean_details("ai.enabled", True).value is False


def test_the_poller_starts_without_a_database_and_finds_it_later(sqlite_database):
    sqlite_database.write_sync(lambda session: session.execute(text("ALTER TABLE flag_revision RENAME TO elsewhere")))
    provider = DatabaseFlagProvider(sqlite_database)
    provider.poll()
    assert not provider.loaded
    sqlite_database.write_sync(lambda session: session.execute(text("ALTER TABLE elsewhere RENAME TO flag_revision")))
    seed(sqlite_database)
    provider.poll()
    assert provider.loaded


def test_seeding_adds_what_is_missing_and_changes_nothing(database):
    seed(database)
    set_flag(database, AUTO_FLAG, "off")
    more = {"flags": {**DEVELOPMENT["flags"], "billing.ai": DEVELOPMENT["flags"][AI_FLAG]}}
    assert database.write_sync(lambda session: store.add_missing(session, more, "test")) == ["billing.ai"]
    assert database.write_sync(lambda session: store.add_missing(session, more, "test")) == []
    flags = database.read_sync(store.read_document)["flags"]
    assert flags[AUTO_FLAG]["defaultVariant"] == "off"


def test_setting_a_flag_drops_its_rules_and_says_who_and_why(database):
    seed(database, PRODUCTION)
    set_flag(database, AI_FLAG, "on")
    flag = database.read_sync(store.read_document)["flags"][AI_FLAG]
    assert flag["defaultVariant"] == "on"
    assert "targeting" not in flag
    newest, first = database.read_sync(store.history)
    assert (newest.actor, newest.reason, newest.rev) == ("olga", "a test", first.rev + 1)
    assert "targeting" in first.doc["flags"][AI_FLAG]
    entry = next(row for row in rows(database, AuditRow) if row.action == "flag.set")
    assert (entry.object, entry.actor, entry.details["gives"]) == (AI_FLAG, "olga", "on for everybody")


def test_of_operators_changing_flags_at_once_none_undoes_the_other(database):
    seed(database)
    names = [name for name in DEVELOPMENT["flags"] if document.is_switch(name)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: set_flag(database, name, "off"), names))
    flags = database.read_sync(store.read_document)["flags"]
    assert [flags[name]["defaultVariant"] for name in names] == ["off"] * len(names)


@pytest.mark.parametrize(
    ("name", "variant", "reason", "message"),
    [
        ("ai.enabeld", "off", "typo", "no such flag; there are: ai.enabled"),
        ("ai.enabled", "maybe", "typo", "no such variant; it has: on, off"),
        (RELEASE_FLAG, "none", "typo", "svc release activate"),
        ("ai.enabled", "off", "  ", "a reason is required"),
    ],
)
def test_a_wrong_set_is_refused_and_leaves_no_revision(sqlite_database, name, variant, reason, message):
    seed(sqlite_database)
    with pytest.raises(Invalid, match=message):
        sqlite_database.write_sync(lambda session: store.set_flag(session, Change(name, variant, reason), "olga"))
    assert len(sqlite_database.read_sync(store.history)) == 1


SWITCH = DEVELOPMENT["flags"]["ai.enabled"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({**SWITCH, "defaultVariant": "maybe"}, "defaultVariant"),
        ({k: v for k, v in SWITCH.items() if k != "defaultVariant"}, "defaultVariant"),
        ({**SWITCH, "state": "on"}, "state"),
        ({**SWITCH, "variants": {"on": True, "off": 0}}, "switch"),
        ({**SWITCH, "variants": {"on": True}}, "switch"),
        ({**SWITCH, "variants": {"on": False, "off": True}}, "switch"),
        ({**SWITCH, "targeting": "internal"}, "targeting"),
        ({**SWITCH, "targeting": {"no_such_operator": [1]}}, "cannot be evaluated"),
        ({**SWITCH, "targeting": {"if": [True, "onn", "off"]}}, "cannot be evaluated"),
        ({**SWITCH, "default": "on"}, "unknown field"),
        ([], "must be an object"),
    ],
)
def test_a_bad_flag_is_refused_when_it_is_written(flag, message):
    with pytest.raises(Invalid, match=message):
        document.validate({"flags": {"ai.enabled": flag}})


@pytest.mark.parametrize("bad", [{}, {"flagz": {}}, {"flags": []}, {"flags": {}, "extra": 1}])
def test_a_document_that_is_none_is_refused(bad):
    with pytest.raises(Invalid):
        document.validate(bad)


def staged(database: Database, audience: Audience) -> None:
    change = Change(AI_FLAG, "on", "a test", audience)
    database.write_sync(lambda session: store.set_flag(session, change, "olga"))


def test_ai_goes_from_internal_tenants_to_beta_to_a_share_and_keeps_who_is_in(switches, provider, database):
    """10,000 customers of an outside tenant, asked twice at each stage."""
    seed(database, PRODUCTION)
    beta, refs = Caller("bo", "partner", ALICE.roles), [f"customer-{n}" for n in range(10_000)]
    inside: list[set[str]] = [set()]
    for percent in (0, 5, 20, 50, 100):
        staged(database, Audience(("partner",), percent))
        arrived(database, provider)
        assert switches.ai_on(USE_CASE, INSIDER, "c-1")
        assert switches.ai_on(USE_CASE, beta, "c-1")
        now = {ref for ref in refs if switches.ai_on(USE_CASE, ALICE, ref)}
        assert now == {ref for ref in refs if switches.ai_on(USE_CASE, ALICE, ref)}
        assert inside[-1] <= now
        assert abs(len(now) - 100 * percent) <= 150
        print(f"\n{percent:3} %: {len(now)} of {len(refs)} customers", end="")
        inside.append(now)
    staged(database, Audience(("partner",), 20))
    arrived(database, provider)
    assert {ref for ref in refs if switches.ai_on(USE_CASE, ALICE, ref)} == inside[3]


def test_a_customer_without_a_reference_counts_as_its_tenant(switches, provider, database):
    seed(database)
    staged(database, Audience((), 50))
    arrived(database, provider)
    tenants = [Caller("x", f"tenant-{n}", ALICE.roles) for n in range(100)]
    first = [switches.ai_on(USE_CASE, caller, None) for caller in tenants]
    assert 25 < sum(first) < 75
    assert first == [switches.ai_on(USE_CASE, caller, None) for caller in tenants]


@pytest.mark.parametrize("variant", ["on", "off"])
def test_rules_of_ones_own_are_shown_as_such(variant):
    flag = {**DEVELOPMENT["flags"][AI_FLAG], "targeting": {"if": [{"var": "internal"}, variant, "off"]}}
    assert document.audience_of(flag) is None
    assert (
        document.describe({"flags": {AI_FLAG: flag}}, AI_FLAG)["gives"]
        == "on, and by rules of its own something else for some"
    )


@pytest.mark.parametrize(
    ("name", "variant", "audience", "message"),
    [
        (AI_FLAG, "off", Audience(), "set it on for them"),
        ("effects.enabled", "on", Audience(), "only a switch about callers"),
        (AI_FLAG, "on", Audience(percent=101), "from 0 to 100"),
        (AI_FLAG, "on", Audience(percent=-1), "from 0 to 100"),
    ],
)
def test_an_audience_that_cannot_be_is_refused(sqlite_database, name, variant, audience, message):
    seed(sqlite_database)
    change = Change(name, variant, "a test", audience)
    with pytest.raises(Invalid, match=message):
        sqlite_database.write_sync(lambda session: store.set_flag(session, change, "olga"))


def test_going_back_is_a_new_revision_with_all_flags_as_they_were(database):
    seed(database)
    first = database.read_sync(store.newest_revision)
    set_flag(database, "ai.enabled", "off")
    set_flag(database, AUTO_FLAG, "off")
    made, names = database.write_sync(lambda session: rollout.revert(session, first, "olga", "all of it", CODE))
    assert (made, set(names)) == (first + 3, {"ai.enabled", AUTO_FLAG})
    assert database.read_sync(store.read_document) == DEVELOPMENT
    assert database.read_sync(store.history)[0].reason == "all of it"
    for revision, error in ((first, "nothing would change"), (10**9, "no such revision")):
        with pytest.raises(ApplicationError, match=error):
            database.write_sync(lambda session, r=revision: rollout.revert(session, r, "olga", "again", CODE))


def test_going_back_keeps_a_flag_that_came_later(database):
    seed(database)
    first = database.read_sync(store.newest_revision)
    more = {"flags": {"billing.ai": DEVELOPMENT["flags"][AI_FLAG]}}
    database.write_sync(lambda session: store.add_missing(session, more, "test"))
    set_flag(database, "ai.enabled", "off")
    database.write_sync(lambda session: rollout.revert(session, first, "olga", "back", CODE))
    assert "billing.ai" in database.read_sync(store.read_document)["flags"]
