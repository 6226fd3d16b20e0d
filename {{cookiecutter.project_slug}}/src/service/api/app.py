"""The HTTP application, made from the use cases it is given."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import admission, audit, decisions, flags, health, privacy, problems, redrive, reviews, triage
from service.api.authentication import FindCaller, Limit
from service.application.decision import JsonObject
from service.application.identity import Caller
from service.application.review.use_case import ReviewWork
from service.application.switchboard import Switchboard
from service.application.triage.contract import Ticket
from service.application.triage.redrive import RedriveTickets


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes need: the use cases, authentication, rate limits, and a check of each part by name."""

    triage: Callable[[Caller, Ticket, str | None], Awaitable[JsonObject]]
    reviews: ReviewWork
    redrive: RedriveTickets
    switchboard: Switchboard
    show_decision: Callable[[Caller, str], Awaitable[JsonObject]]
    verify_audit: Callable[[str | None, str | None], Awaitable[JsonObject]]
    show_payload: Callable[[Caller, str], Awaitable[JsonObject]]
    export_customer: Callable[[Caller, str], Awaitable[JsonObject]]
    erase_customer: Callable[[Caller, str, bool], Awaitable[JsonObject]]
    find_caller: FindCaller
    limit: Limit
    check: Callable[[], Awaitable[dict[str, bool | str]]]


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


# At once, in one process. As many requests as it answers a second, times the seconds that a model takes.
MOST = 64


def create_app(
    service: Service, title: str, lifespan: Lifespan | None = None, most: int = MOST, documented: bool = True
) -> FastAPI:
    """The API: every route, and what their documentation shares."""
    app = bare_app(title, lifespan, most=most, documented=documented)
    app.state.service = service
    for routes in (triage, decisions, reviews, redrive, privacy, flags, audit, health):
        app.include_router(routes.router)
    _document(app)
    return app


def bare_app(
    title: str,
    lifespan: Lifespan | None,
    body_limit: int = problems.MAX_BODY_BYTES,
    most: int = MOST,
    documented: bool = True,
) -> FastAPI:
    """No routes yet. Limits on bodies and on requests at once, problem+json for every refusal, a span per request."""
    app = _Api(
        title=title,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would follow whatever Host header came
        # FastAPI's own error logs would carry inputs; operation spans would cost more than they tell.
        telemetry={"logs": False, "operation_spans": False, "exclude": admission.is_health},
        openapi_url="/openapi.json" if documented else None,  # without it there is no /docs either
    )
    app.admitted = admission.admitting(super(_Api, app).__call__, body_limit, most)
    problems.install(app)
    return app


class _Api(FastAPI):
    admitted: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.admitted(scope, receive, send)


def _document(app: FastAPI) -> None:
    """What every route shares: the `Problem` of its refusals, and the two ways to send a key."""
    made = app.openapi

    def with_what_is_shared() -> JsonObject:
        schema = made()
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
        parts["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        schema["security"] = [{"key": []}, {"bearer": []}]
        return schema

    app.openapi = with_what_is_shared  # type: ignore[method-assign]
