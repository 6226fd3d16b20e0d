"""The suite's scorers on answers of which nobody knows what was expected, and what of an answer is watched for drift.

Reads a request and an answer as they are stored; knows of no database.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from service.application.decision import JsonObject
from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension
from service.evaluation.drift import Answer
from service.evaluation.scorers import Judged, draft_refuses, grounded, well_formed, well_mannered


def judge_live(request: JsonObject, answer: JsonObject) -> Mapping[str, Judged]:
    """A verdict on every dimension that needs no expectation. Raises ValueError when the request cannot be read."""
    try:
        ticket = Ticket.model_validate(request)
    except ValidationError as error:
        raise ValueError("the stored request is none") from error
    return {
        Dimension.FORMAT.value: well_formed(answer),
        Dimension.GROUNDEDNESS.value: grounded(ticket, answer),
        Dimension.TONE.value: well_mannered(answer),
        Dimension.OVER_REFUSAL.value: draft_refuses(answer),
    }


def watched(outcome: JsonObject, disposition: str) -> Answer | None:
    """What of an answer must not drift; None when its words have been erased."""
    if not outcome:
        return None
    return Answer(
        str(outcome.get("category")),
        disposition,
        float(outcome.get("confidence") or 0),
        len(str(outcome.get("draft_reply") or "")),
    )
