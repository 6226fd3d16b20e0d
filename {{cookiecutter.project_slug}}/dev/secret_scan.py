"""Looks for secrets in files: `python -m dev.secret_scan FILE...`; without files, in the whole project.

detect-secrets with two kinds of our own. A line that must look like a secret ends in `pragma: allowlist secret`.
"""

import re
import sys
from pathlib import Path

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).resolve().parent.parent
OWN_KINDS = ("VaultTokenDetector", "ServiceKeyDetector")  # of dev/secret_kinds.py
# State, tools and caches; the lock file, which is all digests; files whose subject is made-up secrets; and baselines,
# which quote the evaluation cases that are scanned themselves.
SKIPPED = re.compile(
    r"(var|build|dist|node_modules|__pycache__|\.(git|venv|tools|hypothesis)|\.\w+_cache)/|uv\.lock$|evals/[^/]+/baselines/"
    r"|tests/unit/(pii_samples|test_pii|test_prompts)\.py$"
)
DIGESTS = "HexHighEntropyString"  # a release, a payload, a prompt: this project is full of them


def project_files() -> list[Path]:
    """Every file of the project but state, tools and caches."""
    return [file for file in sorted(ROOT.rglob("*")) if file.is_file() and not _is_skipped(file)]


def find(files: list[Path]) -> list[str]:
    """One line for each secret found: where, and what kind. Never the secret."""
    kinds = {kind.__name__ for kind in get_mapping_from_secret_type_to_class().values()} - {DIGESTS}
    get_mapping_from_secret_type_to_class.cache_clear()  # else it never hears of the kinds below
    own = [{"name": name, "path": f"file://{ROOT / 'dev' / 'secret_kinds.py'}"} for name in OWN_KINDS]
    with transient_settings({"plugins_used": [*({"name": name} for name in sorted(kinds)), *own]}):
        found = SecretsCollection()
        for file in files:
            if not _is_skipped(file):
                found.scan_file(str(file))
        return sorted(f"{_shown(name)}:{secret.line_number}: {secret.type}" for name, secret in found)


def _is_skipped(file: Path) -> bool:
    inside = file.resolve()
    return inside.is_relative_to(ROOT) and bool(SKIPPED.match(inside.relative_to(ROOT).as_posix()))


def _shown(name: str) -> str:
    inside = Path(name).resolve()
    return inside.relative_to(ROOT).as_posix() if inside.is_relative_to(ROOT) else name


if __name__ == "__main__":
    lines = find([Path(name) for name in sys.argv[1:]] or project_files())
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(1 if lines else 0)
