"""What a code host reads: CI, change requests, owners. Only the chosen host's files stay."""

from pathlib import Path

import pytest
import yaml
from conftest import Bake
from test_bake import DIFFICULT, digest

OWNED = ("prompts", "evals", "flags")
GITHUB = {".github/workflows/ci.yml", ".github/workflows/eval.yml", ".github/pull_request_template.md"}
GITLAB = {".gitlab-ci.yml", ".gitlab/merge_request_templates/default.md"}


@pytest.mark.parametrize(("ci", "kept"), [("github", GITHUB), ("gitlab", GITLAB), ("none", set())])
def test_only_the_files_of_the_chosen_host_stay(
    ci: str, kept: set[str], bake: Bake, literal: Path, tmp_path: Path
) -> None:
    assert bake(tmp_path, "--no-input", f"ci={ci}").returncode == 0
    project = tmp_path / "ticket_triage"
    assert {name for name in digest(project) if name.startswith((".github/", ".gitlab"))} == kept
    assert {path.name for path in project.glob(".git[hl]*")} == {name.split("/")[0] for name in kept}
    assert owners(project) == [f"/{folder}/ platform-team@example.com" for folder in OWNED]
    assert {name for name in digest(literal) if name.startswith((".github/", ".gitlab"))} == GITHUB | GITLAB


def test_both_hosts_ask_the_same_of_a_change(literal: Path) -> None:
    [github] = [(literal / name).read_text(encoding="utf-8") for name in GITHUB if name.endswith(".md")]
    [gitlab] = [(literal / name).read_text(encoding="utf-8") for name in GITLAB if name.endswith(".md")]
    assert github == gitlab
    for asked in ("new version", "evals/<use case>/reports/", "another person than the author", "rollback"):
        assert asked in github


def owners(project: Path) -> list[str]:
    """The lines of CODEOWNERS after the one that says what it is for."""
    first, *others = (project / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    assert first.startswith("# Who is asked")
    return others


@pytest.mark.parametrize(
    "contact",
    ["platform-team@example.com", "ops+ai@mail.example.com", "@octocat", "@acme/platform-team", "@a/b.c/d_e"],
)
def test_an_owner_with_an_account_is_asked(contact: str, bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", f"owner_contact={contact}").returncode == 0
    assert owners(tmp_path / "ticket_triage") == [f"/{folder}/ {contact}" for folder in OWNED]
    assert all((tmp_path / "ticket_triage" / folder).is_dir() for folder in OWNED)


@pytest.mark.parametrize(
    "contact",
    [
        "#platform",
        "Pager 555 0100",
        "https://pager.example/@ops",
        "Ops <ops@example.com>",
        "mailto:ops@example.com",
        "ops@example.com, @octocat",
        "ops@localhost",
        "ops@example.com.",
        "ops@team/x.y",
        "ärger@example.com",
        "@",
        "@@developer",
        "@acme/",
        "@a+b",
        DIFFICULT["owner_contact"],
    ],
)
def test_an_owner_without_one_leaves_lines_to_fill_in(contact: str, bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", f"owner_contact={contact}").returncode == 0
    advice, *lines = owners(tmp_path / "ticket_triage")
    assert advice.startswith("# Nobody yet: behind each folder write an @handle or")
    assert lines == [f"# /{folder}/ @..." for folder in OWNED]


def test_the_ci_files_call_only_targets_that_exist(literal: Path) -> None:
    targets = {line.split(":")[0] for line in (literal / "Makefile").read_text().splitlines() if ": " in line}
    github = yaml.safe_load((literal / ".github/workflows/ci.yml").read_text())
    gitlab = yaml.safe_load((literal / ".gitlab-ci.yml").read_text())
    steps = [step["run"] for step in github["jobs"]["checks"]["steps"] if "run" in step]
    assert steps == gitlab["checks"]["script"]
    assert {step.removeprefix("make ") for step in steps} <= targets


def test_both_hosts_run_the_suite_against_the_live_model_on_a_schedule(literal: Path) -> None:
    github = yaml.safe_load((literal / ".github/workflows/eval.yml").read_text())
    gitlab = yaml.safe_load((literal / ".gitlab-ci.yml").read_text())["live-eval"]
    steps = [step["run"] for step in github["jobs"]["live"]["steps"] if "run" in step]
    wanted = ".venv/bin/svc eval --fresh --repeats 3"
    assert (
        [step.startswith(wanted) for step in steps]
        == [line.startswith(wanted) for line in gitlab["script"]]
        == [False, True]
    )
    assert "schedule" in github[True]  # YAML reads `on` as true
    assert "schedule" in gitlab["rules"][0]["if"]
