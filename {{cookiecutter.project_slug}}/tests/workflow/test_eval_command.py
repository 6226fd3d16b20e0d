"""`svc eval` as it is typed: the whole use case, real HTTP to the stand-in, and exit codes that CI can trust."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.example import USE_CASE
from tests.processes import free_port, running

ROOT = Path(__file__).parents[2]
FROM_THE_CALLER = ("MODEL_URL", "MODEL_NAME", "MODEL_API_KEY", "DATABASE_URL", "PROFILE", "VAULT_ADDR")


def svc(*arguments, var, **environment):
    inherited = {name: value for name, value in os.environ.items() if name not in FROM_THE_CALLER}
    path = os.pathsep.join(filter(None, [environment.pop("first_on_path", ""), "src", inherited.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=inherited | {"VAR_DIR": str(var), "PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="module")
def on_the_stand_in(var):
    """One run of the shipped suite, as a machine reads it, with the project's database migrated."""
    migrated = svc("migrate", var=var)
    assert migrated.returncode == 0, migrated.stderr
    key = svc("keys", "create", "--subject", "eva", "--tenant", "acme", "--role", "operator", var=var).stdout.strip()
    return svc("eval", "--json", "--out", str(var / "copy.json"), var=var, SVC_API_KEY=key)


def test_the_shipped_suite_passes_on_the_stand_in(on_the_stand_in):
    assert on_the_stand_in.returncode == 0, on_the_stand_in.stdout + on_the_stand_in.stderr
    report = json.loads(on_the_stand_in.stdout)
    assert list(report)[:5] == ["digest", "suite", "target", "verdict", "at"]
    assert (report["target"], report["verdict"]) == ("stand-in", "PASS")
    assert report["note"].startswith("stand-in: this run checks the pipeline, not a model")


def test_nothing_but_the_report_is_printed_for_machines(on_the_stand_in):
    assert on_the_stand_in.stdout.strip().startswith("{")
    assert on_the_stand_in.stdout.strip().endswith("}")
    assert on_the_stand_in.stderr == ""


def test_every_answer_came_from_the_model_over_http(on_the_stand_in):
    report = json.loads(on_the_stand_in.stdout)
    # One message is a lone "?": its quote says nothing, so the guard has it answered by rules.
    assert report["sources"] == {"model": report["cases"] - 1, "rules": 1}
    assert report["reasons"] == {"output_ungrounded": 1}


def test_the_stand_in_is_wrong_on_the_features_it_is_known_for(on_the_stand_in):
    features = {failure["feature"] for failure in json.loads(on_the_stand_in.stdout)["failures"]}
    assert {"sarcasm", "double_negation", "two_problems", "negated_urgency", "quoted_mail"} <= features


def test_the_report_is_kept_in_both_places(on_the_stand_in, var):
    printed = json.loads(on_the_stand_in.stdout)
    for place in (var / "copy.json", var / "eval" / "report.json"):
        recorded = {"recorded": True, "not_recorded_because": None}  # of this machine, and no part of the report
        assert json.loads(place.read_text(encoding="utf-8")) | recorded == printed


def test_the_verdict_is_recorded_in_the_projects_database(on_the_stand_in, var):
    report = json.loads(on_the_stand_in.stdout)
    assert report["recorded"] is True
    with sqlite3.connect(var / "service.db") as database:
        rows = database.execute("select digest, suite, target, verdict from eval_report").fetchall()
        by = database.execute("select actor from audit where action = 'report.recorded'").fetchall()
    assert by == [("eva",)]
    assert rows == [(report["digest"], report["suite"], "stand-in", "PASS")]


def test_without_an_operators_key_a_verdict_is_printed_and_not_recorded(tmp_path):
    assert svc("migrate", var=tmp_path).returncode == 0
    ran = svc("eval", "--json", var=tmp_path)
    assert (ran.returncode, json.loads(ran.stdout)["recorded"]) == (0, False)
    assert "SVC_API_KEY" in json.loads(ran.stdout)["not_recorded_because"]


def test_a_floor_out_of_reach_ends_with_exit_1_and_names_the_dimension(tmp_path):
    strict = shutil.copytree(ROOT / "evals" / USE_CASE, tmp_path / "strict")
    floors = yaml.safe_load((strict / "floors.yaml").read_text(encoding="utf-8"))
    floors["floors"]["category"] = 0.99
    (strict / "floors.yaml").write_text(yaml.safe_dump(floors), encoding="utf-8")
    ran = svc("eval", "--suite", str(strict), var=tmp_path)
    assert ran.returncode == 1, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("stand-in: this run checks the pipeline, not a model")
    assert "BLOCK: a floor is broken: category" in lines
    assert "not recorded in the database: only a suite under evals/ of the project speaks for a release" in lines


def test_the_stand_in_under_another_name_is_still_reported_as_the_stand_in(tmp_path):
    small = tmp_path / "small"
    (small / "cases").mkdir(parents=True)
    for file in ("injection.yaml", "high_stakes.yaml"):
        shutil.copy(ROOT / "evals" / USE_CASE / "cases" / file, small / "cases")
    shutil.copy(ROOT / "evals" / USE_CASE / "floors.yaml", small)
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as url:
        ran = svc(
            "eval", "--json", "--suite", str(small), var=tmp_path, MODEL_URL=f"{url}/v1", MODEL_NAME="real-model-9"
        )
    assert json.loads(ran.stdout)["target"] == "stand-in", ran.stderr


def test_a_model_that_never_keeps_the_contract_ends_with_exit_1(tmp_path):
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as url:
        httpx2.post(f"{url}/faults", json={"mode": "badschema"}).raise_for_status()
        ran = svc("eval", "--json", var=tmp_path, MODEL_URL=f"{url}/v1", MODEL_NAME="stand-in-primary")
    assert ran.returncode == 1, ran.stderr
    report = json.loads(ran.stdout)
    assert report["sources"] == {"rules": report["cases"]}
    assert report["reasons"] == {"output_unusable": report["cases"]}
    assert report["not_recorded_because"] == "there is no database yet: run `svc migrate` first"
    assert [row["dimension"] for row in report["dimensions"] if row["verdict"] == "BLOCK"] == ["disposition"]


def test_an_outage_is_no_verdict_it_ends_with_exit_3_and_leaves_no_trace(tmp_path):
    assert svc("migrate", var=tmp_path).returncode == 0
    ran = svc("eval", var=tmp_path, MODEL_URL=f"http://127.0.0.1:{free_port()}/v1", MODEL_NAME="real-model-9")
    assert ran.returncode == 3, ran.stdout
    assert re.fullmatch(
        r"[^:]+: the model answered none of \d+ cases: breaker_open \d+, model_unreachable \d+; nothing was judged\s",
        ran.stderr,
    )
    assert ran.stdout == ""
    assert not (tmp_path / "eval").exists()
    with sqlite3.connect(tmp_path / "service.db") as database:
        assert database.execute("select count(*) from eval_report").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["--suite", "nosuch"], {}, "no suite at evals/nosuch"),
        (["--colour"], {}, "No such option"),
        ([], {"MODEL_URL": "http://127.0.0.1:9/v1"}, "MODEL_NAME"),
    ],
    ids=["unknown suite", "unknown option", "a model without a name"],
)
def test_wrong_use_ends_with_exit_2_and_says_what_is_wrong(arguments, environment, line, tmp_path):
    ran = svc("eval", *arguments, var=tmp_path, **environment)
    assert ran.returncode == 2
    assert line in ran.stderr


def test_a_broken_harness_ends_with_exit_3_and_no_report(tmp_path):
    (tmp_path / "pydantic_evals.py").write_text(
        "raise ModuleNotFoundError('No module named pydantic_evals', name='pydantic_evals')", encoding="utf-8"
    )
    ran = svc("eval", var=tmp_path, first_on_path=str(tmp_path))
    assert ran.returncode == 3
    assert ran.stderr == "svc eval: pydantic-evals is not installed: `uv sync --group eval`\n"
    assert not (tmp_path / "eval").exists()
