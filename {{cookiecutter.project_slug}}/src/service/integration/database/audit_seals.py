"""Sealing the audit log: a chore of the worker, so that business transactions only append and never wait in a line.

A row whose transaction committed late gets a later position: the chain is in the order in which rows became visible.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy import bindparam, exists, func, insert, select, text
from sqlalchemy.orm import Session

from service.integration import audit_chain
from service.integration.audit_chain import Keys, Seal, Sealed
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, AuditSealRow, table_of

SEAL_EVERY_S, BEHIND_S = 1.0, 60.0
BATCH, BATCHES_A_TURN = 2000, 10
ANCHOR_EVERY_S, ANCHOR_EVERY_ROWS = 60.0, 1000
# A transaction may commit when so many later rows have been sealed; once an hour all rows are looked at. Whoever writes
# rows may give them any number: the lowest of the RECENT seals is where the log really is.
LOOK_BACK, RECENT, LOOK_AT_ALL_EVERY_S = 10_000, 1000, 3600.0
STRIDE = 100_000  # rows that one statement looks at
LOWEST, HIGHEST = -(2**63), 2**63 - 1
# Any number, always the same: one worker seals at a time.
LOCK = 7_203_117

_rows, _seals = table_of(AuditRow), table_of(AuditSealRow)
_SEAL_COLUMNS = [column.label(f"seal_{column.name}") for column in _seals.c]
JOINED = select(*_SEAL_COLUMNS, *_rows.c)
SEALED = JOINED.select_from(_seals.outerjoin(_rows, _rows.c.seq == _seals.c.audit_seq))
_NEWEST = SEALED.order_by(_seals.c.position.desc()).limit(1)
_RECENT = select(_seals.c.audit_seq).order_by(_seals.c.position.desc()).limit(bindparam("recent")).subquery()
_STRIDE = (
    select(_rows.c.seq).where(_rows.c.seq >= bindparam("first")).order_by(_rows.c.seq).limit(bindparam("n")).subquery()
)
_AT = select(_seals).where(_seals.c.position == bindparam("position"))
_INSERT = insert(_seals).returning(_seals.c.position)  # or the driver would send row after row
_UNSEALED = (
    select(_rows)
    .where(_rows.c.seq >= bindparam("first"), ~exists().where(_seals.c.audit_seq == _rows.c.seq))
    .order_by(_rows.c.seq)
)
_FIRST_UNSEALED = _UNSEALED.where(_rows.c.seq <= bindparam("last")).with_only_columns(_rows.c.seq, _rows.c.at).limit(1)
_SOME_UNSEALED = _UNSEALED.limit(BATCH)
log = logging.getLogger(__name__)


class ChainCut(Exception):
    """The newest seal that this worker knows of is not in the database, or one that is was not made with its keys."""


class Sealer:
    """Seals what has no seal yet. The newest seal goes to the log and to `anchors`, a file, about once a minute.

    Seals nothing, and says so each minute, when a seal it knows of is gone: somebody cut the chain or went back to a
    backup, and what was lost must not be papered over. Nor after a seal that its keys did not make.
    """

    def __init__(self, database: Database, keys: Keys, anchors: Path) -> None:
        self._database, self._keys, self._anchors = database, keys, anchors
        self._known = self._anchored = newest_anchor(anchors)
        self._anchored_at = self._said_at = self._looked_at_all = datetime.min.replace(tzinfo=UTC)
        self._look_from, self._sealed_until = LOWEST, datetime.now(UTC)
        meter = metrics.get_meter("service")
        age = "For how long there have been audit rows without a seal"
        meter.create_observable_gauge("service.audit.unsealed_age", [self._observe_age], "s", age)

    async def __call__(self, now: datetime) -> int:
        """How many rows were sealed."""
        sealed = 0
        try:
            for _ in range(BATCHES_A_TURN):
                first = await self._first_unsealed(now)
                self._sealed_until = max(self._sealed_until, min(first[1], now) if first else now)
                made = await self._database.write(partial(self._seal, first=first[0], now=now)) if first else []
                if not made:  # there are none, or another worker is at it
                    break
                self._known, sealed = (made[-1].position, made[-1].mac), sealed + len(made)
        except ChainCut as error:
            self._say(now, str(error))
        finally:
            if (behind := (now - self._sealed_until).total_seconds()) > BEHIND_S:
                self._say(now, f"audit rows have waited for their seals for {behind:.0f} s")
        self._anchor(now)
        return sealed

    async def _first_unsealed(self, now: datetime) -> tuple[int, datetime] | None:
        recent = await self._database.read(self._recent)
        if (now - self._looked_at_all).total_seconds() > LOOK_AT_ALL_EVERY_S:
            self._look_from, self._looked_at_all = LOWEST, now
        look_from = LOWEST if recent is None else min(self._look_from, max(LOWEST, recent - LOOK_BACK))
        found = await first_unsealed(self._database, look_from)
        self._look_from = found[0] if found else HIGHEST
        return found

    def _recent(self, session: Session) -> int | None:
        """The lowest number among the newest seals, which are as they should be."""
        self._intact_newest(session)
        lowest: int | None = session.scalar(select(func.min(_RECENT.c.audit_seq)), {"recent": RECENT})
        return lowest

    def _seal(self, session: Session, first: int, now: datetime) -> list[Seal]:
        postgres = session.get_bind().dialect.name == "postgresql"
        if postgres and not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK}):
            return []
        before = self._intact_newest(session)
        rows = session.execute(_SOME_UNSEALED, {"first": first}).mappings()
        made = audit_chain.seal(self._keys, before, map(dict, rows), now)
        if made:
            session.execute(_INSERT, [asdict(seal) for seal in made])
        return made

    def _intact_newest(self, session: Session) -> Seal | None:
        """The newest seal. Raises `ChainCut`."""
        if self._known is not None:
            position, mac = self._known
            found = seal_at(session, position)
            if found is None or found.mac != mac:
                raise ChainCut(
                    f"the audit chain was cut or replaced: position {position} is not what it was, so nothing is "
                    f"sealed. If a backup was restored, move {self._anchors} away and start the worker again"
                )
        row = session.execute(_NEWEST).mappings().one_or_none()
        newest = as_sealed(row) if row else None
        if newest and (wrong := audit_chain.forgery(self._keys.all(), newest)):
            raise ChainCut(
                f"nothing is sealed after position {newest.seal.position}: {wrong}. Either this worker has not the "
                "audit_key of the chain, or somebody changed the log: see `svc audit verify`"
            )
        return newest.seal if newest else None

    def _anchor(self, now: datetime) -> None:
        if self._known is None or self._known == self._anchored:
            return
        rows = self._known[0] - (self._anchored or (0,))[0]
        if (now - self._anchored_at).total_seconds() >= ANCHOR_EVERY_S or rows >= ANCHOR_EVERY_ROWS:
            anchor = as_anchor(*self._known)
            log.info("audit chain sealed up to %s", anchor)
            with self._anchors.open("a", encoding="ascii") as file:
                file.write(f"{audit_chain.instant(now)} {anchor}\n")
            self._anchored, self._anchored_at = self._known, now

    def _say(self, now: datetime, what: str) -> None:
        if (now - self._said_at).total_seconds() >= BEHIND_S:
            log.error("%s", what)
            self._said_at = now

    def _observe_age(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation((datetime.now(UTC) - self._sealed_until).total_seconds())]


async def first_unsealed(database: Database, first: int = LOWEST) -> tuple[int, datetime] | None:
    """Number and time of the first row without a seal, from `first` on."""
    while True:
        found, last = await database.read(partial(_first_unsealed, first=first))
        if found or last == HIGHEST:
            return found
        first = last + 1


def _first_unsealed(session: Session, first: int) -> tuple[tuple[int, datetime] | None, int]:
    """Among the next rows there are, however far apart their numbers; and the last of these, HIGHEST without any."""
    last = session.scalar(select(func.max(_STRIDE.c.seq)), {"first": first, "n": STRIDE})
    if last is None:
        return None, HIGHEST
    found = session.execute(_FIRST_UNSEALED, {"first": first, "last": last}).one_or_none()
    return ((found.seq, found.at) if found else None), last


def seal_at(session: Session, position: int) -> Seal | None:
    """The seal at this position."""
    row = session.execute(_AT, {"position": position}).mappings().one_or_none()
    return Seal(**row) if row else None


def as_sealed(row: Any) -> Sealed:
    """A row of `JOINED` that has a seal."""
    seal = Seal(**{column.name: row[f"seal_{column.name}"] for column in _seals.c})
    return Sealed(seal, {c.name: row[c.name] for c in _rows.c} if row["seq"] is not None else None)


def as_anchor(position: int, mac: str) -> str:
    """What names a place in the chain outside the database."""
    return f"{position}:{mac}"


def parse_anchor(anchor: str) -> tuple[int, str]:
    """Position and MAC. Raises `ValueError`."""
    position, _, mac = anchor.partition(":")
    if len(mac) != 64:
        raise ValueError("an anchor is POSITION:MAC")
    return int(position), mac


def newest_anchor(file: Path) -> tuple[int, str] | None:
    """The last whole line of a file of anchors; None without one."""
    with suppress(OSError):
        for line in reversed(file.read_text(encoding="ascii", errors="replace").splitlines()):
            with suppress(ValueError):
                return parse_anchor(line.rpartition(" ")[2])
    return None
