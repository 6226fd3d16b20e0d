"""The image, as far as it can be shown without an engine: its files are enough, and none need be writable."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import run


@pytest.fixture(scope="session")
def steps(project: Path) -> list[list[str]]:
    """The Dockerfile's instructions, each as words."""
    text = (project / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="session")
def staged(
    project: Path, steps: list[list[str]], only_uv: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """/app as the build makes it: the files that .dockerignore lets in, and the service installed."""
    build, app = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("app")
    let_in = {
        line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    stages = [i for i, step in enumerate(steps) if step[0] == "FROM"]
    for place, stage in ((build, steps[: stages[1]]), (app, steps[stages[1] :])):
        copies = [step[1:] for step in stage if step[0] == "COPY" and not step[1].startswith("--from")]
        for name in (name for *sources, _ in copies for name in sources):
            assert name in let_in, f"{name} is copied, but .dockerignore keeps it out"
            copy = shutil.copytree if (project / name).is_dir() else shutil.copy2
            copy(project / name, place / name)
    install = ["uv", "sync", "--quiet", "--locked", "--no-dev", "--no-editable"]
    done = run(install, build, PATH=only_uv, UV_PROJECT_ENVIRONMENT=str(app / ".venv"))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(build)
    return app


def files(folder: Path) -> dict[str, int]:
    return {str(file): file.lstat().st_mtime_ns for file in folder.rglob("*")}


def test_the_service_runs_from_the_image_and_writes_to_var_dir_only(
    staged: Path, steps: list[list[str]], tmp_path: Path
) -> None:
    own = dict(word.split("=", 1) for step in steps if step[0] == "ENV" for word in step[1:])
    assert own["PROJECT_ROOT"] == "/app"
    environment = {
        "PROJECT_ROOT": str(staged),
        "VAR_DIR": str(tmp_path / "var"),
        "PYTHONDONTWRITEBYTECODE": own["PYTHONDONTWRITEBYTECODE"],
    }
    before = files(staged)
    done = run([str(staged / ".venv/bin/svc"), "migrate"], Path("/"), **environment)
    assert (done.returncode, done.stderr) == (0, "")
    create = ["keys", "create", "--subject", "ann", "--tenant", "acme", "--role", "operator"]
    done = run([str(staged / ".venv/bin/svc"), *create], Path("/"), **environment)
    assert (done.returncode, done.stdout[:4]) == (0, "svk_"), done.stderr
    assert files(staged) == before
    assert [file.name for file in (tmp_path / "var").iterdir()] == ["service.db"]


def test_the_image_runs_as_a_user_without_rights_and_holds_no_secret(steps: list[list[str]]) -> None:
    assert [step for step in steps if step[0] == "USER"] == [["USER", "10001:10001"]]
    given = [word for step in steps if step[0] in ("ENV", "ARG") for word in step[1:]]
    assert [word for word in given if re.search("KEY|TOKEN|PASSWORD|SECRET", word)] == []
    assert "PROFILE=production" in given


def test_the_bill_of_materials_lists_what_the_image_installs(
    project: Path, staged: Path, only_uv: str
) -> None:
    assert run(["make", "sbom"], project, PATH=only_uv).returncode == 0
    components = json.loads((project / "dist/sbom.json").read_text(encoding="utf-8"))["components"]
    listed = {component["name"].replace("_", "-").lower() for component in components}
    metadata = (staged / ".venv").glob("lib/python*/site-packages/*.dist-info")
    installed = {re.sub(r"[._]", "-", file.name.split("-")[0]).lower() for file in metadata} - {
        "installed-service"
    }
    assert {"fastapi", "sqlalchemy", "hvac"} <= installed <= listed
    assert "pytest" not in listed
