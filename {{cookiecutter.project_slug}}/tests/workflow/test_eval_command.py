"""`svc eval` as it is typed: the real service in processes of its own, and exit codes that CI can trust.

The suite is a small one, so that the processes are started a few times only; grading again needs none.
"""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import httpx2
import pytest
import yaml

from service.cli import main
from service.evaluation.scorers import expected_effects
from tests.evaluation_samples import FLOORS, SEALED, SMALL, project_in
from tests.example import USE_CASE
from tests.processes import free_port, running
from tests.workflow.conftest import ROOT, clean_environment, eventually

REPEATS = ("--repeats", "2")


def environment(project, **values):
    given = {"VAR_DIR": str(project / "var"), "PROJECT_ROOT": str(project), "PYTHONUTF8": "1"} | values
    return {name: value for name, value in (clean_environment() | given).items() if name != "MODEL_NAME"} | values


def svc(project, *arguments, **values):
    """The command in this process, since its imports take seconds; what it starts are processes all the same."""
    printed, said, code = io.StringIO(), io.StringIO(), 0
    with (
        chdir(project),
        patch.dict(os.environ, environment(project, **values), clear=True),
        patch.object(sys, "argv", ["svc", *arguments]),
        redirect_stdout(printed),
        redirect_stderr(said),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return SimpleNamespace(returncode=code, stdout=printed.getvalue(), stderr=said.getvalue())


def report_of(project):
    return json.loads((project / "var" / "eval" / "report.json").read_text(encoding="utf-8"))


def rows(project, statement):
    with sqlite3.connect(project / "var" / "service.db") as database:
        return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose suite was run once, by `svc eval --json`, on a migrated database."""
    project = project_in(tmp_path_factory.mktemp("project"), ROOT)
    assert svc(project, "migrate").returncode == 0
    create = ("keys", "create", "--subject", "eva", "--tenant", "acme", "--role", "operator")
    key = svc(project, *create).stdout.strip()
    places = [f"--{kind}={project / kind}" for kind in ("out", "html", "junit", "markdown")]
    (project / "key").write_text(key)
    ran = svc(project, "eval", "--json", *REPEATS, *places, SVC_API_KEY=key)
    (project / "ran.json").write_text(json.dumps(vars(ran)))
    return project


@pytest.fixture(scope="module")
def ran(project):
    return SimpleNamespace(**json.loads((project / "ran.json").read_text()))


@pytest.fixture(scope="module")
def report(ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_a_suite_that_the_stand_in_passes_says_so_and_that_it_is_the_stand_in(report):
    assert list(report)[:5] == ["digest", "suite", "target", "verdict", "at"]
    assert (report["target"], report["verdict"], report["holdout"]) == ("stand-in", "PASS", 0)
    assert report["note"].startswith("stand-in: this run checks the pipeline, not a model")
    assert (report["cases"], report["repeats"]) == (len(SMALL), 2)


def test_every_answer_came_from_the_model_over_http(report):
    assert report["sources"] == {"model": 2 * report["items"]}
    assert (report["problems"], report["reasons"]) == ({}, {})


def test_each_class_of_case_is_followed_to_rows_job_ticket_review_item_and_audit_row(project, report):
    kept = [json.loads(line)["sample"] for file in project.rglob("samples.jsonl") for line in file.open()]
    seen = [sample for sample in kept if sample["effects"] is not None]
    assert len(seen) == 2 * report["cases"]
    assert all(sample["effects"] == expected_effects(sample["answer"]) for sample in seen)
    assert {sample["effects"]["tickets"] for sample in seen} == {0, 1}
    effects = {case: answer["scores"]["effects"][0] for case, answer in report["answers"].items()}
    assert effects == {row["id"]: 1.0 for row in SMALL}


def test_the_stand_in_is_wrong_on_the_feature_it_is_known_for(report):
    failed = [(f["case"], f["dimension"], f["feature"]) for f in report["failures"] if f["dimension"] != "robustness"]
    assert failed == [("sarcasm", "category", "sarcasm")]


def test_nothing_but_the_report_is_printed_for_machines_and_it_is_in_every_place(project, ran, report):
    assert ran.stderr == ""
    recorded = {"recorded": True, "not_recorded_because": None}  # of this machine, and no part of the report
    assert report_of(project) | recorded == report
    assert json.loads((project / "out").read_text()) == {
        name: value for name, value in report.items() if name not in ("answers", "variants", "read", *recorded)
    }
    assert (project / "var" / "eval" / "report.html").read_text() == (project / "html").read_text()
    assert "<testsuite" in (project / "junit").read_text()
    assert "PASS" in (project / "markdown").read_text()


def test_the_verdict_is_recorded_in_the_projects_database_without_messages(project, report):
    [(digest, verdict, kept)] = rows(project, "select digest, verdict, report from eval_report limit 1")
    assert (digest, verdict) == (report["digest"], "PASS")
    assert not {"answers", "variants"} & json.loads(kept).keys()
    assert rows(project, "select distinct actor from audit where action = 'report.recorded'") == [("eva",)]


def test_grading_again_asks_nobody_and_says_so(project, report):
    again = svc(project, "eval", *REPEATS)
    assert again.returncode == 0, again.stderr
    assert again.stderr == (
        f"svc eval: {2 * report['items']} of {2 * report['items']} answers are kept ones of an earlier run; "
        "--fresh asks again\n"
    )
    assert "SVC_API_KEY" in again.stdout.splitlines()[-1]
    assert report_of(project)["dimensions"] == report["dimensions"]
    assert report_of(project)["answers"] == report["answers"]


def test_a_floor_out_of_reach_ends_with_exit_1_and_names_the_dimension(project):
    strict = shutil.copytree(project / "evals" / USE_CASE, project / "strict")
    floors = FLOORS | {"floors": FLOORS["floors"] | {"category": 0.99}}
    (strict / "floors.yaml").write_text(yaml.safe_dump(floors), encoding="utf-8")
    ran = svc(project, "eval", "--suite", str(strict))
    assert ran.returncode == 1, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("stand-in: this run checks the pipeline, not a model")
    assert any(line.startswith("BLOCK: category") for line in lines)
    assert "not recorded in the database: only a suite under evals/ of the project speaks for a release" in lines


def test_a_limit_that_cannot_be_judged_leaves_it_open_and_ends_with_exit_2(project):
    unpriced = shutil.copytree(project / "evals" / USE_CASE, project / "unpriced")
    floors = FLOORS | {"limits": {"mean_cost_usd": 0.01}}
    (unpriced / "floors.yaml").write_text(yaml.safe_dump(floors), encoding="utf-8")
    ran = svc(project, "eval", "--suite", str(unpriced), "--json")
    assert (ran.returncode, json.loads(ran.stdout)["verdict"]) == (2, "INCONCLUSIVE"), ran.stdout + ran.stderr


def test_nothing_runs_when_a_committed_report_says_pass_for_the_same_fingerprint(project, report, tmp_path):
    committed = project / "evals" / USE_CASE / "reports" / "some.json"
    committed.parent.mkdir()
    shutil.copy(project / "out", committed)
    skipped = svc(project, "eval", "--if-changed", VAR_DIR=str(tmp_path / "none"))
    assert (skipped.returncode, skipped.stderr) == (0, "")
    where = committed.relative_to(project)
    assert skipped.stdout == f"nothing that decides the verdict has changed since {where}: PASS\n"
    assert not (tmp_path / "none").exists()
    kept = json.loads(committed.read_text())
    for change in ({"verdict": "BLOCK"}, {"fingerprint": kept["fingerprint"] | {"digest": "0"}}):
        committed.write_text(json.dumps(kept | change))
        assert "kept ones" in svc(project, "eval", "--if-changed").stderr
    shutil.rmtree(committed.parent)


def test_an_accepted_run_is_what_later_ones_are_compared_with_until_the_suite_changes(project, report):
    """The baseline holds the sealed cases' scores, and nothing else of them. It is the last test on this project."""
    accepted = svc(project, "eval", "baseline", "--repeats", "1")
    file = Path("evals") / USE_CASE / "baselines" / "stand-in.json"
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert accepted.stdout.endswith(f"accepted as the baseline: {file}\n")
    assert "answers are kept ones of an earlier run" in accepted.stderr
    baseline = json.loads((project / file).read_text())
    assert (baseline["holdout"], baseline["suite_digest"]) == (1, report["suite_digest"])
    assert set(baseline["answers"]["sealed"]) == {"class", "holdout", "scores"}
    assert SEALED[0]["ticket"]["body"] not in (project / file).read_text()
    compared = svc(project, "eval")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert report_of(project)["baseline"]["suite_digest"] == report["suite_digest"]
    assert {row["baseline_rate"] for row in report_of(project)["dimensions"]} > {1.0}
    (project / file).write_text(json.dumps(baseline | {"answers": {}, "variants": {}}))
    thin = svc(project, "eval")
    assert (thin.returncode, "the baseline lacks" in thin.stderr) == (3, True)
    (project / file).write_text(json.dumps(baseline | {"asked": "0"}))
    other = svc(project, "eval", f"--junit={project / 'junit'}")
    assert other.returncode == 3
    assert "accept a run by `svc eval baseline`" in other.stderr
    assert "accept a run by" in (project / "junit").read_text()
    floors = project / "evals" / USE_CASE / "floors.yaml"
    floors.write_text(yaml.safe_dump(FLOORS | {"floors": FLOORS["floors"] | {"category": 0.99}}))
    blocked = svc(project, "eval", "baseline", "--repeats", "1")
    assert (blocked.returncode, "not accepted" in blocked.stderr) == (1, True)
    assert json.loads((project / file).read_text())["asked"] == "0"
    assert svc(project, "eval", "baseline", "--repeats", "1", "--reason", "to begin with").returncode == 0
    assert json.loads((project / file).read_text())["accepted_because"] == "to begin with"


def test_a_model_that_never_keeps_the_contract_ends_with_exit_1(tmp_path):
    project = project_in(tmp_path, ROOT)
    with running(["dev.model", "--name", "stand-in-primary"], free_port()) as url:
        httpx2.post(f"{url}/faults", json={"mode": "badschema"}).raise_for_status()
        ran = svc(project, "eval", "--json", MODEL_URL=f"{url}/v1", MODEL_NAME="real-model-9")
    assert ran.returncode == 1, ran.stderr
    report = json.loads(ran.stdout)
    assert report["sources"] == {"rules": report["items"]}
    assert report["reasons"] == {"output_unusable": report["items"]}
    assert (report["target"], report["fingerprint"]["model"]) == ("real-model-9 at 127.0.0.1", "real-model-9")
    assert report["not_recorded_because"] == "there is no database yet: run `svc migrate` first"
    blocked = {row["dimension"] for row in report["dimensions"] if row["verdict"] == "BLOCK"}
    assert "format" in blocked
    assert "effects" not in blocked


def test_an_outage_is_no_verdict_it_ends_with_exit_3_and_leaves_no_trace(tmp_path):
    project = project_in(tmp_path, ROOT)
    assert svc(project, "migrate").returncode == 0
    ran = svc(project, "eval", MODEL_URL=f"http://127.0.0.1:{free_port()}/v1", MODEL_NAME="real-model-9")
    assert ran.returncode == 3, ran.stdout
    assert re.fullmatch(
        r"svc eval: the model answered none of \d+ messages: breaker_open \d+, model_unreachable \d+; "
        r"nothing was judged\n",
        ran.stderr,
    )
    assert ran.stdout == ""
    assert [file for file in (project / "var" / "eval").rglob("*") if file.is_file()] == []
    assert rows(project, "select count(*) from eval_report") == [(0,)]


def test_a_killed_run_leaves_no_process_and_no_key_and_the_next_one_goes_on_from_there(tmp_path):
    project, temporary = tmp_path / "project", tmp_path / "temporary"
    project.mkdir()
    temporary.mkdir()
    project_in(project, ROOT)
    given = {"MODEL_API_KEY": "key-of-the-house", "TMPDIR": str(temporary)}  # pragma: allowlist secret
    command = [sys.executable, "-m", "service", "eval", "--repeats", "6", "--concurrency", "1"]
    process = subprocess.Popen(
        command, cwd=project, env=environment(project, **given), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        eventually(lambda: any('"tickets"' in file.read_text() for file in project.rglob("samples.jsonl")), 90)
    finally:
        process.kill()
        process.communicate()
    [guardian] = temporary.rglob("guardian.lock")
    group = int(guardian.read_text())
    eventually(lambda: not alive(group))
    assert [f for f in temporary.rglob("*") if f.is_file() and b"key-of-the-house" in f.read_bytes()] == []
    resumed = svc(project, "eval", "--repeats", "6", **given)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    [(kept, of)] = re.findall(r"svc eval: (\d+) of (\d+) answers are kept ones", resumed.stderr)
    assert 0 < int(kept) < int(of)


def alive(group: int) -> bool:
    try:
        os.killpg(group, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "values", "line"),
    [
        (["--suite", "nosuch"], {}, "no suite at evals/nosuch"),
        (["--colour"], {}, "No such option"),
        (["--repeats", "0"], {}, "--repeats"),
        ([], {"MODEL_URL": "http://127.0.0.1:9/v1"}, "MODEL_NAME"),
    ],
    ids=["unknown suite", "unknown option", "no repeat", "a model without a name"],
)
def test_wrong_use_ends_with_exit_2_and_says_what_is_wrong(arguments, values, line, tmp_path):
    ran = svc(project_in(tmp_path, ROOT), "eval", *arguments, **values)
    assert ran.returncode == 2
    assert line in ran.stderr
    assert not (tmp_path / "var").exists()


def test_without_the_evaluation_library_it_ends_with_exit_3_and_one_line(tmp_path):
    (tmp_path / "pydantic_evals.py").write_text(
        "raise ModuleNotFoundError('No module named pydantic_evals', name='pydantic_evals')", encoding="utf-8"
    )
    (tmp_path / "project").mkdir()
    project = project_in(tmp_path / "project", ROOT)
    path = f"{tmp_path}:{ROOT / 'src'}"
    ran = subprocess.run(
        [sys.executable, "-m", "service", "eval"],
        cwd=project,
        env=environment(project, PYTHONPATH=path),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 3
    assert ran.stderr == "svc eval: pydantic_evals is not installed: `uv sync --group eval`\n"
