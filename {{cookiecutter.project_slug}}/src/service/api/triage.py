"""`POST /v1/triage`."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from service.api.authentication import requires
from service.api.disconnect import while_connected
from service.api.problems import documented
from service.application.identity import Caller, Role
from service.application.triage.contract import Ticket, TriageAnswer

router = APIRouter()


@router.post("/v1/triage", responses={200: {"model": TriageAnswer}, **documented(400, 401, 403, 409, 413, 422, 503)})
async def triage(
    request: Request,
    ticket: Ticket,
    caller: Annotated[Caller, requires(Role.CALLER)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")] = None,
) -> JSONResponse:
    """Sort one customer message. With an `Idempotency-Key`, a repeated request gets the first one's answer."""
    answering = request.app.state.service.triage(caller, ticket, idempotency_key)
    return JSONResponse(await while_connected(request, answering))
