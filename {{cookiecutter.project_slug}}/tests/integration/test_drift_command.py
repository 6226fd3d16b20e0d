"""`svc eval drift` on answers that have moved, and on answers that have not: what it prints, and how it ends."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from service.cli.eval_commands import app
from service.evaluation.drift import REFERENCE, WINDOW
from service.integration.database import decisions
from service.integration.database.api_keys import issue_key
from service.integration.database.tables import DecisionRow, LiveScoreRow, PayloadRow, table_of
from tests.integration.examples import Clock, decision
from tests.integration.test_flag_provider import seed


@pytest.fixture
def auditor(sqlite_database, tmp_path, monkeypatch):
    seed(sqlite_database)
    key = issue_key(sqlite_database, "ada", "acme", {"auditor"})
    for name, value in {"PROFILE": "development", "VAR_DIR": str(tmp_path), "SVC_API_KEY": key}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{sqlite_database.writer.url.database}")
    return sqlite_database


def answered(database, labels, failed):
    """One answer for each label, a second apart, all evaluated."""
    clock, made = Clock(), []
    for number, label in enumerate(labels):
        outcome = {"category": label, "confidence": 0.9, "draft_reply": "Soon."}
        made.append(decision(f"d-{number:05}", outcome=outcome, at=clock() + timedelta(seconds=number)))
    payloads = [
        {"decision_id": d.id, "tenant": d.tenant, "customer": None, "encrypted": None, "created_at": d.at} for d in made
    ]
    scores = [
        {"decision_id": d.id, "dimension": "format", "release": d.release, "passed": not bad, "at": d.at}
        for d, bad in zip(made, failed, strict=True)
    ]
    for row, values in (
        (DecisionRow, [decisions.to_row(d) for d in made]),
        (PayloadRow, payloads),
        (LiveScoreRow, scores),
    ):
        database.write_sync(lambda session, row=row, values=values: session.execute(insert(table_of(row)), values))


def drift(*arguments):
    return CliRunner().invoke(app, ["drift", "--release", decision().release, *arguments])


def test_what_has_moved_ends_with_1_and_names_the_monitor(auditor):
    usual, moved = ["billing", "delivery"] * (REFERENCE // 2), ["billing", "product"] * WINDOW
    rest = ["billing", "delivery"] * 300  # so that the reference is full
    bad = [n % 20 == 0 for n in range(REFERENCE + len(rest))] + [n % 5 == 0 for n in range(2 * WINDOW)]
    answered(auditor, usual + rest + moved, bad)
    ended = drift("--json")
    states = {
        monitor["name"]: (monitor["state"], monitor["reference"]) for monitor in json.loads(ended.stdout)["monitors"]
    }
    assert ended.exit_code == 1, ended.output
    assert states == {
        "label": ("page", REFERENCE), "disposition": ("ok", REFERENCE), "confidence": ("ok", REFERENCE),
        "length": ("ok", REFERENCE), "format": ("page", REFERENCE),
    }  # fmt: skip


def test_what_has_not_ends_with_0_on_one_screen(auditor):
    answered(auditor, ["billing", "delivery"] * 500, [n % 20 == 0 for n in range(1000)])
    ended = drift()
    assert ended.exit_code == 0, ended.output
    assert "page" not in ended.stdout
    assert len(ended.stdout.splitlines()) < 25
