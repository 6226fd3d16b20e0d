"""Who looks at a triaged ticket before anything is written. Decided here, in code, never by the model."""

import re
import unicodedata

from service.application.decision import Disposition, Prediction, Source
from service.application.release import Thresholds
from service.application.triage.contract import Category, Priority, Ticket, TriageOutcome

# Words after which a person must look first, whatever the model thought of the message. Add your customers' languages.
# They count inside other words too, so each is as long as its look-alikes ask for: "betrug" alone is also German for
# "amounted to", "avocat" French for avocado, "sue you" a part of "issue you". A space stands for the edge of a word.
HIGH_STAKES = (
    # law
    "lawyer", "attorney", "solicitor", "lawsuit", "legal action", "legal proceedings", "issue proceedings",
    "small claims", "take you to court", "court order", " sue you", "report you to", "to the regulator",
    "financial regulator", "ombudsman", "gdpr", "anwalt", "verklag", "rechtliche schritte", "vor gericht",
    "amtsgericht", "verbraucherzentrale", "mon avocat", "notre avocat", "mise en demeure", "abogado", "avvocat",
    "prawnik", "adwokat", "mijn advocaat",
    # fraud, and data in the wrong hands
    "fraud", "stolen", "hacked", "scammed", "scammer", "a scam", "phishing", "identity theft", "ransomware",
    "data breach", "data leak", "another customer's", "other customers' data", "someone else's data", "ist betrug",
    "ein betrug", "betrüg", "betrogen", "datenleck", "escroquerie", "arnaque", "usurp", "porté plainte", "estafa",
    "han robado", "truffa", "oszust", "wyciek danych", "opgelicht",
    # harm
    "suicid", "suizid", "kill myself", "hurt myself", "end my life", "n't want to live", "not want to live",
    "better off without me", "das leben nehmen", "quitarme la vida", "no quiero vivir", "samobój", "zelfmoord",
    "injured", "caught fire", "electric shock", "electrocut", "ambulanc", "unconscious", "allergic reaction",
    "carbon monoxide", "smell of gas", "gas leak", "threatened me", "assaulted", "to the police", "told the police",
    "police report", "stromschlag", "verletzt", "krankenwagen", "blessé", "poparz", "pogotowi", "gewond",
    # outage
    "outage", "panne générale", "liggen plat",
)  # fmt: skip

_UNSEEN = ("Cc", "Cf", "Mn")  # controls, formats, and marks such as variation selectors

# A scheme, a host with a path, a tag, a markdown link. Times such as 10:30 and "Kund:in" are none of these.
_ACTIVE = re.compile(
    r"\b[a-z][a-z0-9+.-]*:(?!(?:in|innen|r|n|s|e|m|en)\b)[^\s\d]|//|\bwww\.|\b[a-z0-9-]+\.[a-z]{2,}/"
    r"|&lt;|<\s*[a-z/!]|\]\s*[(\[:]",
    re.IGNORECASE,
)
# A mail address, or a host alone, which many programs make a link of. A missing space after a full stop looks the same,
# and costs no more than a look.
_ADDRESS = re.compile(
    r"@|(?<![.\w-])(?!m\.in\b)[\w-]+(?:\.[\w-]+)*\.(?=[^\W\d_]{2})[\w-]{2,24}|\b\d{1,3}(?:\.\d{1,3}){3}"
)


def disposition(
    ticket: Ticket, prediction: Prediction[TriageOutcome], thresholds: Thresholds, auto_allowed: bool
) -> Disposition:
    """Escalate what is dangerous to get wrong; let a model's confident answer pass; review all the rest."""
    outcome = prediction.outcome
    if outcome.priority is Priority.URGENT or is_high_stakes(ticket):
        return Disposition.ESCALATE
    if not auto_allowed or prediction.source is Source.RULES:
        return Disposition.REVIEW
    if prediction.source is Source.CACHE and prediction.degraded:  # an emergency, not the release's choice
        return Disposition.REVIEW
    if outcome.category in (Category.COMPLAINT, Category.OTHER) or outcome.confidence < thresholds.auto:
        return Disposition.REVIEW
    if not is_grounded(ticket, outcome) or has_active_content(outcome):
        return Disposition.REVIEW
    return Disposition.AUTO


def is_high_stakes(ticket: Ticket) -> bool:
    """Whether the message itself names law, fraud, danger or harm."""
    text = f" {_squeeze(f'{ticket.subject} {ticket.body}')} ".replace("’", "'")
    return any(word in text for word in HIGH_STAKES)


def is_grounded(ticket: Ticket, outcome: TriageOutcome) -> bool:
    """Whether at least one quote is given and every quote says something that occurs in the message.

    Spacing and case aside. A quote of fewer than three letters or digits says nothing.
    """
    text = _squeeze(f"{ticket.subject}\n{ticket.body}")
    return bool(outcome.evidence) and all(_says_something(q) and _squeeze(q) in text for q in outcome.evidence)


def has_active_content(outcome: TriageOutcome) -> bool:
    """Whether draft or entities hold a link, markup or invisible characters: somebody else's wishes, not ours.

    A draft may not even name an address that the customer wrote: whoever wrote the message may have set a trap.
    """
    texts = [outcome.draft_reply or "", *(part for entity in outcome.entities for part in (entity.type, entity.value))]
    return bool(_ADDRESS.search(unicodedata.normalize("NFKC", texts[0]))) or any(
        _ACTIVE.search(unicodedata.normalize("NFKC", text)) or _has_invisible(text) for text in texts
    )


def _has_invisible(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cf") for character in text if character not in "\n\r\t")


def _says_something(quote: str) -> bool:
    return sum(character.isalnum() for character in quote) >= 3


def _squeeze(text: str) -> str:
    """As a reader sees it, in one line, case aside: one form per sign and nothing invisible, as models are shown it."""
    shown = (c for c in unicodedata.normalize("NFKC", text) if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    return " ".join("".join(shown).split()).casefold()
