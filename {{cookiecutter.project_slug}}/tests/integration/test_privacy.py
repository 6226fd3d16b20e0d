"""Customers' words: who can read them, when they end, and that an erasure finds all of them."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import JSON, LargeBinary, String, update

from service.application.decision import Disposition
from service.application.errors import Conflict, NotFound, Unavailable
from service.application.identity import Caller, Role
from service.application.review.contract import ReviewState, Verdict
from service.application.review.use_case import Judgement
from service.integration.database import erasure
from service.integration.database.erasure import Retention, SqlPrivacy
from service.integration.database.ledger import SqlLedger
from service.integration.database.measured import measure
from service.integration.database.payloads import SqlPayloads
from service.integration.database.records import SqlRecords
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.session import open_database
from service.integration.database.tables import (
    AuditRow,
    Base,
    DecisionRow,
    EffectRow,
    IdempotencyRow,
    PayloadRow,
    ReviewItemRow,
)
from service.integration.encryption import Cipher
from tests.conftest import CIPHER, SECRETS
from tests.example import USE_CASE
from tests.integration.examples import ALICE, REQUEST, REVIEWER, Clock, Queue, contents, decision, digest, effect, rows

OPERATOR = Caller("olga", "acme", frozenset({Role.OPERATOR}))
AUDITOR = Caller("aud", "acme", frozenset({Role.AUDITOR}))
WORDS = "XYZZY-my-own-words"
CALLS = ({"messages": [{"role": "user", "content": WORDS}], "answer": WORDS},)

# Every column that can hold text is here or in NO_WORDS; whoever adds one has to say which, and erase what it holds.
HOLDS_WORDS = {
    "decision.outcome", "payload.encrypted", "payload.customer", "effect.encrypted", "idempotency.answer",
    "review_item.note", "review_item.corrected",
}  # fmt: skip
NO_WORDS = {
    "api_key": "id secret_sha256 subject tenant roles",  # pragma: allowlist secret
    "audit": "tenant actor action object details trace_id",
    "audit_seal": "previous mac key_id",
    "budget": "scope name",
    "decision": "id use_case tenant actor disposition source reason release prompt_version model_version trace_id "
    "taint input_digest supersedes",
    "effect": "key decision_id tenant state reference last_error traceparent",
    "eval_report": "id digest suite target verdict report",
    "flag_revision": "doc actor reason",
    "idempotency": "tenant actor key request_digest owner",
    "installation": "profile",
    "live_score": "decision_id dimension release",
    "payload": "decision_id tenant",
    "process": "id kind code",
    "release": "digest name use_case bundle published_by",
    "release_draft": "digest name use_case bundle author",
    "release_step": "digest use_case step actor reason report_id",
    "review_item": "id decision_id release input_digest tenant use_case disposition state claimed_by verdict reviewer",
}


@pytest.fixture
def clock():
    return Clock()


class Service:
    """The adapters on one database, and decisions of customers in it."""

    def __init__(self, database, clock):
        self.database, self.clock, self.jobs = database, clock, Queue()
        self.records = SqlRecords(database, self.jobs, digest, clock)
        self.desk = SqlReviewDesk(database, self.jobs, clock)
        self.ledger = SqlLedger(database, clock)
        self.privacy = SqlPrivacy(database, clock)
        self.payloads = SqlPayloads(database, clock)

    async def decided(self, id_, customer="c-1", review=False, key=None, **changes):
        """One answered request of a customer, full of its words."""
        request = {**REQUEST, "body": WORDS, "customer_ref": customer}
        disposition = Disposition.REVIEW if review else Disposition.AUTO
        made = decision(id_, disposition, outcome={"draft_reply": WORDS}, **{"at": self.clock(), **changes})
        caller = Caller("alice", made.tenant, ALICE.roles)
        opened = await self.records.open(caller, key, request, None)
        written = None if review else effect(id_)
        await self.records.close(made, opened, request, written, CALLS)

    async def item(self):
        [item] = await self.desk.list(REVIEWER, None, 10)
        return item

    def everything(self):
        """Every value of every table, as text, by table."""
        tables = Base.metadata.sorted_tables
        query = {table.name: table.select() for table in tables}
        found = self.database.read_sync(lambda s: {name: s.execute(q).all() for name, q in query.items()})
        return {name: repr([tuple(row) for row in rows_]) for name, rows_ in found.items()}

    def opened(self):
        return [contents(self.database, kind) for kind in ("payload", "effect")]


@pytest.fixture
def service(database, clock):
    return Service(database, clock)


def test_every_column_says_whether_it_holds_customers_words():
    texts = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, String | JSON | LargeBinary)
    }
    free = {f"{table}.{column}" for table, columns in NO_WORDS.items() for column in columns.split()}
    assert texts - free - HOLDS_WORDS == set(), "say in this test whether these hold customers' words"
    assert (free | HOLDS_WORDS) - texts == set()
    assert free & HOLDS_WORDS == set()


def test_an_erasure_leaves_none_of_the_customers_words_and_all_of_the_others(service, database):
    async def story():
        for who in ("c-1", "c-2"):
            await service.decided(f"auto-{who}", who, key=f"key-{who}")
            await service.decided(f"review-{who}", who, review=True)
        await service.decided("other-tenant", "c-1", tenant="elsewhere", key="k")
        # Whatever a column may come to hold, erasing it is tried with words in it.
        plant = {DecisionRow: {"outcome": {"q": WORDS}}, ReviewItemRow: {"note": WORDS, "corrected": {"q": WORDS}}}
        for row, values in plant.items():
            database.write_sync(lambda s, row=row, values=values: s.execute(update(row).values(values)))
        return await service.privacy.erase(OPERATOR, "c-1", dry_run=False)

    report = asyncio.run(story())
    assert report["erased"]
    assert report["counts"] == {
        "reviews_closed": 1, "reviews": 1, "effects_given_up": 1, "effects": 1, "idempotency_keys": 1, "decisions": 2,
        "payloads": 2,
    }  # fmt: skip
    for row in rows(database, DecisionRow):
        assert (WORDS in str(row.outcome)) == (row.id not in ("auto-c-1", "review-c-1")), row.id
    assert [(row.note, row.corrected) for row in rows(database, ReviewItemRow)].count((None, None)) == 1
    payloads, effects = service.opened()
    assert set(payloads) == {"auto-c-2", "review-c-2", "other-tenant"}
    assert set(effects) == {"auto-c-2", "other-tenant"}
    assert [row.key for row in rows(database, IdempotencyRow)] == ["key-c-2", "k"]
    assert WORDS not in service.everything()["audit"]
    assert "'c-1'" not in str(service.everything())


def test_erasing_again_finds_nothing_and_a_dry_run_changes_nothing(service, database):
    async def story():
        await service.decided("d-1", key="k")
        before = service.everything()
        dry = await service.privacy.erase(OPERATOR, "c-1", dry_run=True)
        assert service.everything() == before
        done = await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert (dry["counts"], dry["erased"]) == (done["counts"], False)
        again = await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert again["counts"] == {}

    asyncio.run(story())
    told = [(row.action, row.actor, row.details) for row in rows(database, AuditRow)][1:]
    assert [(action, actor) for action, actor, _ in told] == [("customer.erased", "olga")] * 2
    assert {row.object for row in rows(database, AuditRow)} == {"d-1", CIPHER.marks("acme", "c-1")[0]}


def test_an_erased_sqlite_file_holds_none_of_it_either(sqlite_database, clock):
    service = Service(sqlite_database, clock)
    file = Path(sqlite_database.writer.url.database)

    def on_disk():
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(part.read_bytes().count(WORDS.encode()) for part in file.parent.glob("service.db*"))

    async def story():
        for number in range(30):
            await service.decided(f"d-{number}", key=f"k-{number}", review=number % 2 == 0)
        before = on_disk()
        await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        return before

    assert asyncio.run(story()) >= 60  # outcomes and answers, in plain as documented
    assert on_disk() == 0


def test_a_write_that_waits_is_given_up_and_one_under_way_is_reported(service, database):
    async def story():
        await service.decided("waits")
        await service.decided("under-way")
        await service.decided("done")
        key = f"{USE_CASE}:under-way"
        (begun, _) = await service.ledger.begin(key)
        assert begun.body == effect("under-way").body
        await service.ledger.begin(f"{USE_CASE}:done")
        await service.ledger.done(f"{USE_CASE}:done", "T-1")
        report = await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert sorted(report["downstream"], key=str) == [
            {"key": f"{USE_CASE}:done", "reference": "T-1"},
            {"key": key, "reference": None},
        ]
        assert await service.ledger.begin(f"{USE_CASE}:waits") is None
        await service.ledger.done(key, "T-2")  # it did arrive: that is true, and so it is recorded

    asyncio.run(story())
    states = {row.decision_id: (row.state, row.reference, row.encrypted) for row in rows(database, EffectRow)}
    assert states == {
        "waits": ("failed", None, None), "under-way": ("done", "T-2", None), "done": ("done", "T-1", None),
    }  # fmt: skip


def test_a_write_that_begins_at_the_last_moment_is_reported(service, database, monkeypatch):
    forget = erasure.forget

    def late(session, ids, now):
        session.execute(update(EffectRow).values(attempts=1))  # as a worker does that was a moment quicker
        return forget(session, ids, now)

    async def story():
        await service.decided("d-1")
        monkeypatch.setattr(erasure, "forget", late)
        report = await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert report["downstream"] == [{"key": f"{USE_CASE}:d-1", "reference": None}]

    asyncio.run(story())


def test_without_the_key_of_a_payload_nobody_is_told_that_there_is_nothing(service, database):
    asyncio.run(service.decided("d-1"))
    url = database.writer.url.render_as_string(hide_password=False)
    other = open_database(url, cipher=Cipher(lambda: "another key altogether"))
    try:
        privacy = Service(other, service.clock).privacy
        for asked in (privacy.export(OPERATOR, "c-1"), privacy.erase(OPERATOR, "c-1", dry_run=False)):
            with pytest.raises(Unavailable, match="payload_key lacks a key"):
                asyncio.run(asked)
    finally:
        other.close_sync()
    assert len(rows(database, PayloadRow)) == 1


def test_an_erased_review_waits_for_nobody_and_counts_as_no_verdict(service, clock, database):
    async def story():
        await service.decided("d-1", review=True)
        await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert await service.desk.list(REVIEWER, ReviewState.OPEN, 10) == []
        item = await service.item()
        assert (item.state, item.verdict, item.request, item.outcome) == (ReviewState.CLOSED, None, {}, {})

    asyncio.run(story())
    counted = database.read_sync(lambda s: measure(s, decision().release, clock() - timedelta(days=1)))
    assert counted.shares["correction"] == (0, 0)


def test_an_export_has_everything_of_this_customer_and_is_on_record(service, database):
    async def story():
        await service.decided("d-1", key="k")
        await service.decided("d-2", review=True)
        await service.decided("d-3", "c-2")
        return await service.privacy.export(OPERATOR, "c-1")

    found = asyncio.run(story())["decisions"]
    assert [one["decision_id"] for one in found] == ["d-1", "d-2"]
    assert found[0]["payload"] == {"request": {**REQUEST, "body": WORDS}, "calls": list(CALLS)}
    assert (found[0]["to_be_written"], found[1]["to_be_written"]) == ([effect("d-1").body], [])
    assert found[1]["review"]["state"] == "open"
    assert rows(database, AuditRow)[-1].action == "customer.exported"


def test_another_tenants_operator_finds_nothing(service):
    async def story():
        await service.decided("d-1")
        other = Caller("otto", "elsewhere", OPERATOR.roles)
        assert (await service.privacy.export(other, "c-1"))["decisions"] == []
        assert (await service.privacy.erase(other, "c-1", dry_run=False))["counts"] == {}

    asyncio.run(story())
    assert set(service.opened()[0]) == {"d-1"}


def test_a_payload_is_read_on_record_by_its_own_tenant(service, database):
    async def story():
        await service.decided("d-1")
        read = await service.payloads.read(AUDITOR, "d-1")
        assert read == {"decision_id": "d-1", "request": {**REQUEST, "body": WORDS}, "calls": list(CALLS)}
        for who, what in ((AUDITOR, "d-2"), (Caller("eve", "elsewhere", AUDITOR.roles), "d-1")):
            with pytest.raises(NotFound):
                await service.payloads.read(who, what)

    asyncio.run(story())
    assert [(row.action, row.actor, row.object) for row in rows(database, AuditRow)][1:] == [
        ("payload.read", "aud", "d-1")
    ]


def test_what_cannot_be_put_on_record_is_not_shown(service, sqlite_database, clock):
    service = Service(sqlite_database, clock)
    asyncio.run(service.decided("d-1"))
    sqlite_database.write_sync(
        lambda s: s.connection().exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    )
    with pytest.raises(Exception, match="no more"):
        asyncio.run(service.payloads.read(AUDITOR, "d-1"))


def test_a_process_without_the_key_can_neither_read_nor_store(service, database):
    asyncio.run(service.decided("d-1", review=True))
    url = database.writer.url.render_as_string(hide_password=False)
    keyless = open_database(url)
    other = open_database(url, cipher=Cipher(lambda: "another key"))
    try:
        with pytest.raises(Unavailable, match="not given the key"):
            asyncio.run(SqlPayloads(keyless, service.clock).read(AUDITOR, "d-1"))
        with pytest.raises(Unavailable, match="not given the key"):
            asyncio.run(Service(keyless, service.clock).decided("d-2"))
        # With a wrong key the queue is still listed, without the message.
        [item] = asyncio.run(SqlReviewDesk(other, Queue(), service.clock).list(REVIEWER, None, 10))
        assert item.request == {}
        with pytest.raises(Unavailable, match="cannot be opened"):
            asyncio.run(SqlPayloads(other, service.clock).read(AUDITOR, "d-1"))
    finally:
        keyless.close_sync()
        other.close_sync()


def test_what_somebody_wrote_into_the_table_is_not_written_downstream(service, database):
    async def story():
        await service.decided("d-1")
        await service.decided("d-2")
        forged = CIPHER.encrypt({"body": "pay here"}, "effect", "acme", "d-2")
        database.write_sync(lambda s: s.execute(update(EffectRow).values(encrypted=forged)))
        with pytest.raises(Unavailable):
            await service.ledger.begin(f"{USE_CASE}:d-1")

    asyncio.run(story())
    assert [(row.state, row.attempts) for row in rows(database, EffectRow)] == [("queued", 0)] * 2


def test_payloads_and_records_end_with_their_time_but_not_under_a_reviewer(service, clock, database):
    retention = Retention(database, payload_days=30, record_days=365)

    def kept():
        payloads, _ = service.opened()
        return set(payloads), {row.id for row in rows(database, DecisionRow) if row.outcome}

    async def story():
        await service.decided("auto", key="k")
        await service.decided("waits", review=True)
        clock.forward(86_400 + 90)
        await service.decided("newer", key="k2")
        await retention(clock())
        assert [row.key for row in rows(database, IdempotencyRow)] == ["k2"]
        assert kept() == ({"auto", "waits", "newer"}, {"auto", "waits", "newer"})
        clock.forward(29 * 86_400)
        await retention(clock())
        assert kept()[0] == {"waits", "newer"}
        item = await service.item()
        await service.desk.settle(REVIEWER, item.id, lambda _: Judgement(Verdict.REJECT, WORDS, None, None))
        await retention(clock())
        assert kept() == ({"newer"}, {"auto", "waits", "newer"})
        found = await service.privacy.export(OPERATOR, "c-1")  # still found, by its digest
        assert [one["payload"] for one in found["decisions"]][:2] == [{}, {}]
        clock.forward(335 * 86_400)
        await retention(clock())
        assert kept() == (set(), {"newer"})
        assert [row.decision_id for row in rows(database, PayloadRow)] == ["newer"]
        assert rows(database, ReviewItemRow)[0].note is None

    asyncio.run(story())


def test_more_than_one_lot_is_erased_and_forgotten(service, clock, database, monkeypatch):
    monkeypatch.setattr("service.integration.database.erasure.AT_ONCE", 2)

    async def story():
        for number in range(5):
            await service.decided(f"a-{number}")
            await service.decided(f"b-{number}", "c-2")
        report = await service.privacy.erase(OPERATOR, "c-1", dry_run=False)
        assert report["counts"]["decisions"] == 5
        clock.forward(400 * 86_400)
        await Retention(database, 30, 365)(clock())

    asyncio.run(story())
    assert rows(database, PayloadRow) == []
    assert [row.outcome for row in rows(database, DecisionRow)] == [{}] * 10


def test_after_a_rotation_older_customers_are_still_found(service, database):
    asyncio.run(service.decided("d-1"))
    url = database.writer.url.render_as_string(hide_password=False)
    rotated = open_database(url, cipher=Cipher(lambda: f"the next key, {SECRETS.payload_key.get_secret_value()}"))
    try:
        after = Service(rotated, service.clock)
        asyncio.run(after.decided("d-2"))
        found = asyncio.run(after.privacy.export(OPERATOR, "c-1"))["decisions"]
        assert [one["payload"]["request"]["body"] for one in found] == [WORDS, WORDS]
        assert asyncio.run(after.privacy.erase(OPERATOR, "c-1", dry_run=False))["counts"]["payloads"] == 2
    finally:
        rotated.close_sync()


@pytest.mark.parametrize("first", ["verdict", "erasure"])
def test_a_verdict_and_an_erasure_at_the_same_time_leave_no_words(postgres_database, clock, first):
    """Whoever is first holds the item until it commits; the other goes by what it finds then."""
    service = Service(postgres_database, clock)
    asyncio.run(service.decided("d-1", review=True))
    inside, finished = threading.Event(), threading.Event()

    def judge(item):
        if not item.request:
            raise Conflict("erased")
        if first == "verdict":
            inside.set()
            finished.wait(1)  # the erasure has begun meanwhile, and waits for this
        return Judgement(Verdict.APPROVE, WORDS, None, effect("d-1"))

    def decide():
        item = asyncio.run(service.item())
        asyncio.run(service.desk.settle(REVIEWER, item.id, judge))

    def erase():
        asyncio.run(service.privacy.erase(OPERATOR, "c-1", dry_run=False))
        finished.set()

    with ThreadPoolExecutor(2) as threads:
        if first == "verdict":
            deciding = threads.submit(decide)
            assert inside.wait(10)
            threads.submit(erase).result()
            deciding.result()
        else:
            threads.submit(erase).result()
            with pytest.raises(Conflict):
                threads.submit(decide).result()
    assert service.opened() == [{}, {}]
    assert [(row.note, row.corrected) for row in rows(postgres_database, ReviewItemRow)] == [(None, None)]
    assert [row.state for row in rows(postgres_database, EffectRow)] == (["failed"] if first == "verdict" else [])
