"""Refuse answers that would give a broken project: one line for each on stderr, and nothing is written.

Few imports: a bake should cost little more than starting cookiecutter.
"""

import keyword
import sys
import unicodedata

null, true, false = None, True, False  # the answers arrive as JSON, which is Python once these names exist
ANSWERS = {{cookiecutter | jsonify}}  # noqa

TAKEN = {"service", "test", "tests"}  # the import package, and two names that Python and pytest look up first
WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
LONGEST = {"project_name": 80, "description": 200, "owner": 80, "owner_contact": 120}
REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
RESERVED = {'"': "a straight double quote", "`": "a backtick", "\\": "a backslash"}


def is_control(char):
    """True for what breaks a line, a parser or the reading order."""
    noncharacter = ord(char) & 0xFFFE == 0xFFFE
    return noncharacter or char in REORDERING or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def text_problem(key):
    """What is wrong with a free-text answer and what to do, or None."""
    value = ANSWERS.get(key)
    if not isinstance(value, str) or not value.strip():
        return "is empty; give it a value"
    value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # JSON halves an emoji
    if any(map(is_control, value)):
        return "contains a newline or control character; use one line of plain text"
    if len(value) > LONGEST[key]:
        return f"has {len(value)} characters; use at most {LONGEST[key]}"
    if any("{" + mark in value for mark in ("{", "%", "#")):
        return "contains template braces; leave them out"
    for char, name in RESERVED.items():
        if char in value:
            return f"contains {name}; leave it out or use a typographic quote"
    if key == "project_name" and "'" in value:
        return "contains a straight quote; leave it out or use a typographic one"
    return None


def well_formed(slug):
    """True for parts of lower-case letters and digits joined by single _ or -, a letter first."""
    parts = slug.replace("-", "_").split("_")
    return slug[:1].isalpha() and all(p.isascii() and p.isalnum() and p == p.lower() for p in parts)


def slug_problem(slug):
    """What is wrong with the name for machines and what to do, or None."""
    if not isinstance(slug, str) or not well_formed(slug):
        return f"is {slug!a}; use lower-case letters and digits joined by single _ or -, a letter first"
    module = slug.replace("-", "_")
    if len(slug) > 50:
        return f"has {len(slug)} characters; use at most 50"
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return f"is {slug!r}, a Python keyword; choose another, such as {slug}_desk"
    if module in sys.stdlib_module_names or module in TAKEN:
        return f"is {slug!r}, a name Python or the service uses; choose another, such as {slug}_desk"
    if module in WINDOWS:
        return f"is {slug!r}, a name Windows reserves; choose another, such as {slug}_desk"
    if slug == "unnamed":
        return "could not be made from project_name; give project_slug a value"
    return None


def problems():
    """One line for each answer that cannot be used; a slug made from a wrong name is not held against it."""
    found = {key: text_problem(key) for key in LONGEST}
    if not found["project_name"]:
        found["project_slug"] = slug_problem(ANSWERS["project_slug"])
    return [f"{key} {problem}." for key, problem in found.items() if problem]


refusals = problems()
for line in refusals:
    print(line, file=sys.stderr)
sys.exit(1 if refusals else 0)
