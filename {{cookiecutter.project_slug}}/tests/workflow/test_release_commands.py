"""A changed prompt on its way to customers and back, beside the running service, with the commands people use."""

import json
import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from service.application.errors import Invalid
from service.application.release import Code, Gate, Release
from service.bootstrap_inference import CODE
from service.integration.database import releases
from service.integration.database.session import open_database
from service.integration.database.tables import ProcessRow
from service.integration.flags import rollout
from tests.evaluation_samples import project_in
from tests.example import CLEAR, PATH, UNCLEAR, USE_CASE
from tests.workflow.conftest import ROOT, Stack, running_stack

WHY = ("--reason", "a test")
RATE = 20


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The files that every command here goes by: the project's, with a suite that takes seconds."""
    project = project_in(tmp_path_factory.mktemp("project"), ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECT_ROOT", str(project))
        yield project


@pytest.fixture(scope="module")
def stack(project, tmp_path_factory):
    """A service of its own, since its releases are changed."""
    with running_stack(tmp_path_factory.mktemp("releases")) as stack:
        yield stack


@pytest.fixture(scope="module")
def second(stack, project) -> str:
    """Drafted from an edited prompt, evaluated, approved by another person, published. The first stays active."""
    prompt = project / "prompts" / USE_CASE / f"{USE_CASE}.md"
    as_it_was = prompt.read_text()
    edited = as_it_was.replace('version: "2"', 'version: "3"').replace("## User\n", "## User\nPlease.\n", 1)
    prompt.write_text(edited)
    name = stack.done("release", "draft").split()[0]
    plain = stack.svc("eval", "--suite", str(project / "evals" / USE_CASE), "--json")
    assert plain.returncode == 0, plain.stdout + plain.stderr
    prompt.write_text(as_it_was)
    create = ("keys", "create", "--subject", "bob", "--tenant", "demo", "--role", "operator")
    stack.keys["bob"] = stack.done(*create).strip()
    refused = stack.svc("release", "approve", name, *WHY, key="bob")
    assert "was made without the 1 sealed cases: svc release evaluate" in refused.stderr
    evaluated = stack.svc("release", "evaluate", name)
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    refused = stack.svc("release", "approve", name, *WHY)
    assert (refused.returncode, "another person must approve it" in refused.stderr) == (2, True)
    assert "approved by bob" in stack.done("release", "approve", name, *WHY, key="bob")
    stack.done("release", "publish", name)
    return name


def first(stack) -> str:
    listed = json.loads(stack.done("release", "list", "--json"))
    return next(row["name"] for row in listed if row["author"] == "svc migrate")


def with_a_way_back(stack: Stack, second: str) -> str:
    """The first release active, and the second before it: whatever was given up earlier."""
    old = first(stack)
    for name in (second, old):
        if active(stack)[0] != name:
            stack.done("release", "activate", name, *WHY, "--override")
    return old


def active(stack: Stack) -> tuple[str, str]:
    answer = stack.ask(CLEAR)
    return answer["release"], answer["prompt_version"]


def test_a_new_release_reaches_the_running_service_and_leaves_it_again(stack, second):
    old = first(stack)
    assert active(stack) == (old, "2")
    told = json.loads(stack.done("release", "activate", second, *WHY, "--json"))
    assert (told["processes"], told["late"]) == (2, [])
    assert told["ms"] < 1000
    assert active(stack) == (second, "3")
    assert old in stack.done("release", "rollback", *WHY)
    assert active(stack) == (old, "2")
    states = {row["name"]: row["state"] for row in json.loads(stack.done("release", "list", "--json"))}
    assert states == {old: "active", second: "published"}
    assert "+Please." in stack.done("release", "diff", old, second).splitlines()
    shown = json.loads(stack.done("release", "show", second, "--json"))
    assert (shown["report"], shown["approved_by"]) == ("PASS on stand-in", ["bob"])
    assert [step["step"] for step in shown["steps"]] == ["given_up", "activated", "approved", "drafted"]


def test_a_canary_answers_its_share_is_compared_and_ends_with_one_command(stack, second):
    old = first(stack)
    stack.done("release", "canary", second, "--percent", "30", *WHY)
    answers = [stack.ask({**CLEAR, "customer_ref": f"customer-{n}"}) for n in range(60)]
    by = {name: sum(answer["release"] == name for answer in answers) for name in (old, second)}
    assert 5 <= by[second] <= 35
    assert by[old] + by[second] == 60
    compared = json.loads(stack.done("release", "compare", "--json"))
    assert (compared["incumbent"], compared["canary"], compared["verdict"]) == (old, second, "cannot tell yet")
    counted = {figure["name"]: figure for figure in compared["figures"]}
    assert (counted["answers"]["incumbent"]["value"], counted["answers"]["canary"]["value"]) == (by[old], by[second])
    assert 0 <= counted["latency p50 ms"]["canary"]["value"] < 1000
    assert "cannot tell yet" in stack.done("release", "compare").splitlines()[-1]
    assert f"{second} is given up" in stack.done("release", "rollback", *WHY)
    assert {stack.ask({**CLEAR, "customer_ref": f"customer-{n}"})["release"] for n in range(60)} == {old}


def test_a_rollback_under_load_fails_no_request_and_is_everywhere_within_a_second(stack, second):
    """Open loop at 20 requests a second. A request that was under way keeps the release that it began with."""
    old = first(stack)
    stack.done("release", "activate", second, *WHY)
    answers: list[tuple[float, int, str]] = []

    def ask() -> None:
        began = time.monotonic()
        answer = stack.post(PATH, json=CLEAR)
        answers.append((began, answer.status_code, answer.json().get("prompt_version")))

    rolled_back: list[float] = []

    def roll_back() -> None:
        assert stack.svc("release", "rollback", *WHY).returncode == 0
        ((at,),) = stack.rows("select max(at) from flag_revision")
        age = (datetime.now(UTC) - datetime.fromisoformat(at).replace(tzinfo=UTC)).total_seconds()
        rolled_back.append(time.monotonic() - age)

    threads, until = [], time.monotonic() + 60
    while time.monotonic() < (rolled_back[0] + 3 if rolled_back else until):
        threads.append(threading.Thread(target=roll_back if len(threads) == 2 * RATE else ask))
        threads[-1].start()
        time.sleep(1 / RATE)
    for thread in threads:
        thread.join(30)
    assert {status for _, status, _ in answers} == {200}
    (moment,) = rolled_back
    after = [version for began, _, version in answers if began > moment + 1]
    assert len(after) > RATE
    assert set(after) == {"2"}
    last_new = max(began for began, _, version in answers if version == "3")
    print(
        f"\nrollback at {RATE}/s: {len(answers)} requests, all 200, the last under the new prompt began "
        f"{1000 * (last_new - moment):+.0f} ms from the revision",
        end="",
    )
    assert active(stack)[0] == old


def test_the_drill_throws_the_switch_and_rolls_back_for_real_and_restores(stack, second):
    with_a_way_back(stack, second)
    before = stack.rows("select doc from flag_revision order by rev desc limit 1")
    rows = json.loads(stack.done("release", "drill", "--json", *WHY))
    assert [row["step"].split()[0] for row in rows] == ["kill", "kill", "rollback", "release"]
    assert all(row["within_a_second"] and row["processes"] == 2 for row in rows)
    assert stack.rows("select doc from flag_revision order by rev desc limit 1") == before
    assert stack.rows("select count(*) from audit where action = 'flag.reverted'")[0][0] >= 2


def test_old_code_under_a_newer_release_answers_on_lets_people_decide_and_raises_the_alarm(stack, second):
    """As after an application rollback: a release for newer guards is active, and the processes have the older ones."""
    old = first(stack)
    waiting = stack.ask(UNCLEAR)["decision_id"]
    with asking(stack) as answers:
        newer = newer_release(stack, old)
        refused = stack.svc("release", "activate", newer, *WHY, "--override")
        assert "does not fit this code: it was made for guards guards-of-the-future" in refused.stderr
        time.sleep(1)
        (item,) = [i for i in stack.get("/v1/reviews?state=open", "reviewer").json() if i["decision_id"] == waiting]
        verdict = stack.post(f"/v1/reviews/{item['id']}/verdict", "reviewer", json={"verdict": "approve"})
        assert verdict.status_code == 200
    assert len(answers) > 50
    assert set(answers) == {(200, old, "model")}
    log = (stack.var / "log" / "api.log").read_text()
    assert f"release {newer} does not fit" in log
    assert f"{old}, the last that fits, answers" in log
    print(f"\n{len(answers)} answers under a release that does not fit: all 200, all by the last that does", end="")
    stack.done("release", "rollback", *WHY)


@contextmanager
def asking(stack: Stack) -> Iterator[list[tuple[int, str, str]]]:
    """Four callers, until the block ends."""
    answers: list[tuple[int, str, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = stack.post(PATH, json=CLEAR)
            answers.append((answer.status_code, answer.json().get("release"), answer.json().get("source")))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def newer_release(stack: Stack, old: str) -> str:
    """Active, and made for guards that only a newer deployment has."""
    ((text,),) = stack.rows("select bundle from release where name = ?", old)
    future = {"prompt_version": "4", "guards_version": "guards-of-the-future"}
    newer = Release.model_validate({**json.loads(text), **future})
    gate = Gate(Code(CODE.contract, CODE.rules, (newer.guards_version,)), production=False, override=True)
    database = open_database(f"sqlite:///{stack.var / 'service.db'}")

    def activate(session: Session) -> None:
        rollout.activate(session, newer.name, "a newer deployment", "new guards", gate)

    try:
        database.write_sync(lambda s: releases.draft(s, newer, "a newer deployment"))
        database.write_sync(lambda s: releases.publish(s, newer.name, "a newer deployment", gate))
        with pytest.raises(Invalid, match="does not fit the running api"):
            database.write_sync(activate)
        # When it was activated newer code ran, and not these processes.
        database.write_sync(lambda s: (s.execute(delete(ProcessRow)), activate(s)))
    finally:
        database.close_sync()
    return newer.name


def leaked_key(stack: Stack) -> str:
    create = ("keys", "create", "--subject", "leaky", "--tenant", "acme", "--role", "caller", "--json")
    return str(json.loads(stack.done(*create))["id"])


def commands(document: str) -> list[list[str]]:
    """The `svc` commands in the shell blocks of each section that has any, as they are typed."""
    sections = re.split(r"^## ", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE)
    typed = [re.findall(r"^\.venv/bin/svc (.*)$", section, re.MULTILINE) for section in sections]
    return [lines for lines in typed if lines]


DOCUMENTED = [section for document in ("docs/runbook.md", "README.md") for section in commands(document)]


@pytest.mark.parametrize("section", DOCUMENTED, ids=lambda section: section[0])
def test_what_the_documents_tell_operators_to_type_works_as_it_stands(stack, second, section):
    with_a_way_back(stack, second)
    before = stack.get("/v1/flags", "operator").json()["revision"]
    for line in section:
        line = line.replace("RELEASE", second).replace("REVISION", str(before - 1))
        line = line.replace("KEY_ID", leaked_key(stack)) if "KEY_ID" in line else line
        arguments = shlex.split(line, comments=True)
        key = "bob" if arguments[1] == "approve" else "operator"
        if arguments[0] == "eval":  # run in test_eval_command.py and test_live.py; here only what can be typed
            helped = stack.done("eval", *([] if arguments[1].startswith("-") else [arguments[1]]), "--help", key=key)
            assert all(option in helped for option in arguments if option.startswith("--")), helped
            continue
        ended = stack.svc(*arguments) if arguments[1] == "evaluate" else None
        assert not ended or ended.returncode == 0, ended.stderr
        if ended is None:
            stack.done(*arguments, key=key)
    if stack.get("/v1/flags", "operator").json()["revision"] != before:
        stack.svc("flags", "revert", str(before), *WHY)


def test_the_runbook_is_not_empty():
    assert sum(map(len, DOCUMENTED)) >= 25
