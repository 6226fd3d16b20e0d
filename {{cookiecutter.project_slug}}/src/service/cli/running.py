"""The running service as operator commands reach it that must go through its API: where it is, with which key."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.settings import Profile, Settings

PATIENCE_S = 150.0  # longer than MODEL_DEADLINE_S can be


class RunningService:
    """JSON in, JSON out. Raises `Unavailable` without a usable answer and `Invalid` when the service refuses."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def get(self, path: str, parameters: JsonObject) -> JsonObject:
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, body: JsonObject) -> JsonObject:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **content: Any) -> JsonObject:
        where = self._http.base_url
        try:
            answer = self._http.request(method, path, **content)
            body = dict(answer.json())
        except (httpx2.TransportError, ValueError, TypeError) as error:
            raise Unavailable(f"no usable answer from the service at {where} ({type(error).__name__})") from None
        if answer.status_code == 200:
            return body
        said = f"{where} answers {answer.status_code}: {body.get('detail') or body.get('title')}"
        raise Unavailable(said) if answer.status_code >= 500 else Invalid(said)


@contextmanager
def running_service(given: str | None) -> Iterator[RunningService]:
    """The service at `given`, else at SVC_URL, else, in development, the `svc run` of VAR_DIR. Raises `Invalid`.

    The key is SVC_API_KEY; that of `svc run` is used for no other address.
    """
    running = _of_svc_run(Settings())
    url = (given or os.environ.get("SVC_URL") or running.get("base_url") or "").rstrip("/")
    if not re.match("https?://[^/]", url):
        raise Invalid("say where the service is, as http(s)://...: --url or SVC_URL (or start `svc run`)")
    own = running.get("keys", {}).get("operator") if url == running.get("base_url") else None
    key = os.environ.get("SVC_API_KEY") or own
    if not key:
        raise Invalid("set SVC_API_KEY to an operator's API key")
    with httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=PATIENCE_S) as http:
        yield RunningService(http)


def _of_svc_run(settings: Settings) -> JsonObject:
    """What dev.json tells; empty when nothing runs, and in production."""
    if settings.profile is Profile.DEVELOPMENT:
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads((settings.var_dir / "dev.json").read_bytes()))
    return {}
