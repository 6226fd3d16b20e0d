"""What the model client makes of an endpoint's answer, byte by byte. No network here."""

import json

import pytest

from service.inference.models import ChatFailure, _failure_of_status, _read


def answer(**message) -> bytes:
    finish = message.pop("finish", "stop")
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    body = {"model": "m-1", "choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    return json.dumps(body).encode()


def test_a_text_is_read_with_model_and_tokens():
    read = _read(answer(content="hello"))
    assert (read.text, read.model, read.input_tokens, read.output_tokens) == ("hello", "m-1", 3, 2)


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


@pytest.mark.parametrize("tokens", [-1, "many", 10**12, None, 1.5])
def test_an_absurd_token_count_counts_as_none(tokens):
    body = json.loads(answer(content="x"))
    body["usage"]["prompt_tokens"] = tokens
    assert _read(json.dumps(body).encode()).input_tokens == 0


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
    assert _failure_of_status(status).reason == reason


@pytest.mark.parametrize("odd", ["\ud800", "a\x00b", "<script>", "x" * 101, "a b", "\u202ename", {"a": 1}, 7, None])
def test_an_odd_model_id_is_unknown_because_it_is_kept_as_it_came(odd):
    body = {**json.loads(answer(content="x")), "model": odd}
    assert _read(json.dumps(body).encode()).model == "unknown"


@pytest.mark.parametrize("extra", [{"finish": "tool_calls"}, {"finish": "error"}, {"function_call": {"name": "f"}}])
def test_a_text_beside_anything_but_a_plain_stop_is_not_used(extra):
    with pytest.raises(ChatFailure, match="output_unusable"):
        _read(answer(content="text", **extra))
