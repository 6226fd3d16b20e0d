"""Every route declares who may call it, and says in OpenAPI how it can refuse."""

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from service.api.app import Service, create_app

OPEN = {"/health/live", "/health/ready"}


@pytest.fixture
def app():
    nothing = dict.fromkeys(Service.__dataclass_fields__)
    return create_app(Service(**nothing), title="test")


def api_routes(app):
    return [c.original_route for c in iter_route_contexts(app.routes) if isinstance(c.original_route, APIRoute)]


def roles(route):
    return [
        role for dependency in route.dependant.dependencies for role in getattr(dependency.call, "required_roles", ())
    ]


def test_every_route_requires_a_role(app):
    assert len(api_routes(app)) >= 7
    assert [r.path for r in api_routes(app) if r.path not in OPEN and not roles(r)] == []


def test_every_protected_route_documents_its_refusals(app):
    for path, methods in app.openapi()["paths"].items():
        for operation in methods.values():
            if path not in OPEN:
                assert {"401", "403", "408", "413", "429", "500", "503"} <= operation["responses"].keys(), path
