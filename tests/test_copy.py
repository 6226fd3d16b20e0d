"""The third use: single modules copied into a Flask prototype that knows nothing of the project."""

import json
import re
import shutil
from pathlib import Path

from bake import ROOT
from conftest import run

PAGE = (ROOT / "docs" / "uses.md").read_text(encoding="utf-8").partition("## 3. Copy modules")[2]
[COPY], [PROTOTYPE] = (re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S) for kind in ("sh", "python"))
USE = """
import sys
from concurrent.futures import ThreadPoolExecutor

from prototype import URL, app


def ask(letter):
    return app.test_client().post("/sort", json={"letter": letter}).json


LETTER = "I was charged twice for order 4711. Write to ann@example.com, please refund me."
with ThreadPoolExecutor(8) as threads:
    print(json.dumps(list(threads.map(ask, [LETTER] * 40))))
print("ann@example.com" in httpx2.get(URL.removesuffix("/v1") + "/requests").text)
httpx2.post(URL.removesuffix("/v1") + "/faults", json={"mode": "hang"})
print(json.dumps(ask(LETTER)))
print([name for name in sys.modules if name == "service" or name.startswith("service.")])
"""
START = """
import os, subprocess, sys
from processes import free_port, running
stand_in = ["dev.model", "--name", "stand-in-primary"]
with running(stand_in, free_port(), PYTHONPATH=os.environ["SERVICE"]) as url:
    environment = {**os.environ, "MODEL_URL": f"{url}/v1"}
    sys.exit(subprocess.run([sys.executable, "use.py"], env=environment).returncode)
"""


def test_a_flask_prototype_uses_copied_modules_from_many_threads(
    project: Path, literal: Path, only_uv: str, tmp_path: Path
) -> None:
    """The page's own commands and program, as they stand."""
    assert run(["sh", "-euc", COPY], tmp_path, SERVICE=str(literal)).returncode == 0
    (tmp_path / "prototype.py").write_text(PROTOTYPE, encoding="utf-8")
    (tmp_path / "use.py").write_text(f"import json\nimport httpx2\n{USE}", encoding="utf-8")
    (tmp_path / "start.py").write_text(START, encoding="utf-8")
    shutil.copy(literal / "tests/processes.py", tmp_path)
    command = ["uv", "run", "--project", str(project), "--with", "flask>=3", "python", "start.py"]
    done = run(command, tmp_path, PATH=only_uv, SERVICE=str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    answers, leaked, in_trouble, ours = done.stdout.splitlines()
    assert [(a["source"], a["category"]) for a in json.loads(answers)] == [("model", "billing")] * 40
    assert leaked == "False"
    assert json.loads(in_trouble) == {"source": "none", "reason": "deadline"}
    assert ours == "[]"


def test_every_copyable_file_is_on_the_page(literal: Path) -> None:
    contract = (literal / "pyproject.toml").read_text(encoding="utf-8").partition('id = "copyable"')[2]
    listed = contract.partition("source_modules")[2].partition("]")[0]
    modules = re.findall(r'"service\.([\w.]+)"', listed)
    assert [name for name in modules if f"`src/service/{name.replace('.', '/')}.py`" not in PAGE] == []
    assert len(modules) > 10


def test_the_extra_for_names_installs_and_works(project: Path, only_uv: str) -> None:
    done = run(["make", "test-names"], project, PATH=only_uv)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^=* ?4 passed in ", done.stdout, re.M), done.stdout[-2000:]
