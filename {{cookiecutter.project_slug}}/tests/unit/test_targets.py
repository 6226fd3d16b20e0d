"""Adapters of foreign targets: what is refused before anything is sent, what is read from a reply, hostile replies."""

import asyncio
import json
import re
import zlib
from pathlib import Path

import pytest
import yaml

from service.application.triage.contract import Ticket
from service.evaluation.adapters import OWN, Adapter, AdapterError, load_adapter
from service.evaluation.cases import Dimension
from service.evaluation.targets import MOST_BYTES, Unmapped, open_target, read_answer

DOCUMENT = Path(__file__).parents[2] / "docs" / "prototype-baseline.md"
PLAIN = {
    "name": "old",
    "side_effects": "none",
    "side_effects_note": "keeps nothing",
    "request": {"path": "/ask", "json": {"text": "{body}"}},
    "answer": {"category": {"at": "label", "values": {"Rechnung": "billing", "yes": "other", "1": "account"}}},
    "timeout_s": 0.3,
}
TICKET = Ticket(subject="Hi {body}", body="Costs ${HOME} and {subject}?", channel=None)


def adapter(answer=None, **request):
    return Adapter.model_validate(PLAIN | {"answer": answer or PLAIN["answer"], "request": PLAIN["request"] | request})


def refusal(tmp_path, content):
    (tmp_path / "a.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(AdapterError) as error:
        load_adapter(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"side_effects": None}, "a.yaml: side_effects: the target's owner must declare"),
        ({"side_effects": "few"}, "a.yaml: side_effects: Input should be 'none', 'reversible' or 'real'"),
        ({"side_effects_note": ""}, "a.yaml: side_effects_note: "),
        ({"name": "latest"}, "latest is taken"),
        ({"speed": 9}, "a.yaml: speed: Extra inputs"),
        ({"request": {"path": "ask", "json": "{body}"}}, "a.yaml: request.path: "),
        ({"request": {"path": "/", "json": {"a": ["{boby}", "{body}"]}}}, "json.a.0: no placeholder {boby}"),
        ({"request": {"path": "/", "json": {"text": "{subject}"}}}, "{body} is nowhere"),
        ({"request": {"path": "/", "json": "{body}", "form": {"a": "b"}}}, "json or form, not both"),
        ({"answer": {"category": {"values": {}}}}, "a.yaml: answer.category: Value error, needs either at or always"),
        ({"answer": {"sentiment": {"at": "x"}}}, "a.yaml: answer.sentiment: "),
    ],
)
def test_a_mistake_is_one_line_with_file_and_field(tmp_path, change, told):
    assert told in refusal(tmp_path, PLAIN | change)


@pytest.mark.parametrize(
    "secret",
    [
        {"headers": {"Authorization": "Bearer abc"}},
        {"headers": {"authorization": "Bearer abc ${TOKEN}"}},
        {"headers": {"X-Api-Key": "abc"}},
        {"query": {"key": "abc"}},
        {"json": {"text": "{body}", "deep": [{"password": "abc"}]}},
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path, secret):
    told = refusal(tmp_path, PLAIN | {"request": PLAIN["request"] | secret})
    assert "no secrets in this file" in told
    assert "abc" not in told


def test_what_only_sounds_like_a_secret_is_none():
    assert adapter(headers={"X-Max-Tokens": "100"}, json={"text": "{body}", "monkey": "x"}).request.headers


def test_a_file_that_is_no_yaml_or_not_there_is_one_line(tmp_path):
    assert "not YAML" in refusal(tmp_path, "a: [b")
    with pytest.raises(AdapterError, match=r"none\.yaml: No such file"):
        load_adapter(tmp_path / "none.yaml")


def test_the_example_of_the_document_is_an_adapter_and_reads_a_reply(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "prototype.yaml").write_text(example, encoding="utf-8")
    known = load_adapter(tmp_path / "prototype.yaml")
    assert known.request.variables == {"PROTOTYPE_TOKEN"}
    told = {"label": "rechnung "}
    reply = {
        "choices": [{"message": {"content": f"```json\n{json.dumps(told)}\n```"}}],
        "result": {"urgency": 3, "score": 87, "references": [{"number": "A-1"}, {"number": 7}, {}]},
        "reply": {"text": "Thank you."},
    }
    answer = read_answer(known, json.dumps(reply).encode())
    assert answer["outcome"] == {
        "category": "billing",
        "priority": "high",
        "draft_reply": "Thank you.",
        "confidence": 0.87,
        "entities": [{"type": "found", "value": "A-1"}, {"type": "found", "value": "7"}],
        "evidence": [],
    }
    assert (answer["disposition"], answer["model_version"], answer["release"]) == ("auto", "unknown", "prototype")


def test_only_what_is_mapped_is_observed():
    assert adapter().observes == {Dimension.CATEGORY, Dimension.FORMAT, Dimension.ROBUSTNESS, Dimension.FAIRNESS}
    assert frozenset(Dimension) - OWN.observes == {Dimension.EFFECTS}
    drafts = adapter({"draft_reply": {"at": "a"}, "disposition": {"always": "auto"}}).observes
    assert {Dimension.ESCALATION, Dimension.REFUSAL, Dimension.PII} <= drafts


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "an empty reply"),
        (b"<html>", "not JSON"),
        (b'{"label": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"label": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[1]", "category: nothing at label"),
        (b'{"label": null}', "category: nothing at label"),
        (b'{"label": "Quatsch"}', "got 'Quatsch'"),
        (b'{"label": {"a": 1}}', "outcome.category: "),
        (b'{"label": "\\ud800"}', "text that is not Unicode"),
        (b'{"label": NaN}', "outcome.category: "),
    ],
)
def test_an_unreadable_reply_says_what_is_wrong_with_it(body, problem):
    with pytest.raises(Unmapped) as error:
        read_answer(adapter(), body)
    assert problem in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("value", "category"), [('" RECHNUNG"', "billing"), ("1", "account"), ('"delivery"', "delivery")]
)
def test_labels_are_translated_whatever_their_case_or_type(value, category):
    assert read_answer(adapter(), f'{{"label": {value}}}'.encode())["outcome"]["category"] == category


@pytest.mark.parametrize(
    ("sure", "problem"), [('"high"', "no number"), ("1.2", "less than or equal to 1"), ("[]", "no number")]
)
def test_a_confidence_that_is_none_is_a_failure_of_format(sure, problem):
    with pytest.raises(Unmapped, match=problem):
        read_answer(adapter({"confidence": {"at": "sure"}}), f'{{"sure": {sure}}}'.encode())


async def _served(reply, adapter=None, **environment):
    """The sample of a server that writes `reply` as it is, and what it was sent. None: it says nothing."""
    heard = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        heard.append(head + await reader.readexactly(int(length[1]) if length else 0))
        if reply is None:
            await asyncio.sleep(1)
        writer.write(reply or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/"
        async with open_target(url, adapter or Adapter.model_validate(PLAIN), environment) as target:
            return await target.ask(TICKET), heard


def _reply(body, status="200 OK", *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (_reply(b"oops", "500 Internal Server Error"), "status 500"),
        (_reply(b"", "302 Found", "Location: http://127.0.0.1:1/"), "status 302"),
        (_reply(b"{}", "204 No Content")[:-2], "an empty reply"),
        (_reply(b" " * (MOST_BYTES + 1)), f"a reply of more than {MOST_BYTES} bytes"),
        (_reply(zlib.compress(b"{}"), "200 OK", "Content-Encoding: deflate"), "a compressed reply"),
        (_reply(b'{"label": "Rechnung"}')[:-5], "no reply: RemoteProtocolError"),
        (b"SSH-2.0-nothing\r\n", "no reply: RemoteProtocolError"),
        (b"", "no reply: RemoteProtocolError"),
        (None, "no whole reply within 0.3 s"),
    ],
)
def test_whatever_a_target_does_is_a_sample_with_a_problem(reply, problem):
    sample, heard = asyncio.run(_served(reply))
    assert sample.answer is None
    assert sample.problem.startswith(problem)
    assert (len(heard), sample.seconds < 1) == (1, True)


def test_a_message_fills_each_placeholder_once_and_the_environment_only_what_the_file_names():
    body = {"all": ["{subject}", {"text": "<{body}>"}], "via": "{channel}", "who": "{customer_ref}!"}
    asked = adapter(json=body, headers={"Authorization": "Bearer ${KEY}"}, query={"a": "{channel}", "b": "${KEY}"})
    sample, [heard] = asyncio.run(_served(_reply(b'{"label": "Rechnung"}'), asked, KEY="k 1", HOME="/root"))
    head, _, sent = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/ask?b=k+1 HTTP/1.1") or head.startswith(b"POST /base/ask?b=k%201 HTTP/1.1")
    assert b"Authorization: Bearer k 1" in head
    assert json.loads(sent) == {"all": [TICKET.subject, {"text": f"<{TICKET.body}>"}], "via": None, "who": "!"}
    assert sample.answer["outcome"]["category"] == "billing"


LEAKING = "http://me:secret@host"  # pragma: allowlist secret


@pytest.mark.parametrize("url", ["ftp://host", "http://", LEAKING, "http://host?key=1", "host:80", "http://[::"])
def test_an_address_that_is_none_is_refused_and_not_repeated_if_it_holds_a_secret(url):
    async def open_it():
        async with open_target(url, adapter(), {}):
            pass

    with pytest.raises(AdapterError) as error:
        asyncio.run(open_it())
    assert "secret@" not in str(error.value)


@pytest.mark.parametrize("value", ["", "two\nlines", "naïve", " padded"])
def test_a_variable_that_makes_no_header_is_refused_by_its_name(value):
    asked = adapter(headers={"Authorization": "Bearer ${KEY}"})
    with pytest.raises(AdapterError, match="set KEY in the environment"):
        asyncio.run(_served(b"", asked, KEY=value))
