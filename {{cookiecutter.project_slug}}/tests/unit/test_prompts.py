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
        (GOOD.replace("[name]", "[[name]]"), "must be names"),
        (GOOD.replace("[name]", "name"), "must be lists"),
    ],
)
def test_a_broken_file_is_refused_with_what_to_change(broken, complaint):
    with pytest.raises(PromptError, match=complaint):
        parse(broken)


SECRETS = (
    "sk-live-4f9a8b7c6d5e4f3a2b1c", "sk_test_4f9a8b7c6d5e4f3a", f"svk_{'4f9a' * 8}", "AKIAABCDEFGHIJKLMNOP",
    f"AIza{'Sy4_' * 9}", f"ghp_{'a1' * 15}", f"github_pat_{'a1' * 15}", f"glpat-{'a1' * 10}", f"npm_{'a1' * 18}",
    f"pypi-{'a1' * 25}", f"SG.{'a1' * 10}.x", f"hvs.{'a1' * 14}", f"xoxb-{'12' * 6}", "eyJhbGciOi1.eyJzdWIiOi1.x",
    "Authorization: Bearer 4f9a8b7c6d5e4f3a2b1c", "-----BEGIN PRIVATE KEY-----", "postgres://app:hunter2@db/x",
    "https://hooks.chat.example/services/T00/B00/4f9a8b7c6d5e", "MODEL_API_KEY=4f9a8b7c", 'CLIENT_SECRET: "4f9a8b7c"',
    "aws_secret_access_key = wJalrXUtnFEMI/K7MD", "the password: Hunter2!", "api key: 4f9a8b7c",
    "access token=4f9a8b7c",
)  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_refused_without_being_repeated(secret):
    with pytest.raises(PromptError, match="looks like a key or password") as caught:
        parse(GOOD.replace("Be kind.", f"Be kind. {secret}"))
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "prose",
    [
        "- token: exactly as written", "- password: never ask for it", "key: value", "Secret: keep it",
        "the basic questions", "a bearer of bad news", "secret = $name", "task-oriented", "see https://docs.example/a/b",
    ],
)  # fmt: skip
def test_prose_about_secrets_is_no_secret(prose):
    parse(GOOD.replace("Be kind.", f"Be kind. {prose}"))


def test_a_missing_value_is_refused():
    with pytest.raises(PromptError, match="name"):
        render(parse(GOOD).body, {})


def test_every_shipped_prompt_is_good():
    files = list(Path("prompts").rglob("*.md"))
    assert files
    for file in files:
        parse(file.read_text(encoding="utf-8"), str(file))
