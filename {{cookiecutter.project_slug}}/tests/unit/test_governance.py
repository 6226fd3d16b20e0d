"""Who changes a prompt commits a changelog entry and a report with it.

A report on the stand-in is enough here. Production wants one on the model, and a second person: `svc release approve`.
"""

import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from service.application.release import Release, Report
from service.cli.migrate import releases_from
from service.inference.prompts import PromptError
from tests.example import USE_CASE

ROOT = Path(__file__).resolve().parents[2]


def complaints(root: Path) -> list[str]:
    """What the prompts under `root` lack, a line each that says what to do."""
    files = sorted((root / "prompts").rglob("*.md"))
    try:
        releases = releases_from(root / "prompts")
    except PromptError as error:
        return [str(error)]
    unread = sorted({file.parent.name for file in files} - {release.use_case for release in releases})
    found = [f"prompts/{name}/: releases_from in src/service/cli/migrate.py does not read it" for name in unread]
    found += filter(None, (unexplained(file, file.relative_to(root)) for file in files))
    return found + list(filter(None, (unproven(release, root) for release in releases)))


def unexplained(file: Path, name: Path) -> str | None:
    """What is wrong with the newest changelog entry of a prompt."""
    front = yaml.safe_load(file.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")[0])
    match front["changelog"][0]:
        case {"version": version, "change": str(change)} if str(version) == str(front["version"]) and change.strip():
            return None
    return f"{name}: the first changelog entry must be for version {front['version']} and say `change: what and why`"


def unproven(release: Release, root: Path) -> str | None:
    """What is wrong with the committed report on a release."""
    place = place_of_report(release)
    renew = f"run `.venv/bin/svc eval --out {place}` and commit that file"
    if not (root / place).is_file():
        return (
            f"prompt {release.prompt_id}, version {release.prompt_version}, has no report as it now stands: if you "
            f"changed it, first give it a new version and a changelog entry and run this test again; then {renew}"
        )
    try:
        written = json.loads((root / place).read_text(encoding="utf-8"))
        said = {key: str(written[key]) for key in ("digest", "suite", "target", "verdict")}
        report = Report(id=place, at=datetime.fromisoformat(written["at"]), **said)
    except (ValueError, KeyError, TypeError):
        return f"{place} is no report: {renew}"
    why = report.why_not(release, production=False)
    if why and report.digest == release.digest and report.verdict != "PASS":
        return f"{why}: change the prompt further, under a new version, or take the change back"
    return f"{why}: {renew}" if why else None


def place_of_report(release: Release) -> str:
    return f"evals/{release.use_case}/reports/{release.name}.json"


def test_every_prompt_has_a_changelog_entry_and_a_report_that_passed():
    found = complaints(ROOT)
    assert not found, "\n".join(found)


FIRST, SECOND = '{version: "1", change: first version}', '{version: "2", change: shorter answers}'


class Project:
    """A folder with a prompt and a report on it, both good until something is written over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prompt = root / "prompts" / USE_CASE / "greet.md"
        self.prompt.parent.mkdir(parents=True)
        self.write()
        self.before = self.release
        self.report()

    @property
    def release(self) -> Release:
        return releases_from(self.root / "prompts")[-1]

    def write(self, text: str = "Be kind.", version: str = "1", changelog: str = FIRST, parameters: str = "{}") -> None:
        front = f'id: greet\nversion: "{version}"\nowner: somebody\nchangelog: [{changelog}]\nvariables: [name]\n'
        body = f"## System\n{text}\n\n## User\nGreet $name.\n"
        self.prompt.write_text(f"---\n{front}parameters: {parameters}\n---\n{body}", encoding="utf-8")

    def report(self, **other: str) -> str:
        """Put a good report, or one that says something other, where that of the prompt belongs."""
        good = {"digest": self.release.digest, "suite": f"{USE_CASE}@0123456789ab", "target": "stand-in"}
        written = good | {"verdict": "PASS", "at": "2026-01-31T12:00:00+00:00"} | other
        place = place_of_report(self.release)
        (self.root / place).parent.mkdir(parents=True, exist_ok=True)
        (self.root / place).write_text(json.dumps(written), encoding="utf-8")
        return place

    def complaint(self) -> str:
        [line] = complaints(self.root)
        return line


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_new_version_with_entry_and_report_is_welcome(project):
    assert complaints(project.root) == []
    project.write("Be brief.", "2", f"{SECOND}, {FIRST}")
    project.report()
    assert complaints(project.root) == []


@pytest.mark.parametrize("change", [{"text": "Be brief."}, {"parameters": "{temperature: 0.3}"}])
def test_a_change_without_a_version_is_told_to_take_one(project, change):
    project.write(**change)
    told = "version 1, has no report as it now stands: if you changed it, first give it a new version and a changelog"
    assert told in project.complaint()


def test_a_version_without_a_changelog_entry_is_named(project):
    project.write("Be brief.", "2")
    assert project.complaint() == f"{project.prompt}: changelog has no entry for version 2"


@pytest.mark.parametrize("changelog", [f"{FIRST}, {SECOND}", '{version: "2"}', '{version: "2", change: " "}'])
def test_the_first_entry_is_that_of_the_version_and_says_something(project, changelog):
    project.write("Be brief.", "2", changelog)
    project.report()
    told = "the first changelog entry must be for version 2 and say `change: what and why`"
    assert project.complaint() == f"prompts/{USE_CASE}/greet.md: {told}"


def test_a_new_version_without_a_report_is_given_the_command(project):
    project.write("Be brief.", "2", f"{SECOND}, {FIRST}")
    place = place_of_report(project.release)
    assert place != place_of_report(project.before)
    assert project.complaint().endswith(f"then run `.venv/bin/svc eval --out {place}` and commit that file")


def test_a_report_on_another_release_under_the_new_name_is_found(project):
    project.write("Be brief.", "2", f"{SECOND}, {FIRST}")
    place = project.report(digest=project.before.digest)
    found = f"report {place} is about another release ({project.before.digest[:12]})"
    assert project.complaint() == f"{found}: run `.venv/bin/svc eval --out {place}` and commit that file"


def test_a_report_of_another_suite_is_found(project):
    place = project.report(suite="other@0123456789ab")
    assert project.complaint().startswith(f"report {place} is of the suite other@0123456789ab")


def test_a_report_that_says_block_blocks(project):
    place = project.report(verdict="BLOCK")
    told = "change the prompt further, under a new version, or take the change back"
    assert project.complaint() == f"report {place} says BLOCK, not PASS: {told}"


@pytest.mark.parametrize("text", ["", "[]", "{}", "<<<<<<< HEAD"])
def test_what_is_no_report_is_to_be_written_again(project, text):
    place = project.report()
    (project.root / place).write_text(text, encoding="utf-8")
    assert project.complaint() == f"{place} is no report: run `.venv/bin/svc eval --out {place}` and commit that file"


def test_a_prompt_of_which_no_release_is_made_is_found(project):
    (project.root / "prompts" / "unread").mkdir()
    (project.root / "prompts" / "unread" / "greet.md").write_bytes(project.prompt.read_bytes())
    assert project.complaint() == "prompts/unread/: releases_from in src/service/cli/migrate.py does not read it"
