"""What live answers under a release were like, and what people and evaluators said of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import FromClause, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from service.application.decision import JsonObject, Source
from service.integration.database.measured import NOT_ASKED
from service.integration.database.tables import DecisionRow, LiveScoreRow, PayloadRow, ReviewItemRow, table_of

T = TypeVar("T")
NEWEST = 20_000  # verdicts of one kind
_made, _review, _score = table_of(DecisionRow), table_of(ReviewItemRow), table_of(LiveScoreRow)
_payload = table_of(PayloadRow)
_ASKED = (
    _made.c.supersedes.is_(None),
    or_(_made.c.reason.is_(None), _made.c.reason.not_in([reason.value for reason in NOT_ASKED])),
)


@dataclass(frozen=True, slots=True)
class Observed(Generic[T]):
    """`first` and `newest` answers, oldest first, none in both; by dimension the same of whether evaluated ones failed;
    by disposition (answers, decided, approved).
    """

    first: list[T]
    newest: list[T]
    failed: dict[str, tuple[list[bool], list[bool]]]
    verdicts: dict[str, tuple[int, int, int]]


def observe(
    session: Session, release: str, watched: Callable[[JsonObject, str], T | None], first: int, newest: int
) -> Observed[T]:
    """All of one release, at most `first` and `newest`. Answers that no model gave are left out, and forgotten ones."""
    kept = exists(_payload.c.decision_id).where(_payload.c.decision_id == _made.c.id)
    by_model = (*_ASKED, kept, _made.c.release == release, _made.c.source != Source.RULES.value)
    answers = select(_made.c.outcome, _made.c.disposition).where(*by_model)
    old, new = _ends(session, answers, (_made, _made.c.id), first, newest)
    scores = select(_score.c.passed).where(_score.c.release == release, _score.c.passed.is_not(None))
    failed = {}
    for dimension in session.scalars(select(_score.c.dimension).where(_score.c.release == release).distinct()):
        of_it = scores.where(_score.c.dimension == dimension)
        before, after = _ends(session, of_it, (_score, _score.c.decision_id), first, NEWEST)
        failed[dimension] = [not row.passed for row in before], [not row.passed for row in after]
    return Observed(_each(old, watched), _each(new, watched), failed, _verdicts(session, release))


def _ends(
    session: Session, query: Select[Any], by: tuple[FromClause, Any], first: int, newest: int
) -> tuple[list[Any], list[Any]]:
    """The oldest rows, at most half of all, and the newest of the others."""
    n = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    old = min(first, n // 2)
    at, id_ = by[0].c.at, by[1]
    oldest = session.execute(query.order_by(at, id_).limit(old)).all()
    latest = session.execute(query.order_by(at.desc(), id_.desc()).limit(min(newest, n - old))).all()
    return list(oldest), list(latest[::-1])


def _each(rows: list[Any], watched: Callable[[JsonObject, str], T | None]) -> list[T]:
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
