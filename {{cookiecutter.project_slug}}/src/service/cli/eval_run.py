"""One suite through one target: what is kept is not asked again, what is asked is observed, and all of it is graded."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from service.application.decision import JsonObject
from service.application.triage.contract import Ticket
from service.evaluation.answers import Answers
from service.evaluation.results import HarnessFailed, Item, Key, ModelOut, Run, Sample, Samples, refuse_outage
from service.evaluation.suites import Suite, digest_of
from service.evaluation.variants import items_of
from service.integration.database.migrate import project_root

LOOK_EVERY_S = 1.0
# Edits of these change scores, never answers: what was answered is graded again.
SCORE_ONLY = ("src/service/evaluation", "src/service/cli/eval")
_JUDGING = ("scorers", "variants", "perturb", "suites", "gate", "statistics")
SCORES = tuple(f"src/service/evaluation/{name}.py" for name in _JUDGING)


class EnvironmentFailed(Exception):
    """Something around the measurement is missing or broken, so nothing was measured."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A target that answers now. `observe`: the effects of each sample; None where a target lets nobody look.

    Given True it waits until they have come about; given False it leaves out those that have not yet.
    """

    ask: Callable[[Ticket], Awaitable[Sample]]
    observe: Callable[[Samples, bool], Awaitable[dict[Key, JsonObject]]] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured. It is reached, or started, only when there is something to ask.

    `name`: as the report has it. `baseline`: the file in baselines/, without .json. `release`: its digest, or the
    target's own name for what answers. `model`, `parameters` and `code` go into the fingerprint; `decides` is
    whatever else an answer depends on, so that kept ones are not used for another. `concurrency`: messages at once.
    """

    name: str
    baseline: str
    release: str
    reach: Callable[[], AbstractAsyncContextManager[Reached]]
    model: str = ""
    parameters: JsonObject = field(default_factory=dict)
    code: JsonObject = field(default_factory=dict)
    decides: JsonObject = field(default_factory=dict)
    observed: bool = False
    concurrency: int = 8


async def run_suite(
    suite: Suite, target: Target, var_dir: Path, repeats: int = 1, fresh: bool = False, progress: bool = False
) -> tuple[Run, int]:
    """The graded run, and how many of its answers were kept from an earlier one.

    Raises `HarnessFailed`, `ModelOut` (then nothing is kept) and what reaching the target raises.
    """
    # As written first: their effects come about while the variants, which nobody looks up downstream, are sent.
    items = sorted(items_of(suite, repeats), key=lambda item: item.variant != "")
    decides = {"target": target.name, "release": target.release, "parameters": target.parameters} | target.decides
    answers = Answers(var_dir / "eval" / "answers", decides, fresh)
    stored: Samples = answers.stored(items, target.observed)
    samples, took = stored, None
    if len(stored) < len(items):
        async with target.reach() as reached:
            samples, took = await _asked(items, target, reached, answers, stored, progress)
    try:
        refuse_outage(samples)
    except ModelOut:
        answers.discard()
        raise
    from service.evaluation.runner import grade

    scores = await grade(suite, items, samples, target.observed)
    about, at, mark = (suite, target.name, target.release, repeats), datetime.now(UTC), fingerprint(suite, target)
    return Run(*about, at, items, samples, scores, mark, None if stored else took), len(stored)


async def _asked(
    items: Sequence[Item], target: Target, reached: Reached, answers: Answers, stored: Samples, progress: bool
) -> tuple[Samples, float]:
    """All samples with their effects, and how many seconds the answers took."""
    from service.evaluation.runner import generate

    new: dict[Key, tuple[Item, Sample]] = {}
    observed: dict[Key, Sample] = {}

    def keep(item: Item, sample: Sample) -> None:
        new[item.key] = item, sample
        if not sample.no_model:  # an outage is over some day, and must not be taken for what the model says
            answers.keep(item, sample)

    async def look(wait: bool) -> None:
        if reached.observe:
            unseen = {key: sample for key, (item, sample) in new.items() if not item.variant and key not in observed}
            for key, effects in (await reached.observe(unseen, wait)).items():
                observed[key] = replace(unseen[key], effects=effects)
                keep(new[key][0], observed[key])

    async def follow() -> None:  # else an interrupted run would have answers without effects, and ask again
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await look(wait=False)

    following, began = asyncio.create_task(follow()), time.monotonic()
    try:
        samples = await generate(items, reached.ask, stored, keep, target.concurrency, progress)
        took = time.monotonic() - began
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    await look(wait=True)
    return {**samples, **observed}, took


def fingerprint(suite: Suite, target: Target) -> JsonObject:
    """What a verdict depends on, as far as anybody edits it on purpose: the same digest needs no new run.

    Waivers in force today are part of the digest only. Of the code only the versions of contract, rules and guards, and
    what scores: a report committed beside an edit that changes no answer stays valid. Whoever changes answers raises
    one of those versions (CONTRIBUTING.md).
    """
    code = {**target.code, "scores": source_digest(*SCORES)}
    parts = {
        "suite": suite.digest,
        "release": target.release,
        "model": target.model,
        "parameters": target.parameters,
        "code": digest_of(code)[:12],
    }
    waived = [w.model_dump(mode="json") for w in suite.waivers if w.until >= datetime.now(UTC).date()]
    return {**parts, "digest": digest_of({**parts, "waived": waived})}


def source_digest(*places: str) -> str:
    """SHA-256, in hex, of the project's files there (.py and .json of folders), without those that only score."""
    total, root = hashlib.sha256(), project_root()
    for place in places:
        found = sorted((root / place).rglob("*")) if (root / place).is_dir() else [root / place]
        for file in found:
            name = file.relative_to(root).as_posix()
            wanted = file.suffix in (".py", ".json") and (name == place or not name.startswith(SCORE_ONLY))
            if wanted and file.is_file():
                total.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()


def load_baseline(folder: Path, name: str, suite: Suite) -> JsonObject | None:
    """The report that a run of this kind is compared with; None if none was accepted. Raises `HarnessFailed`."""
    file = folder / "baselines" / f"{name}.json"
    if not file.exists():
        return None
    try:
        baseline = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise HarnessFailed([f"{file} is no report: take it from version control again"]) from None
    if baseline.get("asked") != suite.asked:
        raise HarnessFailed(
            [f"the cases are not those of {file}: accept a run by `svc eval baseline`, in a change of its own"]
        )
    return baseline
