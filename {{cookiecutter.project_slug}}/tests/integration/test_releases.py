"""Releases: published once, immutable from then on, read from memory."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.integration.database import audit, releases
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, EvalReportRow, ReleaseRow
from tests.example import USE_CASE
from tests.integration.examples import Clock, rows
from tests.integration.test_flag_provider import publish, release, seed

APPEND_ONLY = {"release": "name", "audit": "actor", "flag_revision": "reason"}


def test_publishing_again_changes_nothing(database):
    new = release("1")
    assert database.write_sync(lambda session: releases.publish(session, new, "ann")) is True
    assert database.write_sync(lambda session: releases.publish(session, new, "bob")) is False
    (row,) = rows(database, ReleaseRow)
    assert (row.name, row.digest, row.published_by) == (new.name, new.digest, "ann")
    assert [entry.action for entry in rows(database, AuditRow)] == ["release.published"]


def test_the_latest_is_the_one_published_last_and_all_are_found_by_name(database):
    known = releases.SqlReleases(database)
    known.refresh()
    assert known.latest(USE_CASE) is None
    published = [publish(database, str(n)) for n in range(5)]
    known.refresh()
    assert known.latest(USE_CASE) == published[-1]
    assert all(known.by_name(each.name) == each for each in published)
    assert known.by_name(f"{USE_CASE}-nothing") is None
    assert known.latest("billing") is None


def test_a_release_of_newer_code_is_ignored_and_the_last_fitting_one_stays(database):
    fitting = publish(database, "1")

    def of_newer_code(session):
        later = releases._after_the_newest(session)
        bundle = {**fitting.model_dump(mode="json"), "new_field": 1}
        session.add(
            ReleaseRow(
                digest="f" * 64, name="x", use_case=USE_CASE, bundle=bundle, published_at=later, published_by="y"
            )
        )

    database.write_sync(of_newer_code)
    known = releases.SqlReleases(database)
    known.refresh()
    assert known.latest(USE_CASE) == fitting


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_changes(database: Database, table: str):
    publish(database, "1")
    seed(database)
    entry = audit.Entry(Clock()(), "acme", "ann", "test", "x", {})
    database.write_sync(lambda session: audit.append(session, entry))
    update = f'UPDATE "{table}" SET {APPEND_ONLY[table]} = NULL'  # noqa: S608
    changes = [update, f'DELETE FROM "{table}"']  # noqa: S608
    if database.dialect == "postgresql":
        changes.append(f'TRUNCATE "{table}"')
    for change in changes:
        with pytest.raises(DBAPIError, match=f"{table} is append-only"):
            database.write_sync(lambda session, change=change: session.execute(text(change)))


def test_a_report_is_kept_with_the_digest_it_is_about(database):
    digest = publish(database, "1").digest
    id_ = database.write_sync(lambda session: releases.record_report(session, digest, "core", "stand-in", "pass"))
    (row,) = rows(database, EvalReportRow)
    assert (row.id, row.digest, row.suite, row.target, row.verdict) == (id_, digest, "core", "stand-in", "pass")
