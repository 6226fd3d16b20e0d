"""Liveness says the process runs; readiness says it can answer."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

router = APIRouter()
OPEN: dict[str, Any] = {"security": []}  # no key is needed


@router.get("/health/live", openapi_extra=OPEN)
async def live() -> JSONResponse:
    """200 while the process can answer at all."""
    return JSONResponse({"status": "live"})


@router.get(
    "/health/ready", openapi_extra=OPEN, responses={503: {"description": "A part is missing; `checks` says which"}}
)
async def ready(request: Request) -> JSONResponse:
    """200 when no check says `false`. One that passes with a reservation says what it is.

    A model outage is not unreadiness: the rules still answer. Nor is that of the vault: last good secrets serve.
    """
    checks = await request.app.state.service.check()
    return JSONResponse({"ready": all(checks.values()), "checks": checks}, 200 if all(checks.values()) else 503)
