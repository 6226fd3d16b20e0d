"""Live answers that wait for an evaluator, and what evaluators said.

Every worker does this. The primary key decides who was first; only that worker's verdicts are told as events.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
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
LATE = timedelta(minutes=1)  # the longest from an answer's time to its commit
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

    Two workers that judge at the same moment may go over it by one answer. `judge` gets the request and the answer;
    `tell` dimension, verdict, use case, release and trace id. What cannot be opened or judged is on record as a failure
    of the evaluator; what was erased meanwhile is passed over.
    """

    def __init__(self, database: Database, judge: Judge, share: float, per_hour: int, tell: Tell) -> None:
        self._database, self._judge, self._share, self._per_hour = database, judge, share, per_hour
        self._tell = tell
        self._looked_until = datetime.min.replace(tzinfo=UTC) + HOUR

    async def __call__(self, now: datetime) -> None:
        after = (max(now - HOUR, self._looked_until - LATE), "")
        while self._share > 0:
            found = await self._database.read(partial(_unjudged, after=after))
            for row in found:
                if in_sample("evaluation", row.id, self._share) and not await self._one(row.id, now):
                    return
                self._looked_until = row.at
            if len(found) < AT_ONCE:
                return
            after = (found[-1].at, found[-1].id)

    async def _one(self, id_: str, now: datetime) -> bool:
        """Whether there was room for it within the hour's number."""

        def judged(session: Session) -> tuple[dict[str, bool | None], tuple[str, str, str]] | None:
            if _judged_since(session, now - HOUR) >= self._per_hour:
                return None
            row = session.get_one(DecisionRow, id_)
            encrypted = session.scalar(select(PayloadRow.encrypted).where(PayloadRow.decision_id == id_))
            request = payloads.request_of(session, row.tenant, id_, encrypted)
            return self._verdicts(request, row) if encrypted else {}, (row.use_case, row.release, row.trace_id)

        seen = await self._database.read(judged)
        if seen is None:
            return False
        verdicts, about = seen
        columns = {"decision_id": id_, "release": about[1], "at": now}
        rows = [columns | {"dimension": dimension, "passed": passed} for dimension, passed in verdicts.items()]
        for dimension in await self._database.write(lambda session: [*_inserted(session, rows)]):
            self._tell(dimension, verdicts[dimension], *about)
        return True

    def _verdicts(self, request: JsonObject, row: DecisionRow) -> dict[str, bool | None]:
        try:
            judged = self._judge(request, decisions.from_row(row).answer())
            return {dimension: verdict.passed for dimension, verdict in judged.items()}
        except Exception as error:  # an evaluator's failure must show, and must not come back for an hour
            # Its message could quote the customer.
            log.warning("evaluating %s raised %s", row.id, type(error).__name__)
            return {"evaluator": None}


def _inserted(session: Session, rows: list[JsonObject]) -> Iterator[str]:
    """The dimensions of which nobody else was first."""
    for row in rows:
        if session.execute(_INSERT[session.get_bind().dialect.name], row).first() is not None:
            yield row["dimension"]


def _judged_since(session: Session, since: datetime) -> int:
    query = select(func.count(func.distinct(_score.c.decision_id))).where(_score.c.at >= since)
    return int(session.execute(query).scalar_one())


def _unjudged(session: Session, after: tuple[datetime, str]) -> Any:
    """Answers whose message is still there, oldest first."""
    query: Select[Any] = (
        select(_made.c.id, _made.c.at)
        .join(PayloadRow, PayloadRow.decision_id == _made.c.id)
        .where(_made.c.at >= after[0], (_made.c.at > after[0]) | (_made.c.id > after[1]))
        .where(PayloadRow.encrypted.is_not(None))
        .where(~exists(_score.c.decision_id).where(_score.c.decision_id == _made.c.id))
        .order_by(_made.c.at, _made.c.id)
        .limit(AT_ONCE)
    )
    return session.execute(query).all()
