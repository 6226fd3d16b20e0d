"""What the documents name exists: files, commands, settings, reasons."""

import ast
import re
from pathlib import Path

import pytest

from service.application.decision import Reason
from service.cli import COMMANDS
from service.settings import groups
from service.settings.secrets import Secrets

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "AGENTS.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
    *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob(".git[hl]*/**/*.md")),
]
PATH = re.compile(r"`((?:src|tests|docs|dev|migrations|prompts|evals|flags)/[\w./*-]*|[A-Z]+\.md)`")


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_named_exists(document):
    named = PATH.findall(text(document))
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_and_command_named_exists(document):
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text(document), re.MULTILINE)) <= targets
    assert set(re.findall(r"`?(?:uv run )?svc ([a-z-]+)", text(document))) <= set(COMMANDS)


def test_the_request_is_walked_through_files_in_order():
    walked = [p for p in PATH.findall(text("ARCHITECTURE.md")) if p.endswith(".py")]
    story = ["api/triage.py", "use_case.py", "records.py", "switches.py", "gateway.py", "policy.py", "jobs.py"]
    places = [next(i for i, p in enumerate(walked) if p.endswith(name)) for name in story]
    assert places == sorted(places)


def test_the_settings_table_is_complete_and_true():
    found = [g for g in vars(groups).values() if isinstance(g, type) and issubclass(g, groups.Group)]
    known = {str(f.validation_alias) for group in found for f in group.model_fields.values()}
    # The table holds what the processes read; WORKER_VAULT_SECRET_ID_FILE is read by `svc run` only.
    table = text("README.md").partition("## Settings")[2].partition("## Where")[0]
    names = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    documented = {name for cell in names for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cell)}
    assert documented == known


def test_every_secret_is_named():
    assert [name for name in Secrets.model_fields if f"`{name}`" not in text("README.md")] == []


def test_every_reason_is_documented():
    assert [reason for reason in Reason if f"`{reason}`" not in text("README.md")] == []


INSTRUMENTS = {f"create_{kind}" for kind in ("counter", "up_down_counter", "histogram", "gauge")} | {
    f"create_observable_{kind}" for kind in ("counter", "up_down_counter", "gauge")
}


def metrics_made(source: str) -> set[str]:
    """The names given to what creates a metric, also where that goes by another name."""
    nodes = list(ast.walk(ast.parse(source)))
    assigned = [n for n in nodes if isinstance(n, ast.Assign) and getattr(n.value, "attr", "") in INSTRUMENTS]
    makers = INSTRUMENTS | {ast.unparse(target) for node in assigned for target in node.targets}
    called = [n for n in nodes if isinstance(n, ast.Call)]
    made = [n for n in called if getattr(n.func, "attr", getattr(n.func, "id", "")) in makers]
    return {ast.literal_eval(each.args[0]) for each in made}


def test_the_table_of_metrics_is_complete_and_true():
    made = set[str]().union(*(metrics_made(p.read_text(encoding="utf-8")) for p in (ROOT / "src").rglob("*.py")))
    rows = [line.split("|")[1:-1] for line in text("docs/metrics.md").splitlines() if line.startswith("| `")]
    assert {row[0].strip(" `") for row in rows} == made
    assert [row for row in rows if len(row) != 4 or not all(cell.strip() for cell in row)] == []


def test_the_layers_of_the_architecture_are_those_that_are_checked():
    layers = re.search(r'name = "Calls go inward: (.*)"', text("pyproject.toml"))
    assert layers
    assert layers[1] in text("ARCHITECTURE.md")


def test_each_threat_has_its_control_its_test_and_what_is_left():
    rows = [line.strip("| ").split(" | ") for line in text("docs/threat-model.md").splitlines() if line[:2] == "| "]
    rows = [row for row in rows if row[0] not in ("risk", "threat")]
    assert {row[0].split()[0] for row in rows} >= {
        *(f"LLM{n:02}" for n in range(1, 11)),
        *(f"API{n}" for n in range(1, 11)),
    }
    for threat, control, shown, left in rows:
        assert re.search(r"`(src|dev|deploy)/", control), threat
        assert re.fullmatch(r"`tests/[^`]+`.*", shown), threat
        assert left, threat


def files_that_mention_the_example() -> list[str]:
    files = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "AGENTS.md")]
    for folder, kinds in {"src": "py", "dev": "py", "tests": "py", "prompts": "md", "flags": "json"}.items():
        files += (ROOT / folder).rglob(f"*.{kinds}")
    files += (file for file in (ROOT / "evals").rglob("*") if file.is_file())
    names = {file: file.relative_to(ROOT).as_posix() for file in files}
    mention = re.compile("triage", re.IGNORECASE)
    return [name for file, name in names.items() if mention.search(name + file.read_text(encoding="utf-8"))]


def test_the_replace_the_example_steps_name_every_file_of_the_example():
    steps = text("CONTRIBUTING.md").partition("## Replace the example")[2].partition("\n## ")[0]
    named = PATH.findall(steps)
    folders = tuple(path for path in named if path.endswith("/"))
    found = files_that_mention_the_example()
    assert {path.partition("/")[0] for path in found} >= {"src", "dev", "tests", "prompts", "flags", "evals"}
    assert [path for path in found if path not in named and not path.startswith(folders)] == []
