"""The HTTP application, made from the use cases it is given."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

from service.api import decisions, flags, health, privacy, problems, redrive, reviews, triage
from service.api.authentication import FindCaller
from service.application.decision import JsonObject
from service.application.identity import Caller
from service.application.review.use_case import ReviewWork
from service.application.switchboard import Switchboard
from service.application.triage.contract import Ticket
from service.application.triage.redrive import RedriveTickets


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes need: the use cases, authentication, and a check of each part by name."""

    triage: Callable[[Caller, Ticket, str | None], Awaitable[JsonObject]]
    reviews: ReviewWork
    redrive: RedriveTickets
    switchboard: Switchboard
    show_decision: Callable[[Caller, str], Awaitable[JsonObject]]
    show_payload: Callable[[Caller, str], Awaitable[JsonObject]]
    export_customer: Callable[[Caller, str], Awaitable[JsonObject]]
    erase_customer: Callable[[Caller, str, bool], Awaitable[JsonObject]]
    find_caller: FindCaller
    check: Callable[[], Awaitable[dict[str, bool]]]


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(service: Service, title: str, lifespan: Lifespan | None = None) -> FastAPI:
    """The API: every route, and the `Problem` schema that their documented refusals refer to."""
    app = bare_app(title, lifespan)
    app.state.service = service
    for routes in (triage, decisions, reviews, redrive, privacy, flags, health):
        app.include_router(routes.router)
    _document_problem(app)
    return app


def bare_app(
    title: str, lifespan: Lifespan | None, body_limit: int = problems.MAX_BODY_BYTES, documented: bool = True
) -> FastAPI:
    """No routes yet. Body limit, problem+json for every refusal, one span for every request but health checks."""
    app = _Api(
        title=title,
        lifespan=lifespan,
        max_body_size=body_limit,
        redirect_slashes=False,  # a redirect would follow whatever Host header came
        # FastAPI's own error logs would carry inputs; operation spans would cost more than they tell.
        telemetry={"logs": False, "operation_spans": False, "exclude": _is_health},
        openapi_url="/openapi.json" if documented else None,  # without it there is no /docs either
    )
    problems.install(app)
    return app


class _Api(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        return problems.TooLargeAsProblem(super().build_middleware_stack(), self.max_body_size)


def _is_health(scope: Scope) -> bool:
    return str(scope.get("path", "")).startswith("/health")


def _document_problem(app: FastAPI) -> None:
    """Add the `Problem` schema that the routes' documented refusals refer to."""
    made = app.openapi

    def with_problem() -> JsonObject:
        schema = made()
        schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
        return schema

    app.openapi = with_problem  # type: ignore[method-assign]
