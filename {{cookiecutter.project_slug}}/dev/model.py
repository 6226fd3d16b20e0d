"""The model STAND-IN: OpenAI-compatible over real HTTP, no model inside (`dev.brain` scores keywords).

    python -m dev.model --port 9001 --name stand-in-primary

`POST /v1/chat/completions` answers; `POST /faults {"mode": ..., "for": N}` makes the next N calls go wrong;
`GET /calls` counts them; `GET /requests` gives the last 1,000 bodies. It accepts any API key: use mode 401.
Everything it says is labelled: `model`, `system_fingerprint`, the header `x-stand-in`, and `GET /`.
"""

import argparse
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dev import brain
from dev.faults import Drip, Drop, FaultOrder, Faults, Hang, answer
from dev.labels import HEADERS, MODEL_IDS, OTHER_MODEL_ID
from dev.schema import fit
from dev.stand_in import serve

KEEP_REQUESTS = 1_000

Json = dict[str, Any]
ServerFault = Callable[[FaultOrder], Response]
AnswerFault = Callable[[Json, brain.Ticket], Json]


def _error(status: int, kind: str, message: str, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    error = {"message": f"stand-in: {message}", "type": kind, "param": None, "code": kind}
    return answer(status, {"error": error}, headers)


def _page(status: int = 200) -> Response:
    page = "<!doctype html><html><head><title>stand-in proxy</title></head><body>Sign in to continue</body></html>"
    return Response(page, status, HEADERS, "text/html")


# Faults of the server: nothing of an answer arrives.
SERVER_FAULTS: dict[str, ServerFault] = {
    "hang": lambda _: Hang(),
    "drip": lambda _: Drip(),
    "drop": lambda _: Drop(),
    "503": lambda order: _error(503, "server_error", "overloaded", order.retry_after),
    "429": lambda order: _error(429, "rate_limit_exceeded", "rate limit reached", order.retry_after),
    "401": lambda _: _error(401, "invalid_api_key", "incorrect API key"),
    "html": lambda _: _page(),
}


def _says(content: str | None, reason: str = "stop", **message: Any) -> Json:
    return {
        "index": 0,
        "message": {"role": "assistant", "content": content, "refusal": None} | message,
        "logprobs": None,
        "finish_reason": reason,
    }


def _bad_tool(_: Json, __: brain.Ticket) -> Json:
    function = {"name": "close_customer_account", "arguments": '{"confirm": true}'}
    call = {"id": "call_stand_in", "type": "function", "function": function}
    return _says(None, "tool_calls", tool_calls=[call])


def _bad_schema(good: Json, _: brain.Ticket) -> Json:
    bad = {name: value for name, value in good.items() if name != "priority"}
    return _says(json.dumps(bad | {"category": "banana", "confidence": "very", "mood": "stand-in"}))


# Faults of the answer: the server is well, the model is not. Each takes the good answer and the ticket.
ANSWER_FAULTS: dict[str, AnswerFault] = {
    "garbage": lambda _, __: _says("Sure! Here is the triage you asked for: category = billing?? }{"),
    "badschema": _bad_schema,
    "badtool": _bad_tool,
    "refuse": lambda _, __: _says(None, refusal="I'm sorry, I cannot help with that. (stand-in)"),
    "length": lambda good, _: _says(json.dumps(good)[: len(json.dumps(good)) // 2], "length"),
    "filter": lambda _, __: _says("", "content_filter"),
    "obey": lambda good, ticket: _says(json.dumps(brain.obey(good, ticket))),
}
MODES = ("ok", *SERVER_FAULTS, *ANSWER_FAULTS, "empty", "othermodel")


class ModelStandIn:
    """One stand-in: its fault switch, its counters and its HTTP routes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model_id = MODEL_IDS.get(name, name)
        self.faults = Faults(MODES)
        self.calls = 0
        self.requests: deque[Any] = deque(maxlen=KEEP_REQUESTS)
        self._ids = itertools.count(1)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._label),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/faults", self.faults.switch, methods=["POST"]),
                Route("/faults", self.faults.show),
                Route("/calls", self._calls),
                Route("/requests", self._requests),
            ]
        )

    async def _label(self, _: Request) -> Response:
        text = (
            f"{self.name}: a STAND-IN for a language model ({self.model_id}). It scores keywords; it does not think.\n"
        )
        return PlainTextResponse(text, headers=HEADERS)

    async def _models(self, _: Request) -> Response:
        return answer(
            200, {"object": "list", "data": [{"id": self.model_id, "object": "model", "owned_by": "stand-in"}]}
        )

    async def _calls(self, _: Request) -> Response:
        return answer(200, {"calls": self.calls})

    async def _requests(self, _: Request) -> Response:
        return answer(200, list(self.requests))

    async def _complete(self, request: Request) -> Response:
        self.calls += 1
        body = _parsed(await request.body())
        self.requests.append(body)
        order = self.faults.take()
        if order.mode in SERVER_FAULTS:
            return SERVER_FAULTS[order.mode](order)
        if (wrong := _wrong_with(body)) is not None:
            return _error(400, "invalid_request_error", wrong)
        return answer(200, self._completion(body, order.mode))

    def _completion(self, body: Json, mode: str) -> Json:
        ticket = brain.ticket_in(body["messages"])
        good = fit(brain.triage(ticket), _schema(body))
        choice = ANSWER_FAULTS[mode](good, ticket) if mode in ANSWER_FAULTS else _says(json.dumps(good))
        prompt_tokens = sum(_tokens(message.get("content")) for message in body["messages"])
        answer_tokens = _tokens(choice["message"]["content"])
        return {
            "id": f"chatcmpl-{self.name}-{next(self._ids)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": OTHER_MODEL_ID if mode == "othermodel" else self.model_id,
            "choices": [] if mode == "empty" else [choice],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": answer_tokens,
                "total_tokens": prompt_tokens + answer_tokens,
            },
            "system_fingerprint": "stand-in",
        }


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _wrong_with(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "the body must be a JSON object"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        return "'messages' must be a list of at least one object"
    if body.get("stream"):
        return "streaming is not supported"
    return None


def _schema(body: Json) -> Json | None:
    """The JSON schema that the caller wants the answer in, if it names one."""
    wanted = body.get("response_format")
    for step in ("json_schema", "schema"):
        wanted = wanted.get(step) if isinstance(wanted, dict) else None
    return wanted if isinstance(wanted, dict) else None


def _tokens(content: Any) -> int:
    """An estimate: words, and a third more, as in English prose."""
    words = len(content.split()) if isinstance(content, str) else 0
    return words + words // 3


def main() -> None:
    """Serve one stand-in until told to stop."""
    parser = argparse.ArgumentParser(description="Model STAND-IN (no model inside)")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default="stand-in-primary")
    options = parser.parse_args()
    serve(ModelStandIn(options.name).app(), options.name, options.port)


if __name__ == "__main__":
    main()
