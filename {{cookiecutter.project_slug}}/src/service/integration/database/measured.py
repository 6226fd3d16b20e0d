"""What answers under a release came to: counted where they are stored."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select
from sqlalchemy.orm import Session

from service.application.decision import Disposition, Reason
from service.application.review.contract import Verdict
from service.integration.database.tables import DecisionRow, ReviewItemRow, table_of

# No model was to be asked, so these say nothing about a release.
NOT_ASKED = (Reason.AI_OFF, Reason.NO_RELEASE, Reason.BUDGET_SPENT, Reason.REPEATED)
NEWEST = 20_000
_made, _review = table_of(DecisionRow), table_of(ReviewItemRow)


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers since an instant, each share as (how often, of how many); latency and cost of the newest of them."""

    answers: int
    shares: dict[str, tuple[int, int]]
    latency_ms: list[int]
    cost_usd: list[float | None]


def measure(session: Session, release: str, since: datetime, until: datetime | None = None) -> Measured:
    """What came of the requests for which a model of this release was to be asked.

    failure: it did not give the answer. repair: its first answer was unusable. review: a person has to look.
    correction: of those that a person had to decide, and has, not approved as it was. What passed and was reviewed as a
    sample is not among them: there would be the more of it, and the fewer corrections, the more a release lets pass.
    """
    asked = and_(
        _made.c.release == release,
        _made.c.at >= since,
        *([_made.c.at < until] if until else []),
        _made.c.supersedes.is_(None),
        or_(_made.c.reason.is_(None), _made.c.reason.not_in([reason.value for reason in NOT_ASKED])),
    )
    # Erased ones are closed without a verdict.
    closed = and_(_review.c.verdict.is_not(None), _made.c.disposition != Disposition.AUTO.value)
    counts = (
        select(
            func.count(),
            _how_many(_made.c.degraded),
            _how_many(_made.c.repaired),
            _how_many(_made.c.disposition != Disposition.AUTO.value),
            _how_many(closed),
            _how_many(and_(closed, _review.c.verdict != Verdict.APPROVE.value)),
        )
        .select_from(_made.outerjoin(_review, _review.c.decision_id == _made.c.id))
        .where(asked)
    )
    answers, failed, repaired, reviewed, decided, corrected = session.execute(counts).one()
    newest = select(_made.c.latency_ms, _made.c.cost_usd).where(asked, not_(_made.c.latency_ms.is_(None)))
    rows = session.execute(newest.order_by(_made.c.at.desc()).limit(NEWEST)).all()
    shares = {
        "failure": (failed, answers),
        "repair": (repaired, answers),
        "review": (reviewed, answers),
        "correction": (corrected, decided),
    }
    return Measured(answers, shares, [row[0] for row in rows], [row[1] for row in rows])


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
