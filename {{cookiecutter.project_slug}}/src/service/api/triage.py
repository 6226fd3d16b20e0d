"""`POST /v1/triage`."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.api.authentication import requires
from service.api.problems import documented
from service.application.decision import Disposition, Reason, Source
from service.application.identity import Caller, Role
from service.application.triage.contract import Ticket, TriageOutcome

router = APIRouter()


class UsageAnswer(BaseModel):
    """Tokens and price of every upstream call of this request."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class TriageAnswer(BaseModel):
    """The answer as documented in OpenAPI; stored and replayed as it was first given."""

    decision_id: str
    outcome: TriageOutcome
    disposition: Disposition
    source: Source
    degraded: bool
    reason: Reason | None
    release: str
    prompt_version: str
    model_version: str
    usage: UsageAnswer
    trace_id: str


@router.post("/v1/triage", responses={200: {"model": TriageAnswer}, **documented(400, 401, 403, 409, 413, 422, 503)})
async def triage(
    request: Request,
    ticket: Ticket,
    caller: Annotated[Caller, requires(Role.CALLER)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")] = None,
) -> JSONResponse:
    """Sort one customer message. With an `Idempotency-Key`, a repeated request gets the first one's answer."""
    return JSONResponse(await request.app.state.service.triage(caller, ticket, idempotency_key))
