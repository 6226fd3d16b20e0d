"""Cases out of what customers really wrote: scrubbed first, and only then put into a file, for a person to look over.

The customer's own words are in memory only. Values with a shape give way to reserved ones; names go only where
PII_SPACY_MODEL finds them, and prose that tells who somebody is does not go at all.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.application.decision import Disposition, JsonObject
from service.application.triage.contract import Ticket
from service.cli.scrubbing import findings, scrubbed
from service.evaluation.cases import CaseClass, EvalCase, first_mistake
from service.evaluation.lint import alike, message_of, normalised
from service.evaluation.suites import cases_by_file
from service.inference.pii import PiiDetector
from service.inference.pii_structured import StructuredDetector

BOTH = [Disposition.AUTO.value, Disposition.REVIEW.value]


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it came, from `where`, and what was right for it. `expected` as in a case."""

    where: str
    ticket: JsonObject
    expected: JsonObject
    case_class: CaseClass
    severity: str = "normal"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of all that was seen: cases; how many are as good as there already; what is no case, and why."""

    cases: list[EvalCase]
    known: int
    bad: list[str]


def personal(text: str, source: str) -> Iterable[str]:
    """Kinds of personal data in a case's text that is not reserved for examples; a made-up secret is no such thing."""
    return findings(text, StructuredDetector(), secrets_allowed=source == "hand-written")


def make_cases(
    seen: Iterable[Seen], folder: Path, source: str, language: str, detectors: Sequence[PiiDetector]
) -> Made:
    """Scrubbed cases of every message that the suite in `folder` does not have yet. Raises `SuiteError`."""
    there = [case for cases in cases_by_file(folder).values() for case in cases]
    made, bad = list[EvalCase](), list[str]()
    for one in seen:
        try:
            made.append(_case(one, source, language, detectors))
        except ValidationError as error:
            bad.append(f"{one.where}: {first_mistake(error)}")
    again = {second - len(there) for _, second, _ in alike([message_of(case) for case in (*there, *made)])}
    new = [case for place, case in enumerate(made) if place not in again]
    return Made(new, len(made) - len(new), bad)


def evenly(cases: Sequence[EvalCase], limit: int) -> list[EvalCase]:
    """At most `limit` of them, as evenly over the categories as they allow."""
    before = Counter[str]()
    turns = list[tuple[int, EvalCase]]()
    for case in cases:
        turns.append((before[case.expected.categories[0]], case))
        before[case.expected.categories[0]] += 1
    return [case for _, case in sorted(turns, key=lambda turn: turn[0])[:limit]]


def _case(one: Seen, source: str, language: str, detectors: Sequence[PiiDetector]) -> EvalCase:
    """Raises ValidationError."""
    ticket = Ticket.model_validate(one.ticket)  # before the detectors, which are meant for messages of that size
    entities = one.expected.get("entities", [])
    texts = [ticket.subject, ticket.body, ticket.channel or "", *entities]
    subject, body, channel, *values = scrubbed(texts, detectors)
    clean = {"subject": subject, "body": body, **({"channel": channel} if channel else {})}
    # Of the scrubbed text: from a digest of the other one, a telephone number that was in it could be found by trying.
    digest = hashlib.sha256(normalised(f"{subject}\n{body}").encode()).hexdigest()[:12]
    return EvalCase.model_validate(
        {
            "id": f"{one.case_class.value.replace('_', '-')}-{source}-{digest}",
            "class": one.case_class,
            "language": language,
            "severity": one.severity,
            "source": source,
            "ticket": clean,
            "expected": {**one.expected, "entities": [value for value in values if value in f"{subject}\n{body}"]},
        }
    )
