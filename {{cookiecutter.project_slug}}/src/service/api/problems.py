"""Every refusal as problem+json (RFC 9457). No problem repeats what the caller sent."""

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Route

from service.application import errors

log = logging.getLogger(__name__)
_IDENTIFIER = re.compile(r"[0-9a-f-]{36}")

STATUS_OF = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.InProgress: 409,
    errors.KeyReused: 422,
    errors.Invalid: 422,
    errors.Unavailable: 503,
}
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    413: "Request body too large",
    422: "Request not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


MAX_BODY_BYTES = 65_536
# What any request that needs a caller may be answered with.
ALWAYS = (401, 403, 408, 413, 429, 500, 503)
# What the framework says of this is nothing, or quotes the request.
DETAILS = {400: "the body is not JSON in UTF-8"}


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[dict[str, str]] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: which problems it may answer with, besides those `ALWAYS` possible."""
    return {
        status: {
            "description": TITLES[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, *ALWAYS})
    }


def problem(
    status: int,
    detail: str | None = None,
    problems: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The problem+json response of this status."""
    body = Problem(title=TITLES.get(status, "Error"), status=status, detail=detail, errors=problems)
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type="application/problem+json")


def known_form(identifier: str) -> str:
    """The identifier if it looks like one of ours. Raises `NotFound`: nothing else was ever given out."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise errors.NotFound("no such thing")
    return identifier


def install(app: FastAPI) -> None:
    """Map validation, HTTP, application and unexpected errors to problems."""
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(errors.ApplicationError)(_application)
    app.exception_handler(Exception)(_unexpected)


def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    """Places and messages only: the default handler would echo the input, which may be personal."""
    found = [
        {"where": _place(e["loc"], e["type"]), "type": str(e["type"]), "message": str(e["msg"])}
        for e in error.errors()[:20]
    ]
    if any(e["type"] == "json_invalid" for e in found):
        return problem(400, DETAILS[400])
    return problem(422, "the request does not fit the contract", found)


def _place(loc: tuple[Any, ...], kind: str) -> str:
    named = [*loc[:-1], "(unknown field)"] if kind == "extra_forbidden" else loc
    return ".".join(str(part) for part in named)


def _http(request: Request, error: HTTPException) -> JSONResponse:
    detail = error.detail if error.status_code in (401, 403, 429) else DETAILS.get(error.status_code)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request)
    return problem(error.status_code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """All methods of the path that was meant; the framework knows those of one route."""
    found: dict[str, set[str]] = {}
    for context in iter_route_contexts(request.app.routes):
        route = context.original_route
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            found.setdefault(route.path, set()).update(route.methods or ())
    return ", ".join(sorted(found[min(found, key=lambda path: path.count("{"))]))


def _application(_request: Request, error: errors.ApplicationError) -> JSONResponse:
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.InProgress):
        headers["Retry-After"] = "1"
    return problem(STATUS_OF.get(type(error), 500), str(error), headers=headers)


def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    """A bug. The log keeps types and places only (telemetry/setup.py): the error's text may hold anything."""
    log.error("unexpected error", exc_info=error)
    return problem(500, "the service has a fault; it has been recorded")
