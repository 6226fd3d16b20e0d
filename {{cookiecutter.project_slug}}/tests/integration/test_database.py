"""What the rest of the service may rely on in `Database`."""

import asyncio
import contextvars
import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, StatementError

from service.application.errors import Invalid, Unavailable
from service.integration.database.session import open_database
from service.integration.database.tables import EvalReportRow
from tests.integration.examples import rows

KILL_THE_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()
"""
A_REPORT = "INSERT INTO eval_report VALUES (:id, 'd', 's', 't', 'pass', '2026-01-01 00:00:00', NULL)"


def insert(session, id_="1"):
    session.execute(text(A_REPORT), {"id": id_})


def test_a_transaction_runs_off_the_event_loop_with_the_callers_context(database):
    mark = contextvars.ContextVar("mark", default="nothing")

    async def story():
        mark.set("of the request")
        return await database.write(lambda session: (mark.get(), threading.current_thread() is threading.main_thread()))

    assert asyncio.run(story()) == ("of the request", False)


def test_the_event_loop_goes_on_while_a_transaction_runs(database):
    async def story():
        working = asyncio.ensure_future(database.write(lambda session: time.sleep(0.3)))
        ticks = 0
        while not working.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(story()) > 5


def test_an_exception_rolls_back(database):
    def fail(session):
        insert(session)
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        database.write_sync(fail)
    assert rows(database, EvalReportRow) == []


def test_a_write_ends_even_if_its_caller_goes(database):
    async def story():
        def slow(session):
            insert(session)
            time.sleep(0.1)

        writing = asyncio.create_task(database.write(slow))
        await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()

    asyncio.run(story())
    asyncio.run(database.close())
    reopened = open_database(database.writer.url.render_as_string(hide_password=False))
    assert len(rows(reopened, EvalReportRow)) == 1
    reopened.close_sync()


def test_a_reader_cannot_write_and_sees_no_half_transaction(sqlite_database):
    with pytest.raises(Exception, match="readonly"):
        sqlite_database.read_sync(insert)

    def write_and_look(session):
        insert(session)
        return len(rows(sqlite_database, EvalReportRow))

    assert sqlite_database.write_sync(write_and_look) == 0


def test_a_caller_waits_for_its_turn_no_longer_than_its_patience(sqlite_database):
    """One writer is busy: who waits behind it is told in time, and what had not begun never happens."""

    async def story():
        busy = asyncio.create_task(sqlite_database.write(lambda session: time.sleep(0.6)))
        await asyncio.sleep(0.1)
        sqlite_database.patience_s = 0.2
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await sqlite_database.write(insert)
        waited = time.monotonic() - started
        await busy
        sqlite_database.patience_s = 5.0
        await sqlite_database.write(lambda session: None)  # takes its turn behind the insert, had that stayed
        return waited

    assert asyncio.run(story()) < 0.5
    assert rows(sqlite_database, EvalReportRow) == []


def test_many_writers_at_once_wait_for_each_other(database):
    async def story():
        await asyncio.gather(*(database.write(lambda s, n=n: insert(s, str(n))) for n in range(60)))

    asyncio.run(story())
    assert len(rows(database, EvalReportRow)) == 60


def test_instants_come_back_aware_in_utc_and_exact(database):
    at = datetime(2026, 3, 29, 3, 30, 0, 123457, tzinfo=timezone(timedelta(hours=2)))
    row = EvalReportRow(id="1", digest="d", suite="s", target="t", verdict="pass", at=at)
    database.write_sync(lambda session: session.add(row))
    (found,) = rows(database, EvalReportRow)
    assert found.at == at
    assert found.at.tzinfo is UTC


def test_a_naive_time_is_refused(database):
    row = EvalReportRow(id="1", digest="d", suite="s", target="t", verdict="pass", at=datetime(2026, 1, 1))
    with pytest.raises(StatementError, match="needs a time zone"):
        database.write_sync(lambda session: session.add(row))


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/nothing", "sqlite:////nowhere/at/all/x.db", "postgresql:///x?host=/nowhere"],
)
def test_a_database_that_is_away_is_unavailable(url):
    database = open_database(url)
    with pytest.raises(Unavailable, match="cannot be reached now"):
        asyncio.run(database.read(lambda session: session.execute(text("SELECT 1"))))
    database.close_sync()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///relative.db"])
def test_an_unsuitable_url_is_refused(url):
    with pytest.raises(Invalid, match="URL must"):
        open_database(url)


def test_a_faulty_statement_stays_a_bug(database):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one depends on the driver
        database.write_sync(lambda session: session.execute(text("SELEKT 1")))
    assert not isinstance(caught.value, Unavailable)


def test_what_customers_wrote_is_in_no_error_message(database):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one depends on the driver
        database.write_sync(lambda session: session.execute(text("SELEKT :words"), {"words": "my own words"}))
    assert "my own words" not in str(caught.value)


def test_a_connection_lost_between_requests_is_replaced_unnoticed(postgres_database):
    postgres_database.read_sync(lambda session: session.execute(text("SELECT 1")))
    with postgres_database.writer.connect() as other:
        other.execute(text(KILL_THE_OTHERS))
    postgres_database.write_sync(insert)
    assert len(rows(postgres_database, EvalReportRow)) == 1


def test_new_connections_ask_for_the_credentials_of_the_day(postgres_migrated):
    asked = []

    def credentials():
        asked.append(1)
        return "postgres", f"password-{len(asked)}"

    database = open_database(postgres_migrated, credentials)
    used = []
    event.listen(database.writer, "do_connect", lambda _d, _r, _a, params: used.append(params["password"]))
    for _ in range(2):
        database.read_sync(lambda session: session.execute(text("SELECT 1")))
        database.writer.dispose()
    assert used == ["password-1", "password-2"]
    database.close_sync()


def test_what_only_looks_for_news_gives_up_soon_on_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = open_database(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/x", patient=False)
        start = time.monotonic()
        with pytest.raises(Unavailable):
            database.read_sync(lambda session: session.execute(text("select 1")))
        database.close_sync()
    assert time.monotonic() - start < 4


def test_a_bug_stays_what_it_is_and_is_not_its_own_cause(database):
    with pytest.raises(DBAPIError) as caught:
        database.write_sync(lambda session: session.execute(text("SELECT no_such_column FROM decision")))
    assert caught.value.__cause__ is not caught.value


def test_a_database_that_is_read_only_for_now_is_an_outage(postgres_database):
    def write(session):
        session.execute(text("SET TRANSACTION READ ONLY"))
        insert(session)

    with pytest.raises(Unavailable):
        postgres_database.write_sync(write)
