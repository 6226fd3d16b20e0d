"""What the guards mean for triage: which part of the answer must come from the ticket, and which is prose."""

import re

from service.application.triage.contract import Ticket, TriageOutcome
from service.inference.guards import OutputGuard, Refused

# A name such as "order_number": no sentence, no address, and no room for a telephone number.
_TYPE = re.compile(r"(?!(?:\D*\d){3})(?=.{1,40}\Z)[a-z][a-z0-9]*(?:[ _-][a-z0-9]+){0,3}")


def guard(ticket: Ticket, outcome: TriageOutcome, canary: str) -> None:
    """Returns if the outcome may be used. Raises `Refused`, whose text is its reason and nothing of the outcome."""
    guards = OutputGuard(source=source(ticket), canary=canary)
    types = [entity.type for entity in outcome.entities]
    values = [entity.value for entity in outcome.entities]
    texts = [*types, *values, *outcome.evidence, outcome.draft_reply or ""]
    guards.no_canary(texts)
    guards.visible(texts)
    if not all(_TYPE.fullmatch(name) for name in types):
        raise Refused("output_active_content")
    guards.quotes(outcome.evidence)
    guards.values(values)
    guards.prose(outcome.draft_reply or "")


def source(ticket: Ticket) -> str:
    """What the model was shown, as the customer sent it."""
    return "\n".join(part for part in (ticket.subject, ticket.body, ticket.channel) if part)
