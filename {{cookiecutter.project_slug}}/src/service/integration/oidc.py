"""Bearer tokens of an OpenID Connect provider: which caller a token makes, if its signature and its claims hold.

Whatever a stranger's bytes do to a parser, the answer is None; they cost the provider one look for new keys in
`COOLDOWN_S` at most.
"""

import asyncio
import json
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from joserfc import jws
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jwt import JWTClaimsRegistry
from opentelemetry import metrics
from opentelemetry.metrics import Meter

from service.application.decision import JsonObject
from service.application.errors import Unavailable
from service.application.identity import OIDC_PREFIX, WHOLE_SERVICE, Caller, Role, is_name

FRESH_S, STALE_S, COOLDOWN_S, FETCH_S = 300.0, 3600.0, 10.0, 3.0
MAX_DOCUMENT_BYTES = 256_000
LEEWAY_S = 30
LOG_EVERY_S = 60.0
KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}  # of each algorithm that is accepted
TYPES = {"jwt", "at+jwt", "application/at+jwt"}  # a logout token, say, is no access token
_SIGNED = jws.JWSRegistry(algorithms=list(KEY_TYPES), strict_check_header=False)
_BROKEN = (JoseError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
log = logging.getLogger(__name__)
warnings.filterwarnings("ignore", "EdDSA is deprecated")  # its newer name is not what providers send


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose tokens are accepted, if they are meant for `audience`. Without `jwks_url` its discovery document tells."""

    issuer: str
    audience: str
    jwks_url: str = ""
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"


class _Unusable(Exception):
    """The provider's answer cannot be used."""


class SigningKeys:
    """The provider's public keys, kept for `FRESH_S` seconds and, while it cannot be reached, for `STALE_S`.

    An unknown key makes it look for new ones, unless it did within `cooldown_s`. While it fails and keys are at hand,
    nobody waits for it: it is looked at meanwhile. Without keys one waits, whoever began the look: junk tokens would
    else take the places of callers who need no provider.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        provider: Provider,
        cooldown_s: float = COOLDOWN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._provider, self._cooldown_s, self._clock = http, provider, cooldown_s, clock
        self._keys: dict[str, Key] = {}
        self._looked_at = self._fetched_at = -math.inf
        self._failing = False
        self._looking: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Key | None:
        """The key of this id. Raises `Unavailable` when no keys are at hand that still count."""
        if kid not in self._keys or self._age() > FRESH_S:
            before, looking = self._looking, self._look()
            first = looking is not before and self._age() > STALE_S
            if looking is not None and (first or not self._failing):
                await asyncio.shield(looking)
        if self._age() > STALE_S:
            raise Unavailable("the identity provider cannot be reached now", retry_after=math.ceil(self._cooldown_s))
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _look(self) -> "asyncio.Task[None] | None":
        if self._looking is None or self._looking.done():
            if self._clock() < self._looked_at + self._cooldown_s:
                return None
            self._looked_at = self._clock()
            self._looking = asyncio.create_task(self._fetch())
        return self._looking

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                url = self._provider.jwks_url or await self._discovered()
                self._keys = _usable(await self._get(url))
        except Exception as error:  # whatever it was, the keys at hand count for a while
            self._failing = True
            what = error if isinstance(error, _Unusable) else type(error).__name__
            log.warning("the identity provider gives no keys: %s", what)
        else:
            self._failing, self._fetched_at = False, self._clock()

    async def _discovered(self) -> str:
        issuer = self._provider.issuer
        told = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        url = told.get("jwks_uri")
        if told.get("issuer") != issuer:
            raise _Unusable("its discovery document names another issuer")
        if not isinstance(url, str) or url.partition(":")[0] not in ("https", issuer.partition(":")[0]):
            raise _Unusable("its discovery document has no usable jwks_uri")
        return url

    async def _get(self, url: str) -> JsonObject:
        document = bytearray()
        async with self._http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code != 200:
                raise _Unusable(f"HTTP {answer.status_code}")
            async for chunk in answer.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise _Unusable(f"more than {MAX_DOCUMENT_BYTES} bytes")
        read = json.loads(document)
        if not isinstance(read, dict):
            raise _Unusable("no JSON object")
        return read


class TokenCallers:
    """Finds the caller that a token stands for, or None. Roles that this service does not know are ignored."""

    def __init__(
        self,
        keys: SigningKeys,
        provider: Provider,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys, self._provider, self._clock = keys, provider, clock
        self._logged: dict[str, float] = {}
        wanted: dict[str, Any] = {provider.tenant_claim: None, "exp": None, "sub": None}
        wanted |= {"iss": provider.issuer, "aud": provider.audience}
        wanted = {name: {"essential": True, "value": value} for name, value in wanted.items()}
        self._claims = JWTClaimsRegistry(leeway=LEEWAY_S, **wanted)
        self._refused = (meter or metrics.get_meter("service")).create_counter(
            "service.tokens.refused", "{token}", "Bearer tokens that were refused, by reason"
        )

    async def find(self, token: str) -> Caller | None:
        """Raises `Unavailable` when the provider's keys are not at hand."""
        try:
            return self._caller(await self._verified(token))
        except _BROKEN as error:
            self._refuse(getattr(error, "error", "") or "malformed", getattr(error, "claim", ""))
            return None

    def _refuse(self, reason: str, claim: str) -> None:
        """Count it, and log each reason once in a while: strangers can send any number, and not a byte of theirs."""
        self._refused.add(1, {"reason": reason})
        now, reason = self._clock(), f"{reason} {claim}".rstrip()
        if now >= self._logged.get(reason, -math.inf) + LOG_EVERY_S:
            self._logged[reason] = now
            log.warning("a bearer token was refused: %s", reason)

    async def _verified(self, token: str) -> JsonObject:
        signed = jws.extract_compact(token.encode(), registry=_SIGNED)
        header = signed.headers()
        algorithm, kid = header["alg"], header["kid"]
        known_type = header.get("typ", "JWT").lower() in TYPES
        if algorithm not in KEY_TYPES or not isinstance(kid, str) or "crit" in header or not known_type:
            raise ValueError("a header that is not accepted")
        key = await self._keys.find(kid)
        if key is None or key.key_type != KEY_TYPES[algorithm]:
            raise InvalidKeyIdError()
        if not jws.validate_compact(signed, key, registry=_SIGNED):
            raise BadSignatureError()
        claims: JsonObject = json.loads(signed.payload, object_pairs_hook=_each_once)
        self._claims.validate(claims)
        return claims

    def _caller(self, claims: JsonObject) -> Caller:
        subject, tenant = claims["sub"], claims[self._provider.tenant_claim]
        roles = claims.get(self._provider.roles_claim) or []
        roles = roles.split() if isinstance(roles, str) else roles
        if not (is_name(subject) and subject.isascii() and is_name(tenant)) or tenant == WHOLE_SERVICE:
            raise ValueError("a subject or tenant that is no name")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise TypeError("roles must be a list of names")
        return Caller(OIDC_PREFIX + subject, tenant, frozenset(role for role in Role if role.value in roles))


def _usable(document: JsonObject) -> dict[str, Key]:
    """The keys in it that may sign, by id. One that is not understood spoils no other."""
    found = {}
    given = document.get("keys")
    for each in given if isinstance(given, list) else []:
        try:
            key = JWKRegistry.import_key(each)
        except Exception:  # noqa: S112 - its maker is a stranger to this library
            continue
        if key.kid and key.key_type in KEY_TYPES.values():
            found[key.kid] = key
    if not found:
        raise _Unusable("none of its keys is usable")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> JsonObject:
    if len(named := dict(pairs)) != len(pairs):
        raise ValueError("a name that is there twice")
    return named
