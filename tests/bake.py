"""Bake from a clean export: `python tests/bake.py FOLDER [key=value ...]` replaces FOLDER/<slug>.

An export holds what git would commit now, edits included, and never a cache or the state of a local run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LITERAL = "{{cookiecutter.project_slug}}"
PARTS = ("cookiecutter.json", "hooks", LITERAL)
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".tools", ".*_cache", "__pycache__", ".hypothesis", "var", "build", "uv.lock"
)


def export(folder: Path) -> Path:
    """Copy the template's three parts to `folder`, as git sees them where there is git."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run([*git, "--", *PARTS], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = b""
    if not listed:  # no git, or no repository: a downloaded archive
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
        return folder
    for name in map(os.fsdecode, listed.rstrip(b"\0").split(b"\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def clear(folder: Path) -> None:
    """Move it out of the way first: a service that still runs there may go on writing."""
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        folder.rename(aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)


def runs(folder: Path) -> bool:
    """Whether a `svc run` holds this project's var/ right now."""
    try:
        import fcntl

        with (folder / "var" / "supervisor.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ImportError):
        return False
    return False


def main() -> int:
    output, answers = Path(sys.argv[1]), sys.argv[2:]
    output.mkdir(parents=True, exist_ok=True)
    slug = dict(answer.split("=", 1) for answer in answers).get("project_slug", "ticket_triage")
    if runs(output / slug):
        print(f"{output / slug} is running; stop it first (Ctrl-C in its terminal)", file=sys.stderr)
        return 1
    clear(output / slug)
    with tempfile.TemporaryDirectory() as folder:
        template = str(export(Path(folder)))
        command = [sys.executable, "-m", "cookiecutter", "--default-config", "--no-input", "-o", str(output)]
        return subprocess.run([*command, template, *answers]).returncode


if __name__ == "__main__":
    sys.exit(main())
