"""The emitted suite and checks pass baked, and the suite passes in place too."""

import os
import re
import subprocess
from pathlib import Path

from bake import LITERAL
from conftest import run

CLOSING = re.compile(r"^=* ?(\d+) passed(, \d+ warnings?)? in [\d.]+s.*$", re.M)


def passed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tests passed; a failure, an error, a skip or an empty run fails here with the output's end."""
    closing = CLOSING.findall(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert closing, done.stdout[-2000:]
    return int(closing[-1][0])


def test_the_emitted_suite_passes_baked(project: Path, only_uv: str) -> None:
    assert passed(run(["make", "test"], project, PATH=only_uv)) > 0


def test_the_emitted_suite_passes_in_place(project: Path, literal: Path, open_folder: Path) -> None:
    place = open_folder / LITERAL
    assert run(["cp", "-R", str(literal), str(place)], open_folder).returncode == 0
    python, programs = project / ".venv/bin/python", f"{project}/.venv/bin{os.pathsep}{os.environ['PATH']}"
    extra = {"PYTHONPATH": str(place / "src"), "PATH": programs}
    where = run([str(python), "-c", "import service; print(service.__file__)"], place, **extra)
    assert where.stdout.startswith(str(place)), where.stdout + where.stderr
    command = [str(python), "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    assert passed(run(command, place, **extra)) > 0


def test_the_emitted_project_passes_its_own_check(project: Path, only_uv: str) -> None:
    done = run(["make", "check"], project, PATH=only_uv)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
