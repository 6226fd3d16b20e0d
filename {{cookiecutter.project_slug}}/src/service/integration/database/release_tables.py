"""The tables of releases, all append-only: what was drafted, how it was judged, who stands for it, what was active."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from service.integration.database.columns import Base, Counter


class ReleaseDraftRow(Base):
    """A release as its author drafted it: to be evaluated and approved, not known to any process. Append-only."""

    __tablename__ = "release_draft"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    use_case: Mapped[str]
    bundle: Mapped[dict[str, Any]]
    drafted_at: Mapped[datetime]
    author: Mapped[str]


class ReleaseRow(Base):
    """A published release: every process knows it and a flag may name it. Append-only."""

    __tablename__ = "release"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    use_case: Mapped[str]
    bundle: Mapped[dict[str, Any]]
    published_at: Mapped[datetime]
    published_by: Mapped[str]


class ReleaseStepRow(Base):
    """Approvals, and the times at which a release became what everybody, or a share, gets. Append-only."""

    __tablename__ = "release_step"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    digest: Mapped[str]
    use_case: Mapped[str]
    step: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    report_id: Mapped[str | None]
    at: Mapped[datetime]


class EvalReportRow(Base):
    """The verdict of one suite run on the release with this digest, and the whole report. Append-only."""

    __tablename__ = "eval_report"

    id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(index=True)
    suite: Mapped[str]
    target: Mapped[str]
    verdict: Mapped[str]
    at: Mapped[datetime]
    report: Mapped[dict[str, Any] | None]
