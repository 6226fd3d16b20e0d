"""What a run consists of: items that are sent, samples that come back, scores that samples get.

Three stages keep their results apart, so that each can be repeated without the one before it: generate (item ->
sample; costs model calls), grade (sample -> score; free), compare (scores -> verdict; free).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from service.application.decision import JsonObject, Reason, Source
from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension, EvalCase, Template
from service.evaluation.suites import Suite

# Why no model answered, other than by what it wrote.
OUTAGES = {
    Reason.UNREACHABLE,
    Reason.REJECTED,
    Reason.RATE_LIMITED,
    Reason.MODEL_ERROR,
    Reason.DEADLINE,
    Reason.BREAKER_OPEN,
}


Key: TypeAlias = tuple[str, str, int]  # id of case or template, variant, repeat


class HarnessFailed(Exception):
    """The run proves nothing: something other than the answers went wrong. One line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} problem(s), first: {problems[0]}")
        self.problems = problems


class ModelOut(Exception):
    """No model answered anything, so there is nothing to judge. The message is one line."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message to send: a case as it is written, one of its perturbations, or a template told for one person.

    `variant` is empty for the case as written, else the perturbation's or the person's name. `repeat` counts from 1.
    """

    of: EvalCase | Template
    variant: str
    repeat: int
    ticket: Ticket

    @property
    def key(self) -> Key:
        """What the sample is filed under."""
        return (self.of.id, self.variant, self.repeat)


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of one item. `answer` is in the service's own contract, or None, and then `problem` says why.

    A problem is the target's failure (a status, a time-out, something unreadable), never the harness's. `seconds`: from
    request to answer. `effects`: what was seen downstream; None where a target lets nobody look.
    """

    answer: JsonObject | None
    problem: str | None
    seconds: float
    effects: JsonObject | None = None

    @property
    def outcome(self) -> JsonObject:
        """What was found out; empty without an answer, or where it is no object."""
        return outcome_of(self.answer or {})

    @property
    def no_model(self) -> str | None:
        """Why no model had a say in it, where that was an outage; None when one had, or the reason is another."""
        if self.answer is None:
            return self.problem
        by_model = self.answer.get("source") in (Source.MODEL, Source.BACKUP)
        reason = self.answer.get("reason")
        return str(reason) if reason in OUTAGES and not by_model else None


def outcome_of(answer: JsonObject) -> JsonObject:
    """The outcome in an answer, whatever a target wrote in its place."""
    outcome = answer.get("outcome")
    return outcome if isinstance(outcome, dict) else {}


Samples = Mapping[Key, Sample]


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict on one dimension of one case: 1 is good, 0 is not, between them is the mean over repeats.

    The reason says what was wanted and what came, of the first repeat that failed.
    """

    value: float
    reason: str

    @property
    def passed(self) -> bool:
        """Whether every repeat was good."""
        return self.value == 1


# By dimension, by id of case or template. A dimension that the target lets nobody see is absent.
Scores = Mapping[Dimension, Mapping[str, Score]]


@dataclass(frozen=True, slots=True)
class Run:
    """One suite through one target, graded. `release`: its digest, or the target's own name for what answered.

    `seconds`: how long the messages took to send and answer, all together; None if any answer came from the cache.
    """

    suite: Suite
    target: str
    release: str
    repeats: int
    at: datetime
    items: Sequence[Item]
    samples: Samples
    scores: Scores
    fingerprint: JsonObject = field(default_factory=dict)
    seconds: float | None = None


def refuse_outage(samples: Samples) -> None:
    """Raise `ModelOut` when every single answer is what the rules say while the model is away, or there is none."""
    reasons = [sample.no_model for sample in samples.values()]
    if reasons and all(reasons):
        counted = ", ".join(f"{reason} {count}" for reason, count in sorted(Counter(map(str, reasons)).items()))
        raise ModelOut(f"the model answered none of {len(reasons)} messages: {counted}; nothing was judged")
