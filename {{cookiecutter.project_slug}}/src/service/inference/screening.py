"""What a stranger wrote, before a model is shown it: one form per sign, nothing hidden, between lines it cannot forge.

Copyable: needs the standard library only. Synchronous, pure, and linear in the length of the text. `screen` names
attempts to instruct the model: a figure for dashboards, never a wall. Store text as it came: `normalise` breaks emoji
families and Persian or Indic joins, as a joiner can hide in any word.
"""

import re
import secrets
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
# What a renderer may leave out although it is no control or format character: fillers, variation selectors.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u2d7f\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
# Signs that stand for a phrase (U+FDFA is 18 letters). They stay, so that nothing grows more than fourfold.
_PHRASES = re.compile("([\ufdfa\ufdfb\u3300-\u3357\u33ae\u33af])")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# fmt: off
_INDIC = "\u0600-\u077f\u0900-\u0dff\u1000-\u109f\u1780-\u17ff"
_PICTURE = "\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINS = re.compile(  # needed to write these scripts and pictures
    f"(?<=[{_INDIC}])[\u200c\u200d](?=[{_INDIC}])|(?<=[{_PICTURE}])(?:\ufe0f?\u200d(?=[{_PICTURE}])|\ufe0f)"
)

_WORDS = r"(?:\w{1,20}\W{1,4}){0,5}?"
_ATTEMPTS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in {
    "override_instructions":
        r"\b(?:ignor|disregard|forget|overrid|bypass|vergiss|missachte|oubli|olvid|omit|dimentic|negeer|vergeet|zignoruj"
        rf"|pomiń|zapomnij)\w{{0,5}}\W{{1,4}}{_WORDS}(?:instru[ckz]|istruzion|prompt|rules|guideline|anweisung|vorgabe"
        r"|consigne|indica[cz]|aanwijzing|opdracht|polece|wskaz)",
    "role_claim":
        r"\b(?:you are now|from now on,? you|pretend (?:to be|that you)|developer mode|du bist (?:jetzt|nun)|ahora eres"
        r"|(?:tu es|vous êtes) maintenant|ora sei|je bent nu|jesteś teraz|(?:i am|this is) (?:the|your|an?) (?:system"
        r"|developer|admin)\w*)\b|^\W{0,4}(?:system|assistant|developer)\W{0,3}:",
    "system_prompt_request":
        rf"\b(?:reveal|show|print|repeat|output|tell|give|zeig|montre|muestra|mostra|toon|pokaż)\w{{0,3}}\W{{1,4}}{_WORDS}"
        r"(?:system.?prompt|(?:your|initial|hidden|original) (?:instructions|prompt|rules))",
    "encoded_blob": r"(?<![\w+/])[\w+/]{60,}|(?:%[0-9a-f]{2}){6,}|(?:\\u?x?[0-9a-f]{2,4}){6,}|(?:&#\w{2,6};){4,}",
    "mixed_script": "[a-z](?![μωπ])[\u0370-\u052f]|(?![μωπ])[\u0370-\u052f][a-z]",
}.items()}
# fmt: on


def normalise(text: str) -> str:
    """The text as a reader sees it: one form per sign (NFKC), nothing invisible, at most four times as long."""
    if not text.isprintable():
        text = "".join(filter(_is_shown, _LINE_ENDS.sub("\n", text)))
    if text.isascii():
        return text
    parts = _PHRASES.split(_BLANK.sub("", text))  # every second one is a phrase
    return "".join(part if i % 2 else unicodedata.normalize("NFKC", part) for i, part in enumerate(parts))


def screen(text: str) -> frozenset[str]:
    """Names of what looks like an attempt to instruct the model. For counting only: most attempts are not seen."""
    plain = normalise(text).casefold()
    seen = {name for name, pattern in _ATTEMPTS.items() if pattern.search(plain)}
    return frozenset(seen | ({"invisible_text"} if hides(text) else set()))


def new_boundary() -> str:
    """96 random bits in letters and digits: a boundary for `spotlight`, and a canary for `OutputGuard`."""
    return secrets.token_hex(12)


def spotlight(text: str, boundary: str) -> str:
    """The text between two lines with the boundary, which nobody could know who wrote it; nor can it imitate one."""
    inside = re.sub("<{3,}", "<<", re.sub(">{3,}", ">>", text.replace(boundary, "removed")))
    return f"<<<{boundary}\n{inside}\n{boundary}>>>"


def _is_shown(character: str) -> bool:
    """Pictures newer than this Python's Unicode count as shown."""
    if character in "\n\t" or character.isprintable() or "\U0001f000" <= character <= "\U0001faff":
        return True
    return unicodedata.category(character) not in _HIDDEN


def hides(text: str) -> bool:
    """Whether the text holds anything that a reader would not see."""
    if text.isascii() and text.isprintable():
        return False
    text = _JOINS.sub("", text.replace("\r", "\n"))
    return bool(_BLANK.search(text)) or not all(map(_is_shown, text))
