"""What is read of the audit log, and the one way in which rows leave it: verification, export, pruning."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.integration import audit_chain
from service.integration.audit_chain import ORIGIN, Flaw, Keys, Seal
from service.integration.database import audit
from service.integration.database.audit_seals import (
    BEHIND_S,
    JOINED,
    SEALED,
    as_anchor,
    as_sealed,
    first_unsealed,
    parse_anchor,
    seal_at,
)
from service.integration.database.session import Database
from service.integration.database.tables import AuditRow, AuditSealRow, table_of

PAGE = 2000
MOST_FLAWS = 20
KEPT = timedelta(days=183)  # what triggers hold, too: migrations/versions/0004_audit.py
PRUNED = "audit.pruned"

_rows, _seals = table_of(AuditRow), table_of(AuditSealRow)
_EXPORTED = JOINED.select_from(_rows.outerjoin(_seals, _rows.c.seq == _seals.c.audit_seq))


class Verifier:
    """Verifies the chain page by page, so that neither a request nor a transaction lasts for long."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database, self._keys = database, keys

    async def __call__(self, after: str | None, anchor: str | None) -> JsonObject:
        """One page: `checked` seals that follow the anchor `after`, or the first; `flaws`; the `head` to go on after.

        On the last page, where `more` is false, also whether `anchor` is in the chain and every row has its seal.
        """
        checked, head, flaws = await self._database.read(lambda session: self._page(session, after))
        more = checked == PAGE
        if not more:
            flaws += await self._database.read(lambda session: _not_anchored(session, anchor))
            flaws += await self._unsealed(empty=head is None)
        shown = [asdict(flaw) for flaw in flaws[:MOST_FLAWS]]
        return {"checked": checked, "head": head, "more": more, "flaws": shown, "flawed": len(flaws)}

    def _page(self, session: Session, after: str | None) -> tuple[int, str | None, list[Flaw]]:
        position, mac = parse_anchor(after) if after else (1, ORIGIN)
        query = SEALED.where(_seals.c.position >= position).order_by(_seals.c.position).limit(PAGE + bool(after))
        found = [as_sealed(row) for row in session.execute(query).mappings()]
        before = found.pop(0) if after and found else None
        flaws = [] if not after or (before and before.seal.mac == mac) else [_flaw(position, "changed meanwhile")]
        if after is None:
            flaws += _misplaced(session)
        if before is None and found:
            flaws += self._not_a_beginning(session, found[0].seal)
        flaws += audit_chain.check(self._keys, before, found)
        last = found[-1].seal if found else before.seal if before else None
        return len(found), as_anchor(last.position, last.mac) if last else None, flaws

    def _not_a_beginning(self, session: Session, first: Seal) -> list[Flaw]:
        """Only position 1, or one that a genuine later row says was pruned up to when it was old enough."""
        told = SEALED.where(
            _rows.c.action == PRUNED,
            _rows.c.object == f"position {first.position}",
            _seals.c.position > first.position,
        )
        known = self._keys.all()
        explained = (
            one.seal.sealed_at - first.sealed_at >= KEPT and not audit_chain.flaw(known, one)
            for one in map(as_sealed, session.execute(told).mappings())
        )
        if first.position == 1 or any(explained):
            return []
        return [_flaw(first.position, "is the first, and no pruning that was allowed explains it")]

    async def _unsealed(self, empty: bool) -> list[Flaw]:
        found = await first_unsealed(self._database)
        if found is None:
            return [_flaw(None, "the log is empty, which it never is after a migration")] if empty else []
        age = (datetime.now(UTC) - found[1]).total_seconds()
        return [Flaw(None, found[0], f"has had no seal for {age:.0f} s")] if age > BEHIND_S else []


def export(session: Session, since: datetime, until: datetime, tenants: list[str] | None) -> Iterator[JsonObject]:
    """Rows of [since, until) in the order of their numbers, each with its seal, or None for one not sealed yet."""
    query = _EXPORTED.where(_rows.c.at >= since, _rows.c.at < until).order_by(_rows.c.seq)
    if tenants is not None:
        query = query.where(_rows.c.tenant.in_(tenants))
    for row in session.execute(query.execution_options(yield_per=PAGE)).mappings():
        kept = {column.name: row[column.name] for column in _rows.c}
        sealed = as_sealed(row).seal if row["seal_mac"] else None
        seal = {**asdict(sealed), "sealed_at": audit_chain.instant(sealed.sealed_at)} if sealed else None
        yield {"row": {**kept, "at": audit_chain.instant(kept["at"])}, "seal": seal}


def prune(session: Session, days: int, actor: str, now: datetime) -> int:
    """Take out all rows that were sealed before the last `days`, but the newest of them; returns how many.

    That one stays as the beginning of what is left, and the row that is written here says so.
    """
    old = _seals.c.sealed_at < now - timedelta(days=days)
    begins = session.scalar(select(func.max(_seals.c.position)).where(old))
    gone = select(_seals.c.audit_seq).where(_seals.c.position < (begins or 0))
    count = session.scalar(select(func.count()).select_from(gone.subquery()))
    if not count:
        return 0
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL statement_timeout = 0"))
    entry = audit.Entry(now, audit.SERVICE, actor, PRUNED, f"position {begins}", {"rows": count, "days": days})
    audit.append(session, entry)
    session.execute(delete(_rows).where(_rows.c.seq.in_(gone)))
    session.execute(delete(_seals).where(_seals.c.position < begins))
    return count


def _misplaced(session: Session) -> list[Flaw]:
    """The chain begins at 1: a seal before that is in none of its links, and nothing else would look at it."""
    places = session.scalars(select(_seals.c.position).where(_seals.c.position < 1).limit(MOST_FLAWS))
    return [_flaw(position, "is before the beginning of the chain") for position in places]


def _not_anchored(session: Session, anchor: str | None) -> list[Flaw]:
    if anchor is None:
        return []
    position, mac = parse_anchor(anchor)
    found = seal_at(session, position)
    if found is None:
        return [_flaw(position, "is not there, and the anchor says it was: the chain was cut, or pruned since")]
    return [] if found.mac == mac else [_flaw(position, "is not what the anchor says it was: the chain was replaced")]


def _flaw(position: int | None, what: str) -> Flaw:
    return Flaw(position, None, what)
