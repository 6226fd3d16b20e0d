"""The API over real HTTP in this process, on a real database, for callers with keys and with tokens of a real provider.

The AI is off by the kill file, so no model is needed: what is looked at is who gets in, and to what.
"""

import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from service.api.app import create_app
from service.application.identity import Role
from service.bootstrap import tokens, use_cases
from service.bootstrap_inference import http_client
from service.bootstrap_store import Store, open_store
from service.cli.migrate import prepare
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.oidc import Provider, SigningKeys, TokenCallers
from service.settings import Settings
from tests.conftest import SECRETS
from tests.identity_provider import AUDIENCE, IdentityProvider
from tests.processes import serving

HTTP = httpx2.Client(timeout=30)
Headers = dict[Any, Any] | list[tuple[Any, Any]]
ALL = [role.value for role in Role]


@dataclass(frozen=True)
class Site:
    """A running API, its parts, and who may be asked for a token."""

    url: str
    app: FastAPI
    store: Store
    provider: IdentityProvider

    def ask(self, method: str, path: str, headers: Any = None, **content: Any) -> httpx2.Response:
        return HTTP.request(method, f"{self.url}{path}", headers=headers, **content)

    def status(self, path: str, headers: Headers) -> int:
        """Of a GET whose headers go out as they are, also those that no HTTP client would send."""
        each = headers.items() if isinstance(headers, dict) else headers
        lines = [_bytes(name) + b": " + _bytes(value) for name, value in each]
        place = urlsplit(self.url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            head = [f"GET {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *lines, b"", b""]
            connection.sendall(b"\r\n".join(head))
            return int(connection.recv(64).split()[1])

    def key(self, *roles: str, tenant: str = "acme", subject: str = "") -> str:
        return issue_key(self.store.database, subject or f"{tenant}-{'-'.join(roles)}", tenant, set(roles or ALL))

    def token(self, *roles: str, tenant: str = "acme", subject: str = "ann", **claims: Any) -> str:
        return self.provider.token(sub=subject, tenant=tenant, roles=list(roles or ALL), **claims)

    @property
    def routes(self) -> list[APIRoute]:
        found = (context.original_route for context in iter_route_contexts(self.app.routes))
        return [route for route in found if isinstance(route, APIRoute)]


@contextmanager
def site(var: Path, provider: IdentityProvider, url: str = "", **keys_settings: Any) -> Iterator[Site]:
    """As `svc serve` wires it, but for the vault and the models. `keys_settings`: those of `SigningKeys`."""
    (var / "AI_OFF").touch()
    oidc = {"issuer": provider.url, "audience": AUDIENCE}
    process, database = {"profile": "development", "var_dir": var}, {"url": url or f"sqlite:///{var / 'service.db'}"}
    config = Settings(process=process, database=database, oidc=oidc)
    prepare(config, project_root())
    store, closing = open_store(config, "api", SECRETS), AsyncExitStack()
    find_token = tokens(config, closing)
    if keys_settings:
        known = Provider(**config.oidc.model_dump())
        find_token = TokenCallers(SigningKeys(http_client(closing, 2.0), known, **keys_settings), known).find
    app = create_app(use_cases(store, config, SECRETS, thinks=None, find_token=find_token), "test")
    with serving(app) as base:
        yield Site(base, app, store, provider)
    store.flags.shutdown()
    store.database.close_sync()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def of_api_key(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
