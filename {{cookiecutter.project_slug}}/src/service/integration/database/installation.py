"""Whose database this is. Production is not what the operator's shell says, but what the database was migrated for."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from service.application.errors import Invalid
from service.integration.database import audit
from service.integration.database.tables import InstallationRow

ONLY = 1


def profile_of(session: Session) -> str | None:
    """The profile that migrated it first; None before."""
    row = session.get(InstallationRow, ONLY)
    return row.profile if row else None


def refuse_anothers(session: Session, profile: str) -> None:
    """Raise `Invalid` when it is another profile's: its keys must not be served with this one's vault and issuer."""
    found = profile_of(session)
    if found not in (None, profile):
        raise Invalid(f"this database was migrated for {found}: set PROFILE={found}, or DATABASE_URL to another one")


def claim(session: Session, profile: str, actor: str) -> None:
    """Make it this profile's. Raises `Invalid` when it is another's."""
    refuse_anothers(session, profile)
    if profile_of(session) is None:
        session.add(InstallationRow(id=ONLY, profile=profile))
        session.flush()
        audit.append(session, audit.Entry(datetime.now(UTC), audit.SERVICE, actor, "installation.claimed", profile, {}))
