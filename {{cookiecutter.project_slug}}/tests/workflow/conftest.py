"""The whole service on embedded parts, started once as a user starts it: `svc run`."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest

from service.cli import main
from tests.example import CLEAR as SIMPLE
from tests.example import PATH
from tests.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
HTTP = httpx2.Client(timeout=30)  # one for all: making a client takes longer than most requests
OF_THE_USER = (
    "DATABASE_URL", "VAULT_ADDR", "MODEL_URL", "BACKUP_MODEL_URL", "INFERENCE_URL", "TICKETING_URL", "SVC_API_KEY",
    "PROFILE", "INFERENCE", "OIDC_ISSUER", "OIDC_AUDIENCE", "OIDC_JWKS_URL",
)  # fmt: skip


def clean_environment(**values: str) -> dict[str, str]:
    """This process's environment without the service's own settings, plus the given ones."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_THE_USER}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **values}


@dataclass(frozen=True)
class Stack:
    """A running service and how to reach each of its parts."""

    var: Path
    base_url: str
    model_url: str
    backup_url: str
    ticketing_url: str
    keys: dict[str, str]
    faulty: set[str] = field(default_factory=set)

    def post(self, path: str, key: str = "caller", **arguments: Any) -> httpx2.Response:
        headers = {"X-API-Key": self.keys[key], **arguments.pop("headers", {})}
        return HTTP.post(f"{self.base_url}{path}", headers=headers, **arguments)

    def put(self, path: str, key: str = "caller", **arguments: Any) -> httpx2.Response:
        return HTTP.put(f"{self.base_url}{path}", headers={"X-API-Key": self.keys[key]}, **arguments)

    def get(self, path: str, key: str = "caller", **headers: str) -> httpx2.Response:
        return HTTP.get(f"{self.base_url}{path}", headers={"X-API-Key": self.keys[key], **headers})

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.post(PATH, json=request)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.var / 'service.db'}?mode=ro", uri=True) as connection:
            return connection.execute(statement, values).fetchall()

    def svc(
        self, *arguments: str, key: str | None = "operator", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command beside the running service. `key` is the name of one of the keys, or a key itself."""
        environment = clean_environment(VAR_DIR=str(self.var)) | environment
        if key:
            environment["SVC_API_KEY"] = self.keys.get(key, key)
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def done(self, *arguments: str, key: str = "operator", **environment: str) -> str:
        """What a command printed, which must have succeeded."""
        code, printed, said = self.ran(*arguments, key=key, **environment)
        assert not code, f"{arguments}: {printed}{said}"
        return printed

    def ran(self, *arguments: str, key: str = "operator", **environment: str) -> tuple[Any, str, str]:
        """A command's exit code, output and errors. Run in this process, to spare an interpreter's start."""
        given = {"VAR_DIR": str(self.var), "SVC_API_KEY": self.keys.get(key, key)}
        printed, said, code = io.StringIO(), io.StringIO(), None
        with (
            patch.dict(os.environ, clean_environment() | given | environment, clear=True),
            patch.object(sys, "argv", ["svc", *arguments]),
            redirect_stdout(printed),
            redirect_stderr(said),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        return code or 0, printed.getvalue(), said.getvalue()

    def recovered(self, part: str) -> bool:
        """Asks until the breaker of "model" or "backup" has only successes on its record."""
        if part == "backup":
            self.fault("model", "401")  # which opens no breaker
        sources = [self.ask(SIMPLE)["source"] for _ in range(10)]
        self.fault("model", "ok")
        return set(sources) == {part}

    def fault(self, part: str, mode: str, times: int | None = None) -> None:
        self.faulty.add(part)
        url = {"model": self.model_url, "backup": self.backup_url, "ticketing": self.ticketing_url}[part]
        body = {"mode": mode} if times is None else {"mode": mode, "for": times}
        HTTP.post(f"{url}/faults", json=body).raise_for_status()

    def tickets(self) -> list[dict[str, Any]]:
        return list(HTTP.get(f"{self.ticketing_url}/tickets").json())


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `condition`, asked every 50 ms; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not so within {seconds:g} s")


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """`svc run` on a fresh var/, until the session ends."""
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@contextmanager
def running_stack(var: Path, **environment: str) -> Iterator[Stack]:
    """`svc run` on this var/, with this environment, until the block ends."""
    output = (var / "run.out").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run"],
        cwd=ROOT,
        env=clean_environment(VAR_DIR=str(var), PORT=str(free_port()), **environment),
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Stack(var, **_when_ready(process, var))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _when_ready(process: subprocess.Popen[bytes], var: Path) -> dict[str, Any]:
    written = var / "dev.json"
    deadline = time.monotonic() + 90
    while not written.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"svc run did not become ready:\n{(var / 'run.out').read_text()}")
        time.sleep(0.1)
    told = json.loads(written.read_text())
    return {name: told[name] for name in ("base_url", "model_url", "backup_url", "ticketing_url", "keys")}


@pytest.fixture(autouse=True)
def healthy_parts(request):
    """Whatever a test broke is whole again for the next one."""
    yield
    if "stack" in request.fixturenames:
        used = request.getfixturevalue("stack")
        for part in [part for part in ("ticketing", "backup", "model") if part in used.faulty]:
            used.fault(part, "ok")
            if part != "ticketing":
                eventually(lambda part=part: used.recovered(part))
        used.faulty.clear()
