"""Releases: published once, immutable from then on, read from memory."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.application.errors import Invalid
from service.cli.migrate import Prepared, prepare, releases_from
from service.inference.prompts import PromptError
from service.integration.database import audit, releases
from service.integration.database.migrate import project_root
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, EvalReportRow, ReleaseRow
from service.settings import Settings
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


def test_one_version_of_a_prompt_is_one_text(database):
    published = publish(database, "1")
    other = published.model_copy(update={"prompt": f"{published.prompt} Be brief."})
    with pytest.raises(Invalid, match=f"published with another text, as {published.name}: give the changed one a new"):
        database.write_sync(lambda session: releases.publish(session, other, "ann"))
    warmer = published.model_copy(update={"temperature": 0.5})
    assert database.write_sync(lambda session: releases.publish(session, warmer, "ann")) is True


PROMPT = (project_root() / "prompts" / USE_CASE / f"{USE_CASE}.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path):
    """A project of its own: its prompt file may be changed, and `migrate` says what comes of it."""
    for name in ("flags", "migrations", "alembic.ini"):
        (tmp_path / name).symlink_to(project_root() / name)
    file = tmp_path / "prompts" / USE_CASE / f"{USE_CASE}.md"
    file.parent.mkdir(parents=True)
    config = Settings(process={"profile": "development", "var_dir": tmp_path})

    def migrate(prompt: str) -> Prepared:
        file.write_text(prompt, encoding="utf-8")
        return prepare(config, tmp_path)

    return migrate


def with_parameters(text: str) -> str:
    return PROMPT.replace("variables:", f"parameters: {text}\nvariables:")


def test_a_prompt_file_may_set_what_else_a_release_decides(project, tmp_path):
    project(with_parameters("{read_first_hours: 24, temperature: 0.2, max_tokens: 500, thresholds: {auto: 0.9}}"))
    (found,) = releases_from(tmp_path / "prompts")
    assert (found.read_first_hours, found.temperature, found.max_tokens, found.thresholds.auto) == (24, 0.2, 500, 0.9)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("{warmth: 1}", "parameters may be .* not {'warmth'}"),
        ("{prompt: x}", "parameters may be"),
        ("{max_tokens: true}", "parameters.max_tokens: .*integer"),
        ("{temperature: hot}", "parameters.temperature: .*number"),
        ("{thresholds: {auto: 2}}", "parameters.thresholds.auto: .*less than or equal to 1"),
        ("[1]", "must be a mapping"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_in_one_line(project, parameters, complaint):
    with pytest.raises(PromptError, match=complaint) as caught:
        project(with_parameters(parameters))
    assert "\n" not in str(caught.value)


def test_a_prompt_taken_back_in_git_is_not_taken_back_by_publishing(project):
    """What was published later stays the latest, and whoever migrates is told."""
    first = project(PROMPT)
    assert (len(first.releases), first.overtaken) == (1, {})
    second = project(PROMPT.replace('version: "2"', 'version: "3"').replace("You sort", "You kindly sort"))
    assert (len(second.releases), second.overtaken) == (1, {})
    back = project(PROMPT)
    assert (back.releases, back.overtaken) == ([], {first.releases[0]: second.releases[0]})


def test_a_report_is_kept_with_the_digest_it_is_about(database):
    digest = publish(database, "1").digest
    id_ = database.write_sync(lambda session: releases.record_report(session, digest, "core", "stand-in", "pass"))
    (row,) = rows(database, EvalReportRow)
    assert (row.id, row.digest, row.suite, row.target, row.verdict) == (id_, digest, "core", "stand-in", "pass")
