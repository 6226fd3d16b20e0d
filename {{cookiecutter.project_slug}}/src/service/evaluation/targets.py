"""Anything that answers over HTTP, asked as its adapter says.

Whatever comes back is a `Sample`: what cannot be read is the target's failure, never a crash here. Downstream effects
are out of a caller's sight, so they are never observed.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import Any

import httpx2
from pydantic import ValidationError

from service.application.decision import JsonObject
from service.application.triage.contract import Ticket, TriageAnswer
from service.evaluation.adapters import PLACEHOLDER, Adapter, AdapterError, Where, as_text
from service.evaluation.cases import first_mistake
from service.evaluation.results import Sample

MOST_BYTES = 1_000_000  # of a reply; the rest is not read
_FENCE = re.compile(r"^```\w*\s*|\s*```$")


class Unmapped(ValueError):
    """A reply that does not become an answer in the service's contract."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP. `problem`: why nothing did, or not all of it."""

    status: int | None
    media_type: str
    body: bytes
    seconds: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A target that can be asked. `known`: what the placeholders of the environment stand for."""

    adapter: Adapter
    url: str
    http: httpx2.AsyncClient
    known: Mapping[str, str]

    async def ask(self, ticket: Ticket) -> Sample:
        """One message's sample. Never raises for what the target does."""
        reply = await self.send(ticket)
        try:
            if reply.problem or not 200 <= (reply.status or 0) < 300:
                raise Unmapped(reply.problem or f"status {reply.status}")
            return Sample(read_answer(self.adapter, reply.body), None, reply.seconds)
        except Unmapped as error:
            problem = str(error)
            for placeholder, secret in self.known.items():  # a target may send back what it was sent
                problem = problem.replace(secret, placeholder) if secret else problem
            return Sample(None, problem, reply.seconds)

    async def send(self, ticket: Ticket, method: str | None = None, content: bytes | None = None) -> Reply:
        """The raw reply to one message; to `content` instead, labelled as JSON, if given."""
        asked = self.adapter.request
        values = {**self.known, **{f"{{{name}}}": value for name, value in ticket.model_dump().items()}}
        headers = {"Accept-Encoding": "identity"} | _filled(asked.headers, values)
        parts: dict[str, Any] = {"params": _present(_filled(asked.query, values))}
        if content is not None:
            parts["content"], headers = content, {"Content-Type": "application/json"} | headers
        elif asked.body is not None:
            parts["json"] = _filled(asked.body, values)
        elif asked.form is not None:
            parts["data"] = _present(_filled(asked.form, values))
        return await self._exchange(parts | {"method": method or asked.method, "headers": headers})

    async def _exchange(self, parts: Mapping[str, Any]) -> Reply:
        started, status, media_type, body, problem = perf_counter(), None, "", b"", None
        try:
            async with (
                asyncio.timeout(self.adapter.timeout_s),
                self.http.stream(url=self.url + self.adapter.request.path, **parts) as response,
            ):
                status, media_type = response.status_code, response.headers.get("content-type", "")
                if response.headers.get("content-encoding", "identity") != "identity":
                    problem = "a compressed reply, though none was asked for"  # a small one may unpack to gigabytes
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        body, problem = body[:MOST_BYTES], f"a reply of more than {MOST_BYTES} bytes"
                        break
        except TimeoutError:
            problem = f"no whole reply within {self.adapter.timeout_s:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            problem = f"no reply: {type(error).__name__}"
        return Reply(status, media_type, body, perf_counter() - started, problem)


@asynccontextmanager
async def open_target(url: str, adapter: Adapter, environment: Mapping[str, str]) -> AsyncIterator[HttpTarget]:
    """The target at `url` while the block lasts. Raises `AdapterError` for a bad address or a missing variable."""
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise AdapterError(f"{url!r} is no address") from None
    if address.scheme not in ("http", "https") or not address.host or address.query or address.userinfo:
        raise AdapterError("the target must be http(s)://HOST[:PORT][/PATH]; a secret goes into the adapter's headers")
    known = {}
    for name in sorted(adapter.request.variables):
        known[f"${{{name}}}"] = value = environment.get(name, "")
        if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
            raise AdapterError(f"adapter {adapter.name}: set {name} in the environment, to printable ASCII")
    # As the service's own clients: no proxy of the environment, no cookies. The deadline of each request is ours.
    async with httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=None)),
        timeout=None,  # `_exchange` has one for the whole reply
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    ) as http:
        yield HttpTarget(adapter, url.rstrip("/"), http, known)


def read_answer(adapter: Adapter, body: bytes) -> JsonObject:
    """A reply as an answer in the service's contract. Raises `Unmapped`: what it lacks, or what does not fit."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        raise Unmapped("not JSON" if body.strip() else "an empty reply") from None
    if adapter.answer is None:
        if not isinstance(reply, dict):
            raise Unmapped("not a JSON object")
        return reply
    found = {name: _value(name, where, reply) for name, where in adapter.answer if where is not None}
    answer = _in_contract(found, adapter.name)
    try:
        TriageAnswer.model_validate_json(json.dumps(answer), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":  # only half a surrogate pair gets so far
            raise Unmapped("text that is not Unicode") from None
        got = str(first["input"])[:40]
        raise Unmapped(f"{first_mistake(error)}, got {got!r}") from None
    return answer


def _in_contract(found: JsonObject, name: str) -> JsonObject:
    """The neutral values are never judged: their dimensions are not observed."""
    usage = {"input_tokens": 0, "output_tokens": 0, "cost_usd": None}
    outcome = {"category": "other", "priority": "normal", "draft_reply": None, "confidence": 1.0}
    return {
        "decision_id": "none",
        "outcome": outcome
        | {field: found[field] for field in outcome if field in found}
        | {"entities": [_entity(item) for item in _listed(found.get("entities"))]}
        | {"evidence": _listed(found.get("evidence"))},
        "disposition": found.get("disposition", "review"),
        "source": "model",
        "degraded": False,
        "reason": None,
        "release": name,
        "prompt_version": name,
        "model_version": str(found.get("model_version") or name),
        "repaired": False,
        "usage": usage | {field: found[field] for field in usage if field in found},
        "trace_id": "none",
    }


def _value(name: str, where: Where, reply: Any) -> Any:
    if where.at is None:
        return where.always
    steps = re.sub(r"\[([^\]]*)\]", r".\1", where.at.removeprefix("$")).strip(".").split(".")
    found = _follow(steps, reply)
    if found is None:
        if where.default is None and name in ("category", "priority", "disposition", "confidence"):
            raise Unmapped(f"{name}: nothing at {where.at}")
        return where.default
    known = {key.strip().casefold(): value for key, value in where.values.items()}
    values = [known.get(as_text(one).strip().casefold(), one) for one in _listed(found)]
    if name == "confidence":
        try:
            return float(values[0]) / where.out_of
        except (ValueError, TypeError, IndexError):
            raise Unmapped(f"confidence: no number at {where.at}") from None
    return values if isinstance(found, list) else values[0]


def _follow(steps: list[str], node: Any) -> Any:
    if not steps or node is None:
        return node
    if isinstance(node, str):
        try:
            node = json.loads(_FENCE.sub("", node.strip()))
        except (ValueError, RecursionError):
            return None
    step, rest = steps[0], steps[1:]
    if step == "*":
        children = node.values() if isinstance(node, dict) else _listed(node)
        found = [_follow(rest, child) for child in children]
        return [one for some in found for one in _listed(some)]
    if isinstance(node, dict):
        return _follow(rest, node.get(step))
    if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
        return _follow(rest, node[int(step)])
    return None


def _entity(item: Any) -> Any:
    return item if isinstance(item, dict) else {"type": "found", "value": as_text(item)}


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [] if found is None else [found]


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _filled(template: Any, values: Mapping[str, str | None]) -> Any:
    """Each placeholder once: a message that contains one is not read again. A lone placeholder of nothing is null."""
    if isinstance(template, dict):
        return {name: _filled(part, values) for name, part in template.items()}
    if isinstance(template, list):
        return [_filled(part, values) for part in template]
    if not isinstance(template, str):
        return template
    if template in values:
        return values[template]
    return PLACEHOLDER.sub(lambda found: values[found.group()] or "", template)
