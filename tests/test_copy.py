"""The third use: single modules copied into a Flask prototype that knows nothing of the project."""

import json
import re
import shutil
from pathlib import Path

from conftest import run

COPIED = (
    *("task", "gateway", "blocking", "breaker", "models", "prompts", "prices", "destinations"),
    *("screening", "guards", "pii", "pii_structured"),
)
IMPORT = re.compile(r"\bservice\.inference\.(\w+)")

APP = '''
"""A synchronous prototype with gateway, guards and pseudonymiser, serving from threads."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
from flask import Flask, jsonify, request
from opentelemetry.util.genai.handler import TelemetryHandler
from pydantic import BaseModel, ConfigDict

from ai.blocking import BlockingLoop
from ai.breaker import Breaker
from ai.destinations import host_of, only
from ai.gateway import Gateway
from ai.task import Call, Limits, NoUsableAnswer, Target, Task
from ai.guards import OutputGuard
from ai.screening import new_boundary, normalise, spotlight
from ai.models import ChatModel
from ai.pii import Pseudonymiser
from ai.pii_structured import StructuredDetector
from ai.prices import price_of


class Sorted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    category: str
    evidence: list[str]


URL = sys.argv[1]
http = httpx2.AsyncClient(timeout=5, event_hooks={"request": [only({host_of(URL)})]})
spans = TelemetryHandler(instrumentation_scope_name="prototype")
model = ChatModel(http, URL, "stand-in-primary-1", lambda: "key", spans, price_of("m", "1/2"))
loop, gateway = BlockingLoop(), Gateway(Target("model", model.complete, Breaker()))
hide = Pseudonymiser([StructuredDetector()]).hide
app = Flask(__name__)


@app.post("/sort")
def sort():
    body, boundary = request.json["body"], new_boundary()
    [shown], hidden = hide([normalise(body)])

    def accept(answer):
        quotes = [hidden.restore(quote) for quote in answer.evidence]
        restored = Sorted(category=answer.category, evidence=quotes)
        OutputGuard(body, boundary).quotes(restored.evidence)
        return restored

    marked = spotlight(json.dumps({"subject": "", "body": shown}), boundary)
    messages = [{"role": "user", "content": marked}]
    limits = Limits(deadline_s=2, attempt_s=0.5, reserve_s=0.2)
    task = Task("sorted", Sorted, Sorted.model_json_schema(), messages, accept=accept, limits=limits)
    try:
        answered = loop.run(gateway.ask(task))
    except NoUsableAnswer as failure:
        return jsonify(source="none", reason=failure.reason)
    return jsonify(source=answered.source, **answered.value.model_dump())


def ask(body):
    return app.test_client().post("/sort", json={"body": body}).json


LETTER = "I was charged twice for order 4711. Write to ann@example.com, please refund me."
fault = lambda mode: httpx2.post(URL.removesuffix("/v1") + "/faults", json={"mode": mode})
with ThreadPoolExecutor(8) as threads:
    print(json.dumps(list(threads.map(ask, [LETTER] * 40))))
print("ann@example.com" in httpx2.get(URL.removesuffix("/v1") + "/requests").text)
fault("hang")
print(json.dumps(ask(LETTER)))
print([name for name in sys.modules if name == "service" or name.startswith("service.")])
'''


def test_a_flask_prototype_uses_copied_modules_from_many_threads(
    project: Path, literal: Path, only_uv: str, tmp_path: Path
) -> None:
    (tmp_path / "ai").mkdir()
    (tmp_path / "ai" / "__init__.py").touch()
    for name in COPIED:
        source = (literal / f"src/service/inference/{name}.py").read_text(encoding="utf-8")
        (tmp_path / "ai" / f"{name}.py").write_text(IMPORT.sub(r"ai.\1", source), encoding="utf-8")
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    shutil.copy(literal / "tests/processes.py", tmp_path)
    start = (
        "import subprocess, sys\n"
        "from processes import free_port, running\n"
        "stand_in = ['dev.model', '--name', 'stand-in-primary']\n"
        f"with running(stand_in, free_port(), PYTHONPATH={str(project)!r}) as url:\n"
        "    sys.exit(subprocess.run([sys.executable, 'app.py', f'{url}/v1']).returncode)\n"
    )
    (tmp_path / "start.py").write_text(start, encoding="utf-8")
    command = ["uv", "run", "--project", str(project), "--with", "flask>=3", "python", "start.py"]
    done = run(command, tmp_path, PATH=only_uv)
    assert done.returncode == 0, done.stdout + done.stderr
    answers, leaked, in_trouble, ours = done.stdout.splitlines()
    assert [(a["source"], a["category"]) for a in json.loads(answers)] == [("model", "billing")] * 40
    assert leaked == "False"
    assert json.loads(in_trouble) == {"source": "none", "reason": "deadline"}
    assert ours == "[]"


def test_the_extra_for_names_installs_and_works(project: Path, only_uv: str) -> None:
    done = run(["make", "test-names"], project, PATH=only_uv)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^=* ?4 passed in ", done.stdout, re.M), done.stdout[-2000:]
