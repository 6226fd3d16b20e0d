"""`GET /v1/audit/verify`: the audit log's chain, checked by the process that has its key."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.api.authentication import requires
from service.api.problems import documented
from service.application.identity import Caller, Role

router = APIRouter()
Anchor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$", description="POSITION:MAC")]


@router.get("/v1/audit/verify", responses=documented(401, 403, 422, 503))
async def verify(
    request: Request,
    _reader: Annotated[Caller, requires(Role.OPERATOR, Role.AUDITOR)],
    after: Anchor = None,
    anchor: Anchor = None,
) -> JSONResponse:
    """One page: how many seals were `checked`, the `flaws` found; if there is `more`, ask again `after` the `head`."""
    return JSONResponse(await request.app.state.service.verify_audit(after, anchor))
