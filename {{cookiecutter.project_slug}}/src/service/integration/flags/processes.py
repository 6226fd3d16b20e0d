"""Which processes read the flags, and by which revision each goes: how an operator knows that a flip has arrived."""

import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Unavailable
from service.application.switchboard import Process
from service.integration.database import audit
from service.integration.database.columns import UtcDateTime
from service.integration.database.session import Database
from service.integration.database.tables import ProcessRow

HEARTBEAT_S = 5.0
GONE_AFTER = timedelta(seconds=15)
MISSED_FOR = timedelta(minutes=10)
FORGET_AFTER = timedelta(hours=1)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Presence:
    """This process's own row. `code` is what is told of its code. Told at once of news, else every few seconds."""

    database: Database
    kind: str
    code: JsonObject
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _told: tuple[int, bool] | None = None
    _told_at: float = 0.0

    def tell(self, revision: int, kill_file: bool) -> None:
        """Raises nothing: a process that cannot tell still works, and counts as gone after a while."""
        now = time.monotonic()
        if self._told == (revision, kill_file) and now - self._told_at < HEARTBEAT_S:
            return
        row = {"kind": self.kind, "flag_rev": revision, "kill_file": kill_file, "code": self.code}
        was_there = self._told is not None and self._told[1]

        def put(session: Session) -> None:
            at = _put(session, self.id, row)
            if kill_file != was_there:
                action, actor = f"kill_file.{'set' if kill_file else 'removed'}", f"{self.kind} {self.id}"
                audit.append(session, audit.Entry(at, audit.SERVICE, actor, action, "AI_OFF", {}))

        try:
            self.database.write_sync(put)
        except Unavailable as error:
            log.debug("presence could not be told: %s", error)
        else:
            self._told, self._told_at = (revision, kill_file), now

    def leave(self) -> None:
        """Take the row away, at a stop in good order."""
        own = delete(ProcessRow).where(ProcessRow.id == self.id)
        try:
            self.database.write_sync(lambda session: session.execute(own))
        except Unavailable:
            log.debug("presence could not be withdrawn")


def alive(session: Session) -> list[Process]:
    """The processes that reported lately."""
    return _processes(session, ProcessRow.seen_at >= _now(session) - GONE_AFTER)


def silent(session: Session) -> list[Process]:
    """Those that stopped reporting without leaving, in the last minutes."""
    now = _now(session)
    return _processes(session, ProcessRow.seen_at < now - GONE_AFTER, ProcessRow.seen_at >= now - MISSED_FOR)


def _processes(session: Session, *where: ColumnElement[bool]) -> list[Process]:
    rows = session.scalars(select(ProcessRow).where(*where).order_by(ProcessRow.kind, ProcessRow.id))
    return [Process(r.id, r.kind, r.flag_rev, r.kill_file, r.code, r.seen_at) for r in rows]


def wait_for(database: Database, revision: int, seconds: float) -> tuple[list[Process], list[Process], int]:
    """The processes that go by the revision, those that after so many seconds do not, and the milliseconds waited."""
    start = time.monotonic()
    while True:
        found = database.read_sync(alive)
        late = [process for process in found if process.flag_rev < revision]
        waited = time.monotonic() - start
        if not late or waited >= seconds:
            return [process for process in found if process not in late], late, round(waited * 1000)
        time.sleep(0.005)


def _put(session: Session, id_: str, row: JsonObject) -> datetime:
    if session.get_bind().dialect.name == "postgresql":  # whoever holds this row must not hold up the next flip
        session.execute(text("SET LOCAL lock_timeout = '200ms'"))
    now = _now(session)
    changed = session.execute(update(ProcessRow).where(ProcessRow.id == id_).values(**row, seen_at=now))
    if changed.rowcount == 0:  # type: ignore[attr-defined]
        session.add(ProcessRow(id=id_, **row, seen_at=now))
        session.execute(delete(ProcessRow).where(ProcessRow.seen_at < now - FORGET_AFTER))
    return now


def _now(session: Session) -> datetime:
    """The database's clock: those of the machines need not agree."""
    return session.execute(select(func.current_timestamp(type_=UtcDateTime))).scalar_one()
