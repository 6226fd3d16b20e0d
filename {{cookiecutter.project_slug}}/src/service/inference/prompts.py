"""Prompts are files with front matter, read strictly and rendered deterministically.

Copyable: needs PyYAML, nothing of this project. A prompt file is

    ---
    id: greeting          # also: version, owner, changelog, variables, and if you like: parameters
    ---
    ## System
    ...
    ## User
    ... $variable ...
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

import yaml

_FILE = re.compile(r"\A---\n(?P<front>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_BODY = re.compile(r"\A\s*## System\n(?P<system>.*?)\n## User\n(?P<user>.*)\Z", re.DOTALL)
# Shapes of keys and passwords. A prompt is read by a vendor, by reviewers and by whoever tricks the model.
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:[spr]k[-_][\w-]{16,}|svk_[\w-]{20,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|gh[pousr]_\w{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{40,}|SG\.[\w-]{16,}\.|hv[sbr]\.[\w-]{20,}"
    r"|xox[abeprs]-[\w-]{10,}|eyJ[\w-]{8,}\.eyJ|(?:bearer|basic)\s+(?=\S*\d)[\w.~+/=-]{16,})"
    r"|-----BEGIN|://[^\s/@:]+:[^\s/@]+@|//hooks\.\S+/\S{20,}"
    r"|(?:password|passwd|secret|token|(?<![a-z])key)(?:_?id)?\s*[:=]\s*[\"']?(?=\S*\d)[^\s$\"']{6,}",
    re.IGNORECASE,
)
_REQUIRED = {"id", "version", "owner", "changelog", "variables"}


class PromptError(ValueError):
    """The prompt file is not usable; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as reviewed: who owns it, which version it is, and its text with `$variables`.

    `parameters` is what else is decided with it, as it was written; what may stand there is up to you.
    """

    id: str
    version: str
    owner: str
    variables: tuple[str, ...]
    body: str
    parameters: dict[str, Any] = field(default_factory=dict)


def parse(text: str, name: str = "prompt") -> Prompt:
    """The prompt in a file's text.

    Raises `PromptError` for missing fields, unused or undeclared variables, and for what looks like a secret.
    """
    found = _FILE.match(text.replace("\r\n", "\n"))
    if not found:
        raise PromptError(f"{name}: must start with front matter between two lines of ---")
    if _SECRET.search(text):
        raise PromptError(f"{name}: holds what looks like a key or password; a prompt is no place for one")
    front = _front_matter(found["front"], name)
    versions = [str(entry.get("version")) for entry in front["changelog"] if isinstance(entry, dict)]
    if str(front["version"]) not in versions:
        raise PromptError(f"{name}: changelog has no entry for version {front['version']}")
    declared, used = set(front["variables"]), _variables(found["body"], name)
    if declared != used:
        odd = ", ".join(sorted(declared ^ used))
        raise PromptError(f"{name}: variables must be declared in the front matter and used in the text: {odd}")
    return Prompt(
        id=str(front["id"]),
        version=str(front["version"]),
        owner=str(front["owner"]),
        variables=tuple(sorted(declared)),
        body=found["body"],
        parameters=front.get("parameters") or {},
    )


def render(body: str, values: Mapping[str, str]) -> list[dict[str, str]]:
    """Chat messages from a prompt's body. Raises `PromptError` when a variable has no value."""
    found = _BODY.match(body)
    if not found:
        raise PromptError("a prompt needs the headings '## System' and '## User', in this order")
    try:
        system, user = (Template(found[part]).substitute(values).strip() for part in ("system", "user"))
    except (KeyError, ValueError) as error:
        raise PromptError(f"a variable of the prompt has no value: {error}") from error
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _front_matter(text: str, name: str) -> dict[str, Any]:
    try:
        front = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PromptError(f"{name}: front matter is not YAML") from error
    missing = _REQUIRED - set(front if isinstance(front, dict) else {})
    if missing:
        raise PromptError(f"{name}: front matter lacks {', '.join(sorted(missing))}")
    if not all(isinstance(front[key], list) for key in ("variables", "changelog")):
        raise PromptError(f"{name}: variables and changelog must be lists")
    if not all(isinstance(variable, str) for variable in front["variables"]):
        raise PromptError(f"{name}: variables must be names")
    if not isinstance(front.get("parameters") or {}, dict):
        raise PromptError(f"{name}: parameters must be a mapping")
    return dict(front)


def _variables(body: str, name: str) -> set[str]:
    if not _BODY.match(body):
        raise PromptError(f"{name}: needs the headings '## System' and '## User', in this order")
    if not Template(body).is_valid():
        raise PromptError(f"{name}: a lone $ must be written $$")
    return set(Template(body).get_identifiers())
