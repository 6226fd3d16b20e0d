"""`GET /v1/decisions/{id}`: what was decided, who reviewed it, what came of it downstream; and its full payload."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.api.authentication import requires
from service.api.problems import documented, known_form
from service.application.identity import Caller, Role

router = APIRouter()


@router.get("/v1/decisions/{decision_id}", responses=documented(401, 403, 404, 503))
async def show_decision(
    request: Request,
    decision_id: str,
    caller: Annotated[Caller, requires(Role.CALLER, Role.REVIEWER, Role.OPERATOR, Role.AUDITOR)],
) -> JSONResponse:
    """One decision of the caller's tenant, with `review` and `effect`."""
    return JSONResponse(await request.app.state.service.show_decision(caller, known_form(decision_id)))


@router.get("/v1/decisions/{decision_id}/payload", responses=documented(401, 403, 404, 503))
async def show_payload(
    request: Request, decision_id: str, auditor: Annotated[Caller, requires(Role.AUDITOR)]
) -> JSONResponse:
    """The customer's `request` and every upstream call in `calls`. That it was read is on record."""
    payload = await request.app.state.service.show_payload(auditor, known_form(decision_id))
    return JSONResponse(payload, headers={"Cache-Control": "no-store"})
