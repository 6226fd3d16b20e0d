"""`svc decisions payload` and, after an outage, `redrive`: both asked of the running service.

A redrive so obeys its flags, budgets and breakers. It may be interrupted, run again, and run beside another one at any
time: each message is done or not begun.
"""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

import typer

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.application.identity import Role
from service.cli.operator import AsJson, Ask, print_json, running_service, show

app = typer.Typer(help="Decisions.", no_args_is_help=True, add_completion=False)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
COUNTS = ("auto", "review", "escalate", "taken", "unchanged")
ADVICE = {
    "ai_off": "the AI is off for their callers (`svc flags list`)",
    "no_release": "no release is chosen for their callers (`svc flags list`)",
    "budget_spent": "the budget is spent: raise it, or run this again tomorrow (UTC)",
    "model_rejected_request": "the model rejects them: look at its key and name, and at what they say",
}


@app.callback()
def decisions() -> None:
    """Decisions."""


@app.command()
def payload(
    decision: Annotated[str, typer.Argument(help="The decision's id.")],
    url: Annotated[str | None, typer.Option(help="The service; else SVC_URL; else the `svc run` of VAR_DIR.")] = None,
) -> None:
    """Print the customer's message and every model call made for it, as JSON. For auditors, and on record."""
    with running_service(url, Role.AUDITOR) as ask:
        print_json(ask("GET", f"/v1/decisions/{quote(decision, safe='')}/payload"))


@dataclass(slots=True)
class Walk:
    """One walk through a window of waiting decisions, and what became of them."""

    ask: Ask
    window: JsonObject
    rate: float
    sums: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)

    def count(self) -> JsonObject:
        """Candidates and queue as they are now."""
        return self.ask("GET", "/v1/redrive", params=self.window)

    def to_the_end(self) -> str | None:
        """Batch after batch; why there is something left to do, if there is."""
        after = None
        while True:
            begun, limit = time.monotonic(), min(10, max(1, int(self.rate)))
            batch = self.ask("POST", "/v1/redrive", json={**self.window, "limit": limit, "after": after})
            self.sums.update({name: batch[name] for name in COUNTS})
            self.why.update(batch["why"])
            print("  " + ", ".join(f"{self.sums[name]} {name}" for name in COUNTS), file=sys.stderr)
            after = batch["next"]
            if batch["stopped"] == "breaker_open":  # nobody has asked it just now
                return "the model failed a short while ago and is spared for up to a minute; then"
            if batch["stopped"]:
                return f"the model still fails ({batch['stopped']}); when it answers again"
            if after is None:
                reasons = [f"{self.why[reason]} wait on: {ADVICE[reason]}" for reason in ADVICE if self.why[reason]]
                return "; ".join([*reasons, "then"]) if reasons else None
            time.sleep(max(0.0, begun + batch["asked"] / self.rate - time.monotonic()))

    def go_on(self) -> str:
        """The command that does what is left."""
        options = {**self.window, "rate": f"{self.rate:g}"}
        return "svc decisions redrive " + " ".join(f"--{name} {value}" for name, value in options.items())


@app.command()
def redrive(  # noqa: PLR0913 - one option each
    since: Annotated[str, typer.Option(help="ISO 8601 (UTC unless it names a zone), or how long ago: 30m, 4h, 2d.")],
    until: Annotated[str | None, typer.Option(help="Only decisions made before this; the same forms.")] = None,
    source: Annotated[Literal["rules", "cache"], typer.Option(help="Who answered in the model's place.")] = "rules",
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="The model is asked at most so often a second.")] = 5,
    url: Annotated[str | None, typer.Option(help="The service; else SVC_URL; else the `svc run` of VAR_DIR.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the model again about decisions that wait for review because it failed. What people hold is not touched."""
    window = {"since": instant(since), **({"until": instant(until)} if until else {}), "source": source}
    with running_service(url) as ask:
        walk = Walk(ask, window, rate)
        before = walk.count()
        queue = ", ".join(f"{count} {name}" for name, count in before["queue"].items())
        print(f"queue: {queue}; candidates: {before['candidates']}", file=sys.stderr if as_json else sys.stdout)
        left = None if dry_run else _walked(walk)
        after = before if dry_run else walk.count()
    if as_json:
        print_json({**window, "before": before, "after": after, **walk.sums, "why": walk.why, "left": left})
    elif not dry_run:
        _show(walk, before, after)
    if left:
        print(f"svc: {left}: {walk.go_on()}", file=sys.stderr)
        raise typer.Exit(1)


def _walked(walk: Walk) -> str | None:
    """Why there is something left to do, if there is. An error passes, after a line that says how to go on."""
    try:
        return walk.to_the_end()
    except KeyboardInterrupt:
        return "interrupted; the service ends what it has begun, and nothing is lost; to go on"
    except (Unavailable, Invalid):
        print(f"svc: ended early, and nothing is lost; to go on: {walk.go_on()}", file=sys.stderr)
        raise


def _show(walk: Walk, before: JsonObject, after: JsonObject) -> None:
    rows = [{"queue": name, "before": before["queue"][name], "after": after["queue"][name]} for name in before["queue"]]
    rows.append({"queue": "candidates", "before": before["candidates"], "after": after["candidates"]})
    show(rows, False, ("queue", "before", "after"))
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(walk.why.items()))
    notes = {"taken": "by people, or another redrive, meanwhile", "unchanged": why}
    print()
    rows = [{"became": name, "count": walk.sums[name], "": notes.get(name, "")} for name in COUNTS]
    show(rows, False, ("became", "count", ""))


def instant(text: str) -> str:
    """ISO 8601 in UTC. Raises `Invalid`."""
    try:
        if ago := re.fullmatch(r"([0-9]{1,6})([mhd])", text):
            now = datetime.now(UTC).replace(microsecond=0)
            return (now - timedelta(**{UNITS[ago[2]]: int(ago[1])})).isoformat()
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Invalid("give an instant such as 2026-11-22T10:00:00Z, or a time ago such as 4h") from None
