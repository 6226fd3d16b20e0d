"""How far a release has come: one line of it, and everything."""

from dataclasses import asdict

from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.release import Step
from service.integration.database import releases
from service.integration.database.tables import ReleaseDraftRow
from service.integration.flags import document, store


def standing(session: Session, row: ReleaseDraftRow) -> JsonObject:
    """One line about a release."""
    flag = store.read_document(session)["flags"].get(f"{row.use_case}.release", {"defaultVariant": "none"})
    share, steps = document.canary_of(flag), releases.steps_of(session, row.use_case)
    reports = releases.reports_of(session, row.digest)
    if flag["defaultVariant"] == row.name:
        state = "active"
    elif share and share[0] == row.name:
        state = f"canary {share[1]} %"
    else:
        state = "published" if row.name in releases.published_names(session) else "draft"
    return {
        "name": row.name,
        "use_case": row.use_case,
        "digest": row.digest,
        "prompt_version": row.bundle["prompt_version"],
        "state": state,
        "report": f"{reports[0].verdict} on {reports[0].target}" if reports else None,
        "author": row.author,
        "model": row.bundle.get("model") or None,
        "approved_by": sorted({s.actor for s in steps if (s.digest, s.step) == (row.digest, Step.APPROVED.value)}),
        "drafted_at": row.drafted_at,
        **releases.publication_of(session, row.digest),
    }


def in_full(session: Session, name: str) -> JsonObject:
    """Its bundle, its reports, and everything done with it. Raises `NotFound`."""
    row = releases.drafted(session, name)
    steps = [s for s in releases.steps_of(session, row.use_case) if s.digest == row.digest]
    done = [{"at": s.at, "step": s.step, "actor": s.actor, "reason": s.reason, "report": s.report_id} for s in steps]
    done.append({"at": row.drafted_at, "step": "drafted", "actor": row.author, "reason": "", "report": None})
    reports = [asdict(report) for report in releases.reports_of(session, row.digest)]
    return {
        **standing(session, row),
        **releases.bundle_of(row).model_dump(mode="json"),
        "reports": reports,
        "steps": done,
    }
