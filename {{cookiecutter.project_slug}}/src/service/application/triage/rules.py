"""The deterministic path: triage by keywords, for when AI is off or the model gave nothing usable.

Meant to be read and argued with, not to be clever. It knows English words only, quotes the sentences it went
by, writes no prose, and claims little confidence: policy sends all of its answers to a person.
"""

import re
from collections.abc import Iterable

from service.application.triage.contract import Category, Entity, Priority, Ticket, TriageOutcome

VERSION = "rules-1"

# A keyword is the beginning of a word or phrase; one that ends in a space must match to the word's end.
# Where two categories score the same, the one listed first wins.
KEYWORDS: dict[Category, tuple[str, ...]] = {
    Category.COMPLAINT: (
        "complain", "unacceptable", "disgust", "appalling", "terrible service", "rude", "worst ",
        "disappoint", "ridiculous", "fed up", "manager ", "ashamed", "never again", "ignored ",
    ),
    Category.BILLING: (
        "bill ", "billed", "billing", "invoice", "charge", "refund", "payment", "pay ", "paid", "fee ",
        "fees", "receipt", "subscription", "vat ", "overcharg", "direct debit", "exchange rate", "money back",
        "top up", "transaction", "statement", "transfer", "withdraw", "cash ",
    ),
    Category.DELIVERY: (
        "deliver", "parcel", "package", "shipment", "shipping", "shipped", "courier", "tracking", "dispatch",
        "arrive", "in the post", "not received my",
    ),
    Category.ACCOUNT: (
        "account", "password", "passcode", "pin ", "log in", "login", "log into", "sign in", "signed out",
        "locked out", "username", "two factor", "2fa", "verif", "activat", "identity",
        "my address", "email address", "my details", "profile", "unsubscribe",
    ),
    Category.TECHNICAL: (
        "error", "bug ", "crash", "broken", "does not work", "doesn t work", "not working", "isn t working",
        "won t load", "stopped working", "outage", "is down", "freez", "blank screen", "times out", "timeout",
        "api ", "sync", "install", "upload", "firmware", "500 ", "slow ",
    ),
    Category.PRODUCT: (
        "do you sell", "do you offer", "in stock", "compatible", "feature", "which model", "warranty",
        "size ", "colour", "color ", "dimensions", "how do i use", "does it ", "does the ", "is it possible",
        "available in", "difference between", "spare part",
    ),
}  # fmt: skip

URGENT = (
    "outage", "emergency", "is down", "nobody can ", "completely down", "all our users", "fraud", "stolen",
    "hacked", "lawyer", "caught fire",
)  # fmt: skip
HIGH = (
    "urgent", "asap", "as soon as possible", "immediately", "right away", "locked out", "charged twice",
    "deadline", "third time",
)  # fmt: skip
LOW = ("no rush", "not urgent", "no hurry", "just wondering", "just curious", "suggestion", "feature request")

# Every quantifier is bounded and every pattern starts at a fixed kind of place: no input makes them slow.
ENTITIES: dict[str, re.Pattern[str]] = {
    "order_number": re.compile(r"(?<![\w-])(?:[A-Z]{1,4}-\d{4,12}|#\d{4,12})(?![\w-])"),
    "email": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63}){1,4}"),
    "amount": re.compile(
        r"[$€£]\s?\d{1,7}(?:[.,]\d{1,3}){0,2}(?!\d)"
        r"|(?<![\w.,])\d{1,7}(?:[.,]\d{1,3}){0,2}\s?(?:€|EUR|USD|GBP|dollars|euros|pounds)(?!\w)"
    ),
    "phone": re.compile(r"(?<![\w+])\+\d{1,3}[ \d()-]{6,16}\d(?!\d)"),
}

_NOT_A_LETTER = re.compile(r"[\W_]")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s|\n")
_LONGEST_QUOTE = 500
_MOST_QUOTES = 3
_MOST_ENTITIES = 20


def triage(ticket: Ticket) -> TriageOutcome | None:
    """The category with the most keywords, and the sentences they stood in. Always answers for this example.

    A team whose rules cannot answer everything returns None: the caller is then told to come back later.
    """
    sentences = _sentences(ticket)
    plain = "\n".join(_plain(sentence) for sentence in sentences)
    hits = {category: _hits(words, plain) for category, words in KEYWORDS.items()}
    category = max(hits, key=lambda candidate: len(hits[candidate]))
    runner_up = max(len(found) for other, found in hits.items() if other is not category)
    lead = len(hits[category]) - runner_up
    quotes = dict.fromkeys(sentences[line] for line in hits[category])
    return TriageOutcome(
        category=category if hits[category] else Category.OTHER,
        priority=_priority(plain),
        entities=_entities(ticket),
        draft_reply=None,
        evidence=list(quotes)[:_MOST_QUOTES],
        confidence=_confidence(len(hits[category]), lead),
    )


def _confidence(hits: int, lead: int) -> float:
    """Deliberately low. The steps are a judgement: nothing found, a tie, a narrow and a clear lead."""
    if hits == 0:
        return 0.2
    if lead == 0:
        return 0.3
    return 0.6 if lead > 1 else 0.45


def _sentences(ticket: Ticket) -> list[str]:
    """The message in pieces short enough to quote, each exactly as the customer wrote it."""
    pieces = [*_SENTENCE_END.split(ticket.subject), *_SENTENCE_END.split(ticket.body)]
    chunks = (piece[i : i + _LONGEST_QUOTE] for piece in pieces for i in range(0, len(piece), _LONGEST_QUOTE))
    return [chunk.strip() for chunk in chunks if chunk.strip()]


def _hits(words: Iterable[str], plain: str) -> list[int]:
    """For each keyword that occurs, the line of its first occurrence."""
    places = [plain.find(f" {word}") for word in words]
    return sorted(plain.count("\n", 0, at) for at in places if at >= 0)


def _plain(text: str) -> str:
    """Lower case words with one space between and around: "Can't log in!" becomes " can t log in "."""
    return f" {' '.join(_NOT_A_LETTER.sub(' ', text.lower()).split())} "


def _priority(plain: str) -> Priority:
    """The gravest word wins, except that a customer who says it can wait is believed over mere haste."""
    for priority, words in ((Priority.URGENT, URGENT), (Priority.LOW, LOW), (Priority.HIGH, HIGH)):
        if _hits(words, plain):
            return priority
    return Priority.NORMAL


def _entities(ticket: Ticket) -> list[Entity]:
    text = f"{ticket.subject}\n{ticket.body}"
    found = dict.fromkeys(
        (kind, match.group().strip()) for kind, pattern in ENTITIES.items() for match in pattern.finditer(text)
    )
    return [Entity(type=kind, value=value[:200]) for kind, value in list(found)[:_MOST_ENTITIES]]
