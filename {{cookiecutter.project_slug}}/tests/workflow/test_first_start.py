"""docs/first-production-start.md, line by line, as somebody would type it, on a real OpenBao and a real Postgres.

Three things are not what they will be. The model is `HouseModel` below. The evaluation suite is a small one. TLS is
missing between the parts: they are all on this machine, the database behind a Unix socket.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from dev.model import ModelStandIn
from dev.ticketing import TicketingStandIn, Tickets
from service.project import slug
from tests.evaluation_samples import project_in
from tests.example import CLEAR, PATH
from tests.processes import free_port, serving
from tests.production import FIRST_PASSWORD, ROOT, open_bao, psql_folder, strict_postgres
from tests.workflow.conftest import clean_environment

DATABASE = "shop"
TEXT = (ROOT / "docs" / "first-production-start.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PROCESSES = ("service serve-inference", "service serve\n", "service worker")


class HouseModel(ModelStandIn):
    """Stands for a model of the house, which is why it does not call itself a stand-in: production refuses those.

    It scores keywords like the one in dev/. So what this test shows is the order of the steps, not a model's quality.
    """

    def __init__(self, key: str) -> None:
        super().__init__("house-model-1")
        self.key, self.refused = key, 0

    async def _complete(self, request):
        if request.headers.get("authorization") != f"Bearer {self.key}":
            self.refused += 1
        return await super()._complete(request)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What the page takes for granted: an empty database, a vault, a model, a ticketing system."""
    folder = tmp_path_factory.mktemp("first")
    private, var = folder / "private", folder / "var"
    (folder / "project").mkdir()
    project = project_in(folder / "project", ROOT)  # with a suite that takes seconds
    for each in (private, var):
        each.mkdir(mode=0o700)
    (private / "model_api_key").write_text("key-of-the-house")
    (private / "ticketing_token").write_text("token-of-the-house")
    (private / "owner.pgpass").write_text(f"*:*:*:{DATABASE}_owner:{FIRST_PASSWORD}\n")
    (private / "owner.pgpass").chmod(0o600)
    model, tickets = HouseModel("key-of-the-house"), Tickets(folder / "tickets.db")
    with ExitStack() as stack:
        postgres = stack.enter_context(strict_postgres())
        bao = stack.enter_context(open_bao(folder, slug()))
        postgres.run(f"CREATE DATABASE {DATABASE}")
        served = stack.enter_context(serving(model.app()))
        given = {
            **bao.environment,
            "DATABASE": DATABASE,
            "DATABASE_HOST": str(postgres.folder / "data"),
            "ADMIN_URL": postgres.url("postgres", DATABASE),
            "PRIVATE": str(private),
            "MODEL_URL": f"{served}/v1",
            "MODEL_NAME": model.model_id,
            "MODEL_HOSTS": f"{served.removeprefix('http://')} this-machine none-needed",
            "TICKETING_URL": stack.enter_context(serving(TicketingStandIn(tickets, "token-of-the-house").app())),
            "PATH": f"{psql_folder()}:{os.environ['PATH']}",
            "VAR_DIR": str(var),
            "PROJECT_ROOT": str(project),
        }
        yield folder, model, postgres, clean_environment(**given)


def local(block: str, ports: dict[str, int], var: Path) -> str:
    """The block with this test's ports, folder and interpreter, and a database behind a socket instead of HOST:PORT."""
    block = re.sub(
        r"postgresql://([^$]*(?:\$\{DATABASE\}_owner@)?)\$DATABASE_HOST/\$DATABASE",
        r"postgresql://\1/$DATABASE?host=$DATABASE_HOST",
        block,
    )
    for written, port in ports.items():
        block = block.replace(written, str(port))
    return block.replace(".venv/bin/svc", f"{sys.executable} -m service").replace("VAR_DIR=var/", f"VAR_DIR={var}/")


@contextmanager
def shell(script: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that the script becomes, until the block ends."""
    with log.open("ab") as out:
        running = subprocess.Popen(["bash", "-euc", script], cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


def typed(script: str, environment: dict[str, str]) -> str:
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()
    return ran.stdout.decode()


def test_the_page_leads_to_the_first_answered_request(place):
    folder, model, postgres, environment = place
    ports = {"8000": free_port(), "8001": free_port()}
    blocks = [local(block, ports, folder / "var") for block in BLOCKS]
    roles, *preparing, last = [block for block in blocks if not any(name in block for name in PROCESSES)]
    keep = f"\nexport -p > {folder}/environment; declare -f > {folder}/functions\n"
    known = f"source {folder}/environment; source {folder}/functions; export PORT={ports['8000']}\n"
    begun = time.monotonic()
    typed(roles + keep, environment)
    postgres.run(f"ALTER ROLE {DATABASE}_owner PASSWORD '{FIRST_PASSWORD}'")  # the page leaves this to the reader
    printed = typed(known + "".join(preparing) + keep, environment)
    assert "no process is running now" in printed, printed
    with ExitStack() as stack:
        for name in PROCESSES:
            [block] = [block for block in blocks if name in block]
            script = known + block.replace(sys.executable, f"exec {sys.executable}")
            stack.enter_context(shell(script, environment, folder / f"{name.split()[1]}.log"))
        for port in ports.values():
            wait_for(f"http://127.0.0.1:{port}/health/ready", folder)
        answered = typed(known + last + '\necho "$CALLER"', environment)
        ready, end = json.JSONDecoder().raw_decode(answered)
        headers = {"X-API-Key": answered[end:].strip()}
        url = f"http://127.0.0.1:{ports['8000']}{PATH}"
        answer = httpx2.post(url, headers=headers, json=CLEAR, timeout=30).json()
    print(f"\nfirst production start, every line of the page: {time.monotonic() - begun:.1f} s", end="")
    assert ready == {"ready": True, "checks": {"database": True, "flags": True, "secrets": True}}
    assert "source" in answer, f"{answer}\n{said(folder)}"
    assert (answer["source"], answer["degraded"], answer["disposition"]) == ("model", False, "review")
    assert (answer["model_version"], model.refused) == (model.model_id, 0)
    assert "key-of-the-house" not in said(folder) + printed


def said(folder: Path) -> str:
    """The end of what each process wrote."""
    return "\n".join(file.read_text()[-3000:] for file in folder.glob("*.log"))


def wait_for(url: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url, timeout=5).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(said(folder))
