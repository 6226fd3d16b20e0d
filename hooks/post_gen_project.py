"""Remove what was not chosen, echo the answers, print the next commands. Offline; nothing random.

Few imports: a bake should cost little more than starting cookiecutter.
"""

import os
import sys

null, true, false = None, True, False  # the answers arrive as JSON, which is Python once these names exist
ANSWERS = {{cookiecutter | jsonify}}  # noqa

QUESTIONS = ("project_name", "project_slug", "description", "owner", "owner_contact", "ci")
HOST_FILES = {
    "github": (".github/workflows/ci.yml", ".github/workflows/eval.yml", ".github/pull_request_template.md"),
    "gitlab": (".gitlab-ci.yml", ".gitlab/merge_request_templates/default.md"),
}
CACHES = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache"}


def refuse_a_dependency_name(slug):
    """A project named as something it installs could not be installed."""
    with open("pyproject.toml", encoding="utf-8") as file:
        pinned = {line.partition("==")[0].strip(' "') for line in file if "==" in line}
    if slug.replace("_", "-") in pinned:
        sys.exit(f"project_slug is {slug!r}, a library it installs; choose another, such as {slug}_desk.")


def keep_only_the_chosen_ci(choice):
    """Remove CI file and change-request template of the other hosts, and the folders this leaves empty."""
    for other in (file for host, files in HOST_FILES.items() if host != choice for file in files):
        if os.path.exists(other):
            os.remove(other)
            folder = os.path.dirname(other)
            while folder and not os.listdir(folder):
                os.rmdir(folder)
                folder = os.path.dirname(folder)


def remove_caches():
    """Caches of a template that was run in place do not belong in a project."""
    for folder, names, _ in os.walk("."):
        for name in CACHES.intersection(names):
            import shutil

            shutil.rmtree(os.path.join(folder, name))
        names[:] = [name for name in names if name not in CACHES | {".git", ".venv"}]


def readable(value):
    """The text itself: JSON halves an emoji."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16")


def report():
    """The answers as understood, then what to type."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    print("Answers (a key you passed that is not listed here was not understood):")
    for key in QUESTIONS:
        print(f"  {key:<13} {readable(ANSWERS[key])}")
    here = readable(ANSWERS["_output_dir"]) == os.environ.get("PWD")
    print("Next:")
    print(f"  cd {ANSWERS['project_slug'] if here else quoted(os.getcwd())}")
    print("  git init && git add -A && git commit -m 'The untouched bake'")
    print("  make run     # the service and all it needs, on this machine")
    print("  make test")


def quoted(path):
    """As a shell takes it."""
    plain = all(char.isalnum() or char in "/._-+" for char in path)
    return path if plain else "'" + path.replace("'", "'\\''") + "'"


refuse_a_dependency_name(ANSWERS["project_slug"])
keep_only_the_chosen_ci(ANSWERS["ci"])
remove_caches()
report()
