"""The interface contract with a downstream ticketing system. Every adapter passes tests/contract/test_ticketing.py."""

from typing import Protocol

from service.application.decision import JsonObject


class EffectRefused(Exception):
    """The downstream system will never accept this very write: repeating it is pointless."""


class EffectUnavailable(Exception):
    """The write may or may not have happened: repeat it later under the same key."""


class Ticketing(Protocol):
    """Creates tickets. The same `key` any number of times gives one ticket and the same reference.

    Raises `EffectRefused` or `EffectUnavailable`; answers or raises within its own time-out.
    """

    async def create(self, key: str, body: JsonObject) -> str: ...
