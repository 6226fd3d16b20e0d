"""API keys in the database."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from service.application.errors import Invalid, NotFound
from service.application.identity import Caller, Role
from service.integration.database import api_keys
from service.integration.database.api_keys import SqlKeyring, issue_key
from service.integration.database.tables import ApiKeyRow, AuditRow
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
    key = issue_key(database, "olga", "acme", {"operator"})
    keyring = SqlKeyring(database, remembered_s=0.2)
    assert asyncio.run(keyring.find(key)) is not None
    api_keys.revoke_key(database, key.split("_")[1], "ann")
    time.sleep(0.25)
    assert asyncio.run(keyring.find(key)) is None
    assert [row.action for row in rows(database, AuditRow)] == ["key.created", "key.revoked"]
    assert api_keys.list_keys(database)[0].revoked_at is not None


def test_revoking_what_is_not_there_says_so(database):
    with pytest.raises(NotFound):
        api_keys.revoke_key(database, "nothing", "ann")


@pytest.mark.parametrize(
    ("subject", "tenant", "roles"),
    [("olga", "acme", set()), ("olga", "acme", {"god"}), (" ", "acme", {"caller"}), ("olga", "", {"caller"})],
)
def test_a_nonsensical_key_is_refused(sqlite_database, subject, tenant, roles):
    with pytest.raises(Invalid):
        issue_key(sqlite_database, subject, tenant, roles)


def test_memory_of_looked_up_keys_is_bounded(sqlite_database):
    keyring = SqlKeyring(sqlite_database, most_remembered=10)

    async def guess():
        for n in range(50):
            await keyring.find(f"svk_{n:016x}_guess")

    asyncio.run(guess())
    assert len(keyring._remembered) <= 10
