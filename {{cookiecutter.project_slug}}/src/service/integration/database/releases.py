"""Published releases: written once, then only read. Reading is from memory, because every request asks."""

import logging
import uuid
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.application.errors import Invalid
from service.application.release import Release
from service.integration.database import audit
from service.integration.database.session import Database
from service.integration.database.tables import EvalReportRow, ReleaseRow

log = logging.getLogger(__name__)


def publish(session: Session, release: Release, actor: str) -> bool:
    """Store a release unless its digest is known; returns whether it was new. The newest published is "latest".

    Raises `Invalid` when the same version of the prompt was published with another text.
    """
    if session.get(ReleaseRow, release.digest) is not None:
        return False
    _refuse_one_version_for_two_texts(session, release)
    at = _after_the_newest(session)
    session.add(
        ReleaseRow(
            digest=release.digest,
            name=release.name,
            use_case=release.use_case,
            bundle=release.model_dump(mode="json"),
            published_at=at,
            published_by=actor,
        )
    )
    session.flush()
    details = {"digest": release.digest, "prompt_version": release.prompt_version}
    audit.append(session, audit.Entry(at, audit.SERVICE, actor, "release.published", release.name, details))
    return True


def _refuse_one_version_for_two_texts(session: Session, release: Release) -> None:
    for row in list_releases(session):
        version = [row.bundle.get(name) for name in ("use_case", "prompt_id", "prompt_version")]
        if version == [release.use_case, release.prompt_id, release.prompt_version]:
            if row.bundle.get("prompt") == release.prompt:
                continue
            raise Invalid(
                f"version {release.prompt_version} of the prompt {release.prompt_id} was published with another text, "
                f"as {row.name}: give the changed one a new version, and a changelog entry that says why"
            )


def list_releases(session: Session) -> list[ReleaseRow]:
    """All releases, newest first."""
    return list(session.execute(select(ReleaseRow).order_by(ReleaseRow.published_at.desc())).scalars())


def record_report(session: Session, digest: str, suite: str, target: str, verdict: str) -> str:
    """Keep the verdict of a suite run on the release with this digest; returns the report's id."""
    report_id = str(uuid.uuid4())
    session.add(
        EvalReportRow(id=report_id, digest=digest, suite=suite, target=target, verdict=verdict, at=datetime.now(UTC))
    )
    return report_id


class SqlReleases:
    """Every published release, in memory. `refresh` is called by the poller that also refreshes the flags."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = 0
        self._by_name: dict[str, Release] = {}
        self._latest: dict[str, Release] = {}

    def latest(self, use_case: str) -> Release | None:
        """The release published last for this use case."""
        return self._latest.get(use_case)

    def by_name(self, name: str) -> Release | None:
        """The release with this name."""
        return self._by_name.get(name)

    def refresh(self) -> None:
        """Take in what was published since. Raises `Unavailable`; what is in memory then stays."""
        # Releases never change or go away, so their number tells whether there is anything new.
        count = self._database.read_sync(lambda session: session.scalar(select(func.count(ReleaseRow.digest))))
        if count == self._seen:
            return
        rows = self._database.read_sync(list_releases)
        by_name = {row.name: release for row in rows if (release := fitting(row)) is not None}
        latest: dict[str, Release] = {}
        for row in rows:
            if row.name in by_name:
                latest.setdefault(row.use_case, by_name[row.name])
        self._seen, self._by_name, self._latest = len(rows), by_name, latest


def fitting(row: ReleaseRow) -> Release | None:
    """The release, or None when it was published by other code, whose bundle this code does not understand."""
    try:
        return Release.model_validate(row.bundle)
    except ValidationError:
        log.warning("release %s does not fit this code and is ignored", row.name)
        return None


def _after_the_newest(session: Session) -> datetime:
    """Now, but later than every earlier release: "latest" must be unambiguous even if the clock went back."""
    newest = session.scalar(select(func.max(ReleaseRow.published_at)))
    now = datetime.now(UTC)
    return max(now, newest + timedelta(microseconds=1)) if newest else now
