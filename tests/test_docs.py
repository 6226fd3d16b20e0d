"""Commands and paths in the pages for people who choose or use the template are real."""

import re
from pathlib import Path

import pytest
from bake import LITERAL, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:\.?[A-Za-z_][\w.-]*/)+[\w.-]*|\.?\w+\.(?:json|toml|md|py|ini))`")
MADE = ("build/", "var/", ".venv/", ".tools/", "gh:")


def targets(makefile: Path) -> set[str]:
    return set(re.findall(r"^([a-z]+):", makefile.read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_paths_are_real(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = targets(ROOT / "Makefile") | targets(ROOT / LITERAL / "Makefile")
    for block in FENCE.findall(text):
        for target in re.findall(r"^(?:.*&& )?make ([a-z]+)", block, re.M):
            assert target in known, f"make {target}"
    for link in LINK.findall(text):
        assert (page.parent / link).exists(), link
    for name in PATH.findall(text):
        places = (
            ROOT / name,
            ROOT / LITERAL / name,
            ROOT / LITERAL / "src" / "service" / name,
            page.parent / name,
        )
        assert name.startswith(MADE) or any(place.exists() for place in places), name


def test_the_readme_names_only_root_targets_before_the_bake() -> None:
    first = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    commands = re.findall(r"^make ([a-z]+)", first, re.M)
    assert commands == ["demo", "test"]
    assert set(commands) <= targets(ROOT / "Makefile")


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link).resolve() for link in LINK.findall(index)}
    assert {page for page in PAGES if page.parent != ROOT and page.name != "README.md"} <= linked


def test_every_question_is_explained() -> None:
    text = (ROOT / "docs" / "uses.md").read_text(encoding="utf-8")
    for question in ("project_name", "project_slug", "description", "owner", "owner_contact", "ci"):
        assert f"`{question}`" in text
