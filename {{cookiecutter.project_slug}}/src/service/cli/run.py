"""`svc run`: everything on one machine. The work is done by `dev/`, which is not part of the installed package."""

import importlib
import sys
from pathlib import Path
from typing import Any


def run() -> None:
    """Start everything on embedded parts and run until Ctrl-C. Exits 0, 2 (wrong use) or 3 (could not start)."""
    supervisor = development_part("supervisor")
    sys.exit(supervisor.main(_project_root()))


def development_part(name: str) -> Any:
    """A module of `dev/`, by name, so that neither the layers nor the image depend on it. Exits 3 without it."""
    root = _project_root()
    if root is None:
        print(
            "svc: the development parts (dev/) are not here, as in the image; "
            "use real parts, `svc serve` and `svc worker`, and run `svc eval` in the project",
            file=sys.stderr,
        )
        sys.exit(3)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # child processes find `dev` from their working directory
    return importlib.import_module(f"dev.{name}")


def _project_root() -> Path | None:
    """The current directory, or the one that holds `src`, whichever has `dev/`."""
    candidates = (Path.cwd(), Path(__file__).resolve().parents[3])
    return next((place for place in candidates if (place / "dev" / "supervisor.py").is_file()), None)
