"""One model behind the OpenAI-compatible chat wire, called once per call: no retries, explicit time-outs.

Copyable: needs httpx2 and opentelemetry-util-genai, nothing of this project. It leaves to you: retries,
fallbacks and the total deadline (gateway.py), and what the text means. httpx time-outs are per read, so a
slow drip passes them: whoever calls `complete` must also bound it in total.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from opentelemetry import propagate
from opentelemetry.util.genai.handler import TelemetryHandler

Message = dict[str, str]
MAX_ANSWER_BYTES = 1_000_000
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's text and what it cost. `model` is the id the endpoint says answered, not the one asked for."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int


class ChatFailure(Exception):
    """The call gave no text to use. `reason` is one of a short list; `detail` is for our logs, not for callers."""

    def __init__(self, reason: str, detail: str = "", input_tokens: int = 0, output_tokens: int = 0) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The JSON schema that the answer must follow, under a name of letters and underscores."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model at `url` (ending in /v1). `api_key` is called for each request, so a rotated key is picked up."""

    http: httpx2.AsyncClient
    url: str
    name: str
    api_key: Callable[[], str]
    spans: TelemetryHandler

    async def complete(
        self, messages: Sequence[Message], schema: OutputSchema, temperature: float, max_tokens: int
    ) -> Completion:
        """One upstream call. Raises `ChatFailure`, and nothing else, when there is no text to use."""
        body = {
            "model": self.name,
            "messages": list(messages),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": schema.name, "strict": True, "schema": schema.schema},
            },
        }
        with self.spans.inference("openai", request_model=self.name, server_address=httpx2.URL(self.url).host) as span:
            span.temperature, span.max_tokens = temperature, max_tokens
            completion = _read(await self._post(body))
            span.response_model_name = completion.model
            span.input_tokens, span.output_tokens = completion.input_tokens, completion.output_tokens
            return completion

    async def _post(self, body: dict[str, Any]) -> bytes:
        key = self.api_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        propagate.inject(headers)
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            async with self.http.stream("POST", url, json=body, headers=headers) as response:
                if response.status_code != 200:
                    raise _failure_of_status(response.status_code)
                return await _bounded(response)
        except httpx2.TimeoutException as error:
            raise ChatFailure("deadline", type(error).__name__) from error
        except httpx2.HTTPError as error:
            raise ChatFailure("model_unreachable", type(error).__name__) from error


async def _bounded(response: httpx2.Response) -> bytes:
    chunks = bytearray()
    async for chunk in response.aiter_bytes():
        chunks += chunk
        if len(chunks) > MAX_ANSWER_BYTES:
            raise ChatFailure("output_unusable", f"more than {MAX_ANSWER_BYTES} bytes")
    return bytes(chunks)


def _failure_of_status(status: int) -> ChatFailure:
    """Statuses only: a vendor's error text may quote our prompt or key, so it is never read."""
    if status == 429:
        return ChatFailure("model_rate_limited", "HTTP 429")
    if status in (400, 401, 403, 404, 422):
        return ChatFailure("model_rejected_request", f"HTTP {status}")
    return ChatFailure("model_error", f"HTTP {status}")


def _read(body: bytes) -> Completion:
    """The first choice's text, or why there is none. The answer is untrusted: nothing about it is assumed."""
    try:
        answer = json.loads(body)
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        message, finish = choice["message"], choice.get("finish_reason")
        spent = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        text, refusal = message.get("content"), message.get("refusal")
        called_tool, model = message.get("tool_calls") or message.get("function_call"), answer.get("model")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ChatFailure("output_unusable", f"not a chat completion: {type(error).__name__}") from error
    if refusal:
        raise ChatFailure("model_refused", "", *spent)
    if finish == "length":
        raise ChatFailure("output_cut_off", "", *spent)
    if finish == "content_filter":
        raise ChatFailure("content_filtered", "", *spent)
    if called_tool or finish not in ("stop", None) or not isinstance(text, str):
        raise ChatFailure("output_unusable", "no text in the message", *spent)
    # The one string that is kept as it came, so it must be a plain name.
    known = isinstance(model, str) and _MODEL_ID.fullmatch(model)
    return Completion(text=text, model=model if known else "unknown", input_tokens=spent[0], output_tokens=spent[1])


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 10_000_000 else 0
