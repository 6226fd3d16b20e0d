"""One message written otherwise: small slips that must not change how it is read. And a template told for one person.

Like the perturbations of HELM, made anew. A message's variants are the same on every machine: chance comes from a
digest of its case's id. What holds a digit or a sign (numbers, amounts, addresses, links) and words in capitals, which
may be codes, stay as they are.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count

from pydantic import ValidationError

from service.application.triage.contract import Ticket
from service.evaluation.cases import CaseClass, EvalCase, Template, first_mistake

PERTURBED_CASES, PER_CASE = 60, 3
# A token that is a word and nothing else: letters, with a hyphen or an apostrophe inside and punctuation around.
_WORD = re.compile(r"([\"'(“‘„«]*)([^\W\d_]+(?:[-'’][^\W\d_]+)*)([\"')”’».,;:!?…]*)")
# What may be part of something written with spaces: "ada at shop dot example", "RMA ABC".
_WHOLE = re.compile(r"[Aa]t|[Dd]ot|[A-Z]{2,}")
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {key: (row[i - 1 : i] + row[i + 1 : i + 2]) for row in _KEYBOARD for i, key in enumerate(row)}
_FILLERS = ("um,", "well,", "basically", "you know,", "like,", "I mean,", "actually")
_MISSPELT = {
    "account": "acount", "address": "adress", "because": "becuase", "business": "buisness", "cancelled": "canceld",
    "believe": "beleive", "broken": "brocken", "charged": "chraged", "definitely": "definately",
    "delivered": "deliverd", "delivery": "delievery", "different": "diffrent", "immediately": "immediatly",
    "invoice": "invioce", "necessary": "neccessary", "occurred": "occured", "package": "pakage",
    "password": "pasword",  # pragma: allowlist secret
    "payment": "paymant", "please": "plese", "received": "recieved", "receive": "recieve", "refund": "refound",
    "separate": "seperate", "subscription": "subcription", "successful": "succesful", "tomorrow": "tommorow",
    "until": "untill", "which": "wich", "website": "webiste", "their": "thier", "really": "realy",
}  # fmt: skip
_CONTRACTED = {
    "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't", "are not": "aren't",
    "was not": "wasn't", "have not": "haven't", "has not": "hasn't", "cannot": "can't", "can not": "can't",
    "will not": "won't", "would not": "wouldn't", "could not": "couldn't", "I am": "I'm", "I have": "I've",
    "I will": "I'll", "I would": "I'd", "it is": "it's", "that is": "that's", "there is": "there's",
    "what is": "what's", "where is": "where's", "you are": "you're", "we are": "we're", "they are": "they're",
}  # fmt: skip
_BRITISH = {
    "apologize": "apologise", "authorized": "authorised", "canceled": "cancelled", "canceling": "cancelling",
    "catalog": "catalogue", "center": "centre", "color": "colour", "colors": "colours", "favorite": "favourite",
    "gray": "grey", "organization": "organisation", "personalize": "personalise", "realize": "realise",
    "realized": "realised", "recognize": "recognise", "recognized": "recognised", "traveling": "travelling",
    "unauthorized": "unauthorised",
}  # fmt: skip
_SPELLING = {**_BRITISH, **{british: american for american, british in _BRITISH.items()}}
Chance = Iterator[float]


def _chance(seed: str) -> Chance:
    """Numbers from 0 to 1 that are the same everywhere, for ever."""
    for n in count(1):
        yield int.from_bytes(hashlib.sha256(f"{seed} {n}".encode()).digest()[:6]) / 2**48


def _pick(chance: Chance, choices: Sequence[str]) -> str:
    return choices[int(next(chance) * len(choices))]


def _each_word(text: str, change: Callable[[re.Match[str]], str]) -> str:
    """The text with each token that is a word and nothing else changed: before it, itself, after it."""
    parts = re.split(r"(\s+)", text)
    return "".join(change(found) if (found := _WORD.fullmatch(part)) else part for part in parts)


def _words(text: str, change: Callable[[str], str]) -> str:
    """The text with each word of four letters and more changed; codes, numbers and addresses left alone."""

    def longer(found: re.Match[str]) -> str:
        spared = len(found[2]) < 4 or found[2].isupper()
        return found[0] if spared else found[1] + change(found[2]) + found[3]

    return _each_word(text, longer)


def _cased(like: str, word: str) -> str:
    return word[0].upper() + word[1:] if like[0].isupper() else word


def _slips(text: str, chance: Chance, last: int, slip: Callable[[str, int], str]) -> str:
    """The text with a slip in one word of four, at a letter before its `last`, never the first."""

    def change(word: str) -> str:
        return word if next(chance) > 0.25 else slip(word, 1 + int(next(chance) * (len(word) - last)))

    return _words(text, change)


def _typos(text: str, chance: Chance) -> str:
    """Two letters swapped, one left out, or one doubled."""

    def slip(word: str, at: int) -> str:
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return _pick(chance, (swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]))

    return _slips(text, chance, 2, slip)


def _neighbours(text: str, chance: Chance) -> str:
    """A letter gives way to the one beside it on the keyboard."""

    def slip(word: str, at: int) -> str:
        return word[:at] + _pick(chance, _BESIDE.get(word[at], word[at])) + word[at + 1 :]

    return _slips(text, chance, 1, slip)


def _misspelt(text: str, chance: Chance) -> str:
    """Words that many people misspell."""
    return _words(text, lambda word: _cased(word, _MISSPELT.get(word.lower(), word)))


def _lowercase(text: str, chance: Chance) -> str:
    """As typed on a telephone: no capitals, no punctuation at the end of words."""

    def typed(found: re.Match[str]) -> str:
        spared = len(found[2]) > 1 and found[2].isupper()
        return found[0] if spared else found[1] + found[2].lower() + found[3].rstrip(".,;:!?…")

    return _each_word(text, typed)


def _between_words(text: str, chance: Chance, share: float, more: Callable[[str], str]) -> str:
    """The text with something more in the given share of the gaps between two plain words of one line."""
    parts = re.split(r"(\s+)", text)
    for at in range(1, len(parts) - 1, 2):
        around = (_WORD.fullmatch(parts[at - 1]), _WORD.fullmatch(parts[at + 1]))
        words = [found[2] for found in around if found and not _WHOLE.fullmatch(found[2])]
        if len(words) == 2 and parts[at] == " ":
            parts[at] = more(" ") if next(chance) < share else " "
    return "".join(parts)


def _spaces(text: str, chance: Chance) -> str:
    """Two or three spaces in one gap of four."""
    return _between_words(text, chance, 0.25, lambda gap: gap * (2 + int(next(chance) * 2)))


def _fillers(text: str, chance: Chance) -> str:
    """What people say while they think, in one gap of ten."""
    return _between_words(text, chance, 0.1, lambda gap: f" {_pick(chance, _FILLERS)} ")


def _replaced(text: str, others: dict[str, str]) -> str:
    known = {one.lower(): other for one, other in others.items()}
    apart = r"(?<![\w@./'’-])(?:{})(?![\w@/'’-]|\.\w)".format("|".join(sorted(known, key=len, reverse=True)))
    return re.sub(apart, lambda found: _cased(found[0], known[found[0].lower()]), text, flags=re.IGNORECASE)


PERTURBATIONS: dict[str, Callable[[str, Chance], str]] = {
    "typos": _typos,
    "neighbours": _neighbours,
    "misspelt": _misspelt,
    "lowercase": _lowercase,
    "spaces": _spaces,
    "fillers": _fillers,
    "contractions": lambda text, chance: _replaced(text, _CONTRACTED),
    "spelling": lambda text, chance: _replaced(text, _SPELLING),
}


def perturbed(case: EvalCase) -> dict[str, Ticket]:
    """By name, the first three perturbations, in an order of the case's own, that change its message and fit."""
    names = sorted(PERTURBATIONS, key=lambda name: _order(f"{case.id} {name}"))
    made = dict[str, Ticket]()
    for name in names:
        ticket = case.ticket.model_dump()
        for part in ("subject", "body"):
            ticket[part] = PERTURBATIONS[name](ticket[part], _chance(f"{case.id} {name} {part}"))
        if ticket["body"] != case.ticket.body and len(made) < PER_CASE:
            with suppress(ValidationError):
                made[name] = Ticket.model_validate(ticket)
    return made


def to_perturb(cases: Iterable[EvalCase]) -> list[EvalCase]:
    """The sixty English core cases, in their order, whose ids' digests come first: a choice without a look at them."""
    english = [case for case in cases if case.case_class is CaseClass.CORE and case.language == "en"]
    chosen = {case.id for case in sorted(english, key=lambda case: _order(case.id))[:PERTURBED_CASES]}
    return [case for case in english if case.id in chosen]


def told(template: Template, person: str) -> Ticket:
    """The template for one of its people. Raises ValueError when a name in braces has no value, or nothing fits."""
    values = template.people[person]
    texts = (template.subject, template.body)
    if missing := {name for text in texts for name in re.findall(r"\{(\w+)\}", text)} - set(values):
        raise ValueError(f"{person} has no {', '.join(sorted(missing))}")
    subject, body = (re.sub(r"\{(\w+)\}", lambda name: values[name[1]], text) for text in texts)
    try:
        return Ticket(subject=subject, body=body)
    except ValidationError as error:
        raise ValueError(f"as {person} tells it: {first_mistake(error)}") from None


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
