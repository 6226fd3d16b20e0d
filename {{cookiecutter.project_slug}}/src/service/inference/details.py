"""Numbers, amounts and dates in what people write, in several languages: what a reply must not make up.

Copyable with screening.py: needs the standard library only. Synchronous, pure, and linear in the length of the text.
It knows the usual words of nine languages and no others, and takes "march" for the month.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property

from service.inference.screening import normalise


def _any_of(words: str) -> str:
    return "|".join(words.split())


# fmt: off
_ALIKE = str.maketrans("‘’‚“”„«»‐‑‒–—−⁄", "'''\"\"\"\"\"------/")
_UNITS = {name: names.split()[0] for names in (
    "$ usd dollar dollars", "€ eur euro euros", "£ gbp pound pounds", "¥ jpy yen cny yuan", "zł pln złotych",
    "₹ inr rupees", "chf francs franken", "₿ btc bitcoin", "% percent prozent procent", "¢ cent cents", "cad", "aud",
    "nzd", "kr sek nok dkk kronor kroner", "kč czk", "huf forint", "ron lei", "₽ rub", "₺ lira", "brl reais",
    "zar rand", "mxn pesos", "sgd", "hkd", "aed", "₪ ils", "₩ krw", "₴ uah",
) for name in names.split()}
_NAMED_UNIT = "|".join(sorted(filter(str.isalpha, _UNITS), key=len, reverse=True))
_UNIT = rf"(?:[$€£¥₹₿%¢₽₺₪₩₴]|(?<![a-z])(?:{_NAMED_UNIT}))"
_SAID_UNIT = re.compile(rf"{_UNIT}(?![a-z])")
_DETAIL = re.compile(
    rf"(?:(?P<before>{_UNIT})\s{{0,2}})?(?P<token>(?<![0-9a-z])(?=[a-z./:_,'+-]{{0,30}}\d)[0-9a-z]+"
    rf"(?:(?:[-./:,'_+]|(?<=\d)[ ](?=\d))[0-9a-z]+)*)(?:\s{{0,2}}(?:us[ -])?(?P<after>{_UNIT})(?![a-z]))?")
_NUMBER = re.compile(r"\d{1,3}([., '])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?")
_LOOSE_ENDS = re.compile(r"^(?:[a-z]+[.,:'])+|(?:[.,:'][a-z]+|-[a-z]{3,}|(?<=\d)(?:st|nd|rd|th|am|pm|h|uhr))+$")
_STEP = re.compile(r"^[ \t]*[1-9][.)][ \t]+", re.MULTILINE)  # "1. Restart the app"
# Counts up to twelve are prose, unless they count money or are told one by one.
_SMALL = _any_of("""
    one two three four five six seven eight nine ten eleven twelve zwei drei vier fünf sechs sieben acht neun zehn elf
    zwölf deux trois quatre cinq sept huit neuf dix onze douze dos tres cuatro cinco seis siete ocho nueve diez doce
    due tre quattro cinque sei sette otto nove dieci undici dodici twee drie vijf zes zeven negen tien twaalf dwa trzy
    cztery pięć sześć siedem osiem dziewięć dziesięć dois três quatro sete oito dez doze""")
_DIGIT = f"(?:{_SMALL}|zero|oh|null|zéro|cero|nul|um|uno|un|ein|eins|een|jeden|double|triple|doppel)"
_LARGE = _any_of(r"""
    (?:thir|four|fif|six|seven|eigh|nine)teen(?:th)? (?:twen|thir|for|fif|six|seven|eigh|nine)t(?:y|ieth)
    (?:eleven|twelf)th dozens? hundreds? thousands? millions? billions? millionen
    (?:drei|vier|fünf|sech|sieb|acht|neun)zehn
    \w{0,12}(?:zwanzig|dreissig|vierzig|fünfzig|fuenfzig|sechzig|siebzig|achtzig|neunzig)
    treize quatorze quinze dix-(?:sept|huit|neuf) vingts? trente quarante cinquante soixante quatre-vingts? mille
    trece catorce quince dieci\w{4,6} veint\w{1,9} (?:tre|cuare|cincue|sese|sete|oche|nove)i?nta cien(?:to|tos)? mil
    (?:tre|quattor|quin|se)dici dici\w{4,7} venti (?:tre|quara|cinqua|sessa|setta|otta|nova)nta cento
    (?:der|veer|vijf|zes|zeven|ach|negen)tien
    \w{0,12}(?:twintig|dertig|veertig|vijftig|zestig|zeventig|tachtig|negentig)
    vinte trinta quarenta cinquenta sessenta oitenta \w{2,10}na(?:ście|stego|stu) \w{2,12}(?:dzieści\w?|dziesiąt\w{0,2})
    dwieście trzysta czterysta \w{2,6}ćset \w{4,5}emset tysi\w{1,4}""")
_HAN = "〇零一二三四五六七八九十百千万億兆两"
_SPELLED = re.compile(
    rf"\b(?:{_LARGE})\b|\b(?:{_SMALL})\W{{1,3}}(?:{_NAMED_UNIT}|per cent)\b|\b(?:{_DIGIT}[ ,-]{{1,3}}){{2,}}{_DIGIT}\b"
    r"|\b\w{0,20}(?:tausend|hundert|duizend|honderd|hundred|thousand)|(?<!\S)[!-~]{41,}"
    rf"|[{_HAN}]{{2,}}|[{_HAN}\d]+[円元]|[月火水木金土日]曜|(?:星期|周)[一二三四五六日天]")
_THANKS = re.compile(  # no numbers: "mil gracias", "by all means"
    r"\bmil (?:gracias|d[ie]sculpas|perdones)\b|\bmille (?:grazie|scuse|mercis?|fois|excuses)\b|\btausend dank\b"
    rf"|(?<![{_HAN}\d])千万(?![{_HAN}円元])")
_DATES = frozenset(re.findall(r"\w+", """
    january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday januar februar märz juni juli oktober dezember
    montag dienstag mittwoch donnerstag freitag samstag sonntag janvier février mars avril juin juillet août septembre
    octobre novembre décembre lundi mardi mercredi jeudi vendredi samedi dimanche enero febrero marzo abril mayo junio
    julio agosto septiembre octubre noviembre diciembre lunes martes miércoles jueves viernes sábado domingo gennaio
    febbraio aprile maggio giugno luglio settembre ottobre dicembre lunedì martedì mercoledì giovedì venerdì sabato
    stycznia lutego kwietnia czerwca lipca sierpnia września października listopada grudnia poniedziałek wtorek środa
    środę czwartek piątek sobota sobotę niedziela niedzielę janeiro fevereiro março maio junho julho setembro outubro
    novembro dezembro feira januari februari maart augustus maandag dinsdag woensdag donderdag vrijdag zaterdag
    zondag"""))
_MONTH, _DAY = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec", "mon|tues?|wed|thu(?:rs?)?|fri|sat|sun"
_SHORT_DATE = re.compile(  # "may", "sat" and the like are dates only where they stand as one
    rf"\b(?i:({_MONTH})\.? ?\d|\d{{1,4}}(?:st|nd|rd|th)? ?({_MONTH})\b|(?:on|by|until|before|next) ({_DAY})\b)"
    r"|\b(?:[Ii]n|[Bb]y|[Uu]ntil|[Ss]ince|on|of|from|next)[ -](May)\b|\b(May),? \d|\d(?:st|nd|rd|th)? (May)\b"
    r"|\b(?:im|en|ende|anfang) ([Mm]ai)\b")
_SHORT_NAME = re.compile(rf"\b(?:{_MONTH}|{_DAY}|may|mai)\b")
# fmt: on


class Details:
    """The details of one text, `source`, and whether another text has only these."""

    def __init__(self, source: str) -> None:
        self._source = source

    def has_all_of(self, text: str) -> bool:
        """Whether every number, amount, unit of money and date of the text is one of the source; "1." is a step."""
        shown = _STEP.sub("", normalise(text))
        folded = fold(shown)
        return self.has_numbers_of(folded) and self._has_words_of(folded) and self._has_dates_of(shown, folded)

    def has_numbers_of(self, folded: str) -> bool:
        """Whether every number in figures, of a text that is folded already, is one of the source."""
        return all(number in self._numbers for number in _numbers(folded))

    def _has_words_of(self, folded: str) -> bool:
        """Numbers in words, and any unit of money: "zwei Euro" needs a euro in the source at least."""
        units = {_UNITS[name] for name in _SAID_UNIT.findall(folded)}
        spelled = set(_SPELLED.findall(_THANKS.sub(" ", folded)))
        own = {_UNITS[name] for name in _SAID_UNIT.findall(self.folded)} if units else set()
        return units <= own and (not spelled or spelled <= set(_SPELLED.findall(self.folded)))

    def _has_dates_of(self, shown: str, folded: str) -> bool:
        """Names of months and days, by their first three letters: "Feb" is February."""
        dates = {name[:3].casefold() for found in _SHORT_DATE.findall(shown) for name in found if name}
        dates |= {name[:3] for name in _DATES.intersection(_words(folded))}
        own = [*_DATES.intersection(_words(self.folded)), *_SHORT_NAME.findall(self.folded)] if dates else []
        return dates <= {name[:3] for name in own}

    @cached_property
    def folded(self) -> str:
        """The source, folded."""
        return fold(self._source)

    @cached_property
    def _numbers(self) -> set[tuple[str, str]]:
        """As written, and numbers that stand side by side also apart; each number is known without its unit too."""
        found = {*_numbers(self.folded), *_numbers(self.folded.replace(" ", "  "))}
        return found | {(number, "") for number, _ in found}


def fold(text: str) -> str:
    """For comparing: spacing, case, kind of quotation mark, dash and digit do not matter."""
    folded = " ".join(normalise(text).replace("\u20e3", "").casefold().split())  # not the frame of a keycap
    if folded.isascii():
        return folded
    return "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in folded).translate(_ALIKE)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{3,}", text)


def _numbers(text: str) -> Iterator[tuple[str, str]]:
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
