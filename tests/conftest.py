"""One export, one default bake and one installed project for the whole run; every bake is a subprocess."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bake import LITERAL, export

Bake = Callable[..., subprocess.CompletedProcess[str]]
HELD_BACK = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PORT", "COOKIECUTTER_CONFIG")


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without what a make, a virtual environment or a pytest around it has set."""
    kept = {k: v for k, v in os.environ.items() if k not in HELD_BACK and not k.startswith("PYTEST_")}
    return {**kept, **extra}


def run(command: list[str], cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(PWD=str(cwd), **extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean export of the template under test."""
    return export(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def literal(template: Path) -> Path:
    """The template's project folder, under its literal name."""
    return template / LITERAL


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of our own, so that replays neither come from nor go to the user's."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def bake(template: Path, home: Path) -> Bake:
    """Run the cookiecutter command in a folder: bake(folder, *arguments, template=...)."""

    def call(
        folder: Path, *arguments: str, template: Path | str = template
    ) -> subprocess.CompletedProcess[str]:
        folder.mkdir(parents=True, exist_ok=True)
        return run([sys.executable, "-m", "cookiecutter", str(template), *arguments], folder, HOME=str(home))

    return call


@pytest.fixture(scope="session")
def baked(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default bake; read only."""
    folder = tmp_path_factory.mktemp("default")
    done = bake(folder, "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "ticket_triage"


@pytest.fixture(scope="session")
def only_uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which uv is the one of tests/requirements.txt."""
    folder = tmp_path_factory.mktemp("bin")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv is missing: run the suite with `make test`"
    (folder / "uv").symlink_to(uv)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: Postgres refuses root and runs as a user of its own."""
    folder = Path(tempfile.mkdtemp(prefix="loadbearing-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def project(bake: Bake, only_uv: str, open_folder: Path) -> Path:
    """A bake with `make setup` done, once for the session."""
    folder = open_folder / "installed"
    assert bake(folder, "--no-input", "project_slug=installed-service").returncode == 0
    done = run(["make", "setup"], folder / "installed-service", PATH=only_uv)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installed-service"
