"""Flag revisions in the database. Every change is a new revision with who, why and when; none is ever altered."""

from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.release import Step
from service.application.switchboard import Board, Change
from service.integration.database import audit, releases
from service.integration.database.tables import FlagRevisionRow
from service.integration.flags import document, processes

# Any number, always the same: flags are changed by one at a time, or of two changes one would be lost.
LOCK = 7_203_115


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
    current = read_document(session)
    described = [document.describe(current, name) for name in sorted(current["flags"])]
    return Board(newest_revision(session), described, processes.alive(session), processes.silent(session))


def history(session: Session, limit: int = 50) -> list[FlagRevisionRow]:
    """The newest revisions, newest first."""
    query = select(FlagRevisionRow).order_by(FlagRevisionRow.rev.desc()).limit(limit)
    return list(session.execute(query).scalars())


def changed_by(session: Session, revision: FlagRevisionRow) -> list[str]:
    """What the flags give that the revision has changed, a line for each."""
    before = session.scalar(
        select(FlagRevisionRow.doc)
        .where(FlagRevisionRow.rev < revision.rev)
        .order_by(FlagRevisionRow.rev.desc())
        .limit(1)
    )
    old, new = ((doc or {}).get("flags") or {} for doc in (before, revision.doc))
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [f"{n}: {document.describe(revision.doc, n)['gives'] if n in new else 'gone'}" for n in names]


def append_revision(session: Session, changed: JsonObject, actor: str, reason: str) -> int:
    """Make this whole document the newest; returns its number. Raises `Invalid` when what changes is not acceptable.

    A flag that newer code has written stays as it is. It is recorded which releases customers get from now on, and
    that a canary has ended.
    """
    before = read_document(session)["flags"]
    document.validate(changed, unless=before)
    if not reason.strip() or not _is_text(reason):
        raise Invalid("a reason is required, in plain text: it is what the next person on call will read")
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
    gives = document.describe(changed, change.name)["gives"]
    record(session, actor, "flag.set", change.name, {"gives": gives, "reason": change.reason, "revision": revision})
    return revision


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
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    return read_document(session)


def record(session: Session, actor: str, action: str, what: str, details: JsonObject) -> None:
    """An audit row for a change that concerns the whole service."""
    audit.append(session, audit.Entry(datetime.now(UTC), audit.SERVICE, actor, action, what, details))


def _record_steps(session: Session, name: str, before: JsonObject, flag: JsonObject, actor: str, reason: str) -> None:
    """However a flag came to name a release, by a command or by going back: the history of releases has it."""
    default, canary, canary_before = flag.get("defaultVariant"), document.canary_of(flag), document.canary_of(before)
    if canary_before and canary_before[0] not in (default, canary and canary[0]):
        releases.record_step(session, canary_before[0], Step.CANARY_ENDED, actor, reason)
    if default and default != before.get("defaultVariant"):
        releases.record_step(session, default, Step.ACTIVATED, actor, reason)
    if canary and canary != canary_before:
        releases.record_step(session, canary[0], Step.CANARY, actor, f"{canary[1]} %: {reason}")


def _is_text(reason: str) -> bool:
    try:
        return "\x00" not in reason and bool(reason.encode())
    except UnicodeEncodeError:  # as from a terminal with another encoding
        return False
