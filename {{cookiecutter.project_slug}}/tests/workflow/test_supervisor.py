"""`svc run` as its user sees it: one command up, one Ctrl-C down, and nothing left behind however it ends."""

import io
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from dev.announce import announce
from dev.children import MAX_DEATHS, Children
from dev.files import keep_private
from dev.settings import read
from dev.stack import Stack
from tests.example import CLEAR, PATH

ROOT = Path(__file__).resolve().parents[2]
HTTP = httpx2.Client(timeout=30)
START_SECONDS = 60


@dataclass
class Run:
    """One `svc run`, its data and what it printed."""

    process: subprocess.Popen[bytes]
    var: Path

    @property
    def printed(self) -> str:
        return (self.var / "printed.txt").read_text(encoding="utf-8")

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.var / "dev.json").read_text(encoding="utf-8")))

    def ask(self) -> httpx2.Response:
        state = self.state
        headers = {"X-API-Key": state["keys"]["caller"]}
        return HTTP.post(f"{state['base_url']}{PATH}", json=CLEAR, headers=headers)


@contextmanager
def svc_run(var: Path, **environment: str) -> Iterator[Run]:
    """`svc run` on `var`; killed with its children at the end if it still runs."""
    var.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "MODEL_", "BACKUP_"))}
    given |= {"VAR_DIR": str(var), "PORT": "0", "PYTHONPATH": str(ROOT / "src")} | environment
    with open(var / "printed.txt", "wb") as printed:
        command = [sys.executable, "-m", "service", "run"]
        process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=printed, stderr=subprocess.STDOUT)
    try:
        yield Run(process, var)
    finally:
        process.kill()
        process.wait()


def wait_until_up(run: Run) -> None:
    wait_for(lambda: (run.var / "dev.json").exists() or run.process.poll() is not None, START_SECONDS)
    assert run.process.poll() is None, run.printed


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process runs. A zombie that nobody collects yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z" if status.parent.parent.exists() else True
    except OSError:
        return False


def listens(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


def nothing_is_left_of(state: dict[str, Any]) -> bool:
    urls = [state[name] for name in ("base_url", "model_url", "backup_url", "ticketing_url", "vault_addr")]
    return not any(map(is_alive, state["pids"].values())) and not any(map(listens, urls))


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return tmp_path_factory.mktemp("a var") / "{{odd}} ü"


@pytest.fixture(scope="module")
def up(var):
    """A running stack that several tests look at."""
    with svc_run(var) as run:
        wait_until_up(run)
        yield run


def test_dev_json_has_every_name_that_others_rely_on_and_is_private(up):
    assert stat.S_IMODE((up.var / "dev.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(up.var.stat().st_mode) == 0o700
    state = up.state
    assert {"base_url", "model_url", "backup_url", "ticketing_url", "vault_addr", "telemetry_dir"} < set(state)
    assert set(state["keys"]) == {"caller", "reviewer", "operator", "auditor", "other_tenant"}
    assert {"supervisor", "guardian", "api", "worker", "model", "backup", "ticketing", "vault"} == set(state["pids"])
    assert all(map(is_alive, state["pids"].values()))


def test_the_printed_curl_line_gets_an_answer(up):
    [line] = [line for line in up.printed.splitlines() if line.startswith("curl ")]
    answer = json.loads(subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=30).stdout)
    assert (answer["source"], answer["disposition"]) == ("model", "auto")
    assert "STAND-IN" in up.printed


def test_no_secret_is_readable_by_others_and_none_is_in_the_environment_of_a_child(up):
    for name in ("vault/root.json", "vault/seal.key", "run/api.secret-id"):
        assert stat.S_IMODE((up.var / name).stat().st_mode) == 0o600
    root_token = json.loads((up.var / "vault/root.json").read_text())["root_token"]
    environment = Path(f"/proc/{up.state['pids']['api']}/environ")
    if environment.exists():
        assert root_token not in environment.read_text()


@pytest.mark.parametrize("name", ["vault", "model", "worker", "api"])
def test_a_child_that_dies_comes_back_at_the_same_address(up, name):
    before = up.state
    os.kill(before["pids"][name], signal.SIGKILL)
    wait_for(lambda: up.state["pids"].get(name, before["pids"][name]) != before["pids"][name], 10)
    wait_for(lambda: listens(before["base_url"]) and listens(before["model_url"]) and listens(before["vault_addr"]), 20)
    wait_for((up.var / "worker.ready").exists, 20)
    answer = up.ask().json()
    assert (answer["source"], answer["degraded"]) == ("model", False)


def test_a_second_start_on_the_same_var_is_refused_in_one_line(up):
    command = [sys.executable, "-m", "service", "run"]
    environment = {**os.environ, "VAR_DIR": str(up.var), "PORT": "0", "PYTHONPATH": str(ROOT / "src")}
    refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20)
    assert refused.returncode == 3
    assert str(up.state["pids"]["supervisor"]) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert up.ask().status_code == 200


def test_kill_9_leaves_nothing_and_the_next_start_continues(up, var):
    answered = up.ask().json()["decision_id"]
    before = up.state
    up.process.kill()
    up.process.wait()
    wait_for(lambda: not (var / "dev.json").exists(), 5)
    with svc_run(var) as again:  # at once: it has to wait for the guardian of the killed run
        wait_until_up(again)
        assert nothing_is_left_of(before | {"base_url": before["model_url"]})
        state = again.state
        assert state["keys"] == before["keys"]
        headers = {"X-API-Key": state["keys"]["caller"]}
        assert HTTP.get(f"{state['base_url']}/v1/decisions/{answered}", headers=headers).status_code == 200
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(timeout=30) == 0
        assert not (var / "dev.json").exists()
        assert nothing_is_left_of(state)


def test_a_dead_guardian_stops_everything(tmp_path):
    with svc_run(tmp_path / "var") as run:
        wait_for(lambda: (run.var / "vault" / "root.json").exists(), START_SECONDS)
        os.kill(int((run.var / "guardian.lock").read_text()), signal.SIGKILL)
        assert run.process.wait(timeout=30) == 3
        assert "guardian" in run.printed


def test_a_port_in_use_is_one_line_and_starts_nothing(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with svc_run(tmp_path, PORT=str(port)) as run:
            assert run.process.wait(timeout=20) == 3
            assert run.printed.splitlines() == [f"svc run: port {port} is in use; stop what listens there or set PORT"]
            assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PORT": "http"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"PROFILE": "production"}, "svc serve"),
        ({"MODEL_URL": "http://127.0.0.1:1/v1"}, "MODEL_NAME"),
        ({"VAULT_ADDR": "http://127.0.0.1:1"}, "VAULT_SECRET_ID_FILE"),
        ({"INFERENCE": "many"}, "INFERENCE"),
        ({"INFERENCE": "2", "INFERENCE_URL": "http://127.0.0.1:1"}, "INFERENCE_URL"),
    ],
)
def test_wrong_use_is_one_line_that_names_the_variable(tmp_path, environment, named):
    with svc_run(tmp_path, **environment) as run:
        assert run.process.wait(timeout=20) == 2
        assert len(run.printed.splitlines()) == 1
        assert named in run.printed


def started_with(tmp_path: Path, **environment: str) -> tuple[Stack, str]:
    """What a run in this environment would start, without starting it, and what it would print."""
    settings = read(ROOT, {"VAR_DIR": str(tmp_path), **environment})
    stack = Stack(settings, cast(Children, None), lambda: None)
    stack.keys = {"caller": "k"}
    printed = io.StringIO()
    with redirect_stdout(printed):
        announce(settings, stack, {})
    return stack, next(line for line in printed.getvalue().splitlines() if line.startswith("  backup"))


def test_no_stand_in_backup_stands_beside_a_real_model(tmp_path):
    real = {"MODEL_URL": "https://models.example/v1", "MODEL_NAME": "real"}
    backup = {"BACKUP_MODEL_URL": "https://backup.example/v1", "BACKUP_MODEL_NAME": "other"}
    stack, line = started_with(tmp_path)
    assert stack.backup_url.startswith("http://127.0.0.1:")
    assert "STAND-IN" in line
    stack, line = started_with(tmp_path, **real)
    assert stack.backup_url == ""
    assert "none: set BACKUP_MODEL_URL" in line
    for given in (backup, real | backup):
        stack, line = started_with(tmp_path, **given)
        assert stack.backup_url == "https://backup.example/v1"
        assert line.endswith("other")


@pytest.mark.parametrize("there_before", [False, True])
def test_the_var_directory_is_closed_to_others(tmp_path, there_before):
    var = tmp_path / "above" / "var"
    if there_before:
        var.mkdir(parents=True, mode=0o755)
    keep_private(var)
    assert stat.S_IMODE(var.stat().st_mode) == 0o700


@pytest.mark.parametrize(("mode", "holding"), [(0o1777, ()), (0o755, ("project",))])
def test_a_directory_that_holds_more_than_var_is_left_as_it_is(tmp_path, mode, holding):
    tmp_path.chmod(mode)
    keep_private(tmp_path, [tmp_path / name for name in holding])
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


FRAGILE = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from dev.children import Children, Guardian, Program
var = Path(sys.argv[1])
children = Children(Guardian(var / "lock", var / "state"), var / "log", var)
stubborn = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \\
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); " \\
    "print(p.pid, flush=True); time.sleep(60)"
children.add(Program("stubborn", (sys.executable, "-c", stubborn), dict))
print(*children.pids().values(), flush=True)
time.sleep(60)
"""


def test_the_guardian_ends_children_and_grandchildren_that_ignore_sigterm(tmp_path):
    command = [sys.executable, "-c", FRAGILE.format(root=str(ROOT)), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        log = tmp_path / "log" / "stubborn.log"
        wait_for(lambda: log.read_text().endswith("\n"), 10)
        grandchild = int(log.read_text())
        assert is_alive(child)
        assert is_alive(grandchild)
        supervisor.kill()
    wait_for(lambda: not is_alive(child) and not is_alive(grandchild), 5)


def test_a_child_that_keeps_dying_ends_the_run_with_its_log(tmp_path):
    from dev.children import Children, Guardian, Program, StartFailed

    guardian = Guardian(tmp_path / "lock", tmp_path / "state")
    children = Children(guardian, tmp_path / "log", tmp_path, first_delay=0.01)
    dying = "import os, sys, time; print('no luck', flush=True); time.sleep(0.01); sys.exit(1)"
    try:
        children.add(Program("dying", (sys.executable, "-I", "-S", "-c", dying), dict))
        events: list[str] = []

        def tend_for_ever() -> None:
            while True:
                events.extend(children.tend())
                time.sleep(0.02)

        with pytest.raises(StartFailed, match=r"(?s)dying died 6 times in a minute.*exit code 1.*no luck"):
            tend_for_ever()
        assert len([event for event in events if "died" in event]) == MAX_DEATHS
    finally:
        guardian.end()


def test_without_its_development_parts_it_says_so(tmp_path):
    source = tmp_path / "src" / "service"
    source.parent.mkdir()
    subprocess.run(["cp", "-R", str(ROOT / "src" / "service"), str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(source.parent)}
    command = [sys.executable, "-m", "service", "run"]
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20)
    assert refused.returncode == 3
    assert len(refused.stderr.splitlines()) == 1
    assert "svc serve" in refused.stderr
