"""Reading decisions back, with what became of them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, EffectRow, ReviewItemRow


class SqlDecisionArchive:
    """`DecisionArchive`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, decision_id: str) -> JsonObject | None:
        return await self._database.read(lambda session: _find(session, tenant, decision_id))


def _find(session: Session, tenant: str, decision_id: str) -> JsonObject | None:
    query = (
        select(DecisionRow, ReviewItemRow, EffectRow.state, EffectRow.reference)
        .outerjoin(ReviewItemRow, ReviewItemRow.decision_id == DecisionRow.id)
        .outerjoin(EffectRow, EffectRow.decision_id == DecisionRow.id)
        .where(DecisionRow.tenant == tenant, DecisionRow.id == decision_id)
    )
    found = session.execute(query).first()
    return _as_json(*found) if found else None


def _as_json(decision: DecisionRow, item: ReviewItemRow | None, state: str | None, reference: str | None) -> JsonObject:
    return {
        "decision_id": decision.id,
        "at": decision.at.isoformat(),
        "outcome": decision.outcome,
        "disposition": decision.disposition,
        "source": decision.source,
        "degraded": decision.degraded,
        "reason": decision.reason,
        "release": decision.release,
        "prompt_version": decision.prompt_version,
        "model_version": decision.model_version,
        "usage": {
            "input_tokens": decision.input_tokens,
            "output_tokens": decision.output_tokens,
            "cost_usd": decision.cost_usd,
        },
        "trace_id": decision.trace_id,
        "review": _review(item),
        "effect": {"state": state or "none", "reference": reference},
    }


def _review(item: ReviewItemRow | None) -> JsonObject | None:
    if item is None:
        return None
    return {
        "id": item.id,
        "state": item.state,
        "verdict": item.verdict,
        "note": item.note,
        "reviewer": item.reviewer,
        "corrected": item.corrected,
    }
