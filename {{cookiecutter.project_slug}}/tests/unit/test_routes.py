"""Every route declares who may call it, and says in OpenAPI how it can refuse."""

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount, Route

from service.api.app import Service, create_app
from service.api.authentication import requires
from service.api.inference import Engine, create_inference_app
from service.application.identity import Role

HEALTH = {"/health/live", "/health/ready"}
DOCUMENTS = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


@pytest.fixture
def app():
    nothing = dict.fromkeys(Service.__dataclass_fields__)
    return create_app(Service(**nothing), title="test")


def unguarded(app):
    """Paths of all routes, whatever kind they are, that let in whoever comes."""
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    return {route.path for route in routes if not (isinstance(route, APIRoute) and guards(route.dependant))}


def guards(dependant):
    """What on the way to a route knows who may come in, however deep."""
    found = [
        getattr(dependant.call, "required_roles", None),
        *(guard for d in dependant.dependencies for guard in guards(d)),
    ]
    return [guard for guard in found if guard]


def test_every_route_requires_a_role(app):
    assert len(app.openapi()["paths"]) >= 7
    assert unguarded(app) == HEALTH | DOCUMENTS


def test_the_inference_process_lets_nobody_in_without_its_token():
    app = create_inference_app(Engine(None, lambda: "token"), "test")
    assert len([*iter_route_contexts(app.routes)]) == 3
    assert unguarded(app) == HEALTH


@pytest.mark.parametrize("kind", ["route", "plain", "mounted", "included", "websocket", "no roles"])
def test_a_route_of_any_kind_without_a_role_is_noticed(app, kind):
    async def come_in():
        return None

    if kind == "route":
        app.get("/open")(come_in)
    if kind == "plain":
        app.router.routes.append(Route("/open", come_in))
    if kind == "mounted":
        app.router.routes.append(Mount("/open", create_app(app.state.service, "another")))
    if kind == "included":
        router = APIRouter(prefix="/open")
        router.get("")(come_in)
        app.include_router(router)
    if kind == "websocket":
        app.websocket("/open")(come_in)
    if kind == "no roles":
        app.get("/open", dependencies=[requires()])(come_in)
    app.get("/guarded", dependencies=[requires(Role.AUDITOR)])(come_in)
    assert unguarded(app) == HEALTH | DOCUMENTS | {"/open"}


def test_every_protected_route_documents_its_refusals(app):
    for path, methods in app.openapi()["paths"].items():
        for operation in methods.values():
            if path not in HEALTH:
                assert {"401", "403", "408", "413", "429", "500", "503"} <= operation["responses"].keys(), path
