"""Flag revisions in the database. Every change is a new revision with who, why and when; none is ever altered."""

import json
from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.integration.database import audit
from service.integration.database.tables import FlagRevisionRow, ReleaseRow
from service.integration.flags import document


def newest_revision(session: Session) -> int:
    """The newest revision's number; 0 before the first."""
    return session.scalar(select(func.max(FlagRevisionRow.rev))) or 0


def read_document(session: Session) -> JsonObject:
    """The newest document; one without flags before the first revision."""
    newest = select(FlagRevisionRow.doc).order_by(FlagRevisionRow.rev.desc()).limit(1)
    return session.scalar(newest) or {"flags": {}}


def history(session: Session, limit: int = 50) -> list[FlagRevisionRow]:
    """The newest revisions, newest first."""
    query = select(FlagRevisionRow).order_by(FlagRevisionRow.rev.desc()).limit(limit)
    return list(session.execute(query).scalars())


def append_revision(session: Session, changed: JsonObject, actor: str, reason: str) -> int:
    """Make this whole document the newest; returns its number. Raises `Invalid` when it is not acceptable."""
    document.validate(changed)
    row = FlagRevisionRow(doc=changed, actor=actor, reason=reason, at=datetime.now(UTC))
    session.add(row)
    session.flush()
    return row.rev


def set_flag(session: Session, name: str, variant: str, actor: str, reason: str) -> int:
    """Give everybody this variant from now on; returns the revision. Raises `Invalid`.

    A flag that chooses a release also takes the name of any published release, so that going back to an older
    one needs no edited document.
    """
    if not reason.strip():
        raise Invalid("a reason is required: it is what the next person on call will read")
    _one_writer_at_a_time(session)
    current = read_document(session)
    changed = document.with_default(_with_release(session, current, name, variant), name, variant)
    revision = append_revision(session, changed, actor, reason)
    details = {"variant": variant, "reason": reason, "revision": revision}
    audit.append(session, audit.Entry(datetime.now(UTC), audit.SERVICE, actor, "flag.set", name, details))
    return revision


def add_missing(session: Session, seed: JsonObject, actor: str) -> list[str]:
    """Add the seed's flags that do not exist yet; existing ones stay as operators left them. Returns the names."""
    document.validate(seed)
    _one_writer_at_a_time(session)
    current = read_document(session)
    missing = [name for name in seed["flags"] if name not in current["flags"]]
    if not missing:
        return []
    rules = {**seed.get("$evaluators", {}), **current.get("$evaluators", {})}
    added = {name: seed["flags"][name] for name in missing}
    changed = {**current, "flags": {**current["flags"], **added}, **({"$evaluators": rules} if rules else {})}
    revision = append_revision(session, changed, actor, f"added missing flags: {', '.join(missing)}")
    now = datetime.now(UTC)
    for name in missing:
        audit.append(session, audit.Entry(now, audit.SERVICE, actor, "flag.added", name, {"revision": revision}))
    return missing


def _with_release(session: Session, current: JsonObject, name: str, variant: str) -> JsonObject:
    flag = current["flags"].get(name)
    if flag is None or document.is_switch(name) or variant in flag["variants"]:
        return current
    use_case = name.removesuffix(".release")
    published = select(ReleaseRow.name).where(ReleaseRow.name == variant, ReleaseRow.use_case == use_case)
    if session.scalar(published) is None:
        raise Invalid(f"{name} has no variant {variant}, and no release of {use_case} is called so")
    changed: JsonObject = json.loads(json.dumps(current))
    changed["flags"][name]["variants"][variant] = variant
    return changed


def _one_writer_at_a_time(session: Session) -> None:
    """A new revision is made from the newest; on Postgres two could otherwise be made from the same one."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE flag_revision IN SHARE ROW EXCLUSIVE MODE"))
