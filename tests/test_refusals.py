"""A wrong answer gives exit code 1, one line that says what to do, and an empty folder."""

import json
from pathlib import Path

import pytest
from conftest import Bake

SLUGS = {
    "9lives": "lower-case letters",
    "Parcel": "lower-case letters",
    "parcel desk": "lower-case letters",
    "parcel__desk": "lower-case letters",
    "parcel_": "lower-case letters",
    "pärcel": "lower-case letters",
    "parcel.desk": "lower-case letters",
    "parcel\n": "lower-case letters",
    "../parcel": "lower-case letters",
    "-parcel": "lower-case letters",
    "a" * 51: "at most 50",
    "class": "Python keyword",
    "match": "Python keyword",
    "json": "name Python or the service uses",
    "concurrent": "name Python or the service uses",
    "service": "name Python or the service uses",
    "tests": "name Python or the service uses",
    "con": "name Windows reserves",
    "lpt1": "name Windows reserves",
    "fastapi": "library it installs",
    "pydantic_settings": "library it installs",
}
TEXTS = [
    ("owner", "", "is empty"),
    ("owner", "   ", "is empty"),
    ("owner", 'The "A" Team', "straight double quote"),
    ("owner", "A\nB", "newline or control"),
    ("owner", "A\\B", "backslash"),
    ("owner_contact", "", "is empty"),
    ("owner_contact", "a\u2028b", "newline or control"),
    ("project_name", "", "is empty"),
    ("project_name", "!?!", "could not be made from project_name"),
    ("project_name", 'Say "hi"', "straight double quote"),
    ("project_name", "Ann's Desk", "straight quote"),
    ("project_name", "a `b`", "backtick"),
    ("project_name", '"""', "straight double quote"),
    ("project_name", "two\nlines", "newline or control"),
    ("project_name", "a\r", "newline or control"),
    ("project_name", "bell\x07", "newline or control"),
    ("project_name", "\x1b[31mred", "newline or control"),
    ("project_name", "right\u202eleft", "newline or control"),
    ("project_name", "not\udcffutf8", "newline or control"),
    ("project_name", "a\\U0001F600", "backslash"),
    ("project_name", "a\\", "backslash"),
    ("project_name", "x" * 81, "at most 80"),
    ("description", "", "is empty"),
    ("description", "one\n\n[tool.uv]", "newline or control"),
    ("description", 'x", y = "z', "straight double quote"),
    ("description", "x" * 201, "at most 200"),
]
CASES = [("project_slug", slug, hint) for slug, hint in SLUGS.items()] + TEXTS


@pytest.mark.parametrize(("key", "value", "hint"), CASES, ids=[f"{k}={ascii(v)[:24]}" for k, v, _ in CASES])
def test_refused_with_one_line(key: str, value: str, hint: str, bake: Bake, tmp_path: Path) -> None:
    done = bake(tmp_path / "out", "--no-input", f"{key}={value}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert hint in done.stderr
    assert done.stderr.startswith("project_slug " if "could not be made" in hint else f"{key} ")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert list((tmp_path / "out").iterdir()) == []


def test_each_wrong_answer_has_its_own_line(bake: Bake, tmp_path: Path) -> None:
    done = bake(tmp_path, "--no-input", "project_slug=class", "owner=", "owner_contact=", "description=a`b")
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        "description",
        "owner",
        "owner_contact",
        "project_slug",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["{% raw %}", "{{ nothing }}", "{# never closed", "{{"])
def test_a_template_expression_for_an_answer_leaves_nothing(value: str, bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", f"project_name={value}").returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", ["ci=jenkins", "project_slug="])
def test_what_cookiecutter_itself_refuses_leaves_nothing(answer: str, bake: Bake, tmp_path: Path) -> None:
    assert bake(tmp_path, "--no-input", answer).returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["a\x00b", None, 7, ["a"], "}}\n{% endraw %}"])
def test_a_replayed_answer_of_any_kind_cannot_break_the_hook(
    value: object, bake: Bake, home: Path, template: Path, tmp_path: Path
) -> None:
    assert bake(tmp_path / "first", "--no-input").returncode == 0
    answers = json.loads((home / ".cookiecutter_replay" / f"{template.name}.json").read_text())
    answers["cookiecutter"]["owner"] = value
    (tmp_path / "replay.json").write_text(json.dumps(answers))
    done = bake(tmp_path / "out", "--replay-file", str(tmp_path / "replay.json"))
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["owner"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_refusal_leaves_an_existing_project_as_it_was(bake: Bake, tmp_path: Path) -> None:
    kept = tmp_path / "ticket_triage" / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert bake(tmp_path, "--no-input", "-f", "owner=").returncode == 1
    assert [path.name for path in kept.parent.iterdir()] == ["kept.txt"]
