"""Reading decisions back, with what became of them."""

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from service.application.decision import JsonObject
from service.integration.database import decisions
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, EffectRow, ReviewItemRow


class SqlDecisionArchive:
    """`DecisionArchive`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, decision_id: str) -> JsonObject | None:
        return await self._database.read(lambda session: _find(session, tenant, decision_id))


def _find(session: Session, tenant: str, decision_id: str) -> JsonObject | None:
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
        return None
    row, item, state, reference, superseded_by = found
    decision = decisions.from_row(row)
    return decision.answer() | {
        "at": decision.at.isoformat(),
        "taint": list(decision.taint),
        "supersedes": decision.supersedes,
        "superseded_by": superseded_by,
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
