"""Flags for operators: what is on for whom, in which processes; flip one; go back."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from service.api.authentication import requires
from service.api.problems import documented
from service.application.identity import Caller, Role
from service.application.switchboard import Audience, Change
from service.application.text import STORABLE, WHOLE, Name

router = APIRouter()
Operator = Annotated[Caller, requires(Role.OPERATOR)]
Reader = Annotated[Caller, requires(Role.OPERATOR, Role.AUDITOR)]
Why = Annotated[str, Field(min_length=1, max_length=2000), STORABLE]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AudienceRequest(_Body):
    """Internal tenants, these `beta` tenants, and `percent` of all other customers."""

    beta: Annotated[list[Name], Field(max_length=1000)] = []
    percent: Annotated[int, Field(ge=0, le=100, strict=True), WHOLE] = 0


class FlipRequest(_Body):
    """This variant for everybody or, of a switch, `on` for an audience."""

    variant: Name
    reason: Why
    audience: AudienceRequest | None = None


class RevertRequest(_Body):
    """Back to all flags as they were at this revision."""

    revision: Annotated[int, Field(ge=1, le=2**62, strict=True), WHOLE]
    reason: Why


@router.get("/v1/flags", responses=documented(401, 403, 503))
async def show_flags(request: Request, reader: Reader) -> JSONResponse:
    """The newest `revision`, every flag, and the `flag_rev` that each running process goes by."""
    return JSONResponse(jsonable_encoder(await request.app.state.service.switchboard.board()))


@router.get("/v1/flags/history", responses=documented(401, 403, 422, 503))
async def show_history(
    request: Request, reader: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> JSONResponse:
    """The newest revisions: when, who, why."""
    return JSONResponse(await request.app.state.service.switchboard.history(limit))


@router.put("/v1/flags/{name}", responses=documented(400, 401, 403, 413, 422, 503))
async def flip(request: Request, name: str, asked: FlipRequest, operator: Operator) -> JSONResponse:
    """Change one flag. Answers with the `revision`; `GET /v1/flags` tells which processes go by it."""
    audience = Audience(tuple(asked.audience.beta), asked.audience.percent) if asked.audience else None
    change = Change(name, asked.variant, asked.reason, audience)
    return JSONResponse({"revision": await request.app.state.service.switchboard.set(operator, change)})


@router.post("/v1/flags/revert", responses=documented(400, 401, 403, 404, 413, 422, 503))
async def revert(request: Request, asked: RevertRequest, operator: Operator) -> JSONResponse:
    """Make an earlier revision the newest."""
    board = request.app.state.service.switchboard
    return JSONResponse({"revision": await board.revert(operator, asked.revision, asked.reason)})
