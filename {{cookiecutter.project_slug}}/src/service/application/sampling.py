"""Which answers are looked at again: chosen by their ids, so that every process chooses the same ones."""

import hashlib

_ALL = 1 << 64


def in_sample(purpose: str, id_: str, share: float) -> bool:
    """Whether this id is in the sample that is taken for this purpose; `share`, 0 to 1, of all ids are.

    Samples for different purposes are independent of each other, and a larger share holds the smaller one.
    """
    digest = hashlib.sha256(f"{purpose} {id_}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * _ALL
