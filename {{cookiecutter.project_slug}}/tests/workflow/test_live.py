"""Live answers are evaluated by the running worker, and `svc eval drift` tells what it has seen."""

import json

from tests.example import CLEAR
from tests.workflow.conftest import eventually


def test_some_live_answers_get_verdicts_as_rows_and_as_events(stack):
    for number in range(40):
        stack.ask(CLEAR | {"customer_ref": f"live-{number}"})
    eventually(lambda: stack.rows("select count(*) from live_score")[0][0] > 0, seconds=30)
    verdicts = {row[0] for row in stack.rows("select dimension from live_score")}
    assert verdicts == {"format", "groundedness", "tone", "over_refusal"}
    events = stack.var / "telemetry" / "worker-events.jsonl"
    eventually(lambda: events.exists() and "gen_ai.evaluation.result" in events.read_text(), seconds=15)
    told = json.loads(events.read_text().splitlines()[0])["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    trace_ids = {row[0] for row in stack.rows("select trace_id from decision")}
    assert told["traceId"] in trace_ids
    assert {attribute["key"] for attribute in told["attributes"]} == {
        "gen_ai.evaluation.name", "gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value",
        "service.use_case", "service.release",
    }  # fmt: skip


def test_drift_says_that_there_is_too_little_to_go_by(stack):
    code, printed, said = stack.ran("eval", "drift", "--json")
    found = json.loads(printed)
    assert code == 3, said
    assert {monitor["state"] for monitor in found["monitors"]} == {"too_few"}
    assert found["accuracy"][-1]["disposition"] == "all, weighted"
    labels = stack.rows("select distinct json_extract(outcome, '$.category') from decision")
    assert {row["label"] for row in found["mix"]} <= {label for (label,) in labels}


def test_drift_is_for_operators_and_auditors(stack):
    code, _, said = stack.ran("eval", "drift", key="caller")
    assert (code, "operator or auditor" in said) == (2, True)
