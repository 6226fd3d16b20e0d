"""Generates and grades: items become samples, samples become scores. The only module that knows pydantic-evals.

A case that got no sample or no score is a failure of the harness, never a case fewer: a rate over the cases that
happened to work would look better the more of them broke.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext
from pydantic_evals.reporting import EvaluationReport

from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension, EvalCase
from service.evaluation.results import HarnessFailed, Item, Key, Sample, Samples, Score, Scores
from service.evaluation.scorers import dimensions_of, judge_sample
from service.evaluation.suites import Suite
from service.evaluation.variants import across

Ask: TypeAlias = Callable[[Ticket], Awaitable[Sample]]
Keep: TypeAlias = Callable[[Item, Sample], None]
Graded: TypeAlias = EvaluationReport[Key, Sample, EvalCase]


async def generate(
    items: Sequence[Item], ask: Ask, stored: Samples, keep: Keep, concurrency: int = 8, progress: bool = False
) -> dict[Key, Sample]:
    """A sample for each item: the stored one, else what `ask` says, given to `keep` at once.

    Raises `HarnessFailed` when `ask` raises: what a target does wrong is a sample with a problem.
    """
    samples = {item.key: stored[item.key] for item in items if item.key in stored}
    missing = [item for item in items if item.key not in stored]
    waiting = iter(missing)

    async def work(tick: Callable[[], None]) -> None:
        for item in waiting:
            try:
                sample = await ask(item.ticket)
            except Exception as error:
                raise HarnessFailed([f"{' '.join(map(str, item.key))}: {error or type(error).__name__}"]) from error
            samples[item.key] = sample
            keep(item, sample)
            tick()

    with _bar("answers", len(missing), progress) as tick:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(missing))):
                    group.create_task(work(tick))
        except ExceptionGroup as failed:  # the first; the others were cancelled, or failed of the same
            raise failed.exceptions[0] from None
    return samples


@dataclass
class Scored(Evaluator[Key, Sample, EvalCase]):
    """Adapts one of our scorers, which know nothing of the library."""

    dimension: Dimension

    def evaluate(self, ctx: EvaluatorContext[Key, Sample, EvalCase]) -> dict[str, EvaluationReason]:
        if ctx.metadata is None:
            raise ValueError("the case itself must come as metadata")
        judged = judge_sample(self.dimension, ctx.metadata, ctx.output)
        return {self.dimension.value: EvaluationReason(value=judged.passed, reason=judged.reason)}


async def grade(suite: Suite, items: Sequence[Item], samples: Samples, observed: bool = True) -> Scores:
    """The scores of all cases and templates. Without `observed` effects nobody judges them.

    Raises `HarnessFailed` unless each case has a score, in each repeat, on everything that applies to it.
    """
    if absent := [" ".join(map(str, item.key)) for item in items if item.key not in samples]:
        raise HarnessFailed([f"{key}: no sample" for key in absent])
    wanted = {
        case.id: [d for d in dimensions_of(case) if observed or d is not Dimension.EFFECTS] for case in suite.cases
    }
    as_written = [(item, item.of) for item in items if isinstance(item.of, EvalCase) and not item.variant]
    evaluators = {dimension: Scored(dimension) for dimension in Dimension}
    dataset = Dataset[Key, Sample, EvalCase](
        name=suite.name,
        cases=[
            Case(
                name=f"{case.id} {item.repeat}",
                inputs=item.key,
                metadata=case,
                evaluators=[evaluators[dimension] for dimension in wanted[case.id]],
            )
            for item, case in as_written
        ],
    )

    async def sample_of(key: Key) -> Sample:
        return samples[key]

    report: Graded = await dataset.evaluate(sample_of, max_concurrency=1, progress=False, task_name=suite.name)
    repeats = max((item.repeat for item in items), default=0)
    return _collapsed(report, wanted, repeats) | across(suite, items, samples)


def _collapsed(
    report: Graded, wanted: Mapping[str, Sequence[Dimension]], repeats: int
) -> dict[Dimension, dict[str, Score]]:
    """Each case's mean over its repeats, with the reason of the first that failed."""
    problems = [f"{failed.name}: {failed.error_message}" for failed in report.failures]
    verdicts: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
    for ran in sorted(report.cases, key=lambda ran: ran.inputs[2]):
        problems += [f"{ran.name}: scorer failed: {failure.error_message}" for failure in ran.evaluator_failures]
        for name, result in ran.assertions.items():
            verdicts[ran.inputs[0], name].append((result.value, result.reason or ""))
    scores: dict[Dimension, dict[str, Score]] = {}
    for case, dimensions in wanted.items():
        for dimension in dimensions:
            found = verdicts[case, dimension.value]
            if len(found) != repeats and not problems:
                problems.append(f"{case}: {dimension.value}: {len(found)} of {repeats} scores")
            if found:
                reason = next((why for passed, why in found if not passed), found[0][1])
                scores.setdefault(dimension, {})[case] = Score(fmean(passed for passed, _ in found), reason)
    if problems:
        raise HarnessFailed(problems)
    return scores


@contextmanager
def _bar(what: str, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, for as long as the block lasts; yields what moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
