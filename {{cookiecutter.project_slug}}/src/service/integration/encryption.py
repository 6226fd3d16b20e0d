"""Encryption: what customers wrote is stored so that only processes with the vault's `payload_key` can read it.

Copyable: needs cryptography. AES-256-GCM under a key of its own for each place, derived with HKDF: what was made for
one place opens at no other, and whoever can write to the table can neither read, move nor make up anything.
"""

import hashlib
import hmac
import json
import os
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION, ID, NONCE = b"\x01", 4, 12  # bytes
HEAD = len(VERSION) + ID  # what of something encrypted says under which key it was


class CannotDecrypt(Exception):
    """The key is missing, or this was not encrypted for this place. Says nothing of the content."""


class Cipher:
    """`keys` gives one or more secrets separated by commas, newest first: the first encrypts, all of them decrypt.

    It is called for each use, so a rotated key is picked up. Raises `ValueError` when there is none.
    """

    def __init__(self, keys: Callable[[], str]) -> None:
        self._keys = keys
        self._known()

    def encrypt(self, content: Any, *place: str) -> bytes:
        """The content, which JSON can hold, for this place."""
        key, nonce = self._known()[0], os.urandom(NONCE)
        plain = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)
        return VERSION + _id(key) + nonce + AESGCM(_derived(key, *place)).encrypt(nonce, plain, None)

    def decrypt(self, encrypted: bytes, *place: str) -> Any:
        """What was encrypted for this place. Raises `CannotDecrypt`."""
        head, nonce, body = encrypted[: 1 + ID], encrypted[1 + ID : 1 + ID + NONCE], encrypted[1 + ID + NONCE :]
        for key in self._known():
            if head == VERSION + _id(key):
                try:
                    return json.loads(zlib.decompress(AESGCM(_derived(key, *place)).decrypt(nonce, body, None)))
                except (InvalidTag, ValueError):
                    raise CannotDecrypt("it was not encrypted for this place, or was changed since") from None
        raise CannotDecrypt("it was encrypted under a key that payload_key no longer holds")

    def knows(self, head: bytes) -> bool:
        """Whether what begins like this was encrypted under one of the keys."""
        return any(head == VERSION + _id(key) for key in self._known())

    def marks(self, *name: str) -> list[str]:
        """A digest of the name under each key, newest first: by it a name is found again that is stored nowhere."""
        said = json.dumps(name).encode()
        return [hmac.new(_derived(key, "mark"), said, hashlib.sha256).hexdigest() for key in self._known()]

    def _known(self) -> list[bytes]:
        keys = [key.strip().encode() for key in self._keys().split(",") if key.strip()]
        if not keys:
            raise ValueError("payload_key is empty")
        return keys


def _derived(key: bytes, *place: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=json.dumps(place).encode()).derive(key)


@lru_cache(maxsize=16)
def _id(key: bytes) -> bytes:
    return _derived(key, "id")[:ID]
