"""The layers hold, and each contract that says so can be seen to break."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# contract id -> (file to spoil, line to add, words of the report)
VIOLATIONS = {
    "layers: inference reaches for the database": (
        "inference/triage.py",
        "from service.integration.database import session",
        "service.inference is not allowed to import service.integration",
    ),
    "layers: inside a function too": (
        "application/triage/policy.py",
        "def sneak():\n    from service.inference import gateway",
        "service.application is not allowed to import service.inference",
    ),
    "layers: settings are for the roots": (
        "api/health.py",
        "from service.settings import Settings",
        "service.api is not allowed to import service.settings",
    ),
    "pure-application": (
        "application/triage/rules.py",
        "import sqlalchemy",
        "service.application is not allowed to import sqlalchemy",
    ),
    "copyable": (
        "inference/gateway.py",
        "from service.application.decision import Source",
        "service.inference.gateway is not allowed to import service.application.decision",
    ),
    "use-cases-independent": (
        "application/review/use_case.py",
        "from service.application.triage import policy",
        "service.application.review is not allowed to import service.application.triage",
    ),
    "acyclic": (
        "integration/database/tables.py",
        "from service.integration.flags import provider",
        "No import cycles anywhere BROKEN",
    ),
    "exhaustive": ("utils/__init__.py", "", "utils"),
}


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run(
        [*command, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin", "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def copy_to(directory: Path) -> Path:
    shutil.copytree(ROOT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def test_every_contract_is_kept(tmp_path):
    report = lint(copy_to(tmp_path))
    assert report.returncode == 0, report.stdout + report.stderr
    assert "0 broken" in report.stdout


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_planted_violation_is_caught(tmp_path, contract):
    file, line, words = VIOLATIONS[contract]
    target = copy_to(tmp_path) / "src" / "service" / file
    target.parent.mkdir(exist_ok=True)
    with target.open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    report = lint(tmp_path)
    assert report.returncode != 0
    assert words in " ".join((report.stdout + report.stderr).split())


def test_inference_loads_no_database_framework_vault_or_flags():
    heavy = ("sqlalchemy", "fastapi", "hvac", "openfeature", "dbos")
    modules = "service.inference.triage, service.inference.remote"
    code = f"import sys, {modules}; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_every_folder_of_modules_is_a_package():
    """Linters are blind to a folder without `__init__.py`."""
    folders = {file.parent for file in (ROOT / "src" / "service").rglob("*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_help_is_quick_because_commands_are_imported_late():
    code = (
        "import sys; sys.argv = ['svc', '--help']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([n for n in ('sqlalchemy', 'fastapi', 'dbos', 'hvac') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert run.stdout.strip().endswith("[]"), run.stdout + run.stderr
