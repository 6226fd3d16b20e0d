"""A chain of keyed seals over audit rows: what was altered, taken out, moved or added shows to whoever has the key.

Each seal is an HMAC-SHA-256 over its row, its position and the seal before it; so one seal can be checked alone, and
all of them together. Copyable: needs cryptography, nothing of this project. It leaves to you where rows and seals are
kept, and to note the newest seal somewhere else: a chain that ends early looks whole without such an anchor.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ORIGIN = "0" * 64
# Clocks differ, and a transaction takes its time; a row out of step by more was not written when it says.
TOLERANCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Seal:
    """A row's place. `previous` is the `mac` of the seal before, `ORIGIN` for the first at position 1."""

    position: int
    audit_seq: int
    previous: str
    mac: str
    key_id: str
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal and its row, as JSON with an aware `at`; None when the row is gone."""

    seal: Seal
    row: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where the chain is broken, and how."""

    position: int | None
    audit_seq: int | None
    what: str


class Keys:
    """The keys in use. `given` returns one or more secrets, separated by commas: the first seals, all verify."""

    def __init__(self, given: Callable[[], str]) -> None:
        self._given = given

    def newest(self) -> tuple[str, bytes]:
        """Id and key to seal with. Raises `ValueError` without any."""
        for pair in self.all().items():
            return pair
        raise ValueError("there is no audit key")

    def all(self) -> dict[str, bytes]:
        """Every key by its id, the newest first."""
        return dict(_derived(part.strip()) for part in self._given().split(",") if part.strip())


def seal(keys: Keys, before: Seal | None, rows: Iterable[dict[str, Any]], now: datetime) -> list[Seal]:
    """The next seals, in the order of the rows; `before` is the newest there is. Time never runs backwards in them."""
    (key_id, key), made = keys.newest(), []
    for row in rows:
        position, previous = (before.position + 1, before.mac) if before else (1, ORIGIN)
        sealed_at = max(now, before.sealed_at) if before else now
        mac = _mac(key, position, previous, sealed_at, row)
        before = Seal(position, row["seq"], previous, mac, key_id, sealed_at)
        made.append(before)
    return made


def check(keys: Keys, before: Sealed | None, found: Iterable[Sealed], whole: bool = True) -> list[Flaw]:
    """What is wrong with these, which follow `before`. Not `whole`: positions may be missing between them."""
    flaws, known = [], keys.all()
    latest = before.row["at"] if before and before.row else None
    for each in found:
        wrong = flaw(known, each)
        if before is not None:
            distance = each.seal.position - before.seal.position
            if distance != 1 and (whole or distance < 1):
                wrong.append(f"does not follow position {before.seal.position}")
            elif distance == 1 and each.seal.previous != before.seal.mac:
                wrong.append("is not linked to the seal before it")
        if each.row is not None:
            if latest and latest - each.row["at"] > TOLERANCE:
                wrong.append("says it is older than rows sealed before it: it was added later")
            latest = max(latest or each.row["at"], min(each.row["at"], each.seal.sealed_at))
        flaws += [Flaw(each.seal.position, each.seal.audit_seq, what) for what in wrong]
        before = each
    return flaws


def flaw(known: dict[str, bytes], one: Sealed) -> list[str]:
    """What is wrong with one row and its seal, looked at alone."""
    if wrong := forgery(known, one):
        return [wrong]
    late = one.row is not None and one.row["at"] - one.seal.sealed_at > TOLERANCE
    return ["says it is from the future"] if late else []


def forgery(known: dict[str, bytes], one: Sealed) -> str | None:
    """Why no holder of these keys made this seal for this row; None if one did, whatever the row says."""
    seal, row = one.seal, one.row
    if row is None:
        return "the row is gone"
    if seal.key_id not in known:
        return f"no key with the id {seal.key_id} is in the vault"
    mac = _mac(known[seal.key_id], seal.position, seal.previous, seal.sealed_at, row)
    if row["seq"] != seal.audit_seq or not hmac.compare_digest(mac.encode(), seal.mac.encode(errors="replace")):
        return "row or seal was altered"
    return None


def instant(at: datetime) -> str:
    """An instant in the one form that is sealed and exported."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _mac(key: bytes, position: int, previous: str, sealed_at: datetime, row: dict[str, Any]) -> str:
    content = [position, previous, instant(sealed_at), {**row, "at": instant(row["at"])}]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=16)
def _derived(secret: str) -> tuple[str, bytes]:
    key = HKDF(SHA256(), 32, salt=None, info=b"audit chain").derive(secret.encode())
    return hashlib.sha256(key).hexdigest()[:16], key
