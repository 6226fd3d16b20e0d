"""`svc keys`, `svc flags`, `svc release`: who may do what, and what the commands print."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import delete, update
from typer.testing import CliRunner, Result

from service.application.errors import Invalid, Unavailable
from service.cli import flags, keys, operator, release
from service.integration.database import api_keys
from service.integration.database.api_keys import issue_key
from service.integration.database.session import Database
from service.integration.database.tables import ApiKeyRow, AuditRow
from service.integration.flags import store
from tests.example import AI_FLAG, RELEASE_FLAG
from tests.integration.examples import rows
from tests.integration.test_flag_provider import publish, seed
from tests.processes import serving


@pytest.fixture
def environment(sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The commands' environment: development, this database, nobody's key."""
    monkeypatch.setenv("PROFILE", "development")
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{sqlite_database.writer.url.database}")
    monkeypatch.delenv("SVC_API_KEY", raising=False)
    return monkeypatch


def run(app, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_first_key_needs_no_key_and_the_second_does(environment):
    create = ("create", "--subject", "olga", "--tenant", "acme", "--role", "operator")
    first = run(keys.app, *create)
    assert first.exit_code == 0
    assert isinstance(run(keys.app, *create).exception, Invalid)
    environment.setenv("SVC_API_KEY", first.stdout.strip())
    assert run(keys.app, *create).exit_code == 0
    listed = json.loads(run(keys.app, "list", "--json").stdout)
    assert [key["subject"] for key in listed] == ["olga", "olga"]


@pytest.mark.parametrize("roles", [("caller",), ("operator", "auditor")])
def test_the_first_key_can_only_be_an_operators(environment, sqlite_database, roles):
    options = [part for role in roles for part in ("--role", role)]
    refused = run(keys.app, "create", "--subject", "olga", "--tenant", "acme", *options).exception
    assert isinstance(refused, Invalid)
    assert api_keys.list_keys(sqlite_database) == []


@pytest.mark.parametrize("left", ["revoked", "deleted"])
def test_there_is_no_second_first_key(environment, sqlite_database, left):
    create = ("create", "--subject", "olga", "--tenant", "acme", "--role", "operator")
    assert run(keys.app, *create).exit_code == 0
    assert [(r.action, r.actor) for r in rows(sqlite_database, AuditRow)] == [("key.created", api_keys.FIRST)]
    # By hand, in SQL; the audit log remembers.
    by_hand = {"deleted": delete(ApiKeyRow), "revoked": update(ApiKeyRow).values(revoked_at=datetime.now(UTC))}
    sqlite_database.write_sync(lambda session: session.execute(by_hand[left]))
    assert isinstance(run(keys.app, *create).exception, Invalid)
    assert len(api_keys.list_keys(sqlite_database)) == (left == "revoked")


def test_of_two_who_make_the_first_key_at_once_one_succeeds(database, monkeypatch, tmp_path):
    def first(n: int) -> bool:
        try:
            return bool(issue_key(database, f"o{n}", "acme", {"operator"}, actor=api_keys.FIRST))
        except Invalid:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(first, range(8))) == 1


def test_a_key_is_rotated_by_a_command_and_ends_by_itself(environment, sqlite_database):
    mine = issue_key(sqlite_database, "olga", "acme", {"operator"})
    theirs = issue_key(sqlite_database, "app", "acme", {"caller"}).split("_")[1]
    environment.setenv("SVC_API_KEY", mine)
    told = json.loads(run(keys.app, "rotate", theirs, "--overlap", "1", "--days", "30", "--json").stdout)
    assert (told["subject"], told["tenant"], told["roles"]) == ("app", "acme", ["caller"])
    listed = {key["id"]: key for key in json.loads(run(keys.app, "list", "--json").stdout)}
    left = {name: datetime.fromisoformat(listed[name]["expires_at"]) - datetime.now(UTC) for name in listed}
    assert timedelta(minutes=59) < left[theirs] < timedelta(hours=1)
    assert timedelta(days=29) < left[told["id"]] < timedelta(days=30)
    assert timedelta(days=89) < left[mine.split("_")[1]] < timedelta(days=90)


@pytest.mark.parametrize(
    "wrong", [("rotate", "x", "--overlap", "169"), ("rotate", "x", "--days", "367"), ("rotate", "x", "--overlap", "-1")]
)
def test_what_no_key_may_be_is_wrong_use(environment, wrong):
    assert run(keys.app, *wrong).exit_code == 2
    create = ("create", "--subject", "olga", "--tenant", "acme", "--role", "operator")
    assert run(keys.app, *create, "--days", "0").exit_code == run(keys.app, *create, "--days", "367").exit_code == 2


def test_an_operator_whose_key_ends_soon_is_told(environment, sqlite_database):
    soon = datetime.now(UTC) + timedelta(days=13, minutes=1)
    for subject, expires_at in (("olga", soon), ("oscar", None)):
        environment.setenv("SVC_API_KEY", key := issue_key(sqlite_database, subject, "acme", {"operator"}, expires_at))
        warning = f"svc: your key ends in 13 days: svc keys rotate {key.split('_')[1]}\n"
        assert run(keys.app, "list").stderr == (warning if expires_at else "")


@pytest.mark.parametrize(
    ("role", "may_read", "may_write"),
    [("operator", True, True), ("auditor", True, False), ("reviewer", False, False), ("caller", False, False)],
)
def test_operators_change_and_auditors_look(environment, sqlite_database, role, may_read, may_write):
    seed(sqlite_database)
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {role}))
    read = run(flags.app, "list")
    write = run(flags.app, "set", "ai.enabled", "off", "--reason", "why not")
    assert (read.exit_code == 0, write.exit_code == 0) == (may_read, may_write)
    newest = sqlite_database.read_sync(store.history)[0]
    assert (newest.actor == "x") == may_write


def test_in_development_the_running_services_operator_key_serves(environment, sqlite_database, tmp_path):
    seed(sqlite_database)
    key = issue_key(sqlite_database, "operator", "demo", {"operator"})
    (tmp_path / "dev.json").write_text(json.dumps({"keys": {"operator": key}}))
    assert run(flags.app, "set", AI_FLAG, "off", "--reason", "a test").exit_code == 0
    (tmp_path / "dev.json").write_text("{")
    assert isinstance(run(flags.app, "list").exception, Invalid)


def test_tables_and_json_show_the_same_flags(environment, sqlite_database):
    seed(sqlite_database)
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {"auditor"}))
    names = [flag["name"] for flag in json.loads(run(flags.app, "list", "--json").stdout)]
    assert names == [line.split()[0] for line in run(flags.app, "list").stdout.partition("\n\n")[0].splitlines()[1:]]
    assert json.loads(run(flags.app, "show", AI_FLAG).stdout)[AI_FLAG]["defaultVariant"] == "on"
    assert json.loads(run(flags.app, "history", "--json").stdout)[0]["rev"] == 1


def test_a_release_is_listed_and_shown_and_no_mere_flag(environment, sqlite_database):
    seed(sqlite_database)
    name = publish(sqlite_database, "7").name
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {"operator"}))
    assert [row["name"] for row in json.loads(run(release.app, "list", "--json").stdout)] == [name]
    assert json.loads(run(release.app, "show", name, "--json").stdout)["prompt_version"] == "7"
    refused = run(flags.app, "set", RELEASE_FLAG, name, "--reason", "pin").exception
    assert "svc release activate" in str(refused)


def test_tables_show_lists_dates_and_gaps_for_people(environment, sqlite_database):
    seed(sqlite_database)
    publish(sqlite_database, "7")
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {"auditor", "caller"}))
    head, key = (line.split() for line in run(keys.app, "list").stdout.splitlines())
    assert head == ["ID", "SUBJECT", "TENANT", "ROLES", "CREATED", "AT", "EXPIRES", "AT", "STATE"]
    assert (key[1:4], key[6]) == (["x", "acme", "auditor,caller"], "valid")
    assert run(release.app, "list").stdout.splitlines()[1].split()[1] == "7"
    assert "doc" not in run(flags.app, "history").stdout.casefold()


def test_a_database_that_is_away_is_one_line_with_the_cause(environment):
    environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    environment.setenv("SVC_API_KEY", "svk_0_0")
    error = run(flags.app, "list").exception
    assert isinstance(error, Unavailable)
    assert "refused" in str(error)
    assert "\n" not in str(error)


def test_an_audience_is_told_in_words_and_what_is_not_given_stays(environment, sqlite_database):
    seed(sqlite_database)
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {"operator"}))

    def after(*arguments: str) -> str:
        told = run(flags.app, "set", AI_FLAG, "on", "--reason", "a test", *arguments)
        assert told.exit_code == 0, told.output
        return told.stdout.splitlines()[0].partition(": ")[2].partition(" (revision")[0]

    assert after("--internal") == "on for internal tenants; else off"
    assert after("--percent", "20") == "on for internal tenants, 20 % of all other customers; else off"
    wanted = "on for internal tenants and a-corp, b-corp, 20 % of all other customers; else off"
    assert after("--beta", "a-corp", "--beta", "b-corp") == wanted
    assert after("--percent", "50") == wanted.replace("20 %", "50 %")
    assert after("--internal") == "on for internal tenants; else off"
    assert after() == "on for everybody"
    history = json.loads(run(flags.app, "history", "--json", "--limit", "1").stdout)
    assert history[0]["changed"] == [f"{AI_FLAG}: on for everybody"]


@pytest.mark.parametrize("reason", ["\udcff", "a\x00b"])
def test_a_reason_that_is_no_text_is_refused_in_one_line(environment, sqlite_database, reason):
    """As from a terminal with another encoding."""
    seed(sqlite_database)
    environment.setenv("SVC_API_KEY", issue_key(sqlite_database, "x", "acme", {"operator"}))
    error = run(flags.app, "set", "ai.enabled", "off", "--reason", reason).exception
    assert isinstance(error, Invalid)
    assert "a reason is required, in plain text" in str(error)


def test_a_command_that_asks_too_often_waits_and_goes_on(monkeypatch):
    app, asked = FastAPI(), []

    @app.get("/v1/x")
    async def x() -> JSONResponse:
        asked.append(time.monotonic())
        return JSONResponse({"n": len(asked)}, 429 if len(asked) == 1 else 200, {"Retry-After": "1"})

    monkeypatch.setenv("SVC_API_KEY", "k")
    with serving(app) as url, operator.running_service(url) as ask:
        assert ask("GET", "/v1/x") == {"n": 2}
    assert asked[1] - asked[0] >= 1
