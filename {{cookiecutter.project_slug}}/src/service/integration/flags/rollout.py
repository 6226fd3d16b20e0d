"""Which release answers: activate one, give a share of customers another, go back. Each is one flag revision."""

from contextlib import suppress
from datetime import datetime

from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid, NotFound
from service.application.release import Code, Gate, Step
from service.integration.database import releases
from service.integration.database.tables import FlagRevisionRow
from service.integration.flags import document, processes, store


def activate(session: Session, name: str, actor: str, reason: str, gate: Gate) -> int:
    """Everybody gets this release; a canary ends. Raises `Invalid` unless it is published, ready, and fits."""
    flag, overridden = _allowed(session, name, gate)
    current = store.current_for_change(session)
    revision = store.append_revision(session, document.with_release(current, flag, name), actor, reason)
    details = {"reason": reason, "revision": revision, "overridden": overridden}
    store.record(session, actor, "release.activated", name, details)
    return revision


def canary(session: Session, name: str, percent: int, actor: str, reason: str, gate: Gate) -> int:
    """`percent` of customers get this release, everybody else the active one. Raises `Invalid` like `activate`."""
    if not 1 <= percent <= 99:
        raise Invalid("a canary gets 1 to 99 per cent; `svc release activate` gives everybody a release")
    current, flag = store.current_for_change(session), f"{releases.drafted(session, name).use_case}.release"
    active = active_release(current, flag)
    if active in (name, "none"):
        raise Invalid(f"{name} is active already" if active == name else "no release is active: activate the first one")
    _, overridden = _allowed(session, name, gate)
    changed = document.with_release(current, flag, active, name, percent)
    revision = store.append_revision(session, changed, actor, reason)
    details = {"percent": percent, "reason": reason, "revision": revision, "overridden": overridden}
    store.record(session, actor, "release.canary", name, details)
    return revision


def rollback(session: Session, use_case: str, actor: str, reason: str, code: Code) -> tuple[int, str, str]:
    """End the canary if there is one, else activate what was active before and not given up since.

    Returns the revision, what is given up and what answers now. Raises `Invalid` when there is nothing to go back to.
    """
    flag = f"{use_case}.release"
    current = store.current_for_change(session)
    active = active_release(current, flag)
    canary_now = document.canary_of(current["flags"][flag])
    back = active if canary_now else _before(session, use_case, active, code)
    if not canary_now:
        releases.record_step(session, active, Step.GIVEN_UP, actor, reason)
    revision = store.append_revision(session, document.with_release(current, flag, back), actor, reason)
    given_up = canary_now[0] if canary_now else active
    details = {"given_up": given_up, "reason": reason, "revision": revision}
    store.record(session, actor, "release.rolled_back", back, details)
    return revision, given_up, back


def revert(session: Session, revision: int, actor: str, reason: str, code: Code) -> tuple[int, list[str]]:
    """Make an earlier document the newest, as a new revision; returns that, and the flags that changed by it.

    Raises `NotFound` for an unknown revision, `Invalid` when nothing would change, or a release no longer fits.
    """
    current = store.current_for_change(session)
    earlier = session.get(FlagRevisionRow, revision)
    if earlier is None:
        raise NotFound("there is no such revision; svc flags history lists them")
    if not isinstance(earlier.doc.get("flags"), dict):
        raise Invalid("that revision holds no flags")
    # A flag that came later stays: the code asks for it.
    restored = {**earlier.doc, "flags": {**current["flags"], **earlier.doc["flags"]}}
    names = [name for name, flag in restored["flags"].items() if flag != current["flags"].get(name)]
    if not names:
        raise Invalid("nothing would change: all is as it was at that revision")
    for name in names:
        if not document.is_switch(name):
            for release in document.releases_of(restored["flags"][name]):
                _refuse_misfit(session, release, code)
    made = store.append_revision(session, restored, actor, reason)
    what = {"flags": names, "reason": reason, "revision": made}
    store.record(session, actor, "flag.reverted", f"revision {revision}", what)
    return made, names


def compared(session: Session, incumbent: str, canary_name: str) -> tuple[str, str, datetime, datetime | None]:
    """The two releases to compare, by default those that answer now, since when both do, and until when they did.

    Raises `Invalid` if they never did.
    """
    if bool(incumbent) != bool(canary_name):
        raise Invalid("name both releases, or none to compare the canary of now")
    if not canary_name:
        flags = store.read_document(session)["flags"]
        on = [(flag["defaultVariant"], found[0]) for flag in flags.values() if (found := document.canary_of(flag))]
        if len(on) != 1:
            raise Invalid("there is no canary now: name two releases" if not on else "name two releases")
        incumbent, canary_name = on[0]
    row = releases.drafted(session, canary_name)
    releases.drafted(session, incumbent)
    began = ended = None
    for step in releases.steps_of(session, row.use_case):  # backwards, to the start of its last time on canary
        if step.step == Step.CANARY.value and step.digest == row.digest:
            began = step.at
        elif step.step == Step.ACTIVATED.value or step.digest == row.digest:
            if began is not None:
                break
            ended = step.at
    if began is None:
        raise Invalid(f"{canary_name} was never on canary, so nothing compares")
    return incumbent, canary_name, began, ended


def active_release(current: JsonObject, flag: str) -> str:
    """The name of the release that everybody outside a canary gets; "none" if there is none."""
    if flag not in current["flags"]:
        raise Invalid(f"there is no flag {flag}: svc migrate adds it")
    return str(current["flags"][flag]["defaultVariant"])


def _allowed(session: Session, name: str, gate: Gate) -> tuple[str, str | None]:
    """The flag to change, and what was overridden."""
    row = releases.drafted(session, name)
    overridden = releases.pass_gate(session, row, gate)
    if name not in releases.published_names(session):
        raise Invalid(f"{name} is not published: svc release publish {name}")
    _refuse_misfit(session, name, gate.code)
    return f"{row.use_case}.release", overridden


def _refuse_misfit(session: Session, name: str, code: Code) -> None:
    """Raise `Invalid` if this code or a running process does not fit a release; "none" fits."""
    if name == "none":
        return
    release = releases.bundle_of(releases.drafted(session, name))
    if why := code.misfit(release):
        raise Invalid(f"{name} does not fit this code: {why}")
    for process in processes.alive(session):
        if process.code and (why := Code(**process.code).misfit(release)):
            raise Invalid(f"{name} does not fit the running {process.kind} {process.id}: {why}; deploy the code first")


def _before(session: Session, use_case: str, active: str, code: Code) -> str:
    """The release that was active before and not given up since, and fits."""
    for digest in releases.stood(releases.steps_of(session, use_case)):
        row = releases.by_digest(session, digest)
        if row is None or row.name == active:
            continue
        with suppress(Invalid):
            _refuse_misfit(session, row.name, code)
            return row.name
    raise Invalid(
        f"there is nothing to go back to: no other release of {use_case} was active, fits and was not given up since; "
        "svc release list, svc release activate, or switch ai.enabled off"
    )
