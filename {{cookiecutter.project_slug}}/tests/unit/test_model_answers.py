"""What the model client makes of an endpoint's answer, byte by byte. No network here."""

import json

import httpx2
import pytest

from service.inference.models import ChatFailure, ChatModel, _failure_of
from service.inference.task import Call, Spent

CALL = Call("number", [{"role": "user", "content": "a number please"}], {"type": "object"}, 0.0, 100)
LOST = Spent(cost_usd=None, at_most_usd=9.0)


def model(output="auto", price=lambda read, written: read * 0.5 + written):
    return ChatModel(None, "http://nowhere/v1", "m-1", lambda: "", None, lambda _name: price, output)


def _read(body: bytes, in_words: bool = False):
    return model()._read(body, CALL, in_words)


def answer(**message) -> bytes:
    finish = message.pop("finish", "stop")
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    body = {"model": "m-1", "choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    return json.dumps(body).encode()


def test_a_text_is_read_with_model_and_tokens():
    read = _read(answer(content="hello"))
    assert (read.text, read.model, read.spent) == ("hello", "m-1", Spent(3, 2, 3.5))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>gateway</html>", "output_unusable"),
        (b"", "output_unusable"),
        (b"[]", "output_unusable"),
        (b'{"choices": []}', "output_unusable"),
        (b'{"choices": [null]}', "output_unusable"),
        (b"[" * 100_000, "output_unusable"),
        (answer(content=None, tool_calls=[{"id": "1"}]), "output_unusable"),
        (answer(content=["not", "text"]), "output_unusable"),
        (answer(content=None, refusal="I will not"), "model_refused"),
        (answer(content='{"cat', finish="length"), "output_cut_off"),
        (answer(content="", finish="content_filter"), "content_filtered"),
    ],
)
def test_anything_else_is_a_failure_with_its_reason(body, reason):
    with pytest.raises(ChatFailure) as caught:
        _read(body)
    assert caught.value.reason == reason


@pytest.mark.parametrize("tokens", [-1, 0, "many", 5_000, 10**12, None, 1.5, True])
@pytest.mark.parametrize(
    ("count", "others", "most"),
    [("prompt_tokens", (0, 2), model().if_lost(CALL).at_most_usd), ("completion_tokens", (3, 0), 3 * 0.5 + 100)],
)
def test_a_token_count_that_cannot_be_counts_as_the_most_that_the_call_was_allowed(count, others, most, tokens):
    body = json.loads(answer(content="x"))
    body["usage"][count] = tokens
    spent = _read(json.dumps(body).encode()).spent
    assert (spent.input_tokens, spent.output_tokens, spent.cost_usd) == (*others, None)
    assert spent.at_most_usd == most


def test_an_answer_without_a_text_may_have_taken_no_token():
    body = json.loads(answer(content="", finish="content_filter"))
    body["usage"]["completion_tokens"] = 0
    with pytest.raises(ChatFailure, match="content_filtered") as caught:
        _read(json.dumps(body).encode())
    assert caught.value.spent == Spent(3, 0, 1.5)


def test_a_lost_call_is_counted_as_a_token_for_each_byte_and_all_that_it_might_write():
    assert 600 < model().if_lost(CALL).at_most_usd < 700  # a thousand for what endpoints add, at 0.5, and 100


def test_thoughts_that_were_counted_count_also_when_the_input_was_not():
    body = json.loads(answer(content="x"))
    body["usage"] = {"completion_tokens": 800}
    assert _read(json.dumps(body).encode()).spent.at_most_usd > 800


def test_without_a_price_not_even_the_most_is_known():
    assert model(price=lambda _read, _written: None).if_lost(CALL) == Spent(cost_usd=None, at_most_usd=None)


@pytest.mark.parametrize(("status", "lost"), [(500, True), (504, True), (503, False), (429, False), (400, False)])
def test_a_model_may_have_worked_for_nothing_behind_an_error(status, lost):
    assert _failure_of(httpx2.Response(status), LOST).spent == (LOST if lost else Spent())


def test_what_a_refusal_cost_is_kept():
    with pytest.raises(ChatFailure) as caught:
        _read(answer(content=None, refusal="I will not"))
    assert caught.value.spent == Spent(3, 2, 3.5)


@pytest.mark.parametrize("text", ['```json\n{"a": 1}\n```', '```\n{"a": 1}\n```\n', '{"a": 1}'])
def test_a_model_asked_in_words_may_put_its_answer_into_a_fence(text):
    assert _read(answer(content=text), in_words=True).text.strip() == '{"a": 1}'


def test_a_model_asked_natively_may_not():
    assert _read(answer(content='```json\n{"a": 1}\n```')).text.startswith("```")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "model_rate_limited"),
        (401, "model_rejected_request"),
        (400, "model_rejected_request"),
        (503, "model_error"),
        (302, "model_error"),
    ],
)
def test_statuses_have_one_reason_each(status, reason):
    assert _failure_of(httpx2.Response(status), LOST).reason == reason


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("9" * 400, 0.0), ("٣", 0.0)],
)
def test_a_retry_after_in_seconds_is_understood_and_nothing_else(said, seconds):
    response = httpx2.Response(503, headers=[("Retry-After", said.encode())])
    assert _failure_of(response, LOST).retry_after_s == seconds


@pytest.mark.parametrize("odd", ["\ud800", "a\x00b", "<script>", "x" * 101, "a b", "\u202ename", {"a": 1}, 7, None])
def test_an_odd_model_id_is_unknown_because_it_is_kept_as_it_came(odd):
    body = {**json.loads(answer(content="x")), "model": odd}
    assert _read(json.dumps(body).encode()).model == "unknown"


@pytest.mark.parametrize("extra", [{"finish": "tool_calls"}, {"finish": "error"}, {"function_call": {"name": "f"}}])
def test_a_text_beside_anything_but_a_plain_stop_is_not_used(extra):
    with pytest.raises(ChatFailure, match="output_unusable"):
        _read(answer(content="text", **extra))
