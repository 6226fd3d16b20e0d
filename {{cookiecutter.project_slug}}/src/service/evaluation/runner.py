"""Runs a suite against anything that answers tickets. The only module that knows pydantic-evals.

A case that got no answer or no score is a failure of the harness, never a case fewer: a rate over the cases
that happened to work would look better the more of them broke.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext
from pydantic_evals.reporting import EvaluationReport

from service.application.decision import JsonObject
from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension, EvalCase, Suite
from service.evaluation.gate import CaseResult, HarnessFailed
from service.evaluation.scorers import SCORERS, Score, dimensions_of

Answer: TypeAlias = Callable[[Ticket], Awaitable[JsonObject]]
Report: TypeAlias = EvaluationReport[Ticket, JsonObject, EvalCase]


@dataclass
class Scored(Evaluator[Ticket, JsonObject, EvalCase]):
    """Adapts one of our scorers, which know nothing of the library."""

    dimension: Dimension

    def evaluate(self, ctx: EvaluatorContext[Ticket, JsonObject, EvalCase]) -> dict[str, EvaluationReason]:
        if ctx.metadata is None:
            raise ValueError("the case itself must come as metadata")
        score = SCORERS[self.dimension](ctx.metadata, ctx.output)
        return {self.dimension.value: EvaluationReason(value=score.passed, reason=score.reason)}


async def run_suite(suite: Suite, answer: Answer, concurrency: int = 16, progress: bool = False) -> list[CaseResult]:
    """Each case's scores, in the suite's order. Raises `HarnessFailed` unless every case has all of them."""
    dataset = Dataset[Ticket, JsonObject, EvalCase](
        name=suite.name,
        cases=[
            Case(
                name=case.id,
                inputs=case.ticket,
                metadata=case,
                evaluators=[Scored(dimension) for dimension in dimensions_of(case)],
            )
            for case in suite.cases
        ],
    )
    report = await dataset.evaluate(answer, max_concurrency=concurrency, progress=progress, task_name=suite.name)
    _refuse_incomplete(suite, report)
    by_name = {ran.name: ran for ran in report.cases}
    return [
        CaseResult(
            case=case,
            answer=by_name[case.id].output,
            scores={
                Dimension(name): Score(result.value, result.reason or "")
                for name, result in by_name[case.id].assertions.items()
            },
            seconds=by_name[case.id].task_duration,
        )
        for case in suite.cases
    ]


def _refuse_incomplete(suite: Suite, report: Report) -> None:
    problems = [f"{failed.name}: no answer: {failed.error_message}" for failed in report.failures]
    problems += [
        f"{ran.name}: scorer failed: {failure.error_message}"
        for ran in report.cases
        for failure in ran.evaluator_failures
    ]
    if not problems:
        scored = {ran.name: set(ran.assertions) for ran in report.cases}
        problems = [
            f"{case.id}: scores are missing"
            for case in suite.cases
            if scored.get(case.id) != {dimension.value for dimension in dimensions_of(case)}
        ]
    if problems:
        raise HarnessFailed(problems)
