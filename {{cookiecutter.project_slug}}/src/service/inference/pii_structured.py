"""Personal data with a shape of its own: mail, telephone, card, bank account, IP address, national ids, secrets.

Copyable with pii.py: needs the standard library. Where a scheme has a checksum, the checksum decides. It promises
nothing about names, addresses, birthdays or prose: add a detector for those. Meant for texts of up to 8,000 characters.
"""

import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from service.inference.pii import PLACEHOLDER, Found, settled


def _luhn(digits: str) -> bool:
    doubled = "".join(str(2 * int(digit)) for digit in digits[-2::-2])
    return sum(map(int, digits[-1::-2] + doubled)) % 10 == 0


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _pesel(digits: str) -> bool:
    month, day = int(digits[2:4]), int(digits[4:6])
    dated = month < 40 and 1 <= month % 20 <= 12 and 1 <= day <= 31  # born 1900 to 2099
    return dated and _weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _steuer_id(digits: str) -> bool:
    rest = 10
    for digit in digits[:10]:
        rest = ((int(digit) + rest) % 10 or 10) * 2 % 11
    return sorted(Counter(digits[:10]).values())[-2:] in ([1, 2], [1, 3]) and (11 - rest) % 10 == int(digits[10])


def _codice_fiscale(value: str) -> bool:
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    ranks = [int(char, 36) - 10 * char.isalpha() for char in value]
    return (sum(odd[rank] for rank in ranks[:15:2]) + sum(ranks[1:15:2])) % 26 == ranks[15]


def _ip(value: str) -> bool:
    try:
        version = ipaddress.ip_address(value).version
    except ValueError:
        return False
    return len(value) > (7 if version == 4 else 5)  # 1.2.3.4 numbers a chapter, ::1 nobody


def _chosen(word: str) -> bool:
    """Whether the word after "password is" looks chosen; "wrong" does not, nor does a placeholder."""
    return bool(re.search(r"[\d!$%&*+=?@#^~_]|[a-z][A-Z]", word)) and not PLACEHOLDER.match(word)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A shape, and what decides on it: the value, without separators if `bare`, and the words just before it."""

    kind: str
    shape: re.Pattern[str]
    valid: Callable[[str], bool] = bool
    needs: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    bare: bool = False

    def spans(self, text: str) -> Iterator[tuple[str, int, int]]:
        group, at = "v" if "v" in self.shape.groupindex else 0, 0
        while match := self.shape.search(text, at):
            (start, end), at = match.span(group), match.start() + 1
            before = text[max(0, start - 40) : start]
            value = re.sub(r"[\s.\-/]", "", match[group]).upper() if self.bare else match[group]
            if self.needs and not self.needs.search(before):
                at = end
            elif self.valid(value) and not (self.unless and self.unless.search(before)):
                at = end
                yield self.kind, start, end


_LEFT, _RIGHT = r"(?<![A-Za-z0-9_])(?<!\d[.,:])", r"(?![A-Za-z0-9_])(?![.,]\d)"


def _shape(pattern: str, left: str = _LEFT, right: str = _RIGHT) -> re.Pattern[str]:
    return re.compile(f"{left}(?:{pattern}){right}", re.IGNORECASE)


# fmt: off
_cue = partial(re.compile, flags=re.IGNORECASE)
_VERSION = _cue(r"\b(?:v|versi\w{1,3}|wersj\w|ver|build|release|firmware|fassung)[\s.:]{0,2}\Z")
_ORDER = _cue(
    r"(?:#|\b(?:order|ord|bestel|auftrag|commande|pedido|ordine|zam[oó]wieni|invoice|inv|rechnung|fact|fatt|fakt|track"
    r"|sendung|paket|parcel|shipment|deliver|lieferung|colis|envoi|livraison|env[ií]o|entrega|spedizion|consegn|pacc"
    r"|zending|levering|przesy[lł]k|paczk|dostaw|ticket|case|ref|serial|sku|art|item|booking|buchung|reserv|customer"
    r"|kunde|client|klant|klient)\w{0,12}[\W_]{0,3})"
    r"(?:(?:number|no|nummer|nr|n[°ºo]|id|code|is|ist|est|es|è|jest|n[uú]m\w{1,3})[\W_]{1,3}){0,3}\Z")
_CALL = _cue(
    r"\b(?:phone|telephone|call|cell|mobile?|tel|text|whats ?app|sms|ring|reach|fax|handy|telef|rufnummer|festnetz"
    r"|anruf|erreich|t[ée]l[ée]phone|portable|joindre|rappel|appel|ll[aá]m|m[oó]vil|cellulare|chiam|bel|gsm|mobiel"
    r"|kom[oó]rk|(?:za)?dzwo)")
_DATE_OR_AMOUNT = re.compile(
    r"(?<!\d)[0-3]?\d(?:([ ./-])[0-3]?\d\1(?:19|20)\d\d(?!\d)|([./-])[0-3]?\d\2\d\d(?= ))"
    r"|(?:19|20)\d\d[./-][01]?\d[./-]\d|(?:19|20)\d\d \d\d\.\d\d|\d\.\d\d ?- ?\d|00 ?000")
_GAP = r"[ .\-/()]{0,2}"
_NATIONAL = "|".join((
    rf"00 ?[1-9](?:{_GAP}\d){{9,13}}", rf"\(?0[1-9](?:{_GAP}\d){{8,10}}",
    rf"\(?0[1-9]\d{{0,4}}\)?[ \-/]{_GAP}\d(?:{_GAP}\d){{4,9}}", r"3\d\d[ .\-/](?:\d{6,7}|\d{3}[ .\-]\d{3,4})",
    r"(?:1[ .\-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .\-])[2-9]\d\d[ .\-]\d{4}", r"\(?[1-9]\d\)?[ \-]\d{3}(?:[ \-]\d\d){2}",
    r"[4-9]\d\d(?: \d{3} \d{3}|-\d{3}-\d{3})(?! \d)", r"[6-9]\d\d(?:[ .\-]\d\d){3}",
    r"3[2-9]\d{8}|(?:[67]\d|45|5[0137]|88)\d{7}"))  # mobiles in one piece: what is hidden too much comes back
_BY_ITSELF = (_LEFT + r"(?<![A-Za-z0-9][-/])(?<![€$£])(?<![€$£] )(?<![A-Z]{2}\d\d )",
              _RIGHT + r"(?![\-/:]\d)(?! ?(?:[€$£%]|EUR|USD|GBP|CHF|PLN|zł|pounds|dollar))")
_IBANS = "|".join(rf"(?:{countries}) ?\d\d(?:[\s.\-]{{0,2}}[A-Z0-9]){{{length - 4}}}" for length, countries in {
    15: "NO", 16: "BE", 18: "DK|FI|FO|GL|NL", 19: "MK|SI", 20: "AT|BA|EE|KZ|LT|LU|XK", 21: "CH|HR|LI|LV", 33: "RU",
    22: "BG|BH|CR|DE|GB|GE|IE|ME|RS|VA", 23: "AE|GI|IL|IQ|OM|TL", 24: "AD|CZ|ES|MD|PK|RO|SA|SE|SK|TN|VG", 25: "PT",
    26: "IS|TR", 27: "FR|GR|IT|MC|MR|SM", 28: "AL|AZ|BY|CY|DO|GT|HU|LB|PL|SV", 29: "BR|EG|PS|QA|UA", 30: "JO|KW|MU",
    31: "MT|SC", 32: "LC"}.items())
_TOKENS = (
    r"sk-[\w-]{16,200}|[spr]k_(?:live|test)_\w{16,200}|A[KS]IA[A-Z0-9]{16}|gh[pousr]_\w{20,255}|github_pat_\w{20,255}"
    r"|glpat-[\w-]{20,64}|xox[abeprs]-[\w-]{10,200}|hv[sbr]\.[\w-]{20,200}|npm_\w{30,64}|pypi-[\w-]{40,250}"
    r"|AIza[\w-]{35}|SG\.[\w-]{16,32}\.[\w-]{16,64}|svk_[\w-]{20,100}"
    r"|(?<=bearer )[\w.~+/-]{20,2000}=?|(?<=basic )(?=[a-z+/]*[\d+/=])[\w+/]{12,2000}={0,2}"
    r"|eyJ[\w-]{8,2000}\.eyJ[\w-]{4,4000}\.[\w-]{0,1000}")
_IS = r"(?:is|was|ist|war|lautet|est|es|era|è|jest|to|brzmi)\b"
_PASSWORD = (
    r"(?<![a-z])(?:password|passwd|pwd?|passcode|passphrase|passwor[td]|kennwort|zugangscode|mot de passe|mdp"
    r"|contrase[ñn]a|clave|parola d.ordine|wachtwoord|has[łl]o|(?:api|access)[ _-]?key|secret|token)\b"
    rf"(?:, ?which)?\s{{0,3}}(?:(?:[:=]|{_IS})\s{{0,3}}){{1,2}}[\"'«„“]?(?P<v>[^\s\"'<>]{{3,63}}[^\s\"'<>.,;:!?)])")
_PIN = (
    r"(?:pin|pin-?code|cvv2?|cvc2?|otp|m?tan|puk|(?:security|verification|access|sms|one-time) code|sicherheitscode"
    r"|pr[üu]fziffer|code (?:de s[ée]curit[ée]|secret|confidentiel|pin)|c[óo]digo (?:de seguridad|pin)|beveiligingscode"
    r"|codice (?:di sicurezza|segreto|pin)|kod (?:pin|cvv|sms))"
    rf"\W{{0,3}}(?:(?:code|number|nummer|{_IS})\W{{1,3}}){{0,3}}(?P<v>\d{{3}}[ -]\d{{3}}|\d{{3,8}})")
_NIE = str.maketrans("XYZ", "012")
_RULES = (
    _Rule("EMAIL", _shape(
        r"\w[\w.+'%&-]{0,63}(?: ?@ ?| ?[\[({] ?(?:at|arroba|chiocciola) ?[\])}] ?)"
        r"(?:[^\W_][\w-]{0,62}(?:\.| ?[\[({] ?(?:dot|punkt|punto|point) ?[\])}] ?)){1,8}"
        r"(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})", "", r"(?![^\W_]|-)")),
    _Rule("IBAN", _shape(_IBANS), bare=True,
          valid=lambda iban: int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1),
    _Rule("IBAN", _shape(r"\d\d(?:[\s\-]?\d{4}){6}"), bare=True,  # as Poles write theirs
          valid=lambda nrb: int(f"{nrb[2:]}2521{nrb[:2]}") % 97 == 1),
    _Rule("NIR", _shape(r"[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3}[ /-]{0,3}\d\d"),
          lambda nir: (int(nir[:-2].replace("2A", "19").replace("2B", "18")) + int(nir[-2:])) % 97 == 0, bare=True),
    _Rule("CODICE_FISCALE", bare=True, valid=_codice_fiscale, shape=_shape(
        r"[A-Z]{3} ?[A-Z]{3} ?[\dL-NP-V]{2}[A-EHLMPR-T][\dL-NP-V]{2} ?[A-Z][\dL-NP-V]{3} ?[A-Z]")),
    _Rule("STEUER_ID", _shape(r"[1-9]\d[ ./]?\d{3}[ ./]?\d{3}[ ./]?\d{3}"), _steuer_id, bare=True),
    _Rule("PESEL", _shape(r"\d{11}"), _pesel),
    _Rule("DNI", _shape(r"(?:\d\d\.?|[XYZ][ -]?\d\.?)\d{3}\.?\d{3}(?:-?[A-Z]|[ ](?-i:[A-Z]))"), bare=True,
          valid=lambda dni: "TRWAGMYFPDXBNJZSQVHLCKE"[int(dni[:-1].translate(_NIE)) % 23] == dni[-1]),
    _Rule("BSN", _shape(r"\d{9}|\d{4}[. ]\d\d[. ]\d{3}|\d{3}[. -]\d{3}[. -]\d{3}|(?:\d\d[. ]){3}\d{3}"), bare=True,
          valid=lambda bsn: _weighted(bsn, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0,
          needs=_cue(r"\b(?:bsn|burgerservice|sofi)")),  # one number in eleven would pass: it takes the word, too
    _Rule("SSN", _shape(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?!-)")),
    _Rule("SSN", _shape(r"(?!000|666|9)\d{3} ?(?!00)\d\d ?(?!0000)\d{4}"), needs=_cue(r"\b(?:ssn|social sec)")),
    _Rule("NINO", _shape(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]")),
    _Rule("IP", _shape(r"\d{1,3}(?:\.\d{1,3}){3}"), _ip, unless=_VERSION),
    _Rule("IP", _shape(r"(?:[0-9A-F]{0,4}:){2,7}[0-9A-F.]{0,15}(?<!\.)", r"(?<![\w:.])", r"(?![\w:])"), _ip),
    _Rule("PHONE", _shape(rf"\+ ?\(?[1-9](?:{_GAP}\d){{7,13}}", r"(?<![\w+])")),
    _Rule("PHONE", _shape(_NATIONAL, *_BY_ITSELF), lambda phone: not _DATE_OR_AMOUNT.search(phone), unless=_ORDER),
    _Rule("PHONE", _shape(rf"\(?\d(?:{_GAP}\d){{6,13}}", *_BY_ITSELF), lambda phone: not _DATE_OR_AMOUNT.search(phone),
          needs=_CALL, unless=_ORDER),
    _Rule("SECRET", _shape(_TOKENS, r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])")),
    _Rule("SECRET", _cue(
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\w+/=\s]{0,8000}(?:-----END [A-Z ]{0,30}-----)?")),
    _Rule("SECRET", _cue(_PASSWORD), _chosen),
    _Rule("SECRET", _shape(_PIN)),
    _Rule("SECRET", _cue(r"://[^\s/@:]{0,64}:(?P<v>[^\s/@]{1,128})@")),
)
_BETWEEN = " \t\n.-/"
_CARD = re.compile(
    r"4(?:\d{15}|\d{18})|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|(?:5[1-5]|2[2-7]|8[12]|97)\d{14}"
    r"|(?:35|5[06-8]|6\d)\d{14,17}|(?:5[06-8]|6[37])\d{10,13}")
# fmt: on


def _cards(text: str) -> Iterator[tuple[str, int, int]]:
    """Groups of digits, from any group on, that make up the number of a payment card."""
    groups = [group.span() for group in re.finditer(r"\d+", text)]
    for first, (start, reached) in enumerate(groups):
        adjoins = first > 0 and not text[groups[first - 1][1] : start].strip(_BETWEEN)
        if adjoins and reached - start < 3:
            continue  # inside digits that were written one by one
        digits, sizes = "", list[int]()
        for begin, end in groups[first : first + 19]:
            if end - begin + len(digits) > 19 or begin - reached > 3 or text[reached:begin].strip(_BETWEEN):
                break
            digits, reached = digits + text[begin:end], end
            sizes.append(end - begin)
            even = min(sizes[:-1] or sizes) >= 4 or max(sizes) <= 2
            if even and _CARD.fullmatch(digits) and _luhn(digits):
                yield "CARD", start, end


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """The character as the shapes expect it; nothing for one that is invisible."""
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me"):
        return ""
    if category == "Pd" or char == "\u2212":
        return "-"
    folded = str(unicodedata.decimal(char, "")) or unicodedata.normalize("NFKC", char)
    return folded if len(folded) == 1 else char


class StructuredDetector:
    """E-mail, phone, card, IBAN, IP, national ids, secrets. No model, no network; time grows with the text's length."""

    def find(self, text: str) -> list[Found]:
        """In order, none overlapping."""
        kept = [(at, plain) for at, char in enumerate(text) if (plain := _plain(char))]
        folded = "".join(plain for _, plain in kept)
        spans = [*_cards(folded), *(span for rule in _RULES for span in rule.spans(folded))]
        return settled(Found(kept[start][0], kept[end - 1][0] + 1, kind) for kind, start, end in spans)
