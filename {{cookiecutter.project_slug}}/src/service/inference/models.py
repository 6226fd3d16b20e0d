"""One model behind the OpenAI-compatible chat wire, called once per call: no retries, explicit time-outs.

Copyable with task.py: needs httpx2 and opentelemetry-util-genai. It leaves to you: retries, fallbacks
and the total deadline (gateway.py), and what the text means. httpx time-outs are per read, so a slow drip passes
them: whoever calls `complete` must also bound it in total.
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import httpx2
from opentelemetry import propagate
from opentelemetry.util.genai.handler import TelemetryHandler

from service.inference.task import Call, Message, Reply, Spent

MAX_ANSWER_BYTES = 1_000_000
MOST_OUTPUT = 10  # times the tokens that a call may write: what is counted beyond is not believed
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*\Z", re.DOTALL | re.IGNORECASE)

# How the answer's schema is given. "schema": natively, as `response_format`. "text": in words, for endpoints that do
# not know that field. "auto": natively, until the endpoint refuses that and accepts the same call in words.
Output = Literal["auto", "schema", "text"]
Price = Callable[[int, int], float | None]
log = logging.getLogger(__name__)


class ChatFailure(Exception):
    """The call gave no text to use. `reason` is one of a short list; `detail` is for our logs, not for callers.

    `status` is that of HTTP, 0 if there was none. `retry_after_s`: what the endpoint asked for, in seconds; 0 if
    nothing. `again`: the call to make instead, if one is worth it.
    """

    def __init__(
        self, reason: str, detail: str = "", spent: Spent = Spent(), status: int = 0, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.spent = reason, detail, spent
        self.status, self.retry_after_s = status, retry_after_s
        self.again: Call | None = None


def unknown_price(input_tokens: int, output_tokens: int) -> None:
    """The price of a model that no table knows: unknown."""


class ChatModel:
    """A model at `url` (ending in /v1). `api_key` is called for each request, so a rotated key is picked up.

    `price_of` tells for a model's name the US dollars for input and output tokens, or None.
    """

    def __init__(  # noqa: PLR0913 - wired once, by name
        self,
        http: httpx2.AsyncClient,
        url: str,
        name: str,
        api_key: Callable[[], str],
        spans: TelemetryHandler,
        price_of: Callable[[str], Price] = lambda _name: unknown_price,
        output: Output = "auto",
    ) -> None:
        self.name = name
        self._http, self._url, self._api_key, self._spans = http, url.rstrip("/"), api_key, spans
        self._price_of, self._output = price_of, output
        self._learned: dict[str, Output] = {}  # of each model at this endpoint

    async def complete(self, call: Call) -> Reply:
        """One upstream call. Raises `ChatFailure` when there is no text to use.

        What `api_key` or a hook of the HTTP client raises passes through.
        """
        name = call.model or self.name
        output = self._learned.get(name, self._output)
        in_words = call.in_words or output == "text"
        body = self._body(call, in_words)
        host = httpx2.URL(self._url).host
        with self._spans.inference("openai", request_model=name, server_address=host) as span:
            span.temperature, span.max_tokens = call.temperature, call.max_tokens
            try:
                answer = await self._post(call, body)
            except ChatFailure as failure:
                if failure.status in (400, 422) and output != "schema" and not in_words:
                    failure.again = replace(call, in_words=True)  # it may have been the schema that was refused
                raise
            if output == "auto":
                self._learned[name] = "text" if in_words else "schema"
                log.info("%s takes its schema %s", name, "in words only" if in_words else "natively")
            reply = self._read(answer, call, in_words)
            span.response_model_name = reply.model
            span.input_tokens, span.output_tokens = reply.spent.input_tokens, reply.spent.output_tokens
            return reply

    def if_lost(self, call: Call) -> Spent:
        """What a call was allowed to cost whose answer never came: a token for each byte, and all it might write."""
        return Spent(cost_usd=None, at_most_usd=self._price(call)(_most_input_tokens(call), call.max_tokens))

    def _price(self, call: Call) -> Price:
        return self._price_of(call.model or self.name)

    def _body(self, call: Call, in_words: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": call.model or self.name,
            "messages": _in_words(call) if in_words else list(call.messages),
            "temperature": call.temperature,
            "max_tokens": call.max_tokens,
        }
        if not in_words:
            schema = {"name": call.name, "strict": True, "schema": call.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    async def _post(self, call: Call, body: dict[str, Any]) -> bytes:
        key = self._api_key()
        headers = {"Accept-Encoding": "identity"}  # a few kilobytes could unpack to all of the memory
        if key:
            headers["Authorization"] = f"Bearer {key}"
        propagate.inject(headers)
        try:
            async with self._http.stream(
                "POST", f"{self._url}/chat/completions", json=body, headers=headers
            ) as response:
                if response.status_code != 200:
                    raise _failure_of(response, self.if_lost(call))
                return await self._bounded(call, response)
        except (httpx2.ConnectTimeout, httpx2.ConnectError, httpx2.PoolTimeout) as error:
            raise ChatFailure("model_unreachable", type(error).__name__) from error
        except httpx2.TimeoutException as error:
            raise ChatFailure("deadline", type(error).__name__, self.if_lost(call)) from error
        except httpx2.HTTPError as error:
            raise ChatFailure("model_unreachable", type(error).__name__, self.if_lost(call)) from error

    async def _bounded(self, call: Call, response: httpx2.Response) -> bytes:
        chunks = bytearray()
        async for chunk in response.aiter_raw():
            chunks += chunk
            if len(chunks) > MAX_ANSWER_BYTES:
                raise ChatFailure("output_unusable", f"more than {MAX_ANSWER_BYTES} bytes", self.if_lost(call))
        return bytes(chunks)

    def _read(self, body: bytes, call: Call, in_words: bool) -> Reply:
        """The first choice's text, or why there is none. The answer is untrusted: nothing about it is assumed."""
        try:
            answer = json.loads(body)
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            message, finish = choice["message"], choice.get("finish_reason")
            text, refusal = message.get("content"), message.get("refusal")
            spent = self._spent(call, usage.get("prompt_tokens"), usage.get("completion_tokens"), least=bool(text))
            called_tool, model = message.get("tool_calls") or message.get("function_call"), answer.get("model")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            problem = f"not a chat completion: {type(error).__name__}"
            raise ChatFailure("output_unusable", problem, self.if_lost(call)) from error
        if refusal:
            raise ChatFailure("model_refused", "", spent)
        if finish == "length":
            raise ChatFailure("output_cut_off", "", spent)
        if finish == "content_filter":
            raise ChatFailure("content_filtered", "", spent)
        if called_tool or finish not in ("stop", None) or not isinstance(text, str):
            raise ChatFailure("output_unusable", "no text in the message", spent)
        if in_words:
            text = _unfenced(text)
        # The one string that is kept as it came, so it must be a plain name.
        known = isinstance(model, str) and _MODEL_ID.fullmatch(model)
        return Reply(text=text, model=model if known else "unknown", spent=spent)

    def _spent(self, call: Call, read: object, written: object, least: int) -> Spent:
        """Tokens as counted by the endpoint, if that can be: one wrong count could spend everybody's budget."""
        characters = sum(len(message["content"]) for message in call.messages)
        read = _count(read, 1, characters) or _count(read, 1, _most_input_tokens(call))
        written = _count(written, least, MOST_OUTPUT * call.max_tokens)  # some count what a model thought, too
        if read is None or written is None:
            most = self._price(call)(read or _most_input_tokens(call), max(written or 0, call.max_tokens))
            return Spent(read or 0, written or 0, None, most)
        return Spent(read, written, self._price(call)(read, written))


def _failure_of(response: httpx2.Response, if_lost: Spent) -> ChatFailure:
    """By status only: a vendor's error text may quote our prompt or key, so it is never read."""
    status = response.status_code
    if 400 <= status < 500 and status != 429:
        return ChatFailure("model_rejected_request", f"HTTP {status}", status=status)
    reason = "model_rate_limited" if status == 429 else "model_error"
    spent = if_lost if status >= 500 and status != 503 else Spent()  # a model may have worked behind a 500 or 504
    return ChatFailure(reason, f"HTTP {status}", spent, status, _seconds(response.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float:
    """The form in seconds; a date, which vendors do not send, counts as nothing."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6 else 0.0


def _in_words(call: Call) -> list[Message]:
    words = f"Answer with one JSON object that follows this JSON schema, and nothing else:\n{json.dumps(call.schema)}"
    first, *others = call.messages
    return [{**first, "content": f"{first['content']}\n\n{words}"}, *others]


def _unfenced(text: str) -> str:
    """What stands in a code fence, if all of the text does; models asked in words like to add one."""
    found = _FENCED.match(text)
    return found["inside"] if found else text


def _most_input_tokens(call: Call) -> int:
    """No token is shorter than a byte; the rest is for what endpoints put around messages and schema."""
    return 1000 + len(json.dumps([*call.messages, call.schema], ensure_ascii=False).encode("utf-8", "replace"))


def _count(value: object, least: int, most: int) -> int | None:
    return value if type(value) is int and least <= value <= most else None
