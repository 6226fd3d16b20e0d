"""Live answers that wait for an evaluator, and what evaluators said.

Every worker does this. The primary key decides who was first; only that worker's verdicts are told as events.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Select, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.sampling import in_sample
from service.integration.database import decisions, payloads
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, LiveScoreRow, PayloadRow, table_of

HOUR = timedelta(hours=1)
AT_ONCE = 500  # decisions that are looked through in one transaction
log = logging.getLogger(__name__)
_score, _made = table_of(LiveScoreRow), table_of(DecisionRow)
_INSERT = {
    "postgresql": postgresql.insert(_score).on_conflict_do_nothing().returning(_score.c.dimension),
    "sqlite": sqlite.insert(_score).on_conflict_do_nothing().returning(_score.c.dimension),
}


class Judged(Protocol):
    """A verdict."""

    @property
    def passed(self) -> bool: ...


Judge = Callable[[JsonObject, JsonObject], Mapping[str, Judged]]
Tell = Callable[[str, bool | None, str, str, str], None]


class LiveEvaluation:
    """A worker's chore: a share of the last hour's answers is judged, `per_hour` at most among all workers.

    `judge` gets the request and the answer; `tell` dimension, verdict, use case, release and trace id. What cannot be
    opened or judged is on record as a failure of the evaluator.
    """

    def __init__(self, database: Database, judge: Judge, share: float, per_hour: int, tell: Tell) -> None:
        self._database, self._judge, self._share, self._per_hour = database, judge, share, per_hour
        self._tell = tell

    async def __call__(self, now: datetime) -> None:
        left = self._per_hour - await self._database.read(lambda session: _judged_since(session, now - HOUR))
        after: tuple[datetime, str] | None = None
        while left > 0 and self._share > 0:
            found = await self._database.read(partial(_unjudged, since=now - HOUR, after=after))
            for id_, _ in found:
                if left > 0 and in_sample("evaluation", id_, self._share):
                    left -= await self._one(id_, now)
            if len(found) < AT_ONCE:
                return
            after = (found[-1].at, found[-1].id)

    async def _one(self, id_: str, now: datetime) -> bool:
        stored: list[tuple[DecisionRow, dict[str, bool | None]]] = []

        def transaction(session: Session) -> None:
            row = session.get_one(DecisionRow, id_)
            encrypted = session.scalar(select(PayloadRow.encrypted).where(PayloadRow.decision_id == id_))
            verdicts = self._verdicts(payloads.request_of(session, row.tenant, id_, encrypted), row)
            insert = _INSERT[session.get_bind().dialect.name]
            mine: dict[str, bool | None] = {}
            for dimension, passed in verdicts.items():
                columns = {
                    "decision_id": id_,
                    "dimension": dimension,
                    "release": row.release,
                    "passed": passed,
                    "at": now,
                }
                if session.execute(insert, columns).first() is not None:
                    mine[dimension] = passed
            session.expunge(row)
            stored[:] = [(row, mine)]

        await self._database.write(transaction)
        for row, mine in stored:
            for dimension, passed in mine.items():
                self._tell(dimension, passed, row.use_case, row.release, row.trace_id)
        return any(mine for _, mine in stored)

    def _verdicts(self, request: JsonObject, row: DecisionRow) -> dict[str, bool | None]:
        try:
            judged = self._judge(request, decisions.from_row(row).answer())
            return {dimension: verdict.passed for dimension, verdict in judged.items()}
        except Exception as error:  # an evaluator's failure must show, and must not come back for an hour
            log.warning("evaluating %s raised %s", row.id, type(error).__name__, exc_info=error)
            return {"evaluator": None}


def _judged_since(session: Session, since: datetime) -> int:
    query = select(func.count(func.distinct(_score.c.decision_id))).where(_score.c.at >= since)
    return int(session.execute(query).scalar_one())


def _unjudged(session: Session, since: datetime, after: tuple[datetime, str] | None) -> Any:
    """Answers whose message is still there, oldest first."""
    query: Select[Any] = (
        select(_made.c.id, _made.c.at)
        .join(PayloadRow, PayloadRow.decision_id == _made.c.id)
        .where(_made.c.at >= since, PayloadRow.encrypted.is_not(None))
        .where(~exists(_score.c.decision_id).where(_score.c.decision_id == _made.c.id))
        .order_by(_made.c.at, _made.c.id)
        .limit(AT_ONCE)
    )
    if after is not None:
        query = query.where((_made.c.at > after[0]) | ((_made.c.at == after[0]) & (_made.c.id > after[1])))
    return session.execute(query).all()
