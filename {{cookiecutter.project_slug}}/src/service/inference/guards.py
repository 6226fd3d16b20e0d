"""What is believed of the answer of a model that reads strangers' text.

Copyable with details.py and screening.py: needs the standard library only. Synchronous, pure, linear in the length.
`OutputGuard` refuses an answer that quotes or names what the input does not hold, links or embeds anything, hides
characters, or gives its canary away.

Left to you: whether a well-formed, grounded answer is *right*, and promises in plain words ("we will refund
everything"): thresholds, evaluations and people are for these. A draft may say only numbers, dates, domains and
addresses of the input, so "24/7", "2FA" or "Node.js" is refused unless the sender wrote it. What the sender wrote may
still be a trap for whoever reads the draft: let a person look before a draft with an address goes out.
"""

import base64
import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from service.inference.details import Details, fold
from service.inference.screening import hides, normalise

# fmt: off
_LATIN = str.maketrans("аеорсухіјѕԁԛԝһкмнтвиοαινρτυκ", "aeopcyxijsdqwhkmhtbuoaivptuk")  # Cyrillic, Greek

_GENERIC = (
    "com|net|org|info|biz|io|co|ai|app|dev|xyz|site|online|shop|store|top|club|vip|live|link|click|icu|page|tech|cloud|pro"
    "|mobi|gov|edu|mil|eu|asia|website|space|support|help|zip|mov|ly|gg|cc|tv|tk|test|example|local|internal|pф|ykp|中国|公司|网络|在线"
)
_COUNTRIES = (
    "ac|am|ar|as|at|au|be|bg|br|by|bz|ca|cf|ch|cl|cn|cz|de|dk|do|ee|es|fi|fm|fr|ga|gl|gr|hk|hr|hu|id|ie|il|im|in|ir|is|it"
    "|jp|kr|kz|la|li|lt|lu|lv|me|ml|mx|my|ng|nl|no|nu|nz|ph|pk|pl|pt|pw|ro|rs|ru|se|sg|sh|si|sk|so|st|su|th|to|tr|tw|ua|uk"
    "|us|vc|vn|ws|za"
)
_DOT = r"(?:\s+\.\s*|\.(?!(?-i:Am|As|At|Be|By|Do|Help|In|Is|It|Live|Me|My|No|Online|So|Support|To|Us)\b))"  # "sorry.It"
_ACTIVE = re.compile(
    rf"""<\s*[a-z/!?] | &(?:\#|[a-z]{{2,31}};|lt|gt) | %(?:25)*(?:2f|3a|3c|3e)     # a tag, plain or encoded
    | \\[xu][0-9a-f]{{2}} | \{{[{{%] | \$\{{ | =\s*[a-z]{{2,20}}\(                 # escapes, templates, formulas
    | =\s*[a-z]{{2,20}}\| | \]\s*[(\[:] | [/\\]\s?[/\\]                            # a command, a markdown link, a host
    | \b[a-z][a-z0-9+-]{{0,30}}:(?!(?:in|innen|r|n|s|e|m|en)\b)[a-z/\\+?%]           # a scheme, not "Kolleg:innen"
    | \b(?:hxxps?|www|mailto)\b | \bxn-- | \b(?:java|vb)\s?script\s*: | \bdata\s*:\s*(?:text|image|application)\s?/
    | [\w-]{_DOT}(?:{_GENERIC})(?![a-z0-9]) | [\w-]{{2}}{_DOT}(?:{_COUNTRIES})(?![a-z0-9])   # a domain
    | [\w-]{{2}}\.(?-i:[a-z\u03ac-\u03ce\u0430-\u045f]{{2,24}}|[A-Z]{{3,24}})(?!\w)      # any other, but for "sorry.We"
    | [\w-]\.\s+(?-i:com|net|org|biz|io|xyz|ru|COM|NET|ORG)(?![a-z0-9]) | \w\s+dot\s+(?:{_GENERIC}|{_COUNTRIES})\b
    | \w\.[^\W\d_]{{2,24}}(?:/|\?\w+=|\#\w|:\d)                                    # any domain with more behind it
    """, re.IGNORECASE | re.VERBOSE)
_ADDRESS = re.compile(r"(?<![\w.+@-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}(?![\w@/#-]|[.:?]\w)")
_TRICKS = (  # spaced letters, bracketed dots and ats: what a link looks like without them
    (re.compile(r"(?<=\w)(?:[。•‧∙⋅܂⸱‚]|(?<!l)·|·(?!l))(?=\w)", re.IGNORECASE), "."),
    (re.compile(r"\s{0,3}[\[({<]\s{0,3}(?:\.|dot)\s{0,3}[\])}>]\s{0,3}", re.IGNORECASE), "."),
    (re.compile(r"\s{0,3}[\[({<]\s{0,3}(?:@|at)\s{0,3}[\])}>]\s{0,3}", re.IGNORECASE), "@"),
)
_NAMES = re.compile(r"(?=.+[.:/@].)[\w.:/?&=%#@+~-]+")  # what could be an address of any kind
_AROUND = ".,;:!?()\"'«»„“”…"
_SPACED = re.compile(r"(?<!\S)(?:\S\s{1,3}){2,}\S(?!\S)")

# fmt: on


class Refused(ValueError):
    """The answer must not be used. `reason` is one of a few fixed words and holds nothing that the model said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class OutputGuard:
    """What may be said about `source`, the untrusted input as received. Each method returns, or raises `Refused`."""

    source: str
    canary: str

    def quotes(self, quotes: Iterable[str]) -> None:
        """There is a quote, and each says something (three letters or digits) that the input says too."""
        known = [self._says(quote, letters=3) for quote in quotes]
        _refuse(not known or not all(known), "output_ungrounded")

    def values(self, values: Iterable[str]) -> None:
        """Each value occurs in the input, its numbers as whole numbers."""
        known = (self._says(value, letters=1) and self._details.has_numbers_of(fold(value)) for value in values)
        _refuse(not all(known), "output_foreign_detail")

    def prose(self, text: str) -> None:
        """No link, markup, template or foreign address; and no number, date or amount that the input does not hold."""
        shown = normalise(text)
        _refuse(_is_active(shown) and _is_active(self._without_own(shown)), "output_active_content")
        _refuse(not self._details.has_all_of(text), "output_foreign_detail")

    def visible(self, texts: Iterable[str]) -> None:
        """No hidden characters, except in a text that is a verbatim part of the input."""
        _refuse(any(hides(text) and text not in self.source for text in texts), "output_invisible_text")

    def no_canary(self, texts: Iterable[str]) -> None:
        """No part of the canary, also reversed, encoded, spaced, or split over the texts."""
        squeezed = [_squeeze(text) for text in texts]
        haystack = " ".join([*squeezed, "".join(squeezed)])
        _refuse(any(needle in haystack for needle in self._needles), "output_canary")

    def _without_own(self, text: str) -> str:
        """The text without the addresses that the sender wrote."""
        text = re.sub(r"\S+", lambda found: "…" if _name(found[0]) in self._names else found[0], text)
        return _ADDRESS.sub(lambda found: "" if found[0].casefold() in self._addresses else found[0], text)

    def _says(self, text: str, letters: int) -> bool:
        folded = fold(text)
        return sum(map(str.isalnum, folded)) >= letters and (folded in self._details.folded or text in self.source)

    @cached_property
    def _details(self) -> Details:
        return Details(self.source)

    @cached_property
    def _names(self) -> set[str]:
        """What the sender wrote that could be an address."""
        return {name for name in map(_name, normalise(self.source).split()) if _NAMES.fullmatch(name)}

    @cached_property
    def _addresses(self) -> set[str]:
        return {found.casefold() for found in _ADDRESS.findall(normalise(self.source))}

    @cached_property
    def _needles(self) -> set[str]:
        plain = _squeeze(self.canary)
        if len(plain) < 12:
            raise ValueError("a canary needs at least 12 letters or digits")
        parts = {form[at : at + 8] for form in (plain, plain[::-1]) for at in range(0, len(plain) - 7, 4)}
        forms = {self.canary, self.canary.upper(), plain, plain[::-1]}
        return parts | {_squeeze(encoded) for form in forms for encoded in _encodings(form)}


def _name(token: str) -> str:
    return token.strip(_AROUND).casefold()


def _refuse(wrong: bool, reason: str) -> None:
    if wrong:
        raise Refused(reason)


def _squeeze(text: str) -> str:
    return re.sub(r"[\W_]+", "", normalise(text).casefold())


def _is_active(text: str) -> bool:
    plain = _plain(text)
    return "@" in plain or bool(_ACTIVE.search(plain))


def _plain(text: str) -> str:
    if not text.isascii():
        bare = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        text = "".join(bare).translate(_LATIN)
    for trick, plain in _TRICKS:
        text = trick.sub(plain, text)
    return _SPACED.sub(lambda found: "".join(found[0].split()), text)


def _encodings(form: str) -> Iterator[str]:
    """The usual ones. A text's base64 depends on where it begins: the part that depends on nothing else, for each."""
    raw = form.encode()
    yield from (codecs.encode(form, "rot13"), raw.hex(), base64.b32encode(raw).decode().rstrip("="))
    for shift, skip in enumerate((0, 2, 3)):
        yield base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")[skip:-1]
