"""The tables, as the migrations build them. A test fails when the two differ.

What a customer wrote is in `payload.encrypted` and `effect.encrypted`. `decision.outcome`, `idempotency.answer`,
`review_item.note` and `.corrected` quote it in plain. No other column holds any of it, as a test checks
(docs/data.md). Tables called append-only refuse UPDATE and DELETE by trigger.
"""

from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Table, false, text
from sqlalchemy.orm import Mapped, mapped_column

from service.integration.database.columns import Base, Counter, Names
from service.integration.database.release_tables import EvalReportRow, ReleaseDraftRow, ReleaseRow, ReleaseStepRow

__all__ = ["Base", "EvalReportRow", "ReleaseDraftRow", "ReleaseRow", "ReleaseStepRow"]


_FULL = text("encrypted IS NOT NULL")


class DecisionRow(Base):
    """One answered request. Never changed after it is written, but for an outcome that is erased: {}."""

    __tablename__ = "decision"
    # Without its instant, planners answer for the second index with the first, and read a whole tenant.
    __table_args__ = (Index(None, "tenant", "at"), Index(None, "input_digest", "release", "tenant", "at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    use_case: Mapped[str]
    tenant: Mapped[str]
    actor: Mapped[str]
    outcome: Mapped[dict[str, Any]]
    disposition: Mapped[str]
    source: Mapped[str]
    degraded: Mapped[bool]
    reason: Mapped[str | None]
    release: Mapped[str]
    prompt_version: Mapped[str]
    model_version: Mapped[str]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_usd: Mapped[float | None]
    trace_id: Mapped[str]
    at: Mapped[datetime]
    repaired: Mapped[bool] = mapped_column(server_default=false())
    taint: Mapped[list[str]] = mapped_column(Names, server_default="[]")
    input_digest: Mapped[str] = mapped_column(server_default=text("''"))
    supersedes: Mapped[str | None] = mapped_column(unique=True, index=True)
    latency_ms: Mapped[int | None]


class PayloadRow(Base):
    """What the customer wrote, what models were sent and what they said: encrypted, and None past its time.

    The row itself says that the decision still holds something of the customer, and by `customer`, a keyed digest, of
    which one. It goes when all of that has gone.
    """

    __tablename__ = "payload"
    __table_args__ = (
        Index(None, "tenant", "customer"),
        Index(None, "created_at"),
        Index("ix_payload_full", "created_at", postgresql_where=_FULL, sqlite_where=_FULL),
    )

    decision_id: Mapped[str] = mapped_column(ForeignKey("decision.id"), primary_key=True)
    tenant: Mapped[str]
    customer: Mapped[str | None]
    encrypted: Mapped[bytes | None]
    created_at: Mapped[datetime]


class IdempotencyRow(Base):
    """A claim on an idempotency key, then its answer. `owner` is the attempt that holds the claim."""

    __tablename__ = "idempotency"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    actor: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    answer: Mapped[dict[str, Any] | None]
    owner: Mapped[str]
    claimed_at: Mapped[datetime]
    lease_until: Mapped[datetime]


class ReviewItemRow(Base):
    """A decision that waits for, or was decided by, a person. If a model made it, with the question it answers."""

    __tablename__ = "review_item"
    __table_args__ = (
        Index(None, "tenant", "state", "opened_at"),
        Index("ix_review_item_question", "input_digest", "release", "tenant", "verdict"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decision.id"), unique=True)
    release: Mapped[str | None]
    input_digest: Mapped[str | None]
    tenant: Mapped[str]
    use_case: Mapped[str]
    disposition: Mapped[str]
    state: Mapped[str]
    opened_at: Mapped[datetime]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    verdict: Mapped[str | None]
    reviewer: Mapped[str | None]
    note: Mapped[str | None]
    corrected: Mapped[dict[str, Any] | None]
    closed_at: Mapped[datetime | None]


class EffectRow(Base):
    """The side-effect ledger: one write to a downstream system, from intent to reference.

    `encrypted` is what to write, None once that is done or given up. `enqueues` numbers the jobs made for it;
    `leased_until` keeps two workers from trying it at once.
    """

    __tablename__ = "effect"
    __table_args__ = (Index(None, "state", "next_attempt_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decision.id"), index=True)
    tenant: Mapped[str]
    encrypted: Mapped[bytes | None]
    state: Mapped[str]
    attempts: Mapped[int]
    enqueues: Mapped[int]
    reference: Mapped[str | None]
    last_error: Mapped[str | None]
    next_attempt_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class BudgetRow(Base):
    """What one day (UTC) has cost one tenant or one release, holds included, in millionths of a US dollar."""

    __tablename__ = "budget"

    day: Mapped[date] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    micro_usd: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did what to which object, when. Append-only; `details` never holds a customer's words or a secret."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "tenant", "at"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    tenant: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    details: Mapped[dict[str, Any]]
    trace_id: Mapped[str | None]


class AuditSealRow(Base):
    """One audit row's place in the chain (audit_chain.py). Append-only; old ones go only with their rows."""

    __tablename__ = "audit_seal"
    __table_args__ = (CheckConstraint("position > 0", "counted_from_1"),)

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    audit_seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    previous: Mapped[str]
    mac: Mapped[str]
    key_id: Mapped[str]
    sealed_at: Mapped[datetime]


class LiveScoreRow(Base):
    """A verdict of an evaluator on a live answer; `passed` is None where the evaluator itself failed."""

    __tablename__ = "live_score"
    __table_args__ = (Index(None, "release", "dimension", "at"), Index(None, "at"))

    decision_id: Mapped[str] = mapped_column(ForeignKey("decision.id"), primary_key=True)
    dimension: Mapped[str] = mapped_column(primary_key=True)
    release: Mapped[str]
    passed: Mapped[bool | None]
    at: Mapped[datetime]


class ApiKeyRow(Base):
    """An API key by the SHA-256 of its secret; the secret itself is nowhere."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    secret_sha256: Mapped[str]
    subject: Mapped[str]
    tenant: Mapped[str]
    roles: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class FlagRevisionRow(Base):
    """One state of all flags. The newest counts; going back is a new revision. Append-only."""

    __tablename__ = "flag_revision"
    __table_args__ = ({"sqlite_autoincrement": True},)

    rev: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    doc: Mapped[dict[str, Any]]
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]


class InstallationRow(Base):
    """The one row that says what this database belongs to: once it is production's, no shell can take that back."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True)
    profile: Mapped[str]


class ProcessRow(Base):
    """A running process that reads flags: the newest revision it goes by, and the code versions it fits."""

    __tablename__ = "process"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    flag_rev: Mapped[int] = mapped_column(BigInteger)
    kill_file: Mapped[bool]
    code: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime]


def table_of(row: type[Base]) -> Table:
    """The plain table, for statements on the way of every request: without the ORM's unit of work they cost half."""
    return cast(Table, row.__table__)
