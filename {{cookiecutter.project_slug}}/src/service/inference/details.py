"""Numbers, amounts and dates in what people write, in several languages: what a reply must not make up.

Copyable with screening.py: needs the standard library only. Synchronous, pure, and linear in the length of the text.
It knows many words of nine languages, not all, and takes "march" for the month: what it must catch in other words,
write down here.
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
    "₹ inr rupees", "chf francs franken", "₿ btc bitcoin", "% percent prozent procent", "¢ cent cents", "aud", "nzd",
    "kr sek nok dkk kronor kroner", "kč czk", "huf forint", "₺ lira", "brl", "zar", "mxn", "sgd", "hkd", "aed", "₽",
    "₪", "₩ krw", "₴ uah",
) for name in names.split()}
_NAMED_UNIT = "|".join(sorted(filter(str.isalpha, _UNITS), key=len, reverse=True))
_LETTER = r"[^\W\d_]"
_UNIT = rf"(?:[$€£¥₹₿%¢₽₺₪₩₴]|(?<!{_LETTER})(?:{_NAMED_UNIT}))"
_SAID_UNIT = re.compile(rf"{_UNIT}(?!{_LETTER})")
_DETAIL = re.compile(
    rf"(?:(?P<before>{_UNIT})\s{{0,2}})?(?P<token>(?<![0-9a-z])(?=[a-z./:_,'+-]{{0,30}}\d)[0-9a-z]+"
    rf"(?:(?:[-./:,'_+]|(?<=\d)[ ](?=\d))[0-9a-z]+)*)(?:\s{{0,2}}(?:us[ -])?(?P<after>{_UNIT})(?!{_LETTER}|\d))?")
_NUMBER = re.compile(r"\d{1,3}([., '])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?")
_LOOSE_ENDS = re.compile(r"^(?:[a-z]+[.,:'])+|(?:[.,:'][a-z]+|-[a-z]{3,}|(?<=\d)(?:st|nd|rd|th|am|pm|h|uhr))+$")
_STEP = re.compile(r"^[ \t]*[1-9][.)][ \t]+", re.MULTILINE)  # "1. Restart the app"
# Counts up to twelve are prose, unless they count money or are told one by one.
_SMALL = _any_of("""
    one two three four five six seven eight nine ten eleven twelve zwei drei vier fünf sechs sieben acht neun zehn elf
    zwölf deux trois quatre cinq sept huit neuf dix onze douze dos tres cuatro cinco seis siete ocho nueve diez doce
    due tre quattro cinque sei sette otto nove dieci undici dodici twee drie vijf zes zeven negen tien twaalf dwa trzy
    cztery pięć sześć siedem osiem dziewięć dziesięć sto dois três quatro sete oito dez doze""")
_DIGIT = f"(?:{_SMALL}|zero|oh|null|zéro|cero|nul|um|uno|un|ein|eins|een|jeden|double|triple|doppel)"
_LARGE = _any_of(r"""
    (?:thir|four|fif|six|seven|eigh|nine)teen(?:th)? (?:twen|thir|for|fif|six|seven|eigh|nine)t(?:y|ieth)
    (?:eleven|twelf)th dozens? hundreds? thousands? millions? billions? millionen
    (?:drei|vier|fünf|sech|sieb|acht|neun)zehn(?:te[mnrs]?)?
    \w{0,12}(?:zwanzig|dreissig|vierzig|fünfzig|fuenfzig|sechzig|siebzig|achtzig|neunzig)(?:ste[mnrs]?)?
    treize quatorze quinze dix-(?:sept|huit|neuf) vingts? trente quarante cinquante soixante quatre-vingts? mille
    trece catorce quince dieci(?:séis|seis|siete|ocho|nueve) veint[ei]\w{0,8}
    (?:tre|cuare|cincue|sese|sete|oche|nove)i?nta cien(?:to|tos)? (?:\w{2,8}cient|quinient)[oa]s mil
    (?:tre|quattor|quin|se)dici dici(?:assette|otto|annove)
    (?:ven|tren|quaran|cinquan|sessan|settan|ottan|novan)t[ia]?(?:uno|due|tr[eé]|quattro|cinque|sei|sette|otto|nove)
    venti (?:tren|quaran|cinquan|sessan|settan|ottan|novan)ta
    (?:due|tre|quattro|cinque|sei|sette|otto|nove)?cento (?:due|tre|quattro|cinque|sei|sette|otto|nove|dieci|cento)mila
    (?:der|veer|vijf|zes|zeven|ach|negen)tien
    \w{0,12}(?:twintig|dertig|veertig|vijftig|zestig|zeventig|tachtig|negentig)
    dez[ea]sseis dez[ea]ssete dezoito dez[ea]nove vinte trinta quarenta cinquenta sessenta oitenta
    cem (?:duzent|trezent|quinhent|\w{4,6}cent)[oa]s
    \w{2,10}na(?:ście|stego|stu) \w{2,12}(?:dzieści\w?|dziesiąt\w{0,2})
    dwieście trzysta czterysta \w{2,6}ćset \w{4,5}emset tysi\w{1,4}""")
_HAN = "〇零一二三四五六七八九十百千万億兆两"
_SPELLED = re.compile(
    rf"\b(?:{_LARGE})\b|\b(?:{_SMALL})\W{{1,3}}(?:{_NAMED_UNIT}|per cent)\b|\b(?:{_DIGIT}[ ,-]{{1,3}}){{2,}}{_DIGIT}\b"
    r"|\b\w{0,20}(?<!jahr)(?:tausend|hundert|duizend|honderd|hundred|thousand)|(?<!\S)[!-~]{41,}"
    rf"|[{_HAN}]{{2,}}|[{_HAN}\d]+[円元]|[{_HAN}]月|[月火水木金土日]曜|(?:星期|周)[一二三四五六日天]")
_THANKS = re.compile(  # no numbers: "mil gracias", "by all means"
    r"\bmil (?:gracias|d[ie]sculpas|perdones)\b|\bmille (?:grazie|scuse|mercis?|fois|excuses)\b|\btausend dank\b"
    r"|\bthanks a million\b|\bduizendmaal dank\b|万一"
    rf"|(?<![{_HAN}\d])千万(?![{_HAN}円元])")
_MONTHS_AND_DAYS = (
    "january jan januar janvier enero gennaio stycznia styczniu janeiro januari",
    "february feb februar février febrero febbraio lutego lutym fevereiro februari",
    "march mar märz mars marzo março maart",
    "april apr avril abril aprile kwietnia kwietniu",
    "may mai mayo maggio maio maju",
    "june jun juni juin junio giugno czerwca czerwcu junho",
    "july jul juli juillet julio luglio lipca lipcu julho",
    "august aug août agosto sierpnia sierpniu augustus",
    "september sep sept septembre septiembre settembre września wrześniu setembro",
    "october oct oktober octobre octubre ottobre października październiku outubro",
    "november nov novembre noviembre listopada listopadzie novembro",
    "december dec dezember décembre diciembre dicembre grudnia grudniu dezembro",
    "monday mon montag lundi lunes lunedì lunedi poniedziałek poniedziałku segunda-feira maandag",
    "tuesday tue tues dienstag mardi martes martedì martedi wtorek wtorku terça terça-feira dinsdag",
    "wednesday wed mittwoch mercredi miércoles miercoles mercoledì mercoledi środa środę środy quarta-feira woensdag",
    "thursday thu thur thurs donnerstag jeudi jueves giovedì giovedi czwartek czwartku quinta-feira donderdag",
    "friday fri freitag vendredi viernes venerdì venerdi piątek piątku sexta-feira vrijdag",
    "saturday sat samstag sonnabend samedi sábado sabado sabato sobota sobotę soboty zaterdag",
    "sunday sun sonntag dimanche domingo domenica niedziela niedzielę niedzieli zondag",
)
_DATES = {name: date for date, names in enumerate(_MONTHS_AND_DAYS) for name in names.split()}
_MONTH, _DAY = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec", "mon|tues?|wed|thu(?:rs?)?|fri|sat|sun"
_SHORT = re.compile(rf"{_MONTH}|{_DAY}|may|mai")
_SHORT_DATE = re.compile(  # these are dates only where they stand as one
    rf"\b(?i:({_MONTH})\.? ?\d|\d{{1,4}}(?:st|nd|rd|th)? ?({_MONTH})\b|(?:on|by|until|before|next) ({_DAY})\b)"
    r"|\b(?:[Ii]n|[Bb]y|[Uu]ntil|[Ss]ince|on|of|from|next)[ -](May)\b|\b(May),? \d|\d(?:st|nd|rd|th)? (May)\b"
    r"|\b(?:im|en|ende|anfang) ([Mm]ai)\b")
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
        """Names of months and days: "Feb" is February in any language."""
        dates = {_DATES[name.casefold()] for found in _SHORT_DATE.findall(shown) for name in found if name}
        dates |= {_DATES[name] for name in _date_names(folded) if not _SHORT.fullmatch(name)}
        return not dates or dates <= {_DATES[name] for name in _date_names(self.folded)}

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


def _date_names(text: str) -> set[str]:
    return _DATES.keys() & set(re.findall(r"[^\W\d_]{3,}(?:-feira)?", text))


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
