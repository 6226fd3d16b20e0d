"""One model behind the OpenAI-compatible chat wire, called once per call: no retries, explicit time-outs.

Copyable with task.py: needs httpx2 and opentelemetry-util-genai. It leaves to you: retries, fallbacks
and the total deadline (gateway.py), and what the text means. httpx time-outs are per read, so a slow drip passes
them: whoever calls `complete` must also bound it in total.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Literal

import httpx2
from opentelemetry import propagate
from opentelemetry.util.genai.handler import TelemetryHandler

from service.inference.task import Call, Message, Reply, Spent

MAX_ANSWER_BYTES = 1_000_000
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*\Z", re.DOTALL | re.IGNORECASE)

# How the answer's schema is given. "schema": natively, as `response_format`. "text": in words, for endpoints that do
# not know that field. "auto": natively, unless the endpoint refuses the first such call and accepts it in words.
Output = Literal["auto", "schema", "text"]
Price = Callable[[int, int], float | None]
UNKNOWN = Spent(cost_usd=None)


class ChatFailure(Exception):
    """The call gave no text to use. `reason` is one of a short list; `detail` is for our logs, not for callers.

    `again`: the same call is worth another try, because it will be put differently. `retry_after_s`: what the
    endpoint asked for, in seconds; 0 if nothing.
    """

    def __init__(self, reason: str, detail: str = "", spent: Spent = Spent(), retry_after_s: float = 0.0) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.spent = spent
        self.retry_after_s = retry_after_s
        self.again = False


def unknown_price(input_tokens: int, output_tokens: int) -> None:
    """The price of a model that no table knows: unknown."""


class ChatModel:
    """A model at `url` (ending in /v1). `api_key` is called for each request, so a rotated key is picked up.

    `price` tells US dollars for input and output tokens, or None.
    """

    def __init__(  # noqa: PLR0913 - wired once, by name
        self,
        http: httpx2.AsyncClient,
        url: str,
        name: str,
        api_key: Callable[[], str],
        spans: TelemetryHandler,
        price: Price = unknown_price,
        output: Output = "auto",
    ) -> None:
        self.name = name
        self._http, self._url, self._api_key, self._spans = http, url.rstrip("/"), api_key, spans
        self._price, self._output = price, output
        self._trying_text = False

    async def complete(self, call: Call) -> Reply:
        """One upstream call. Raises `ChatFailure`, and nothing else, when there is no text to use."""
        in_words = self._output == "text" or (self._output == "auto" and self._trying_text)
        body: dict[str, Any] = {
            "model": self.name,
            "messages": _in_words(call) if in_words else list(call.messages),
            "temperature": call.temperature,
            "max_tokens": call.max_tokens,
        }
        if not in_words:
            schema = {"name": call.name, "strict": True, "schema": call.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        host = httpx2.URL(self._url).host
        with self._spans.inference("openai", request_model=self.name, server_address=host) as span:
            span.temperature, span.max_tokens = call.temperature, call.max_tokens
            try:
                answer = await self._post(body)
            except ChatFailure as failure:
                failure.again = failure.detail in ("HTTP 400", "HTTP 422") and self._refused(in_words)
                raise
            if self._output == "auto":
                self._output = "text" if in_words else "schema"
            reply = self._read(answer, in_words)
            span.response_model_name = reply.model
            span.input_tokens, span.output_tokens = reply.spent.input_tokens, reply.spent.output_tokens
            return reply

    def _refused(self, in_words: bool) -> bool:
        """In "auto", find out whether it was the schema that was refused. Returns whether to ask again, in words."""
        if self._output != "auto":
            return False
        self._trying_text = not in_words
        if in_words:  # so it was not the schema
            self._output = "schema"
        return not in_words

    async def _post(self, body: dict[str, Any]) -> bytes:
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
                    raise _failure_of(response)
                return await _bounded(response)
        except (httpx2.ConnectTimeout, httpx2.ConnectError, httpx2.PoolTimeout) as error:
            raise ChatFailure("model_unreachable", type(error).__name__) from error
        except httpx2.TimeoutException as error:
            raise ChatFailure("deadline", type(error).__name__, UNKNOWN) from error
        except httpx2.HTTPError as error:
            raise ChatFailure("model_unreachable", type(error).__name__, UNKNOWN) from error

    def _read(self, body: bytes, in_words: bool) -> Reply:
        """The first choice's text, or why there is none. The answer is untrusted: nothing about it is assumed."""
        try:
            answer = json.loads(body)
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            message, finish = choice["message"], choice.get("finish_reason")
            spent = self._spent(usage.get("prompt_tokens"), usage.get("completion_tokens"))
            text, refusal = message.get("content"), message.get("refusal")
            called_tool, model = message.get("tool_calls") or message.get("function_call"), answer.get("model")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            problem = f"not a chat completion: {type(error).__name__}"
            raise ChatFailure("output_unusable", problem, UNKNOWN) from error
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

    def _spent(self, input_tokens: object, output_tokens: object) -> Spent:
        read, written = _count(input_tokens), _count(output_tokens)
        if read is None or written is None:
            return Spent(read or 0, written or 0, None)
        return Spent(read, written, self._price(read, written))


async def _bounded(response: httpx2.Response) -> bytes:
    chunks = bytearray()
    async for chunk in response.aiter_raw():
        chunks += chunk
        if len(chunks) > MAX_ANSWER_BYTES:
            raise ChatFailure("output_unusable", f"more than {MAX_ANSWER_BYTES} bytes")
    return bytes(chunks)


def _failure_of(response: httpx2.Response) -> ChatFailure:
    """By status only: a vendor's error text may quote our prompt or key, so it is never read."""
    status = response.status_code
    if status == 429 or status >= 500:
        reason = "model_rate_limited" if status == 429 else "model_error"
        return ChatFailure(reason, f"HTTP {status}", retry_after_s=_seconds(response.headers.get("retry-after", "")))
    return ChatFailure("model_rejected_request" if 400 <= status < 500 else "model_error", f"HTTP {status}")


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


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 10_000_000 else None
