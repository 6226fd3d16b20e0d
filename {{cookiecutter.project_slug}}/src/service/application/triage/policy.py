"""Who looks at a triaged ticket before anything is written. Decided here, in code, never by the model."""

import re

from service.application.decision import Disposition, Prediction, Source
from service.application.release import Thresholds
from service.application.triage.contract import Category, Priority, Ticket, TriageOutcome

# Words after which a person must look first, whatever the model thought of the message. Add your customers' languages.
HIGH_STAKES = (
    "lawyer",
    "attorney",
    "solicitor",
    "lawsuit",
    "legal action",
    "take you to court",
    "regulator",
    "ombudsman",
    "fraud",
    "stolen",
    "hacked",
    "identity theft",
    "data breach",
    "gdpr",
    "suicide",
    "kill myself",
    "hurt myself",
    "injured",
    "caught fire",
    "electric shock",
    "anwalt",  # de
    "betrug",
    "avocat",  # fr
    "fraude",  # fr, es
    "abogado",  # es
    "prawnik",  # pl
    "oszust",
)

_ACTIVE = re.compile(r"https?:|www\.|<\s*[a-z/!]|\]\s*\(|javascript:|data:", re.IGNORECASE)


def disposition(
    ticket: Ticket, prediction: Prediction[TriageOutcome], thresholds: Thresholds, auto_allowed: bool
) -> Disposition:
    """Escalate what is dangerous to get wrong; let a model's confident answer pass; review all the rest."""
    outcome = prediction.outcome
    if outcome.priority is Priority.URGENT or is_high_stakes(ticket):
        return Disposition.ESCALATE
    if prediction.source not in (Source.MODEL, Source.BACKUP) or not auto_allowed:
        return Disposition.REVIEW
    if outcome.category in (Category.COMPLAINT, Category.OTHER) or outcome.confidence < thresholds.auto:
        return Disposition.REVIEW
    if not is_grounded(ticket, outcome) or has_active_content(outcome):
        return Disposition.REVIEW
    return Disposition.AUTO


def is_high_stakes(ticket: Ticket) -> bool:
    """Whether the message itself names law, fraud, danger or harm."""
    text = f"{ticket.subject}\n{ticket.body}".casefold()
    return any(word in text for word in HIGH_STAKES)


def is_grounded(ticket: Ticket, outcome: TriageOutcome) -> bool:
    """Whether at least one quote is given and every quote occurs in the message, spacing and case aside."""
    text = _squeeze(f"{ticket.subject}\n{ticket.body}")
    return bool(outcome.evidence) and all(_squeeze(quote) in text for quote in outcome.evidence)


def has_active_content(outcome: TriageOutcome) -> bool:
    """Whether the draft holds a link or markup. Ours never do, so one that does follows somebody else's wishes."""
    return outcome.draft_reply is not None and _ACTIVE.search(outcome.draft_reply) is not None


def _squeeze(text: str) -> str:
    return " ".join(text.split()).casefold()
