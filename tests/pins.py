"""Write the exact versions the tests run with: `make pins`.

Two lists, each the full closure of its ranges, transitive packages included: the constraints in the emitted
pyproject.toml, and tests/requirements.txt for the template's own environment. Run the tests afterwards.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "{{cookiecutter.project_slug}}" / "pyproject.toml"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"
TOOLS = ["cookiecutter", "pytest", "pyyaml", "ruff", "uv"]
CONSTRAINTS = re.compile(r"^(constraint-dependencies = \[\n).*?^(\])$", re.M | re.S)
JINJA = re.compile(r"\{\{.*?\}\}")
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"


def closure(pyproject: str) -> list[str]:
    """Every package of every group, for each platform and each Python from 3.11 on."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(pyproject, encoding="utf-8")
        subprocess.run([UV, "lock", "--quiet", "--upgrade"], cwd=folder, check=True)
        export = [
            "export",
            "--quiet",
            "--all-groups",
            "--all-extras",
            "--no-hashes",
            "--no-annotate",
            "--no-header",
        ]
        done = subprocess.run(
            [UV, *export, "--no-emit-project"], cwd=folder, check=True, capture_output=True, text=True
        )
    return sorted(line.strip() for line in done.stdout.splitlines() if line.strip())


def main() -> None:
    text = PYPROJECT.read_text(encoding="utf-8")
    free = JINJA.sub("example", CONSTRAINTS.sub(r"\1\2", text))
    pins = "".join(f'    "{pin}",\n' for pin in closure(free))
    PYPROJECT.write_text(CONSTRAINTS.sub(rf"\1{pins}\2", text), encoding="utf-8")

    names = ", ".join(f'"{name}"' for name in TOOLS)
    own = f'[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = [{names}]\n'
    REQUIREMENTS.write_text("".join(f"{pin}\n" for pin in closure(own)), encoding="utf-8")


if __name__ == "__main__":
    main()
