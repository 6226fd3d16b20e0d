"""Flag revisions in the database. Every change is a new revision with who, why and when; none is ever altered."""

from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid, NotFound
from service.application.identity import Caller
from service.application.release import Step
from service.application.switchboard import Board, Change
from service.integration.database import audit, releases
from service.integration.database.session import Database
from service.integration.database.tables import FlagRevisionRow
from service.integration.flags import document, processes


class SqlSwitchboard:
    """`Switchboard`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def board(self) -> Board:
        return await self._database.read(read_board)

    async def history(self, limit: int) -> list[JsonObject]:
        revisions = await self._database.read(lambda session: history(session, limit))
        return [{"rev": r.rev, "at": r.at.isoformat(), "actor": r.actor, "reason": r.reason} for r in revisions]

    async def set(self, operator: Caller, change: Change) -> int:
        return await self._database.write(lambda session: set_flag(session, change, operator.subject))

    async def revert(self, operator: Caller, revision: int, reason: str) -> int:
        return await self._database.write(lambda session: revert(session, revision, operator.subject, reason)[0])


def newest_revision(session: Session) -> int:
    """The newest revision's number; 0 before the first."""
    return session.scalar(select(func.max(FlagRevisionRow.rev))) or 0


def newest_document(session: Session) -> JsonObject | None:
    """What the newest revision holds, good or bad."""
    return session.scalar(select(FlagRevisionRow.doc).order_by(FlagRevisionRow.rev.desc()).limit(1))


def read_document(session: Session) -> JsonObject:
    """The newest document; one without flags before the first revision, and when somebody wrote none by hand."""
    newest = newest_document(session)
    return newest if newest and isinstance(newest.get("flags"), dict) else {"flags": {}}


def only_use_case(session: Session) -> str:
    """The use case that has a release flag. Raises `Invalid` unless there is exactly one."""
    found = [document.use_case_of(name) for name in read_document(session)["flags"] if not document.is_switch(name)]
    if len(found) != 1:
        raise Invalid(f"say which --use-case: {', '.join(found) or 'none has a release flag'}")
    return found[0]


def read_board(session: Session) -> Board:
    """Every flag in words, and the processes that are alive."""
    flags = read_document(session)["flags"]
    described = [document.describe(name, flag) for name, flag in sorted(flags.items())]
    return Board(newest_revision(session), described, processes.alive(session))


def history(session: Session, limit: int = 50) -> list[FlagRevisionRow]:
    """The newest revisions, newest first."""
    query = select(FlagRevisionRow).order_by(FlagRevisionRow.rev.desc()).limit(limit)
    return list(session.execute(query).scalars())


def append_revision(session: Session, changed: JsonObject, actor: str, reason: str) -> int:
    """Make this whole document the newest; returns its number. Raises `Invalid` when it is not acceptable.

    Releases that it gives to customers are recorded as active from now on.
    """
    document.validate(changed)
    if not reason.strip():
        raise Invalid("a reason is required: it is what the next person on call will read")
    before = read_document(session)["flags"]
    row = FlagRevisionRow(doc=changed, actor=actor, reason=reason, at=datetime.now(UTC))
    session.add(row)
    session.flush()
    for name, flag in changed["flags"].items():
        if not document.is_switch(name):
            _record_steps(session, name, before.get(name, {}), flag, actor, reason)
    return row.rev


def set_flag(session: Session, change: Change, actor: str) -> int:
    """Give this variant to the audience, or to everybody, from now on; returns the revision. Raises `Invalid`."""
    current = current_for_change(session)
    if not document.is_switch(change.name) and change.name in current["flags"]:
        raise Invalid(f"{change.name} names a release: svc release activate, canary or rollback change it")
    changed = document.with_variant(current, change.name, change.variant, change.audience)
    revision = append_revision(session, changed, actor, change.reason)
    gives = document.describe(change.name, changed["flags"][change.name])["gives"]
    record(session, actor, "flag.set", change.name, {"gives": gives, "reason": change.reason, "revision": revision})
    return revision


def revert(session: Session, revision: int, actor: str, reason: str) -> tuple[int, list[str]]:
    """Make an earlier document the newest, as a new revision; returns that, and the flags that changed by it.

    Raises `NotFound` for an unknown revision, `Invalid` when nothing would change.
    """
    current = current_for_change(session)
    earlier = session.get(FlagRevisionRow, revision)
    if earlier is None:
        raise NotFound("there is no such revision; svc flags history lists them")
    # A flag that came later stays: the code asks for it.
    restored = {**earlier.doc, "flags": {**current["flags"], **earlier.doc["flags"]}}
    names = [name for name, flag in restored["flags"].items() if flag != current["flags"].get(name)]
    if not names:
        raise Invalid("nothing would change: all is as it was at that revision")
    made = append_revision(session, restored, actor, reason)
    record(
        session, actor, "flag.reverted", f"revision {revision}", {"flags": names, "reason": reason, "revision": made}
    )
    return made, names


def add_missing(session: Session, seed: JsonObject, actor: str) -> list[str]:
    """Add the seed's flags that do not exist yet; existing ones stay as operators left them. Returns the names."""
    document.validate(seed)
    current = current_for_change(session)
    missing = [name for name in seed["flags"] if name not in current["flags"]]
    if not missing:
        return []
    rules = {**seed.get("$evaluators", {}), **current.get("$evaluators", {})}
    added = {name: seed["flags"][name] for name in missing}
    changed = {**current, "flags": {**current["flags"], **added}, **({"$evaluators": rules} if rules else {})}
    revision = append_revision(session, changed, actor, f"added missing flags: {', '.join(missing)}")
    for name in missing:
        record(session, actor, "flag.added", name, {"revision": revision})
    return missing


def current_for_change(session: Session) -> JsonObject:
    """The newest document, which nobody else changes before this transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE flag_revision IN SHARE ROW EXCLUSIVE MODE"))
    return read_document(session)


def record(session: Session, actor: str, action: str, what: str, details: JsonObject) -> None:
    """An audit row for a change that concerns the whole service."""
    audit.append(session, audit.Entry(datetime.now(UTC), audit.SERVICE, actor, action, what, details))


def _record_steps(session: Session, name: str, before: JsonObject, flag: JsonObject, actor: str, reason: str) -> None:
    """However a flag came to name a release, by a command or by going back: the history of releases has it."""
    canary, default = document.canary_of(flag), flag["defaultVariant"]
    if default != before.get("defaultVariant"):
        releases.record_step(session, default, Step.ACTIVATED, actor, reason)
    if canary and canary != document.canary_of(before):
        releases.record_step(session, canary[0], Step.CANARY, actor, f"{canary[1]} %: {reason}")
