"""What a run yields: one result per case, or the reasons why there is none to judge."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.application.decision import JsonObject
from service.evaluation.cases import Dimension, EvalCase
from service.evaluation.scorers import Score


class HarnessFailed(Exception):
    """The run proves nothing: something other than the answers went wrong. One line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} problem(s), first: {problems[0]}")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, the answer it got, how long that took, and its score on each dimension that applies."""

    case: EvalCase
    answer: JsonObject
    scores: Mapping[Dimension, Score]
    seconds: float
