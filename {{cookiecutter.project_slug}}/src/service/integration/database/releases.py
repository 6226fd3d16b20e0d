"""Releases in the database: drafted, approved, published, active. Each is written once, then only read."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid, NotFound
from service.application.release import Approval, Gate, Release, Report, Step, same_person
from service.integration.database import audit
from service.integration.database.tables import EvalReportRow, ReleaseDraftRow, ReleaseRow, ReleaseStepRow


def draft(session: Session, release: Release, author: str) -> bool:
    """Keep a release to be evaluated and approved, unless its digest is known; returns whether it was new.

    Raises `Invalid` when the same version of the prompt was drafted with another text.
    """
    if session.get(ReleaseDraftRow, release.digest) is not None:
        return False
    _refuse_one_version_for_two_texts(session, release)
    row = {"digest": release.digest, "name": release.name, "use_case": release.use_case}
    bundle = release.model_dump(mode="json", exclude_defaults=True)  # code that lacks a newer field can read it
    session.add(ReleaseDraftRow(**row, bundle=bundle, drafted_at=datetime.now(UTC), author=author))
    session.flush()
    _audit(session, author, "release.drafted", release.name, {"prompt_version": release.prompt_version})
    return True


def approve(  # noqa: PLR0913 - who, what, why, and on what evidence
    session: Session, name: str, approver: str, reason: str, production: bool, suite: str = "", holdout: int = 0
) -> Report:
    """Put a name to a release, on the evidence of its newest report, which must be of this suite and its sealed cases.

    Raises `Invalid`.
    """
    row = drafted(session, name)
    reports = reports_of(session, row.digest)
    if not reports:
        raise Invalid(f"{name} has no report: svc release evaluate {name}")
    report = reports[0]
    if why := report.why_not(bundle_of(row), production, suite, holdout):
        raise Invalid(why)
    if same_person(approver, row.author):
        raise Invalid(f"{name} was drafted by {approver}: another person must approve it")
    if not reason.strip():
        raise Invalid("a reason is required: say what you looked at")
    record_step(session, name, Step.APPROVED, approver, reason, report.id)
    _audit(session, approver, "release.approved", name, {"report": report.id, "reason": reason})
    return report


def publish(session: Session, name: str, actor: str, gate: Gate) -> bool:
    """Make a release known to every process; returns whether it was new. Raises `Invalid` unless it is ready."""
    row = drafted(session, name)
    overridden = pass_gate(session, row, gate)
    if session.get(ReleaseRow, row.digest) is not None:
        return False
    kept = {"digest": row.digest, "name": row.name, "use_case": row.use_case, "bundle": row.bundle}
    session.add(ReleaseRow(**kept, published_at=datetime.now(UTC), published_by=actor))
    session.flush()
    _audit(session, actor, "release.published", name, {"digest": row.digest, "overridden": overridden})
    return True


def pass_gate(session: Session, row: ReleaseDraftRow, gate: Gate) -> str | None:
    """What was overridden, if anything. Raises `Invalid` with what is missing before anybody may get this release."""
    return gate.check(bundle_of(row), row.author, _approvals(session, row.digest))


def drafted(session: Session, name: str) -> ReleaseDraftRow:
    """The release of this name. Raises `NotFound`."""
    row = session.scalar(select(ReleaseDraftRow).where(ReleaseDraftRow.name == name))
    if row is None:
        raise NotFound(f"no release is called {name}; svc release list names them")
    return row


def by_digest(session: Session, digest: str) -> ReleaseDraftRow | None:
    """The release with this digest."""
    return session.get(ReleaseDraftRow, digest)


def bundle_of(row: ReleaseDraftRow) -> Release:
    """The release of a draft. Raises `Invalid` when other code drafted it, whose bundle this code does not know."""
    try:
        return Release.model_validate(row.bundle)
    except ValidationError:
        raise Invalid(f"{row.name} was drafted by other code, whose bundle this code does not understand") from None


def list_drafts(session: Session) -> list[ReleaseDraftRow]:
    """All releases, published or not, newest first."""
    return list(session.execute(select(ReleaseDraftRow).order_by(ReleaseDraftRow.drafted_at.desc())).scalars())


def published_names(session: Session) -> set[str]:
    """The names that a flag may give to customers."""
    return set(session.scalars(select(ReleaseRow.name)))


def publication_of(session: Session, digest: str) -> JsonObject:
    """When and by whom a release was published; None for both before."""
    row = session.get(ReleaseRow, digest)
    return {"published_at": row.published_at if row else None, "published_by": row.published_by if row else None}


def steps_of(session: Session, use_case: str, step: Step | None = None) -> list[ReleaseStepRow]:
    """What was done with the releases of a use case, newest first."""
    query = select(ReleaseStepRow).where(ReleaseStepRow.use_case == use_case).order_by(ReleaseStepRow.id.desc())
    return list(session.scalars(query if step is None else query.where(ReleaseStepRow.step == step.value)))


def record_step(session: Session, name: str, step: Step, actor: str, reason: str, report_id: str | None = None) -> None:
    """One more step of a drafted release; a name that is none's, such as a flag's "none", takes no step."""
    row = session.scalar(select(ReleaseDraftRow).where(ReleaseDraftRow.name == name))
    if row is not None:
        made = {"digest": row.digest, "use_case": row.use_case, "step": step.value, "at": datetime.now(UTC)}
        session.add(ReleaseStepRow(**made, actor=actor, reason=reason, report_id=report_id))
        session.flush()


def record_report(session: Session, report: JsonObject, actor: str) -> str:
    """Keep what a suite run says of the release with its digest; returns the report's id."""
    report_id = str(uuid.uuid4())
    minimal = {name: report[name] for name in ("digest", "suite", "target", "verdict")}
    session.add(EvalReportRow(id=report_id, **minimal, at=datetime.now(UTC), report=report))
    _audit(session, actor, "report.recorded", report_id, minimal)
    return report_id


def reports_of(session: Session, digest: str) -> list[Report]:
    """The reports on a release, newest first."""
    query = select(EvalReportRow).where(EvalReportRow.digest == digest).order_by(EvalReportRow.at.desc())
    return [_as_report(row) for row in session.scalars(query)]


def stood(steps: Iterable[ReleaseStepRow]) -> list[str]:
    """Of steps, newest first, the digests that were active, newest first, without those given up since."""
    given_up: set[str] = set()
    found: dict[str, None] = {}
    for step in steps:
        if step.step == Step.GIVEN_UP.value and step.digest not in found:
            given_up.add(step.digest)
        elif step.step == Step.ACTIVATED.value and step.digest not in given_up:
            found.setdefault(step.digest)
    return list(found)


def _refuse_one_version_for_two_texts(session: Session, release: Release) -> None:
    for row in list_drafts(session):
        version = [row.bundle.get(name) for name in ("use_case", "prompt_id", "prompt_version")]
        if version == [release.use_case, release.prompt_id, release.prompt_version]:
            if row.bundle.get("prompt") == release.prompt:
                continue
            raise Invalid(
                f"version {release.prompt_version} of the prompt {release.prompt_id} was drafted with another text, "
                f"as {row.name}: give the changed one a new version, and a changelog entry that says why"
            )


def _approvals(session: Session, digest: str) -> list[Approval]:
    query = select(ReleaseStepRow).where(ReleaseStepRow.digest == digest, ReleaseStepRow.step == Step.APPROVED.value)
    return [
        Approval(step.actor, _report(session, step.report_id) if step.report_id else None)
        for step in session.scalars(query)
    ]


def _report(session: Session, report_id: str) -> Report:
    row = session.get(EvalReportRow, report_id)
    if row is None:
        raise NotFound(f"there is no report {report_id}")
    return _as_report(row)


def _as_report(row: EvalReportRow) -> Report:
    told = row.report or {}
    models, holdout = tuple(told.get("models", ())), told.get("holdout") or 0
    return Report(row.id, row.digest, row.suite, row.target, row.verdict, row.at, models, holdout)


def _audit(session: Session, actor: str, action: str, what: str, details: JsonObject) -> None:
    audit.append(session, audit.Entry(datetime.now(UTC), audit.SERVICE, actor, action, what, details))
