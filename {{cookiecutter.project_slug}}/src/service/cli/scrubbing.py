"""Personal data out of what becomes a case: each value gives way to one that is reserved for examples.

The values that take its place belong to nobody: domains of RFC 2606, telephone numbers that regulators keep for films
and manuals, addresses of RFC 5737, card numbers for tests, specimens of identity numbers as authorities print them.
What `findings` accepts as reserved is what people may write into cases by hand, too.
"""

import re
from collections.abc import Iterator, Sequence

from service.inference.destinations import is_private
from service.inference.pii import PLACEHOLDER, PiiDetector, Pseudonymiser

_SPECIMENS = {
    "CARD": ("4111 1111 1111 1111", "5555 5555 5555 4444", "3782 822463 10005", "4242 4242 4242 4242",
             "4012 8888 8888 1881", "5105 1051 0510 5100", "6011 1111 1111 1117", "3714 496353 98431"),
    "IBAN": ("DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "FR14 2004 1010 0505 0001 3M02 606",
             "NL91 ABNA 0417 1643 00", "ES91 2100 0418 4502 0005 1332", "PL61 1090 1014 0000 0712 1981 2874",
             "IT60 X054 2811 1010 0000 0123 456", "AT61 1904 3002 3457 3201", "CH93 0076 2011 6238 5295 7",
             "BE68 5390 0754 7034", "IE29 AIBK 9311 5212 3456 78", "GB29 NWBK 6016 1331 9268 19"),
    "SSN": ("078-05-1120", "219-09-9999"),
    "STEUER_ID": ("86 095 742 719",),
    "PESEL": ("44051401359",),
    "DNI": ("12345678Z", "00000000T", "99999999R", "X1234567L"),
    "NIR": ("2 55 08 14 168 025 38",),
    "CODICE_FISCALE": ("RSSMRA85T10A562S",),
    "BSN": ("111222333",),
    "NINO": ("AB 12 34 56 C",),
    "PERSON": ("Alex Example", "Robin Sample", "Kim Specimen"),
}  # fmt: skip
_NUMBERED = {
    "EMAIL": "person{n}@customer.example",
    "PHONE": "+44 20 7946 0{n:03}",
    "IP": "192.0.2.{n}",
    "SECRET": "EXAMPLE{n}",  # pragma: allowlist secret
}
_MAIL = re.compile(r"[@.](?:example\.(?:com|net|org)|(?:[\w-]+\.)*(?:example|test|invalid|localhost))", re.IGNORECASE)
_PHONE = re.compile(
    r"(?:1?[2-9]\d\d)?55501\d\d"  # North America
    r"|(?:44|0)(?:1(?:1[3-8]|21|31|41|51|61)4960|1914980|1632960|207946(?=0)\d|28964966|292018(?=0)\d|7700900)\d{3}"
    r"|(?:49|0)(?:3023125|6990009|4066969|2214710|8999998)\d{3}"  # Germany
    r"|(?:33|0)(?:19900|26191|35301|46571|53649|63998)\d{4}"  # France
)


def scrubbed(texts: Sequence[str], detectors: Sequence[PiiDetector]) -> list[str]:
    """The texts, with the same reserved value wherever the same personal one stood. The same texts give the same."""
    hidden_texts, hidden = Pseudonymiser(detectors).hide(texts)

    def reserved(placeholder: re.Match[str]) -> str:
        if hidden.restore(placeholder[0]) == placeholder[0]:  # the message itself had it
            return placeholder[0]
        kind, _, number = placeholder[0].strip("[]").rsplit("_", 2)
        return _reserved(kind, int(number))

    return [PLACEHOLDER.sub(reserved, text) for text in hidden_texts]


def findings(text: str, detector: PiiDetector, secrets_allowed: bool) -> Iterator[str]:
    """The kinds of personal data in the text whose values are not reserved for examples.

    `secrets_allowed`: a password or code that somebody made up opens nothing.
    """
    for found in detector.find(text):
        made_up = secrets_allowed and found.kind == "SECRET"
        if not made_up and not is_reserved(found.kind, text[found.start : found.end]):
            yield found.kind


def is_reserved(kind: str, value: str) -> bool:
    """Whether a value of this kind belongs to nobody."""
    squeezed = _squeezed(value)
    if kind == "EMAIL":
        spelt = re.sub(r" ?[\[({] ?(at|arroba|chiocciola) ?[\])}] ?", "@", value.lower())
        domain = re.sub(r" ?[\[({] ?(dot|punkt|punto|point) ?[\])}] ?", ".", spelt).rpartition("@")[2].strip()
        return _MAIL.fullmatch("." + domain) is not None
    if kind == "PHONE":
        return _PHONE.fullmatch(re.sub(r"\D", "", re.sub(r"\(0\)|^00", "", value))) is not None
    if kind == "IP":
        return is_private(value)  # which the ranges for documentation are, too
    if kind == "SECRET":
        return squeezed.startswith("EXAMPLE")
    return squeezed in {_squeezed(specimen) for specimen in _SPECIMENS.get(kind, ())}


def _reserved(kind: str, number: int) -> str:
    if kind in _NUMBERED:
        return _NUMBERED[kind].format(n=number % 250)
    specimens = _SPECIMENS.get(kind, (f"{kind} EXAMPLE",))
    return specimens[(number - 1) % len(specimens)]


def _squeezed(value: str) -> str:
    return re.sub(r"[\s.\-/]", "", value).upper()
