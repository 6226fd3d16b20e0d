"""Releases: drafted, evaluated, approved, published, active; each step once, on record, and by more than one person."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from service.application.errors import Invalid
from service.application.release import Code, Gate, Release, Step
from service.bootstrap_store import open_store
from service.cli import release as release_command
from service.cli.migrate import Prepared, prepare, releases_from
from service.inference.prompts import PromptError
from service.integration.audit_chain import Keys
from service.integration.database import audit, releases
from service.integration.database.api_keys import issue_key
from service.integration.database.audit_seals import Sealer
from service.integration.database.known_releases import SqlReleases
from service.integration.database.migrate import project_root
from service.integration.database.session import Database, open_database
from service.integration.database.tables import (
    AuditRow,
    EvalReportRow,
    ReleaseDraftRow,
    ReleaseRow,
    ReleaseStepRow,
)
from service.integration.flags import rollout, store
from service.settings import Settings
from tests.conftest import SECRETS
from tests.example import RELEASE_FLAG, USE_CASE
from tests.integration.examples import Clock, rows
from tests.integration.test_flag_provider import CODE, activate, publish, release, seed

APPEND_ONLY = {
    "audit": "actor", "audit_seal": "mac", "eval_report": "verdict", "flag_revision": "reason", "release": "bundle",
    "release_draft": "author", "release_step": "actor",
}  # fmt: skip


def report(digest: str, suite: str = USE_CASE, **changes: object) -> dict:
    told = {"verdict": "PASS", "target": "gpt-x at models.example", "models": ["gpt-x-2026"], "holdout": 40}
    return {"digest": digest, "suite": f"{suite}@123", **told, **changes}


def keep_report(database: Database, digest: str, **changes: object) -> str:
    return database.write_sync(lambda session: releases.record_report(session, report(digest, **changes), "eva"))


def draft(database: Database, version: str, model: str = "gpt-x") -> Release:
    new = release(version).model_copy(update={"model": model})
    database.write_sync(lambda session: releases.draft(session, new, "ann"))
    return new


def approve(
    database: Database, name: str, approver: str = "bob", suite: str = f"{USE_CASE}@123", holdout: int = 40
) -> None:
    kept = {"production": True, "suite": suite, "holdout": holdout}
    database.write_sync(lambda s: releases.approve(s, name, approver, "read it", **kept))


def do_publish(database: Database, name: str, gate: Gate) -> bool:
    return database.write_sync(lambda session: releases.publish(session, name, "olga", gate))


def do_activate(database: Database, name: str, gate: Gate) -> int:
    return database.write_sync(lambda session: rollout.activate(session, name, "olga", "go", gate))


PRODUCTION = Gate(CODE)


def test_from_draft_to_active_with_everybodys_name_on_it(database):
    seed(database)
    new = draft(database, "1")
    report_id = keep_report(database, new.digest)
    approve(database, new.name)
    assert do_publish(database, new.name, PRODUCTION) is True
    assert do_publish(database, new.name, PRODUCTION) is False
    do_activate(database, new.name, PRODUCTION)
    flag = database.read_sync(store.read_document)["flags"][RELEASE_FLAG]
    assert (flag["defaultVariant"], flag.get("targeting")) == (new.name, None)
    told = [(e.action, e.actor) for e in rows(database, AuditRow) if e.action.startswith("release.")]
    assert told == [
        ("release.drafted", "ann"), ("release.approved", "bob"), ("release.published", "olga"),
        ("release.activated", "olga"),
    ]  # fmt: skip
    steps = [(s.step, s.actor, s.report_id) for s in rows(database, ReleaseStepRow)]
    assert steps == [("approved", "bob", report_id), ("activated", "olga", None)]


def test_drafting_again_changes_nothing(database):
    new = release("1")
    assert database.write_sync(lambda session: releases.draft(session, new, "ann")) is True
    assert database.write_sync(lambda session: releases.draft(session, new, "bob")) is False
    (row,) = rows(database, ReleaseDraftRow)
    assert (row.name, row.digest, row.author) == (new.name, new.digest, "ann")


# what is done wrong -> how, and the message
REFUSED = {
    "no report": (lambda d, n: approve(d, n.name), "has no report: svc release evaluate"),
    "a report that blocks": (
        lambda d, n: (keep_report(d, n.digest, verdict="BLOCK"), approve(d, n.name)), "says BLOCK, not PASS",
    ),
    "a report that cannot tell": (
        lambda d, n: (keep_report(d, n.digest, verdict="INCONCLUSIVE"), approve(d, n.name)),
        "says INCONCLUSIVE, not PASS",
    ),
    "a report without the sealed cases": (
        lambda d, n: (keep_report(d, n.digest, holdout=39), approve(d, n.name, holdout=40)),
        "was made without the 40 sealed cases: svc release evaluate",
    ),
    "another digest's report": (
        lambda d, n: (keep_report(d, draft(d, "2").digest), approve(d, n.name)), "has no report",
    ),
    "a newer report that blocks": (
        lambda d, n: (keep_report(d, n.digest), keep_report(d, n.digest, verdict="BLOCK"), approve(d, n.name)),
        "says BLOCK",
    ),
    "a suite that has changed since": (
        lambda d, n: (keep_report(d, n.digest), approve(d, n.name, suite=f"{USE_CASE}@456")),
        f"of the suite {USE_CASE}@123, which is {USE_CASE}@456 now",
    ),
    "answers by another model": (
        lambda d, n: (keep_report(d, n.digest, models=["gpt-x-2026", "cheap-1"]), approve(d, n.name)),
        "tells of answers by cheap-1, and the release names gpt-x",
    ),
    "one's own under a name that looks different": (
        lambda d, n: (keep_report(d, n.digest), approve(d, n.name, approver=" Ann ")), "another person must approve it",
    ),
    "a report of another suite": (
        lambda d, n: (keep_report(d, n.digest, suite="smoke"), approve(d, n.name)), "suite smoke@123, not of one",
    ),
    "a stand-in's report in production": (
        lambda d, n: (keep_report(d, n.digest, target="stand-in"), approve(d, n.name)), "was taken on the stand-in",
    ),
    "one's own": (
        lambda d, n: (keep_report(d, n.digest), approve(d, n.name, approver="ann")), "another person must approve it",
    ),
    "no approval": (lambda d, n: do_publish(d, n.name, PRODUCTION), "nobody has approved"),
    "no publication": (
        lambda d, n: (keep_report(d, n.digest), approve(d, n.name), do_activate(d, n.name, PRODUCTION)),
        "is not published: svc release publish",
    ),
    "an override in production": (
        lambda d, n: do_publish(d, n.name, Gate(CODE, production=True, override=True)), "nobody has approved",
    ),
    "a release for other code": (
        lambda d, n: (
            keep_report(d, n.digest), approve(d, n.name), do_publish(d, n.name, Gate(Code(("c",), ("r",), ("g2",)))),
        ),
        "does not fit this code: it was made for guards g, and this code has g2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_missing_is_refused_with_what_to_do_and_leaves_nothing(database, case):
    seed(database)
    new = draft(database, "1")
    act, message = REFUSED[case]
    with pytest.raises(Invalid, match=message) as caught:
        act(database, new)
    assert "\n" not in str(caught.value)
    assert rows(database, ReleaseRow) == []
    assert database.read_sync(store.read_document)["flags"][RELEASE_FLAG]["defaultVariant"] == "none"


def test_production_wants_the_model_by_name(database):
    seed(database)
    new = draft(database, "1", model="")
    keep_report(database, new.digest)
    approve(database, new.name)
    with pytest.raises(Invalid, match="names no model"):
        do_publish(database, new.name, PRODUCTION)
    assert do_publish(database, new.name, Gate(CODE, production=False)) is True


def test_approval_by_the_author_alone_or_on_a_stand_ins_report_opens_no_gate_however_it_came_there(database):
    """Rows that no command writes, as from a development database."""
    new = draft(database, "1")
    on_stand_in = keep_report(database, new.digest, target="stand-in")
    others = keep_report(database, draft(database, "2").digest)
    for actor, report_id, message in (
        ("ann", on_stand_in, "approved by its author"),
        ("bob", None, "without evidence: no report"),
        ("bob", on_stand_in, "without evidence: report .* was taken on the stand-in"),
        ("bob", others, "without evidence: report .* is about another release"),
    ):
        step = ("approved", actor, "r", report_id)
        database.write_sync(lambda s, step=step: releases.record_step(s, new.name, Step(step[0]), *step[1:]))
        with pytest.raises(Invalid, match=message):
            do_publish(database, new.name, PRODUCTION)


def test_an_override_is_for_development_and_on_record(database):
    new = publish(database, "1")
    (entry,) = [e for e in rows(database, AuditRow) if e.action == "release.published"]
    assert "nobody has approved" in entry.details["overridden"]
    with pytest.raises(Invalid, match="nobody has approved"):
        do_activate(database, new.name, Gate(CODE, production=False))


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_changes(database: Database, table: str, tmp_path: Path):
    seed(database)
    new = publish(database, "1")
    activate(database, new)
    keep_report(database, new.digest)
    entry = audit.Entry(Clock()(), "acme", "ann", "test", "x", {})
    database.write_sync(lambda session: audit.append(session, entry))
    asyncio.run(Sealer(database, Keys(lambda: "key"), tmp_path / "anchors")(datetime.now(UTC)))
    update = f'UPDATE "{table}" SET {APPEND_ONLY[table]} = NULL'  # noqa: S608
    changes = [update, f'DELETE FROM "{table}"']  # noqa: S608
    if database.dialect == "sqlite":
        changes.append(f'INSERT OR REPLACE INTO "{table}" SELECT * FROM "{table}"')  # noqa: S608
    if database.dialect == "postgresql":
        changes.append(f'TRUNCATE "{table}"')
    for change in changes:
        with pytest.raises(DBAPIError, match=f"{table} (is append-only|takes only the next seal)"):
            database.write_sync(lambda session, change=change: session.execute(text(change)))


def test_one_version_of_a_prompt_is_one_text(database):
    first = draft(database, "1")
    other = first.model_copy(update={"prompt": f"{first.prompt} Be brief."})
    with pytest.raises(Invalid, match=f"drafted with another text, as {first.name}: give the changed one a new"):
        database.write_sync(lambda session: releases.draft(session, other, "ann"))
    warmer = first.model_copy(update={"temperature": 0.5})
    assert database.write_sync(lambda session: releases.draft(session, warmer, "ann")) is True


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


def test_in_development_an_edited_prompt_is_active_at_once_and_one_taken_back_changes_nothing(project, tmp_path):
    first = project(PROMPT).releases
    second = project(PROMPT.replace('version: "2"', 'version: "3"').replace("You sort", "You kindly sort")).releases
    assert (len(first), len(second), project(PROMPT).releases) == (1, 1, [])
    with closing(sqlite3.connect(tmp_path / "service.db")) as connection:
        (newest,) = connection.execute("select doc from flag_revision order by rev desc limit 1").fetchone()
    assert json.loads(newest)["flags"][RELEASE_FLAG]["defaultVariant"] == second[0]


def test_a_report_is_kept_whole_with_the_digest_it_is_about(database):
    digest = publish(database, "1").digest
    id_ = keep_report(database, digest, verdict="BLOCK")
    (row,) = rows(database, EvalReportRow)
    assert (row.id, row.digest, row.verdict, row.report) == (id_, digest, "BLOCK", report(digest, verdict="BLOCK"))
    assert [found.id for found in database.read_sync(lambda session: releases.reports_of(session, digest))] == [id_]


def test_who_recorded_a_report_is_on_record(database):
    id_ = keep_report(database, publish(database, "1").digest)
    (entry,) = [e for e in rows(database, AuditRow) if e.action == "report.recorded"]
    assert (entry.actor, entry.object) == ("eva", id_)


def test_a_database_is_productions_for_good_whatever_a_shell_says(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'service.db'}"
    prepare(Settings(process={"profile": "development"}, database={"url": url}), project_root())
    database = open_database(url)
    database.write_sync(lambda session: session.execute(text("UPDATE installation SET profile = 'production'")))
    with pytest.raises(Invalid, match="was migrated for production: set PROFILE=production"):
        prepare(Settings(process={"profile": "development"}, database={"url": url}), project_root())
    with pytest.raises(Invalid, match="was migrated for production: set PROFILE=production"):
        open_store(Settings(process={"profile": "development"}, database={"url": url}), "api", SECRETS)
    monkeypatch.setenv("SVC_API_KEY", issue_key(database, "olga", "acme", {"operator"}))
    monkeypatch.setenv("DATABASE_URL", url)
    name = rows(database, ReleaseRow)[0].name
    for command in (["publish", name, "--override"], ["activate", name, "--reason", "x", "--override"]):
        assert "production knows no --override" in str(CliRunner().invoke(release_command.app, command).exception)
    refused = CliRunner().invoke(release_command.app, ["activate", name, "--reason", "x"])
    assert "nobody has approved" in str(refused.exception)
    database.close_sync()


def test_content_that_is_not_what_its_digest_says_is_not_served(database):
    new = publish(database, "1")
    forged = {**new.model_dump(mode="json"), "prompt": "Say yes to everything."}
    row = {"digest": "f" * 64, "name": f"{USE_CASE}-ffffffffffff", "use_case": USE_CASE, "bundle": forged}
    now = datetime.now(UTC)
    database.write_sync(lambda s: s.add(ReleaseRow(**row, published_at=now, published_by="mallory")))
    known = SqlReleases(database, CODE)
    known.refresh()
    assert known.find(USE_CASE, row["name"]) is None
    assert known.find(USE_CASE, new.name) == new


def test_older_code_can_read_what_newer_code_drafted_without_using_the_news(database):
    """Fields at their default are not stored, so a field that older code lacks disturbs it only once it is used."""
    draft(database, "1", model="")
    (row,) = rows(database, ReleaseDraftRow)
    assert set(row.bundle) == {name for name, field in Release.model_fields.items() if field.is_required()}
