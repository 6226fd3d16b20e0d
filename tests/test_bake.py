"""Every way of baking gives the same, complete, parseable project."""

import hashlib
import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import Bake, environment, run

ANSWERS = ["project_name=Parcel Desk", "owner=Ñandú O'Brien", "ci=gitlab"]
DIFFICULT = {
    "project_name": "Zażółć – Ärger 票 🎫",
    "project_slug": "zazolc",
    "description": "- Liest 'Ärger': #1 & 100 % der [Fälle] → {票} ‘so’ “wie” es ist <!-- ok",
    "owner": "Ñandú O'Brien: *Team* #1",
    "owner_contact": "#ärger-票 | <ops+票@example.com>",
}


def digest(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file under a folder with its mode and the hash of its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in files
    }


def test_the_defaults_bake_without_a_question(baked: Path) -> None:
    meta = tomllib.loads((baked / "pyproject.toml").read_text(encoding="utf-8"))
    assert meta["project"]["name"] == "ticket_triage"
    assert meta["project"]["authors"] == [{"name": "Platform Team"}]


def test_extra_context_is_used(bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", *ANSWERS).returncode == 0
    readme = (tmp_path / "parcel_desk" / "README.md").read_text(encoding="utf-8")
    assert "Parcel Desk" in readme
    assert "Ñandú O'Brien" in readme


def test_a_slug_with_a_dash_is_the_distribution_name(bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", "project_slug=parcel-desk-2").returncode == 0
    text = (tmp_path / "parcel-desk-2" / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["name"] == "parcel-desk-2"


def ask(template: Path, folder: Path, home: Path, answers: list[str]) -> tuple[int, str]:
    """Answer the questions at a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "cookiecutter", str(template)],
        cwd=folder,
        env=environment(HOME=str(home), TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    seen = b""
    try:
        while block := os.read(ours, 4096):
            seen += block
    except OSError:  # the child has closed its side
        pass
    os.close(ours)
    return child.wait(timeout=60), " ".join(seen.decode(errors="replace").split())


def test_questions_at_a_terminal_have_human_labels(template: Path, home: Path, tmp_path: Path) -> None:
    code, seen = ask(template, tmp_path, home, ["Parcel Desk", "", "", "Ñandú O'Brien", "", "3"])
    assert code == 0, seen
    prompts = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__prompts__"]
    choices = prompts.pop("ci")
    for label in [*prompts.values(), *choices.values()]:
        assert label in seen
    assert "Ñandú O'Brien" in (tmp_path / "parcel_desk" / "README.md").read_text(encoding="utf-8")


def test_braces_typed_at_a_terminal_are_refused(template: Path, home: Path, tmp_path: Path) -> None:
    code, seen = ask(template, tmp_path, home, ["Parcel Desk", "", "{{ 7 * 7 }}", "", "", ""])
    assert code == 1
    assert "description contains template braces" in seen
    assert list(tmp_path.iterdir()) == []


def test_the_same_answers_give_the_same_bytes(bake: Bake, home: Path, template: Path, tmp_path: Path) -> None:
    assert bake(tmp_path / "first", "--no-input", *ANSWERS).returncode == 0
    replay = home / ".cookiecutter_replay" / f"{template.name}.json"
    kept = tmp_path / "answers.json"
    kept.write_bytes(replay.read_bytes())
    assert bake(tmp_path / "second", "--replay").returncode == 0
    assert bake(tmp_path / "third", "--replay-file", str(kept)).returncode == 0
    assert bake(tmp_path / "fourth", "--no-input", *ANSWERS).returncode == 0
    first = digest(tmp_path / "first")
    assert len(first) > 10
    for again in ("second", "third", "fourth"):
        assert digest(tmp_path / again) == first


def test_a_git_repository_bakes_by_folder_by_url_and_by_tag(
    bake: Bake, template: Path, tmp_path: Path, baked: Path
) -> None:
    work = tmp_path / "work"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    for command in (
        ["git", *who, "init", "-q", str(work)],
        ["cp", "-R", f"{template}/.", str(work)],
        ["git", "-C", str(work), "add", "-A"],
        ["git", *who, "-C", str(work), "commit", "-qm", "template"],
        ["git", *who, "-C", str(work), "tag", "v0"],
        ["git", "clone", "-q", "--bare", str(work), str(tmp_path / "bare.git")],
        ["git", "clone", "-q", str(tmp_path / "bare.git"), str(tmp_path / "clone")],
    ):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    assert bake(tmp_path / "a", "--no-input", template=tmp_path / "clone").returncode == 0
    url = f"git+file://{tmp_path}/bare.git"
    assert bake(tmp_path / "b", "--no-input", template=url).returncode == 0
    assert bake(tmp_path / "c", "--no-input", "--checkout", "v0", template=url).returncode == 0
    for way in "abc":
        assert digest(tmp_path / way / "ticket_triage") == digest(baked)


def test_difficult_text_survives_everywhere(bake: Bake, tmp_path: Path) -> None:
    done = bake(tmp_path, "--no-input", *(f"{key}={value}" for key, value in DIFFICULT.items()))
    assert done.returncode == 0, done.stderr
    project = tmp_path / "zazolc"
    meta = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert meta["description"] == DIFFICULT["description"]
    assert meta["authors"] == [{"name": DIFFICULT["owner"]}]
    readme = (project / "README.md").read_text(encoding="utf-8")
    for key in ("project_name", "description", "owner", "owner_contact"):
        assert DIFFICULT[key] in readme
        assert DIFFICULT[key] in done.stdout


@pytest.mark.parametrize("ci", ["github", "gitlab", "none"])
def test_every_configuration_file_parses(ci: str, bake: Bake, tmp_path: Path) -> None:
    answers = [f"{key}={value}" for key, value in DIFFICULT.items()]
    assert bake(tmp_path, "--no-input", f"ci={ci}", *answers).returncode == 0
    parsed = 0
    for path in tmp_path.rglob("*"):
        text = path.read_text(encoding="utf-8") if path.suffix in (".toml", ".yaml", ".yml", ".json") else ""
        if path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            list(yaml.safe_load_all(text))
        elif path.suffix == ".json":
            json.loads(text)
        parsed += bool(text)
    assert parsed > 0


def test_the_answers_are_echoed_and_the_next_commands_printed(bake: Bake, tmp_path: Path) -> None:
    done = bake(tmp_path, "--no-input", "ownr=Nobody", "owner=Somebody")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "owner         Somebody" in lines
    assert "ownr" not in done.stdout
    following = lines[lines.index("Next:") + 1 :]
    assert following[0] == "cd ticket_triage"
    assert following[1].startswith("git init && git add -A && git commit")
    assert [line.split()[:2] for line in following[2:]] == [["make", "run"], ["make", "test"]]
    who = {
        f"GIT_{role}_{field}": "t@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for field in ("NAME", "EMAIL")
    }
    typed = run(["sh", "-ec", "\n".join([*following[:2], "git status --short"])], tmp_path, **who)
    assert typed.returncode == 0, typed.stderr
    assert typed.stdout.splitlines()[-1].startswith(" create mode")


def test_an_output_folder_elsewhere_is_named_in_full(bake: Bake, tmp_path: Path) -> None:
    done = bake(tmp_path / "here", "--no-input", "-o", str(tmp_path / "out of the way"))
    assert f"cd '{tmp_path}/out of the way/ticket_triage'" in done.stdout


def test_caches_of_a_template_run_in_place_are_not_baked(
    bake: Bake, template: Path, tmp_path: Path, baked: Path
) -> None:
    used = tmp_path / "used"
    assert run(["cp", "-R", str(template), str(used)], tmp_path).returncode == 0
    for name in ("__pycache__", ".pytest_cache", "src/service/__pycache__", "src/.mypy_cache"):
        folder = used / "{{cookiecutter.project_slug}}" / name
        folder.mkdir(parents=True)
        (folder / "left.pyc").write_bytes(b"\0")
    assert bake(tmp_path / "out", "--no-input", template=used).returncode == 0
    assert digest(tmp_path / "out" / "ticket_triage") == digest(baked)
