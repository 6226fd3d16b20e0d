"""The part of the composition that watches live answers: what evaluators say of them, and whether they drift."""

from sqlalchemy.orm import Session

from service.evaluation import drift
from service.evaluation.live import judge_live, watched
from service.integration.chores import Chore
from service.integration.database.live_scores import LiveEvaluation
from service.integration.database.observed import Observed, observe
from service.integration.database.session import Database
from service.integration.flags import rollout, store
from service.integration.telemetry.drift import DriftWatch
from service.integration.telemetry.evaluations import EvaluationEvents
from service.settings import Settings

EVALUATE_EVERY_S = 10.0
LOOK_EVERY_S = 3600.0


def chores(database: Database, config: Settings) -> list[Chore]:
    """A worker's."""
    evaluate = LiveEvaluation(database, judge_live, config.live.share, config.live.per_hour, EvaluationEvents())

    async def look() -> list[drift.Monitor]:
        return monitors(await database.read(observed))

    return [Chore("evaluation", EVALUATE_EVERY_S, evaluate), Chore("drift", LOOK_EVERY_S, DriftWatch(look))]


def observed(session: Session, release: str = "") -> Observed[drift.Answer]:
    """What is to be watched of a release, or of the active one. Raises `Invalid` while there is none."""
    use_case = store.only_use_case(session)
    name = release or rollout.active_release(store.read_document(session), f"{use_case}.release")
    return observe(session, name, watched, drift.REFERENCE, 2 * drift.WINDOW)


def monitors(seen: Observed[drift.Answer]) -> list[drift.Monitor]:
    """All of them."""
    kinds = {name: failed for name, failed in seen.failed.items() if name != "tone"}
    return drift.distributions(seen.first, seen.newest) + [drift.failures(name, kinds[name]) for name in sorted(kinds)]
