"""What `svc run` prints: what runs where, which of it is a stand-in, the keys, and one line to try."""

import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dev.example import GOOD, PATH
from dev.labels import NOTICE
from dev.settings import RunSettings

if TYPE_CHECKING:
    from dev.stack import Stack


def say(text: str) -> None:
    """Print at once. A reader that went away is no reason to stop the service."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process


def announce(settings: RunSettings, stack: "Stack", pids: Mapping[str, int]) -> None:
    """The table, the keys and the curl line."""
    rows = [
        ("api", settings.base_url, ""),
        ("worker", "", "delivers to ticketing"),
        *((f"inference-{n}", url.strip(), "asks the models") for n, url in enumerate(stack.inference_urls)),
        ("model", stack.model_url, NOTICE if not settings.model_url else settings.model_name),
        ("backup", stack.backup_url, settings.backup_name if settings.backup_url else _backup(stack)),
        ("ticketing", stack.ticketing_url, NOTICE if not settings.ticketing_url else ""),
        ("vault", stack.vault_addr, "OpenBao" if not settings.vault_addr else ""),
    ]
    say("")
    for name, where, what in rows:
        say(f"  {name:<12} {where:<28} {pids.get(name, ''):>8}  {what}".rstrip())
    say(f"\n  logs and data in {settings.var}; keys and addresses in {settings.var / 'dev.json'}\n")
    for name, key in stack.keys.items():
        say(f"  {name:<13} {key}")
    say(f"\nTry it:\n\n{curl_line(settings.base_url, stack.keys['caller'])}\n\nCtrl-C stops everything.")


def _backup(stack: "Stack") -> str:
    return NOTICE if stack.backup_url else "none: set BACKUP_MODEL_URL (no stand-in beside a real model)"


def curl_line(base_url: str, key: str) -> str:
    """One line for a POSIX shell that asks the example."""
    parts = ["curl", "-sS", f"{base_url}{PATH}", "-H", f"X-API-Key: {key}", "-H", "Content-Type: application/json"]
    return shlex.join([*parts, "-d", json.dumps(GOOD)])
