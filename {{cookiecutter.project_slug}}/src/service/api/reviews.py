"""The review desk: list, claim, decide."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from service.api.authentication import requires
from service.api.problems import documented, known_form
from service.api.redrive import Instant
from service.application.decision import JsonObject
from service.application.identity import Caller, Role
from service.application.review.contract import ReviewItem, ReviewState, Verdict
from service.application.text import STORABLE

router = APIRouter()
Reviewer = Annotated[Caller, requires(Role.REVIEWER)]


class VerdictRequest(BaseModel):
    """`outcome` only with `correct`; a rejection needs a note."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    outcome: JsonObject | None = None
    note: Annotated[str, Field(max_length=2000), STORABLE] = ""


@router.get("/v1/reviews", responses=documented(401, 403, 422, 503))
async def list_reviews(
    request: Request,
    reviewer: Reviewer,
    state: ReviewState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    closed_since: Instant | None = None,
) -> JSONResponse:
    """The tenant's review items, escalated before others, oldest first; or those closed since, in that order."""
    items = await request.app.state.service.reviews.list(reviewer, state, limit, closed_since)
    return JSONResponse([_shown(item) for item in items])


@router.post("/v1/reviews/{review_id}/claim", responses=documented(401, 403, 404, 409, 503))
async def claim_review(request: Request, review_id: str, reviewer: Reviewer) -> JSONResponse:
    """Take an item for the next half hour. 409 if somebody else has it or it is closed."""
    return JSONResponse(_shown(await request.app.state.service.reviews.claim(reviewer, known_form(review_id))))


@router.post("/v1/reviews/{review_id}/verdict", responses=documented(400, 401, 403, 404, 409, 413, 422, 503))
async def give_verdict(request: Request, review_id: str, verdict: VerdictRequest, reviewer: Reviewer) -> JSONResponse:
    """Approve, correct or reject. Approved and corrected outcomes are written downstream by the same job."""
    item = await request.app.state.service.reviews.decide(
        reviewer, known_form(review_id), verdict.verdict, verdict.outcome, verdict.note
    )
    return JSONResponse(_shown(item))


def _shown(item: ReviewItem) -> JsonObject:
    return dict(jsonable_encoder(asdict(item)))
