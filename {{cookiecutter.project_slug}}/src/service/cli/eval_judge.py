"""`svc eval judge`: whether a model may judge drafts, by its agreement with people's labels."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import httpx2
import typer
from opentelemetry.util.genai.handler import TelemetryHandler

from service.application.decision import JsonObject
from service.bootstrap_inference import allowed_hosts, http_client
from service.cli.eval_report import indented, write
from service.evaluation.judge import (
    Ask,
    Judgement,
    Message,
    fingerprint,
    load_guide,
    load_labels,
    measure,
    why_only_advisory,
)
from service.evaluation.suites import SuiteError, load_suite
from service.inference.gateway import Gateway
from service.inference.models import ChatModel
from service.inference.task import Limits, NoUsableAnswer, Target, Task
from service.settings import Settings

WRONG_USE, ENVIRONMENT = 2, 3
LIMITS = Limits(deadline_s=60, attempt_s=25, calls=2)


def judge(
    url: Annotated[str, typer.Option(help="The judge's endpoint, OpenAI-compatible, ending in /v1.")],
    model: Annotated[str, typer.Option(help="The judge; another model than the one that writes the drafts.")],
    suite: Annotated[str, typer.Option(help="Folder under evals/, or a path to one.")] = "triage",
) -> None:
    """Measure a model against the labels in evals/SUITE/judge/. Its key, if it needs one, is in JUDGE_API_KEY.

    Exit 0: measured, 2: wrong use, 3: the judge did not answer every time, and nothing was written.
    """
    folder = Path("evals") / suite
    try:
        measured = asyncio.run(_measure(folder, url, model))
    except SuiteError as error:
        _leave(str(error), WRONG_USE)
    except NoUsableAnswer as error:
        _leave(f"{model} gave no judgement: {error.reason}; nothing was written", ENVIRONMENT)
    place = folder / "judge" / "agreement.json"
    write(place, indented(measured))
    print(_as_text(measured, model, url))
    print(f"written: {place}")


async def _measure(folder: Path, url: str, model: str) -> JsonObject:
    labels = load_labels(folder / "judge" / "labels.jsonl")
    guide = load_guide(folder / "judge" / "guide.md")
    told = {case.id: f"{case.ticket.subject}\n\n{case.ticket.body}" for case in load_suite(folder, holdout=True).cases}
    unknown = sorted({label.case for label in labels} - set(told))
    if unknown:
        raise SuiteError(f"{folder / 'judge' / 'labels.jsonl'}: no such case: {', '.join(unknown[:5])}")
    async with AsyncExitStack() as closing:
        found = await measure(labels, told, guide, _asking(url, model, closing))
    return {"fingerprint": fingerprint(model, guide, labels), "at": datetime.now(UTC).isoformat()} | found


def _asking(url: str, model: str, closing: AsyncExitStack) -> Ask:
    """The judge through the gateway: time-outs, one repair, and no host that data may not go to."""
    config = Settings(model={"url": url, "name": model, "backup_url": "", "backup_name": "", "inference_url": ""})
    http = http_client(closing, LIMITS.attempt_s, allowed_hosts(config))
    spans = TelemetryHandler(instrumentation_scope_name="service.evaluation")
    chat = ChatModel(http, url, model, lambda: os.environ.get("JUDGE_API_KEY", ""), spans)
    gateway = Gateway(Target("judge", chat.complete))

    async def ask(messages: Sequence[Message]) -> Judgement:
        task = Task("judgement", Judgement, Judgement.model_json_schema(), messages, limits=LIMITS)
        return (await gateway.ask(task)).value

    return ask


def _as_text(measured: JsonObject, model: str, url: str) -> str:
    why_not = why_only_advisory(measured, measured["fingerprint"])
    return "\n".join(
        [
            f"{model} at {httpx2.URL(url).host} on {measured['n']} labels by {', '.join(measured['labellers'])}",
            f"agreed on {measured['agreed']:.2f}, where people call {measured['base_rate']:.2f} good",
            f"kappa {measured['kappa']:.2f}, 95 % {measured['kappa_low']:.2f} to {measured['kappa_high']:.2f}",
            f"ADVISORY ONLY: {why_not}" if why_not else "may gate, until judge, guide or labels change",
        ]
    )


def _leave(line: str, code: int) -> NoReturn:
    print(f"svc eval judge: {line}", file=sys.stderr)
    sys.exit(code)
