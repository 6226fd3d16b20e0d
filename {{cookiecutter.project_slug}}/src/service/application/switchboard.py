"""What an operator can see and change of the flags, whoever stores them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.application.decision import JsonObject
from service.application.identity import Caller


@dataclass(frozen=True, slots=True)
class Audience:
    """Who gets a variant before everybody does: internal tenants, `beta` tenants, `percent` of all other customers.

    A growing percentage keeps those who are in.
    """

    beta: tuple[str, ...] = ()
    percent: int = 0


@dataclass(frozen=True, slots=True)
class Process:
    """A running process that reads flags, as it last reported: by which revision it goes, and what code it has."""

    id: str
    kind: str
    flag_rev: int
    kill_file: bool
    code: JsonObject
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Board:
    """All flags now: the newest revision, what each gives to whom, and the processes that go by them.

    `silent` are processes that stopped reporting minutes ago and did not say goodbye: dead, or cut off.
    """

    revision: int
    flags: list[JsonObject]
    processes: list[Process]
    silent: list[Process]


@dataclass(frozen=True, slots=True)
class Change:
    """One flip: this variant, for this audience (None: everybody), and why."""

    name: str
    variant: str
    reason: str
    audience: Audience | None = None


class Switchboard(Protocol):
    """Flags as append-only revisions. What cannot be raises `Invalid` and leaves no revision."""

    async def board(self) -> Board: ...

    async def history(self, limit: int) -> list[JsonObject]: ...

    async def set(self, operator: Caller, change: Change) -> int: ...

    async def revert(self, operator: Caller, revision: int, reason: str) -> int: ...
