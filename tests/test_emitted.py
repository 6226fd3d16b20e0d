"""What the emitted tree promises about itself, read file by file."""

import ast
import re
from pathlib import Path

from conftest import run

TEXT = {
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "AGENTS.md",
    "CHANGELOG.md",
    "CODEOWNERS",
    "pyproject.toml",
}
HOSTS = re.compile(r"pypi\.org|pythonhosted|index-url|find-links|files\.[a-z]+\.org|/simple/", re.I)


def files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def test_only_a_few_text_files_hold_a_template_expression(literal: Path, baked: Path) -> None:
    emitted, removed = files(baked), {".gitlab-ci.yml", ".gitlab/merge_request_templates/default.md"}
    assert set(emitted) == set(files(literal)) - removed
    rendered = {name for name, path in emitted.items() if path.read_bytes() != (literal / name).read_bytes()}
    assert rendered <= TEXT
    assert "pyproject.toml" in rendered


def test_nothing_unrendered_is_left(baked: Path) -> None:
    for name, path in files(baked).items():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\{[{%#][^}\n]*cookiecutter", text), name
        assert name not in TEXT or "{%" not in text, name


def test_every_python_file_parses_where_it_stands(literal: Path) -> None:
    for name, path in files(literal).items():
        if name.endswith(".py"):
            text = path.read_text(encoding="utf-8")
            ast.parse(text, name)
            assert "cookiecutter" not in text, name


def test_every_file_ends_its_lines_with_a_bare_newline(literal: Path) -> None:
    for name, path in files(literal).items():
        data = path.read_bytes()
        assert b"\r" not in data, name
        assert data.endswith(b"\n") or not data, name


def test_every_folder_of_modules_is_a_package(literal: Path) -> None:
    folders = {path.parent for path in (literal / "src" / "service").rglob("*.py")}
    assert folders
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_source_stays_small_enough_to_read(literal: Path) -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in files(literal / "src").items()
        if name.endswith(".py")
    }
    assert {name: count for name, count in lines.items() if count > 250} == {}
    assert sum(lines.values()) < 19_200  # the aim is 8000


def test_no_lock_file_and_no_package_host_is_emitted(template: Path) -> None:
    for name, path in files(template).items():
        assert path.name not in ("uv.lock", "poetry.lock", "requirements.txt"), name
        assert not HOSTS.search(path.read_text(encoding="utf-8")), name


def test_the_lock_file_of_a_team_is_not_ignored(project: Path) -> None:
    assert (project / "uv.lock").is_file()
    assert run(["git", "init", "-q"], project).returncode == 0
    assert run(["git", "check-ignore", "-q", "uv.lock"], project).returncode == 1
    for state in (".venv", ".tools/bin/uv", "var/dev.json", "src/service/__pycache__/x.pyc"):
        assert run(["git", "check-ignore", "-q", state], project).returncode == 0, state


def test_the_installed_set_is_exactly_the_pinned_one(project: Path) -> None:
    listing = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    done = run([".venv/bin/python", "-c", listing], project)
    pairs = (line.split() for line in done.stdout.splitlines())
    installed = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}
    assert installed.pop("installed-service") == "0.1.0"
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    pinned = set(re.findall(r'^    "([a-z0-9-]+)==([^ "]+)', text, re.M))  # some twice, by Python
    assert installed.items() <= pinned


def test_the_distribution_carries_the_slug_and_the_command(project: Path) -> None:
    code = (
        "import importlib.metadata as m; d = m.distribution('installed-service');"
        "print(d.name, [(e.name, e.value) for e in d.entry_points])"
    )
    done = run([".venv/bin/python", "-c", code], project)
    assert done.stdout.strip() == "installed-service [('svc', 'service.cli:main')]"
