"""Appending to the audit table. Always in the transaction of what is audited, so that neither is without the other."""

from dataclasses import asdict, dataclass
from datetime import datetime

from opentelemetry import trace
from sqlalchemy import insert
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.integration.database.tables import AuditRow, table_of

# The tenant of acts that concern the whole service: flags, releases.
SERVICE = "-"

_INSERT = insert(table_of(AuditRow))


@dataclass(frozen=True)
class Entry:
    """Who did what to which object, when. `details` must hold neither customers' words nor secrets."""

    at: datetime
    tenant: str
    actor: str
    action: str
    object: str
    details: JsonObject


def append(session: Session, entry: Entry) -> None:
    """Append one row, with the trace it happened in."""
    session.execute(_INSERT, {**asdict(entry), "trace_id": _trace_id()})


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
