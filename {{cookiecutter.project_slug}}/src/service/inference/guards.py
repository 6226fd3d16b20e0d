"""What is believed of the answer of a model that reads strangers' text.

Copyable with screening.py: needs the standard library only. Synchronous, pure, and linear in the length of the text.
`OutputGuard` refuses an answer that quotes or names what the input does not hold, links or embeds anything, hides
characters, or gives its canary away.

Left to you: whether a well-formed, grounded answer is *right*, and promises in plain words ("we will refund
everything"): thresholds, evaluations and people are for these. A draft may say only numbers and dates of the input,
so "24/7" or "2FA" is refused unless the sender wrote it; so is any domain, even the sender's own.
"""

import base64
import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from service.inference.screening import hides, normalise

# fmt: off
_ALIKE = str.maketrans("‘’‚“”„«»‐‑‒–—−⁄", "'''\"\"\"\"\"------/")
_LATIN = str.maketrans("аеорсухіјѕԁԛԝһкмнтвиοαινρτυκ", "aeopcyxijsdqwhkmhtbuoaivptuk")  # Cyrillic, Greek

_GENERIC = (
    "com|net|org|info|biz|io|co|ai|app|dev|xyz|site|online|shop|store|top|club|vip|live|link|click|icu|page|tech|cloud|pro"
    "|mobi|gov|edu|mil|eu|asia|website|space|support|help|zip|mov|ly|gg|cc|tv|tk|test|example|local|internal|pф|ykp|中国"
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
    | \]\s*[(\[:] | \b[a-z][a-z0-9+-]{{0,30}}:[a-z/\\+?%] | [/\\]\s?[/\\]          # a markdown link, a scheme, a host
    | \b(?:hxxps?|www|mailto)\b | \bxn-- | \b(?:java|vb)\s?script\s*: | \bdata\s*:\s*(?:text|image|application)\s?/
    | [\w-]{_DOT}(?:{_GENERIC})(?![a-z0-9]) | [\w-]{{2}}{_DOT}(?:{_COUNTRIES})(?![a-z0-9])   # a domain
    | [\w-]\.\s+(?-i:com|net|org|biz|io|xyz|ru|COM|NET|ORG)(?![a-z0-9]) | \w\s+dot\s+(?:{_GENERIC}|{_COUNTRIES})\b
    | \w\.[^\W\d_]{{2,24}}(?:/|\?\w+=|\#\w|:\d)                                    # any domain with more behind it
    """, re.IGNORECASE | re.VERBOSE)
_ADDRESS = re.compile(r"(?<![\w.+@-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}(?![\w@/#-]|[.:?]\w)")
_TRICKS = (  # spaced letters, bracketed dots and ats: what a link looks like without them
    (re.compile(r"(?<=\w)[。·•‧∙⋅](?=\w)|\s{0,3}[\[({<]\s{0,3}(?:\.|dot)\s{0,3}[\])}>]\s{0,3}", re.IGNORECASE), "."),
    (re.compile(r"\s{0,3}[\[({<]\s{0,3}(?:@|at)\s{0,3}[\])}>]\s{0,3}", re.IGNORECASE), "@"),
)
_SPACED = re.compile(r"(?<!\S)(?:\S\s{1,3}){2,}\S(?!\S)")

_UNITS = {name: names.split()[0] for names in (
    "$ usd dollar dollars", "€ eur euro euros", "£ gbp pound pounds", "¥ jpy yen cny yuan", "zł pln złotych",
    "₹ inr rupees", "chf francs franken", "₿ btc bitcoin", "% percent prozent procent", "¢ cent cents",
) for name in names.split()}
_NAMED_UNIT = "|".join(sorted(filter(str.isalpha, _UNITS), key=len, reverse=True))
_UNIT = rf"(?:[$€£¥₹₿%¢]|(?<![a-z])(?:{_NAMED_UNIT}))"
_SAID_UNIT = re.compile(rf"{_UNIT}(?![a-z])")
_DETAIL = re.compile(
    rf"(?:(?P<before>{_UNIT})\s{{0,2}})?(?P<token>(?<![0-9a-z])(?=[a-z./:_,'+-]{{0,30}}\d)[0-9a-z]+"
    rf"(?:(?:[-./:,'_+]|(?<=\d)[ ](?=\d))[0-9a-z]+)*)(?:\s{{0,2}}(?P<after>{_UNIT})(?![a-z]))?")
_NUMBER = re.compile(r"\d{1,3}([, '])\d{3}(?:\1\d{3})*(?:\.\d{1,2})?|\d{1,3}(?:\.\d{3})+,\d{1,2}"
                     r"|\d{1,3}(?:\.\d{3}){2,}|\d+(?:[.,]\d{1,2})?")
_LOOSE_ENDS = re.compile(r"^(?:[a-z]+[.,:'])+|(?:[.,:'][a-z]+|-[a-z]{3,}|(?<=\d)(?:st|nd|rd|th))+$")
_STEP = re.compile(r"^[ \t]*[1-9][.)][ \t]+", re.MULTILINE)  # "1. Restart the app"
_SMALL = "one|two|three|four|five|six|seven|eight|nine"
_SPELLED = re.compile(  # counts up to twelve are prose, unless they count money
    rf"\b(?:(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:[ -](?:{_SMALL}))?"
    r"|(?:hundred|thousand|million|billion)s?|millionen|mille|mil|cien|tysi\w{1,4})\b"
    rf"|\b(?:{_SMALL}|ten|eleven|twelve)\W{{1,3}}(?:{_NAMED_UNIT}|per cent)\b"
    r"|\b\w{0,20}(?:tausend|hundert|duizend|honderd|hundred|thousand)|[〇零一二三四五六七八九十百千万億兆两]{2,}|(?<!\S)\S{41,}")
_DATES = frozenset(re.findall(r"\w+", """
    january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday januar februar märz juni juli oktober dezember
    montag dienstag mittwoch donnerstag freitag samstag sonntag janvier février mars avril juin juillet août septembre
    octobre novembre décembre lundi mardi mercredi jeudi vendredi samedi dimanche enero febrero marzo abril mayo junio
    julio agosto septiembre octubre noviembre diciembre lunes martes miércoles jueves viernes sábado domingo gennaio
    febbraio aprile maggio giugno luglio settembre ottobre dicembre lunedì martedì mercoledì giovedì venerdì sabato
    januari februari maart augustus maandag dinsdag woensdag donderdag vrijdag zaterdag zondag"""))
_MONTH, _DAY = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec", "mon|tues?|wed|thu(?:rs?)?|fri|sat|sun"
_SHORT_DATE = re.compile(  # "may", "sat" and the like are dates only where they stand as one
    rf"\b(?i:({_MONTH})\.? ?\d|\d{{1,4}}(?:st|nd|rd|th)? ?({_MONTH})\b|(?:on|by|until|before|next) ({_DAY})\b)"
    r"|\b(?:[Ii]n|[Bb]y|[Uu]ntil|[Ss]ince|on|of|from|next)[ -](May)\b|\b(May),? \d|\d(?:st|nd|rd|th)? (May)\b")
_SHORT_NAME = re.compile(rf"\b(?:{_MONTH}|{_DAY}|may)\b")
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
        known = (self._says(value, letters=1) and self._knows_numbers(_fold(value)) for value in values)
        _refuse(not all(known), "output_foreign_detail")

    def prose(self, text: str) -> None:
        """No link, markup, template or foreign address; and no number, date or amount that the input does not hold."""
        shown = normalise(text)
        plain = _plain(_ADDRESS.sub(lambda found: "" if found[0].casefold() in self._addresses else found[0], shown))
        _refuse("@" in plain or bool(_ACTIVE.search(plain)), "output_active_content")
        shown = _STEP.sub("", shown)
        fold = _fold(shown)
        known = self._knows_numbers(fold) and self._knows_words(fold) and self._knows_dates(shown, fold)
        _refuse(not known, "output_foreign_detail")

    def visible(self, texts: Iterable[str]) -> None:
        """No hidden characters, except in a text that is a verbatim part of the input."""
        _refuse(any(hides(text) and text not in self.source for text in texts), "output_invisible_text")

    def no_canary(self, texts: Iterable[str]) -> None:
        """No part of the canary, also reversed, encoded, spaced, or split over the texts."""
        squeezed = [_squeeze(text) for text in texts]
        haystack = " ".join([*squeezed, "".join(squeezed)])
        _refuse(any(needle in haystack for needle in self._needles), "output_canary")

    def _says(self, text: str, letters: int) -> bool:
        fold = _fold(text)
        return sum(map(str.isalnum, fold)) >= letters and (fold in self._folded or text in self.source)

    def _knows_numbers(self, fold: str) -> bool:
        return all(detail in self._details for detail in _details(fold))

    def _knows_words(self, fold: str) -> bool:
        """Numbers in words, and any unit of money: "zwanzig Euro" needs a euro in the input at least."""
        units, spelled = set(_SAID_UNIT.findall(fold)), set(_SPELLED.findall(fold))
        known = {_UNITS[name] for name in _SAID_UNIT.findall(self._folded)} if units else set()
        return {_UNITS[name] for name in units} <= known and spelled <= set(_SPELLED.findall(self._folded))

    def _knows_dates(self, shown: str, fold: str) -> bool:
        """Names of months and days, by their first three letters: "Feb" is February."""
        dates = {name[:3].casefold() for found in _SHORT_DATE.findall(shown) for name in found if name}
        dates |= {name[:3] for name in _DATES.intersection(_words(fold))}
        own = [*_DATES.intersection(_words(self._folded)), *_SHORT_NAME.findall(self._folded)] if dates else []
        return dates <= {name[:3] for name in own}

    @cached_property
    def _folded(self) -> str:
        return _fold(self.source)

    @cached_property
    def _addresses(self) -> set[str]:
        return {found.casefold() for found in _ADDRESS.findall(normalise(self.source))}

    @cached_property
    def _details(self) -> set[tuple[str, str]]:
        """As written, and numbers that stand side by side also apart; each number is known without its unit too."""
        found = {*_details(self._folded), *_details(self._folded.replace(" ", "  "))}
        return found | {(number, "") for number, _ in found}

    @cached_property
    def _needles(self) -> set[str]:
        plain = _squeeze(self.canary)
        if len(plain) < 12:
            raise ValueError("a canary needs at least 12 letters or digits")
        parts = {form[at : at + 8] for form in (plain, plain[::-1]) for at in range(0, len(plain) - 7, 4)}
        forms = {self.canary, self.canary.upper(), plain, plain[::-1]}
        return parts | {_squeeze(encoded) for form in forms for encoded in _encodings(form)}


def _refuse(wrong: bool, reason: str) -> None:
    if wrong:
        raise Refused(reason)


def _fold(text: str) -> str:
    """For comparing: spacing, case, kind of quotation mark, dash and digit do not matter."""
    folded = " ".join(normalise(text).casefold().split())
    if folded.isascii():
        return folded
    return "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in folded).translate(_ALIKE)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{3,}", text)


def _squeeze(text: str) -> str:
    return re.sub(r"[\W_]+", "", normalise(text).casefold())


def _plain(text: str) -> str:
    if not text.isascii():
        bare = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        text = "".join(bare).translate(_LATIN)
    for trick, plain in _TRICKS:
        text = trick.sub(plain, text)
    return _SPACED.sub(lambda found: "".join(found[0].split()), text)


def _details(text: str) -> Iterator[tuple[str, str]]:
    for found in _DETAIL.finditer(text):
        unit = _UNITS.get(found["before"] or found["after"] or "", "")
        yield from ((reading, unit) for reading in _readings(found["token"]))


def _readings(token: str) -> list[str]:
    """`1,000.00` and `1000` are one number; `10.00` and `1000` are not. An id stays as written."""
    if len(token) > 100:
        return [token]
    token = _LOOSE_ENDS.sub("", token)
    if not _NUMBER.fullmatch(token):
        return token.replace(" ", "").split(",")
    cents = re.search(r"[.,](\d{1,2})$", token)
    whole = re.sub(r"\D", "", token[: cents.start()] if cents else token)
    return [f"{whole}.{cents[1]}" if cents and cents[1].strip("0") else whole]


def _encodings(form: str) -> Iterator[str]:
    """The usual ones. A text's base64 depends on where it begins: the part that depends on nothing else, for each."""
    raw = form.encode()
    yield from (codecs.encode(form, "rot13"), raw.hex(), base64.b32encode(raw).decode().rstrip("="))
    for shift, skip in enumerate((0, 2, 3)):
        yield base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")[skip:-1]
