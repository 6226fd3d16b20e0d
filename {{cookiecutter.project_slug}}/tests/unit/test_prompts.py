"""Prompt files are read strictly and rendered deterministically."""

from pathlib import Path

import pytest

from service.inference.prompts import PromptError, parse, render

GOOD = """---
id: greet
version: "2"
owner: somebody
changelog:
  - version: "2"
    change: warmer
variables: [name]
---
## System
Be kind.

## User
Greet $name.
"""


def test_a_good_file_gives_its_front_matter():
    prompt = parse(GOOD)
    assert (prompt.id, prompt.version, prompt.owner, prompt.variables) == ("greet", "2", "somebody", ("name",))


def test_rendering_fills_variables_and_splits_the_roles():
    assert render(parse(GOOD).body, {"name": "Zoë $100 ${x}"}) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Greet Zoë $100 ${x}."},
    ]


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (GOOD.replace("---\n", "", 1), "front matter"),
        (GOOD.replace("owner: somebody\n", ""), "lacks owner"),
        (GOOD.replace('  - version: "2"', '  - version: "1"'), "changelog has no entry"),
        (GOOD.replace("[name]", "[name, unused]"), "unused"),
        (GOOD.replace("Greet $name", "Greet $name and $friend"), "friend"),
        (GOOD.replace("## User", "## Customer"), "headings"),
        (GOOD.replace("Be kind.", "It costs $ 5."), "lone"),
        (GOOD.replace("id: greet", "id: [greet"), "not YAML"),
    ],
)
def test_a_broken_file_is_refused_with_what_to_change(broken, complaint):
    with pytest.raises(PromptError, match=complaint):
        parse(broken)


def test_a_missing_value_is_refused():
    with pytest.raises(PromptError, match="name"):
        render(parse(GOOD).body, {})


def test_every_shipped_prompt_is_good():
    files = list(Path("prompts").rglob("*.md"))
    assert files
    for file in files:
        parse(file.read_text(encoding="utf-8"), str(file))
