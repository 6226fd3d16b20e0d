"""A decision as a row, and back, with what became of it."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from service.application.decision import Decision, Disposition, JsonObject, Reason, Source, Usage
from service.application.errors import NotFound
from service.application.identity import Caller
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, EffectRow, ReviewItemRow

# What has the same name and form in both.
_SAME = (
    "id", "use_case", "tenant", "actor", "outcome", "degraded", "release", "prompt_version", "model_version",
    "repaired", "input_digest", "supersedes", "trace_id", "at", "latency_ms",
)  # fmt: skip
_REVIEW = ("id", "state", "verdict", "note", "reviewer", "corrected")


class SqlDecisions:
    """Stored decisions, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show(self, caller: Caller, decision_id: str) -> JsonObject:
        """One decision of the caller's own tenant. Raises `NotFound`: for it, another tenant's does not exist.

        The answer's fields, `at`, `taint`, the ids `supersedes` and `superseded_by`, `review` (None, or id, state,
        verdict, note, reviewer, corrected) and `effect` {state: none|held|queued|done|failed, reference}.
        """
        return await self._database.read(lambda session: find(session, caller.tenant, decision_id))


def find(session: Session, tenant: str, decision_id: str) -> JsonObject:
    """What `SqlDecisions.show` answers."""
    newer = aliased(DecisionRow)
    query = (
        select(DecisionRow, ReviewItemRow, EffectRow.state, EffectRow.reference, newer.id)
        .outerjoin(ReviewItemRow, ReviewItemRow.decision_id == DecisionRow.id)
        .outerjoin(EffectRow, EffectRow.decision_id == DecisionRow.id)
        .outerjoin(newer, newer.supersedes == DecisionRow.id)
        .where(DecisionRow.tenant == tenant, DecisionRow.id == decision_id)
    )
    found = session.execute(query).first()
    if found is None:
        raise NotFound("no such decision")
    row, item, state, reference, superseded_by = found
    decision = from_row(row)
    return decision.answer() | {
        "at": decision.at.isoformat(),
        "taint": list(decision.taint),
        "supersedes": decision.supersedes,
        "superseded_by": superseded_by,
        "review": {name: getattr(item, name) for name in _REVIEW} if item else None,
        "effect": {"state": state or "none", "reference": reference},
    }


def to_row(decision: Decision) -> dict[str, Any]:
    """The columns of a decision."""
    return {name: getattr(decision, name) for name in _SAME} | {
        "disposition": decision.disposition.value,
        "source": decision.source.value,
        "reason": decision.reason.value if decision.reason else None,
        "taint": list(decision.taint),
        "input_tokens": decision.usage.input_tokens,
        "output_tokens": decision.usage.output_tokens,
        "cost_usd": decision.usage.cost_usd,
    }


def from_row(row: DecisionRow) -> Decision:
    """The decision of a row."""
    return Decision(
        **{name: getattr(row, name) for name in _SAME},
        disposition=Disposition(row.disposition),
        source=Source(row.source),
        reason=Reason(row.reason) if row.reason else None,
        taint=tuple(row.taint),
        usage=Usage(row.input_tokens, row.output_tokens, row.cost_usd),
    )
