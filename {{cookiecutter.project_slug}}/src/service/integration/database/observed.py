"""What live answers under a release were like, and what people and evaluators said of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from service.application.decision import JsonObject, Source
from service.integration.database.measured import NOT_ASKED
from service.integration.database.tables import DecisionRow, LiveScoreRow, ReviewItemRow, table_of

T = TypeVar("T")
NEWEST = 20_000  # verdicts of one kind
_made, _review, _score = table_of(DecisionRow), table_of(ReviewItemRow), table_of(LiveScoreRow)
_ASKED = (
    _made.c.supersedes.is_(None),
    or_(_made.c.reason.is_(None), _made.c.reason.not_in([reason.value for reason in NOT_ASKED])),
)


@dataclass(frozen=True, slots=True)
class Observed(Generic[T]):
    """`first` and `newest` answers, oldest first, which may overlap; by dimension whether each evaluated one failed;
    by disposition (answers, decided, approved).
    """

    first: list[T]
    newest: list[T]
    failed: dict[str, list[bool]]
    verdicts: dict[str, tuple[int, int, int]]


def observe(
    session: Session, release: str, watched: Callable[[JsonObject, str], T | None], first: int, newest: int
) -> Observed[T]:
    """All of one release. Answers that no model gave are left out; erased ones say nothing."""
    by_model = (*_ASKED, _made.c.release == release, _made.c.source != Source.RULES.value)
    query = select(_made.c.outcome, _made.c.disposition).where(*by_model)
    oldest = session.execute(query.order_by(_made.c.at, _made.c.id).limit(first)).all()
    latest = session.execute(query.order_by(_made.c.at.desc(), _made.c.id.desc()).limit(newest)).all()[::-1]
    scores = select(_score.c.dimension, _score.c.passed).where(
        _score.c.release == release, _score.c.passed.is_not(None)
    )
    failed: dict[str, list[bool]] = {}
    for row in reversed(session.execute(scores.order_by(_score.c.at.desc()).limit(NEWEST)).all()):
        failed.setdefault(row.dimension, []).append(not row.passed)
    return Observed(_each(oldest, watched), _each(latest, watched), failed, _verdicts(session, release))


def _each(rows: Any, watched: Callable[[JsonObject, str], T | None]) -> list[T]:
    return [seen for row in rows if (seen := watched(row.outcome, row.disposition)) is not None]


def _verdicts(session: Session, release: str) -> dict[str, tuple[int, int, int]]:
    decided = _review.c.verdict.is_not(None)
    count = (
        select(
            _made.c.disposition,
            func.count(),
            func.sum(case((decided, 1), else_=0)),
            func.sum(case((and_(decided, _review.c.verdict == "approve"), 1), else_=0)),
        )
        .select_from(_made.outerjoin(_review, _review.c.decision_id == _made.c.id))
        .where(*_ASKED, _made.c.release == release)
        .group_by(_made.c.disposition)
    )
    return {row[0]: (row[1], row[2], row[3]) for row in session.execute(count)}
