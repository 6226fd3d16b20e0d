"""One request is one trace, from the route to the ticketing call in the other process."""

import json

from tests.example import CLEAR, PATH, SPAN, TEXT
from tests.workflow.conftest import eventually

SERVER = 2  # SPAN_KIND_SERVER in OTLP


def spans_of(stack, trace_id):
    """Every span of the trace: span id -> (process, name, parent id, attributes)."""
    found = {}
    for file in (stack.var / "telemetry").glob("*-traces.jsonl"):
        process = file.name.removesuffix("-traces.jsonl")
        for line in file.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):  # being written this moment
                continue
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        if span["traceId"] == trace_id:
                            attributes = {a["key"]: a["value"] for a in span.get("attributes", [])}
                            found[span["spanId"]] = process, span["name"], span.get("parentSpanId"), attributes
    return found


def ancestors(spans, name):
    """Names from the (first) span of this name up to the root."""
    chain, current = [], next((s for s in spans.values() if s[1] == name), None)
    while current:
        chain.append(f"{current[0]}: {current[1]}")
        current = spans.get(current[2])
    return chain


def whole_trace(stack):
    """All spans of one request, once both processes have written theirs: each parent is there but the root's."""
    trace_id = stack.ask(CLEAR)["trace_id"]

    def complete():
        spans = spans_of(stack, trace_id)
        orphans = [name for _, name, parent, _ in spans.values() if parent not in spans]
        return spans if "POST /tickets" in {s[1] for s in spans.values()} and orphans == [f"POST {PATH}"] else None

    return eventually(complete)


def test_the_model_call_hangs_under_the_use_case_under_the_route(stack):
    spans = whole_trace(stack)
    [model] = {s[1] for s in spans.values() if s[1].startswith("chat ")}
    assert ancestors(spans, model) == [f"api: {model}", f"api: {SPAN}", f"api: POST {PATH}"]


def test_the_ticketing_call_in_the_worker_hangs_under_the_request(stack):
    spans = whole_trace(stack)
    chain = ancestors(spans, "POST /tickets")
    assert chain[0] == "worker: POST /tickets"
    assert "worker: deliver effect" in chain
    assert chain[-1] == f"api: POST {PATH}"


def test_sql_of_both_processes_is_in_the_trace(stack):
    spans = whole_trace(stack)
    statements = {(p, a.get("db.query.text", {}).get("stringValue", "")) for p, _, _, a in spans.values()}
    assert any(p == "api" and "INSERT INTO decision" in text for p, text in statements)
    assert any(p == "worker" and "effect" in text for p, text in statements)


def test_the_model_span_follows_the_genai_conventions_and_holds_no_content(stack):
    spans = whole_trace(stack)
    [attributes] = [a for _, name, _, a in spans.values() if name.startswith("chat ")]
    assert attributes["gen_ai.operation.name"] == {"stringValue": "chat"}
    assert {"gen_ai.request.model", "gen_ai.response.model", "gen_ai.usage.input_tokens"} <= attributes.keys()
    assert "gen_ai.input.messages" not in attributes


def test_polling_leaves_no_traces(stack):
    whole_trace(stack)
    for file in (stack.var / "telemetry").glob("*-traces.jsonl"):
        for line in file.read_text().splitlines():
            spans = [s for r in json.loads(line)["resourceSpans"] for g in r["scopeSpans"] for s in g["spans"]]
            assert {s["name"] for s in spans if not s.get("parentSpanId") and s["kind"] != SERVER} == set()


def test_no_span_holds_the_customers_text(stack):
    stack.ask(CLEAR | {TEXT: "The zebra-striped umbrella marker never arrived at my door."})
    whole_trace(stack)
    for file in (stack.var / "telemetry").glob("*.jsonl"):
        assert "zebra-striped umbrella" not in file.read_text()
