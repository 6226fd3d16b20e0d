"""The audit log's chain: sealed once each, whatever order rows commit in; tampering shows; old rows go in good order.

`pytest -s` prints what tampering was found, and by what.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.integration import audit_chain
from service.integration.audit_chain import ORIGIN, Keys, Seal
from service.integration.database import api_keys, audit_reading, audit_seals
from service.integration.database.audit_seals import Sealer, first_unsealed
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, AuditSealRow
from service.integration.flags.processes import Presence
from tests.integration.auditing import KEY, Log, append, as_seal
from tests.integration.examples import rows

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=401)


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """Of this test, not of when it was collected: that can be longer ago than a seal may differ from its row."""
    monkeypatch.setitem(globals(), "NOW", datetime.now(UTC))


UNEXPLAINED = "is the first, and no pruning that was allowed explains it"


@pytest.fixture
def log(database: Database, tmp_path) -> Iterator[Log]:
    """Its seals may bear any time: most tests' are not made now."""
    guard, found = "audit_seal_refuses_insert", Log(database, tmp_path / "audit.anchors")
    if database.dialect == "sqlite":
        execute(database, f"DROP TRIGGER {guard}")
        yield found
    else:
        execute(database, f"ALTER TABLE audit_seal DISABLE TRIGGER {guard}")
        yield found
        execute(database, f"ALTER TABLE audit_seal ENABLE TRIGGER {guard}")


@pytest.fixture
def guarded(database: Database, tmp_path) -> Log:
    """As it is outside tests."""
    return Log(database, tmp_path / "audit.anchors")


def execute(database: Database, statement: str, **values: object) -> None:
    database.write_sync(lambda session: session.execute(text(statement), values))


@contextmanager
def triggers_off(database: Database) -> Iterator[Callable[..., object]]:
    """Statements as a superuser who can switch off what refuses them; on SQLite, as whoever can write the file."""
    with database.writer.begin() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield lambda statement, **values: connection.execute(text(statement), values)
        else:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit%'"
            triggers = connection.execute(text(query)).all()
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            yield lambda statement, **values: connection.execute(text(statement), values)
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
            for _, sql in triggers:
                connection.exec_driver_sql(sql)


@pytest.fixture
def any_position(database: Database) -> Iterator[None]:
    """Postgres checks positions whatever its triggers do; this database is used again."""
    if database.dialect == "sqlite":
        yield
        return
    execute(database, "ALTER TABLE audit_seal DROP CONSTRAINT ck_audit_seal_counted_from_1")
    yield
    with triggers_off(database) as run:
        run("DELETE FROM audit_seal WHERE position < 1")
        run("ALTER TABLE audit_seal ADD CONSTRAINT ck_audit_seal_counted_from_1 CHECK (position > 0)")


def test_rows_are_sealed_once_each_and_the_chain_is_whole(log, database):
    append(database, "one", "two", "three")
    assert (log.seal(), log.seal()) == (3, 0)
    found = log.verify()
    assert (found["checked"], found["flaws"]) == (3, [])
    assert [(s.position, s.audit_seq) for s in rows(database, AuditSealRow)] == [
        (n, row.seq) for n, row in enumerate(rows(database, AuditRow), 1)
    ]


def test_a_row_that_commits_late_gets_a_later_position(postgres_database, tmp_path):
    """Numbers are given out before the commit: the lower one may come last."""
    log = Log(postgres_database, tmp_path / "anchors")
    append(postgres_database, "first")
    sealer = Sealer(postgres_database, log.keys, log.anchors)
    with Session(postgres_database.writer) as slow:
        slow.execute(
            text(
                "INSERT INTO audit (at, tenant, actor, action, object, details) "
                "VALUES (now(), 'acme', 'ann', 'x', 'late', '{}')"
            )
        )
        append(postgres_database, "early")
        assert asyncio.run(sealer(NOW)) == 2
        slow.commit()
    assert asyncio.run(sealer(NOW)) == 1
    by_seq = {row.seq: row.object for row in rows(postgres_database, AuditRow)}
    order = [by_seq[seal.audit_seq] for seal in rows(postgres_database, AuditSealRow)]
    assert (list(by_seq.values()), order) == (["first", "late", "early"], ["first", "early", "late"])
    assert log.wrong() == []


def test_a_row_that_was_open_for_longer_than_the_look_back_is_sealed_within_the_hour(log, database, monkeypatch):
    monkeypatch.setattr(audit_seals, "LOOK_BACK", 2)
    monkeypatch.setattr(audit_seals, "RECENT", 1)
    append(database, *map(str, range(6)))
    sealer = Sealer(database, log.keys, log.anchors)
    asyncio.run(sealer(NOW))
    with triggers_off(database) as run:
        seq = rows(database, AuditRow)[0].seq - 1
        run(
            "INSERT INTO audit (seq, at, tenant, actor, action, object, details) "
            "SELECT :seq, at, tenant, actor, action, 'late', details FROM audit WHERE object = '5'",
            seq=seq,
        )
    assert asyncio.run(sealer(NOW + timedelta(minutes=1))) == 0
    assert asyncio.run(sealer(NOW + timedelta(minutes=61))) == 1


def test_sealing_goes_on_while_a_key_is_made(postgres_database, tmp_path):
    log = Log(postgres_database, tmp_path / "anchors")
    append(postgres_database, "one")
    with postgres_database.writer.begin() as making:
        making.execute(text(f"SELECT pg_advisory_xact_lock({api_keys.LOCK})"))
        assert log.seal() == 1


NUMBERED = """
    INSERT INTO audit (seq, at, tenant, actor, action, object, details)
    SELECT :seq, at, tenant, actor, action, 'numbered', details FROM audit WHERE object = 'one'
"""


@pytest.mark.parametrize("seq", [2**63 - 1, 9 * 10**18, -5])
def test_a_row_with_any_number_delays_nothing(log, database, seq):
    sealer = Sealer(database, log.keys, log.anchors)
    append(database, "one")
    assert asyncio.run(sealer(NOW)) == 1
    (one,) = rows(database, AuditRow)
    for number in (seq, one.seq + 1):
        execute(database, NUMBERED, seq=number)
        assert asyncio.run(asyncio.wait_for(sealer(NOW), 10)) == 1
    assert asyncio.run(asyncio.wait_for(first_unsealed(database), 10)) is None
    assert log.wrong() == []


def test_pages_of_a_long_chain_hang_together(log, database, monkeypatch):
    monkeypatch.setattr(audit_reading, "PAGE", 3)
    monkeypatch.setattr(audit_seals, "BATCH", 2)
    monkeypatch.setattr(audit_seals, "STRIDE", 2)
    append(database, *map(str, range(9)))
    assert log.seal() == 9
    assert (log.verify()["checked"], log.wrong()) == (9, [])
    with triggers_off(database) as run:
        run("DELETE FROM audit_seal WHERE position = 4")
    assert any("does not follow position 3" in what for what in log.wrong())


def test_keys_rotate_and_old_seals_still_verify(log, database):
    append(database, "under the old key")
    log.seal()
    log.key = f"the new key, {KEY}"
    append(database, "under the new key")
    log.seal()
    assert log.wrong() == []
    assert len({seal.key_id for seal in rows(database, AuditSealRow)}) == 2
    log.key = "the new key"
    (said,) = log.wrong()
    assert re.match("no key with the id [0-9a-f]{16} is in the vault", said)


FIELDS = {
    "at": "at = :at", "tenant": "tenant = 'other'", "actor": "actor = 'bob'", "action": "action = 'x'",
    "object": "object = 'x'", "details": """details = '{"a": 1}'""", "trace id": "trace_id = 'x'", "number": "seq = 77",
}  # fmt: skip
CHANGES: dict[str, tuple[str, ...]] = {
    **{f"{name} changed": (f"UPDATE audit SET {change} WHERE object = '3'",) for name, change in FIELDS.items()},  # noqa: S608
    "row deleted": ("DELETE FROM audit WHERE object = '3'",),
    "seal deleted": ("DELETE FROM audit_seal WHERE position = 3",),
    "row and seal deleted": (
        "DELETE FROM audit_seal WHERE position = 3",
        "DELETE FROM audit WHERE object = '3'",
    ),
    "row and seal deleted, positions closed up": (
        "DELETE FROM audit_seal WHERE position = 3",
        "DELETE FROM audit WHERE object = '3'",
        "UPDATE audit_seal SET position = 3 WHERE position = 4",
        "UPDATE audit_seal SET position = 4 WHERE position = 5",
    ),
    "two rows swapped": (
        "UPDATE audit SET object = 'x' WHERE object = '2'",
        "UPDATE audit SET object = '2' WHERE object = '3'",
        "UPDATE audit SET object = '3' WHERE object = 'x'",
    ),
    "two seals swapped": (
        "UPDATE audit_seal SET position = 99 WHERE position = 2",
        "UPDATE audit_seal SET position = 2 WHERE position = 3",
        "UPDATE audit_seal SET position = 3 WHERE position = 99",
    ),
    "row deleted and added again": (
        "CREATE TABLE kept AS SELECT * FROM audit WHERE object = '3'",
        "DELETE FROM audit WHERE object = '3'",
        "INSERT INTO audit SELECT * FROM kept",
        "UPDATE audit SET seq = 78 WHERE object = '3'",
        "DROP TABLE kept",
    ),
    "seal pointed at another row": ("UPDATE audit_seal SET audit_seq = 79 WHERE position = 3",),
    "time of a seal changed": ("UPDATE audit_seal SET sealed_at = :at WHERE position = 3",),
    "seal of another database": ("UPDATE audit_seal SET mac = :foreign WHERE position = 3",),
    "row changed and sealed with another key": (
        "UPDATE audit SET actor = 'bob' WHERE object = '3'",
        "UPDATE audit_seal SET mac = :wrong_key WHERE position = 3",
    ),
    "seal that is no hexadecimal number": ("UPDATE audit_seal SET mac = 'é' WHERE position = 3",),
    "another key named": ("UPDATE audit_seal SET key_id = '0123456789abcdef' WHERE position = 3",),
    "beginning cut off": (
        "DELETE FROM audit_seal WHERE position < 3",
        "DELETE FROM audit WHERE object IN ('1', '2')",
    ),
    "rows emptied": ("DELETE FROM audit",),
    "both tables emptied": ("DELETE FROM audit", "DELETE FROM audit_seal"),
    "row added with an old time": (
        "INSERT INTO audit (at, tenant, actor, action, object, details) "
        "SELECT :at, tenant, actor, action, 'new', details FROM audit WHERE object = '3'",
    ),
    "row copied": (
        "INSERT INTO audit (at, tenant, actor, action, object, details) "
        "SELECT at, tenant, actor, action, object, details FROM audit WHERE object = '1'",
    ),
    "row added with a future time": (
        "INSERT INTO audit (at, tenant, actor, action, object, details) "
        "SELECT :future, tenant, actor, action, 'new', details FROM audit WHERE object = '3'",
    ),
}  # fmt: skip
ONLY_BY_ANCHOR: dict[str, tuple[str, ...]] = {
    "end cut off": ("DELETE FROM audit_seal WHERE position > 3", "DELETE FROM audit WHERE object IN ('4', '5')"),
    "end cut off and written anew": (
        "DELETE FROM audit_seal WHERE position > 3",
        "UPDATE audit SET actor = 'bob' WHERE object IN ('4', '5')",
    ),
    "every seal deleted and made anew": ("DELETE FROM audit_seal", "UPDATE audit SET actor = 'bob' WHERE object = '3'"),
}
HARMLESS: dict[str, tuple[str, ...]] = {
    "details in another order": ("UPDATE audit SET details = :reordered WHERE object = '3'",),
    "a vacuum": (),
}


def another_chain(keys: Keys, changed: JsonObject, like: Database | None = None) -> str:
    """A genuine MAC for position 3: by these keys, over the row of this database if one is given, so changed."""
    own = list(map(as_seal, rows(like, AuditSealRow))) if like else []
    before = own[1] if own else Seal(2, 2, ORIGIN, "0a" * 32, "", NOW)
    names = [column.name for column in AuditRow.__table__.c]
    row = {name: getattr(rows(like, AuditRow)[2], name) for name in names} if like else {"at": NOW, "seq": 3}
    at = own[2].sealed_at if own else NOW
    return audit_chain.seal(keys, before, [row | changed], at)[0].mac


def tampered(log: Log, statements: tuple[str, ...]) -> str:
    """Five rows sealed over an hour, then the statements, then what an honest sealer does. Returns the old anchor."""
    for number in range(1, 6):
        append(log.database, str(number), at=NOW - timedelta(minutes=65 - 12 * number))
        log.seal(NOW - timedelta(minutes=64 - 12 * number))
    anchor = log.verify()["head"]
    log.anchors.unlink()  # else the sealer would notice, and seal nothing: a test of its own
    known = {
        "at": NOW - timedelta(hours=3),
        "future": NOW + timedelta(hours=3),
        "foreign": another_chain(log.keys, {}),
        "wrong_key": another_chain(Keys(lambda: "wrong"), {"actor": "bob"}, log.database),
        "reordered": json.dumps({"a": {"ü": "x"}, "b": [1, 2.5, None]}),
    }
    if log.database.dialect == "sqlite":
        known = {n: v.replace(tzinfo=None).isoformat(" ") if isinstance(v, datetime) else v for n, v in known.items()}
    with triggers_off(log.database) as run:
        for statement in statements:
            run(statement, **{name: value for name, value in known.items() if f":{name}" in statement})
    log.seal()
    return anchor


@pytest.mark.parametrize("kind", CHANGES)
def test_tampering_is_found_without_an_anchor(log, kind):
    anchor = tampered(log, CHANGES[kind])
    found = log.wrong()
    print(f"\n{log.database.dialect}: {kind}: {found[0] if found else 'NOT FOUND'}", end="")
    assert found
    assert log.wrong(anchor)


@pytest.mark.parametrize("kind", ONLY_BY_ANCHOR)
def test_what_only_an_anchor_can_show(log, kind):
    anchor = tampered(log, ONLY_BY_ANCHOR[kind])
    print(f"\n{log.database.dialect}: {kind}: needs the anchor: {log.wrong(anchor)[-1]}", end="")
    assert log.wrong() == []
    assert len(log.wrong(anchor)) == 1


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_changes_no_meaning_raises_no_alarm(log, kind):
    anchor = tampered(log, HARMLESS[kind])
    assert log.wrong(anchor) == []


def test_a_row_without_a_seal_is_a_flaw_after_a_minute(log, database):
    now = datetime.now(UTC)
    append(database, "one", at=now - timedelta(seconds=30))
    assert log.wrong() == []
    log.seal(now)
    append(database, "two", at=now - timedelta(seconds=90))
    assert re.match(r"has had no seal for \d+ s", log.wrong()[0])


@pytest.mark.parametrize("kind", ONLY_BY_ANCHOR)
def test_a_sealer_does_not_build_on_a_chain_that_was_cut(log, database, kind, caplog):
    append(database, *"12345")
    sealer = Sealer(database, log.keys, log.anchors)
    asyncio.run(sealer(NOW))
    with triggers_off(database) as run:
        for statement in ONLY_BY_ANCHOR[kind]:
            run(statement)
    append(database, "new")
    for again in (sealer, Sealer(database, log.keys, log.anchors)):  # the worker as it runs, and started again
        assert asyncio.run(again(NOW + timedelta(seconds=1))) == 0
    assert "position 5 is not what it was, so nothing is sealed" in caplog.text


MADE_UP = "INSERT INTO audit_seal VALUES (:position, (SELECT max(seq) FROM audit) + :seq, 'x', 'x', 'x', :at)"


@pytest.mark.parametrize(
    ("position", "seq", "at"), [(2, 1, 0), (3, 0, 0), (1, 0, 0), (2, 0, 11), (2, 0, -11), (2, 0, -60 * 24 * 200)]
)
def test_no_seal_is_taken_but_the_next_of_a_row_that_is_there_made_now(guarded, database, position, seq, at):
    """Else whoever writes as the service seals rows before they are there, or so far off that nothing can follow."""
    append(database, "sealed")
    guarded.seal()
    append(database, "not sealed")
    sealed_at = (datetime.now(UTC) + timedelta(minutes=at)).isoformat(" ")[:19]
    with pytest.raises(DBAPIError, match=r"takes only the next seal|is append-only"):
        execute(database, MADE_UP, position=position, seq=seq, at=f"{sealed_at}{plus_utc(database)}")
    assert (guarded.seal(), guarded.wrong()) == (1, [])


def plus_utc(database: Database) -> str:
    return "+00" if database.dialect == "postgresql" else ""


@pytest.mark.parametrize("kind", ["a seal made up", "another key"])
def test_a_sealer_does_not_build_on_a_seal_that_its_keys_did_not_make(guarded, database, kind, caplog):
    append(database, "one")
    guarded.seal()
    guarded.anchors.unlink()
    append(database, "two")
    if kind == "another key":
        guarded.key = "another"
    else:
        at = datetime.now(UTC).isoformat(" ")[:19]
        execute(database, MADE_UP, position=2, seq=0, at=f"{at}{plus_utc(database)}")
        append(database, "three")
    sealer, now = Sealer(database, guarded.keys, guarded.anchors), datetime.now(UTC)
    for second in (0, 1, 61):
        assert asyncio.run(sealer(now + timedelta(seconds=second))) == 0
    position = len(rows(database, AuditSealRow))
    assert caplog.text.count(f"nothing is sealed after position {position}: no key with the id") == 2


def test_that_sealing_is_behind_is_said_once_a_minute(log, database, caplog):
    now = datetime.now(UTC)
    append(database, "one", at=now)
    sealer = Sealer(database, Keys(lambda: ""), log.anchors)
    for second in range(0, 130, 10):
        with pytest.raises(ValueError, match="no audit key"):
            asyncio.run(sealer(now + timedelta(seconds=second)))
    assert caplog.text.count("have waited for their seals") == 1
    with pytest.raises(ValueError, match="no audit key"):
        asyncio.run(sealer(now + timedelta(seconds=150)))
    assert caplog.text.count("have waited for their seals") == 2


def test_anchors_are_noted_when_there_is_news_at_most_once_a_minute(log, database):
    sealer = Sealer(database, log.keys, log.anchors)
    for second, expected in ((0, 1), (10, 1), (70, 2), (140, 3), (210, 3)):
        if second < 200:
            append(database, str(second))
        asyncio.run(sealer(NOW + timedelta(seconds=second)))
        assert len(log.anchors.read_text().splitlines()) == expected, second
    log.anchors.write_text(log.anchors.read_text() + "2026-11-2")  # killed while it wrote
    assert audit_seals.as_anchor(*audit_seals.newest_anchor(log.anchors)) == log.verify()["head"]


def test_the_kill_file_is_on_record_once_each_process_can_tell(database):
    presence = Presence(database, "api", {}, "p-1")
    for kill_file in (False, True, True, False):
        presence.tell(1, kill_file)
    told = [(row.actor, row.action) for row in rows(database, AuditRow)]
    assert told == [("api p-1", "kill_file.set"), ("api p-1", "kill_file.removed")]


def claim_pruning(run):
    """Take the first two rows out, and write one that says that this was a pruning."""
    run("DELETE FROM audit_seal WHERE position < 3")
    run("DELETE FROM audit WHERE object IN ('1', '2')")
    run(
        "INSERT INTO audit (at, tenant, actor, action, object, details) "
        "SELECT at, '-', 'olga', 'audit.pruned', 'position 3', details FROM audit WHERE object = '3'"
    )


class TestPruning:
    @pytest.fixture
    def old(self, log, database) -> Log:
        """Three rows of more than 400 days ago, two of today."""
        append(database, "a", "b", "c", at=LONG_AGO)
        log.seal(LONG_AGO)
        append(database, "d", "e", at=NOW)
        log.seal(NOW)
        return log

    def prune(self, log: Log, days: int = 400) -> int:
        return log.database.write_sync(lambda session: audit_reading.prune(session, days, "olga", NOW))

    def test_old_rows_go_and_what_is_left_verifies(self, old, database):
        assert self.prune(old) == 2
        old.seal()
        assert [row.object for row in rows(database, AuditRow)] == ["c", "d", "e", "position 3"]
        assert old.wrong(old.verify()["head"]) == []
        assert self.prune(old) == 0

    def test_pruning_again_moves_the_beginning_on(self, log, database):
        for days, objects in ((800, "abc"), (500, "def"), (0, "g")):
            append(database, *objects, at=NOW - timedelta(days=days))
            log.seal(NOW - timedelta(days=days))
        for days, left in ((600, "cdefg"), (183, "fg")):
            assert self.prune(log, days) > 0
            log.seal()
            assert "".join(row.object for row in rows(database, AuditRow) if len(row.object) == 1) == left
            assert log.wrong() == []

    def test_nothing_that_is_young_goes(self, old, database):
        for statement in (
            "DELETE FROM audit WHERE object = 'd'",
            "DELETE FROM audit_seal WHERE position = 4",
        ):
            with pytest.raises(DBAPIError, match="is append-only"):
                execute(database, statement)
        with pytest.raises(DBAPIError, match="is append-only"):
            self.prune(old, days=-1)
        assert old.wrong() == []

    def test_a_pruning_that_is_only_claimed_explains_nothing(self, log, database):
        """Whoever can write rows and switch triggers off: the seals' own times say that these rows were young."""
        append(database, *"12345")
        log.seal()
        with triggers_off(database) as run:
            claim_pruning(run)
        assert log.seal() == 1
        assert log.wrong() == [UNEXPLAINED]

    @pytest.mark.parametrize(("position", "more"), [(-1, ["is before the beginning of the chain"]), (6, [])])
    @pytest.mark.usefixtures("any_position")
    def test_a_pruning_whose_seal_is_made_up_explains_nothing(self, log, database, position, more):
        """Its time says half a year went by, but only whoever has the key can make such a seal."""
        append(database, *"12345")
        log.seal()
        with triggers_off(database) as run:
            claim_pruning(run)
            run(
                "INSERT INTO audit_seal SELECT :position, seq, 'x', 'x', 'x', '2037-01-01 00:00:00' FROM audit "
                "WHERE action = 'audit.pruned'",
                position=position,
            )
        found = log.wrong()
        assert UNEXPLAINED in found
        assert set(more) <= set(found)

    def test_no_seal_has_a_position_before_the_first(self, log, database):
        wrong = "INSERT INTO audit_seal VALUES (0, 1, 'x', 'x', 'x', CURRENT_TIMESTAMP)"
        with pytest.raises(DBAPIError, match="counted_from_1"):
            execute(database, wrong)
