"""An OpenID Connect provider for tests: real keys and tokens, discovery and key set over real HTTP, faults on request.

It stands for the team's own (Keycloak, Entra, Okta ...). What it cannot show is how those spell their claims.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.processes import serving

AUDIENCE = "support-service"
OF_TYPE = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}


def generated(algorithm: str, kid: str, **more: str) -> Key:
    """A new private key."""
    parameters = {"kid": kid, "alg": algorithm, "use": "sig", **more}
    arguments = {"RS256": (2048,), "ES256": ("P-256",), "EdDSA": ("Ed25519",)}[algorithm]
    return OF_TYPE[algorithm].generate_key(*arguments, parameters=parameters)


def b64(content: bytes | str | Mapping[str, Any] | list[Any]) -> str:
    """Base64url without padding; of JSON if it is no text."""
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def crafted(header: Any, payload: Any, sign: Callable[[bytes], bytes] | bytes = b"") -> str:
    """Any three parts as a token; what a library for tokens would refuse to make."""
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(sign if isinstance(sign, bytes) else sign(signed.encode()))}"


def signer(algorithm: str, key: Key) -> Callable[[bytes], bytes]:
    """What signs by this algorithm, whether or not the key is meant for it."""
    return lambda content: JWSRegistry.algorithms[algorithm].sign(content, key)


@dataclass
class IdentityProvider:
    """`faults` is what it does instead of answering: down, hang, html, empty, huge, redirect, other issuer."""

    url: str = ""
    fault: str = ""
    calls: int = 0
    keys: dict[str, Key] = field(default_factory=dict)
    more: list[Any] = field(default_factory=list)

    def add(self, algorithm: str, kid: str, **more: str) -> Key:
        self.keys[kid] = generated(algorithm, kid, **more)
        return self.keys[kid]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Of a good token; None takes a claim away."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "tenant": "acme", "roles": ["reviewer"]}
        claims = {**good, "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str = "rsa", header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A token signed by the key of that id."""
        return self.signed(self.claims(**changes), self.keys[kid], header)

    def signed(self, payload: Any, key: Key, header: Mapping[str, Any] | None = None) -> str:
        first = {"alg": key.alg, "typ": "JWT", "kid": key.kid, **(header or {})}
        return crafted(first, payload, signer(str(key.alg), key))

    async def discovery(self, _request: Request) -> Response:
        issuer = "https://elsewhere.example" if self.fault == "other issuer" else self.url
        return await self._answer({"issuer": issuer, "jwks_uri": f"{self.url}/keys"})

    async def key_set(self, _request: Request) -> Response:
        return await self._answer({"keys": [*self.more, *(key.as_dict(private=False) for key in self.keys.values())]})

    async def _answer(self, document: dict[str, Any]) -> Response:
        self.calls += 1
        if self.fault == "hang":
            await asyncio.sleep(30)
        if self.fault == "redirect":
            return RedirectResponse(f"{self.url}/elsewhere")
        bodies = {"html": "<html>", "empty": "{}", "huge": json.dumps({**document, "x": "x" * 300_000}), "list": "[]"}
        content = bodies.get(self.fault, json.dumps(document))
        return Response(content, 503 if self.fault == "down" else 200, media_type="application/json")


@contextmanager
def identity_provider(*algorithms: tuple[str, str]) -> Iterator[IdentityProvider]:
    """A provider with a key of each (algorithm, kid), until the block ends."""
    provider = IdentityProvider()
    for algorithm, kid in algorithms:
        provider.add(algorithm, kid)
    routes = [
        Route("/.well-known/openid-configuration", provider.discovery),
        Route("/keys", provider.key_set),
        Route("/elsewhere", lambda _request: JSONResponse({})),
    ]
    with serving(Starlette(routes=routes)) as provider.url:
        yield provider
