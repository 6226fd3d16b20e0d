"""API keys in the database."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from dev.keys import development_keys
from service.application.errors import Invalid, NotFound
from service.application.identity import Caller, Role
from service.integration.database import api_keys
from service.integration.database.api_keys import SqlKeyring, issue_key, rotate_key
from service.integration.database.tables import ApiKeyRow, AuditRow
from tests.conftest import ROOT
from tests.integration.examples import rows


def test_an_issued_key_finds_its_caller(database):
    key = issue_key(database, "olga", "acme", {"operator", "auditor"})
    expected = Caller("olga", "acme", frozenset({Role.OPERATOR, Role.AUDITOR}))
    assert asyncio.run(SqlKeyring(database).find(key)) == expected
    assert SqlKeyring(database).find_sync(key) == expected
    assert api_keys.key_info(database, key)


def test_the_secret_is_stored_nowhere(database):
    key = issue_key(database, "olga", "acme", {"operator"})
    secret = key.split("_", 2)[2]
    (row,), (entry,) = rows(database, ApiKeyRow), rows(database, AuditRow)
    assert entry.action == "key.created"
    for stored in (row, entry):
        columns = [column.name for column in stored.__table__.columns]
        assert secret not in str([getattr(stored, column) for column in columns])
    assert secret not in repr(api_keys.list_keys(database))


@pytest.mark.parametrize(
    "wrong",
    ["", "svk", "svk_", "svk__x", "nonsense", "svk_ffffffffffffffff_wrong", "svk_\x00_x", "svk_é_x", "\udc80_a_b"],
)
def test_a_wrong_key_finds_nobody(sqlite_database, wrong):
    issue_key(sqlite_database, "olga", "acme", {"operator"})
    assert asyncio.run(SqlKeyring(sqlite_database).find(wrong)) is None


def test_the_right_id_with_another_secret_finds_nobody_even_after_the_right_one(database):
    key = issue_key(database, "olga", "acme", {"operator"})
    keyring = SqlKeyring(database)
    assert asyncio.run(keyring.find(key)) is not None
    assert asyncio.run(keyring.find(key[:-1] + ("A" if key[-1] != "A" else "B"))) is None
    assert asyncio.run(keyring.find(f"{key}x")) is None


def test_an_expired_key_finds_nobody(database):
    key = issue_key(database, "olga", "acme", {"operator"}, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert asyncio.run(SqlKeyring(database).find(key)) is None


def test_a_revoked_key_finds_nobody_once_it_is_forgotten(database):
    key = issue_key(database, "olga", "acme", {"caller"})
    keyring = SqlKeyring(database, remembered_s=0.2)
    assert asyncio.run(keyring.find(key)) is not None
    api_keys.revoke_key(database, key.split("_")[1], "ann")
    time.sleep(0.25)
    assert asyncio.run(keyring.find(key)) is None
    assert [row.action for row in rows(database, AuditRow)] == ["key.created", "key.revoked"]
    assert api_keys.list_keys(database)[0].revoked_at is not None


def test_the_last_operators_key_is_not_revoked(database):
    issue_key(database, "ann", "acme", {"caller"})
    issue_key(database, "bob", "acme", {"operator"}, datetime.now(UTC) - timedelta(days=1))
    first, second = (issue_key(database, name, "acme", {"operator"}).split("_")[1] for name in ("olga", "otto"))
    api_keys.revoke_key(database, first, "olga")
    with pytest.raises(Invalid, match="the last operator's key"):
        api_keys.revoke_key(database, second, "otto")
    assert [key.id for key in api_keys.list_keys(database) if key.revoked_at] == [first]


def test_revoking_what_is_not_there_says_so(database):
    with pytest.raises(NotFound):
        api_keys.revoke_key(database, "nothing", "ann")


@pytest.mark.parametrize(
    ("subject", "tenant", "roles"),
    [
        ("olga", "acme", set()),
        ("olga", "acme", {"god"}),
        (" ", "acme", {"caller"}),
        ("olga", "", {"caller"}),
        ("olga", "-", {"caller"}),
        ("olga", "acme ", {"caller"}),
        ("olga\nroot", "acme", {"caller"}),
        ("o" * 256, "acme", {"caller"}),
        ("oidc:olga", "acme", {"caller"}),
        ("OIDC:olga", "acme", {"caller"}),
    ],
)
def test_a_nonsensical_key_is_refused(sqlite_database, subject, tenant, roles):
    with pytest.raises(Invalid):
        issue_key(sqlite_database, subject, tenant, roles)


def test_a_key_ends_after_ninety_days_unless_told_otherwise_and_never_later_than_in_a_year(database):
    issue_key(database, "olga", "acme", {"operator"})
    in_days = [(row.expires_at - row.created_at) / timedelta(days=1) for row in rows(database, ApiKeyRow)]
    assert in_days == [90]
    with pytest.raises(Invalid, match="366 days"):
        issue_key(database, "olga", "acme", {"operator"}, datetime.now(UTC) + timedelta(days=366, minutes=1))


def test_a_subject_has_two_valid_keys_at_most_and_is_told_which(database):
    kept = [issue_key(database, "app", "acme", {"caller"}).split("_")[1] for _ in range(2)]
    issue_key(database, "app", "globex", {"caller"})
    issue_key(database, "other", "acme", {"caller"})
    with pytest.raises(Invalid) as refused:
        issue_key(database, "app", "acme", {"operator"})
    assert all(key_id in str(refused.value) for key_id in kept)
    api_keys.revoke_key(database, kept[0], "ann")
    issue_key(database, "app", "acme", {"caller"})
    assert len(rows(database, AuditRow)) == len(rows(database, ApiKeyRow)) + 1


def test_many_at_once_make_two_keys(database):
    def issue(_) -> bool:
        try:
            return bool(issue_key(database, "app", "acme", {"caller"}))
        except Invalid:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(issue, range(16))) == 2


def test_rotation_makes_a_key_alike_and_ends_the_old_one_after_the_overlap(database):
    old = issue_key(database, "app", "acme", {"caller", "auditor"})
    new = rotate_key(database, old.split("_")[1], timedelta(seconds=1), "ann")
    keyring = SqlKeyring(database, remembered_s=0)
    assert keyring.find_sync(old) == keyring.find_sync(new) == Caller("app", "acme", frozenset({"caller", "auditor"}))
    created, again, rotated = rows(database, AuditRow)
    assert (created.action, again.action, rotated.action) == ("key.created", "key.created", "key.rotated")
    assert (rotated.object, rotated.details["replaced_by"]) == (old.split("_")[1], new.split("_")[1])
    assert (again.actor, rotated.actor) == ("ann", "ann")
    time.sleep(1)
    assert (keyring.find_sync(old), keyring.find_sync(new) is not None) == (None, True)


def test_rotation_never_lengthens_a_life_and_needs_a_valid_key_and_room(database):
    soon = datetime.now(UTC) + timedelta(hours=1)
    old = issue_key(database, "app", "acme", {"caller"}, soon).split("_")[1]
    new = rotate_key(database, old, timedelta(hours=24), "ann").split("_")[1]
    assert {key.id: key.expires_at for key in api_keys.list_keys(database)}[old] == soon
    before = rows(database, AuditRow)
    with pytest.raises(Invalid, match="two valid keys"):
        rotate_key(database, new, timedelta(hours=24), "ann")
    assert len(rows(database, AuditRow)) == len(before)  # nothing half done
    assert {key.state for key in api_keys.list_keys(database)} == {"valid"}
    rotate_key(database, new, timedelta(0), "ann")  # at once: then there is room
    with pytest.raises(Invalid, match="expired"):
        rotate_key(database, new, timedelta(0), "ann")
    api_keys.revoke_key(database, old, "ann")
    with pytest.raises(Invalid, match="revoked"):
        rotate_key(database, old, timedelta(0), "ann")
    with pytest.raises(NotFound):
        rotate_key(database, "nothing", timedelta(0), "ann")


def test_the_keys_of_a_development_run_are_never_refused(sqlite_database):
    """Whatever becomes of the kept ones: a lost vault, a restored one, keys that have ended."""
    url, kept = f"sqlite:///{sqlite_database.writer.url.database}", {}
    first = development_keys(url, lambda: kept, kept.update)
    assert development_keys(url, lambda: kept, kept.update) == first
    for _ in range(4):
        latest = development_keys(url, dict, lambda _: None)
        assert latest.keys() == first.keys()
        assert all(SqlKeyring(sqlite_database).find_sync(key) for key in latest.values())
    again = development_keys(url, lambda: kept, kept.update)
    assert all(SqlKeyring(sqlite_database).find_sync(key) for key in again.values())


def test_the_runbooks_way_in_without_any_key_works_for_an_hour(postgres_database):
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    [statement] = re.findall(r"```sql\n(INSERT INTO api_key.*?)```", runbook, re.DOTALL)
    postgres_database.write_sync(lambda session: session.execute(text(statement)))
    assert SqlKeyring(postgres_database).find_sync("svk_byhand_SECRET").roles == {Role.OPERATOR}
    [key] = api_keys.list_keys(postgres_database)
    assert key.expires_at - key.created_at == timedelta(hours=1)


def test_memory_of_looked_up_keys_is_bounded(sqlite_database):
    keyring = SqlKeyring(sqlite_database, most_remembered=10)

    async def guess():
        for n in range(50):
            await keyring.find(f"svk_{n:016x}_guess")

    asyncio.run(guess())
    assert len(keyring._remembered) <= 10
