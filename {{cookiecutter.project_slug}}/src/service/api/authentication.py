"""Who is calling: an API key in `X-API-Key`, or a key or an identity provider's token as `Authorization: Bearer`.

Every route declares a role.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from service.application.identity import Caller, Role

FindCaller = Callable[[str], Awaitable[Caller | None]]
KEY_PREFIX = "svk_"
MAX_KEY_LENGTH, MAX_TOKEN_LENGTH = 200, 8192
# Of a caller the seconds it has to wait before it may ask; 0: it may now.
Limit = Callable[[Caller], Awaitable[int]]


def requires(*roles: Role) -> Any:
    """A dependency that yields the `Caller` if it has one of these roles: 401 unknown, 429 too often, 403 no role."""

    async def authenticated(request: Request) -> Caller:
        caller = await _find(request)
        if caller is None:
            raise HTTPException(401, "send a valid API key or token", {"WWW-Authenticate": "Bearer"})
        if wait := await request.app.state.service.limit(caller):
            raise HTTPException(429, "this caller asks too often", {"Retry-After": str(wait)})
        if not caller.roles & set(roles):
            raise HTTPException(403, f"this needs the role {' or '.join(roles)}")
        return caller

    authenticated.required_roles = roles  # type: ignore[attr-defined]
    return Depends(authenticated)


async def _find(request: Request) -> Caller | None:
    credential = presented(request.headers.getlist("x-api-key"), request.headers.getlist("authorization"))
    if credential is None:
        return None
    find: FindCaller = request.app.state.service.find_caller
    return await find(credential)


def presented(api_keys: list[str], authorizations: list[str]) -> str | None:
    """The one credential presented, or None. Two of them, or a malformed one, count as none: never guess."""
    if len(api_keys) + len(authorizations) != 1:
        return None
    credential = api_keys[0] if api_keys else _bearer(authorizations[0])
    # The header for keys takes nothing else.
    longest = MAX_KEY_LENGTH if credential.startswith(KEY_PREFIX) else 0 if api_keys else MAX_TOKEN_LENGTH
    return credential if credential.isascii() and 0 < len(credential) <= longest else None


def by_key_or_token(keys: FindCaller, tokens: FindCaller | None) -> FindCaller:
    """Keys are known by their prefix; anything else is a token if there is a provider of tokens, else nobody's."""

    async def find(credential: str) -> Caller | None:
        if credential.startswith(KEY_PREFIX):
            return await keys(credential)
        return await tokens(credential) if tokens else None

    return find


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
