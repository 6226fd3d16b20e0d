"""What identifies a person leaves a text before a model reads it, and returns to the answer afterwards.

Copyable: needs the standard library, nothing of this project. What is found is up to detectors, such as those of
pii_structured.py and names.py. What to do when `hide` raises, and when to restore, are left to you.

    texts, hidden = Pseudonymiser([StructuredDetector()]).hide([subject, body])
    answer = ask(texts)
    restored = None if hidden.foreign(answer) else hidden.restore(answer)
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,30}_[0-9A-F]{6}_\d{1,6}\]", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """`text[start:end]` identifies somebody, or opens something. `kind` is in capitals, such as EMAIL."""

    start: int
    end: int
    kind: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or not re.fullmatch("[A-Z][A-Z0-9_]{0,30}", self.kind):
            raise ValueError(f"not a span with a kind: {self}")


class PiiDetector(Protocol):
    """Finds what should not leave, in any order, overlapping or not. Offsets are those of the text given."""

    def find(self, text: str) -> list[Found]: ...


def settled(found: Iterable[Found]) -> list[Found]:
    """In order and apart: one span covers all that overlap, of the longest one's kind."""
    apart, longest = list[Found](), 0
    for item in sorted(found, key=lambda item: (item.start, -item.end)):
        size = item.end - item.start
        if apart and item.start < apart[-1].end:
            last = apart.pop()
            item = Found(last.start, max(last.end, item.end), item.kind if size > longest else last.kind)
            size = max(size, longest)
        apart.append(item)
        longest = size
    return apart


def redacted(text: str, detector: PiiDetector, spared: Callable[[str], bool]) -> str:
    """The text with [KIND] in the place of each value that is found and not spared. No way back: for logs."""
    parts, at = list[str](), 0
    for item in settled(detector.find(text)):
        if spared(text[item.start : item.end]):
            continue
        parts += [text[at : item.start], f"[{item.kind}]"]
        at = item.end
    return "".join([*parts, text[at:]])


def _again(text: str, known: Mapping[str, str]) -> Iterator[Found]:
    """Where else a value stands that was found somewhere; short ones, such as a PIN, may be anything there."""
    for value, kind in known.items():
        at = text.find(value) if len(value) > 5 else -1
        while at >= 0:
            end = at + len(value)
            if not any(char.isalnum() for char in text[max(0, at - 1) : at] + text[end : end + 1]):
                yield Found(at, end, kind)
            at = text.find(value, end)


class Hidden:
    """What one request hid. `kinds` and `repr` tell how many values of which kind, never a value."""

    __slots__ = ("_given", "_placeholders", "_salt", "_values", "kinds")

    def __init__(self, texts: Sequence[str]) -> None:
        self._given = {shaped[0] for text in texts for shaped in PLACEHOLDER.finditer(text)}
        self._salt = secrets.token_hex(3)
        while any(self._salt in text.lower() for text in texts):
            self._salt = secrets.token_hex(3)
        self._placeholders: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self.kinds: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"Hidden({', '.join(f'{kind}={count}' for kind, count in sorted(self.kinds.items()))})"

    def restore(self, text: str) -> str:
        """The text with this request's placeholders turned back, in capitals or not. Any other stays as it is."""
        return PLACEHOLDER.sub(lambda shaped: self._values.get(shaped[0].lower(), shaped[0]), text)

    def foreign(self, text: str) -> bool:
        """Whether the text holds a placeholder, or a damaged one of ours, that was neither made here nor given."""
        shaped = [match[0] for match in PLACEHOLDER.finditer(text)]
        others = [placeholder for placeholder in shaped if placeholder.lower() not in self._values]
        return text.lower().count(self._salt) > len(shaped) - len(others) or not self._given.issuperset(others)

    def _hide(self, text: str, found: Iterable[Found]) -> str:
        parts, at = list[str](), 0
        for item in found:
            value = text[item.start : item.end]
            if value not in self._placeholders:
                self.kinds[item.kind] += 1
                self._placeholders[value] = f"[{item.kind}_{self._salt}_{self.kinds[item.kind]}]"
                self._values[self._placeholders[value].lower()] = value
            parts += [text[at : item.start], self._placeholders[value]]
            at = item.end
        return "".join([*parts, text[at:]])


@dataclass(frozen=True, slots=True)
class Pseudonymiser:
    """Hides what any of its detectors finds. Stateless: the request's `Hidden` alone knows what was hidden."""

    detectors: Sequence[PiiDetector]

    def hide(self, texts: Sequence[str]) -> tuple[list[str], Hidden]:
        """The texts with placeholders, one per value. Fails closed: raises what a detector raises."""
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of texts, not one text")
        found = [[item for detector in self.detectors for item in detector.find(text)] for text in texts]
        if any(item.end > len(text) for text, items in zip(texts, found, strict=True) for item in items):
            raise ValueError("a detector gave an offset beyond the text")
        known = {text[it.start : it.end]: it.kind for text, items in zip(texts, found, strict=True) for it in items}
        hidden = Hidden(texts)
        return [
            hidden._hide(text, settled([*items, *_again(text, known)]))
            for text, items in zip(texts, found, strict=True)
        ], hidden
