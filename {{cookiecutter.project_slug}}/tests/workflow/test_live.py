"""Live answers are evaluated by the running worker, some that passed are reviewed, `svc eval drift` tells of both."""

import json

import pytest

from tests.example import CLEAR, CORRECTED, USE_CASE
from tests.workflow.conftest import eventually, running_stack


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A service that evaluates and reviews every answer."""
    with running_stack(tmp_path_factory.mktemp("live"), EVAL_SAMPLE="1", REVIEW_SAMPLE="1") as stack:
        yield stack


def events_of(stack, trace_id):
    """Complete lines only: the last may be being written."""
    file = stack.var / "telemetry" / "worker-events.jsonl"
    lines = file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []
    logs = [group for line in lines for group in json.loads(line)["resourceLogs"]]
    records = [record for group in logs for scope in group["scopeLogs"] for record in scope["logRecords"]]
    return [record for record in records if record["traceId"] == trace_id]


def test_an_answer_that_passed_gets_verdicts_as_rows_and_as_events_in_its_trace(watched):
    asked = watched.ask(CLEAR | {"customer_ref": "live-1"})
    query = "select dimension, passed from live_score where decision_id = ?"
    rows = eventually(lambda: watched.rows(query, asked["decision_id"]), seconds=30)
    assert {row[0] for row in rows} == {"format", "groundedness", "tone", "over_refusal"}
    events = eventually(lambda: events_of(watched, asked["trace_id"]), seconds=15)
    told = {}
    for event in events:
        attributes = {each["key"]: each["value"] for each in event["attributes"]}
        assert event["eventName"] == "gen_ai.evaluation.result"
        assert attributes.keys() == {
            "gen_ai.evaluation.name", "gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value",
            "service.use_case", "service.release",
        }  # fmt: skip
        told[attributes["gen_ai.evaluation.name"]["stringValue"]] = attributes["gen_ai.evaluation.score.label"]
    assert told == {name: {"stringValue": "pass" if passed else "fail"} for name, passed in rows}


def test_a_verdict_on_an_answer_that_passed_writes_nothing_again_and_counts(watched):
    asked = watched.ask(CLEAR)
    decision, key = asked["decision_id"], f"{USE_CASE}:{asked['decision_id']}"
    assert asked["disposition"] == "auto"
    eventually(lambda: watched.get(f"/v1/decisions/{decision}").json()["effect"]["state"] == "done")
    open_ = watched.get("/v1/reviews?state=open", "reviewer").json()
    [item] = [item for item in open_ if item["decision_id"] == decision]
    assert item["disposition"] == "auto"
    [before] = [ticket for ticket in watched.tickets() if ticket["key"] == key]
    verdict = {"verdict": "correct", "outcome": CORRECTED, "note": "not what was asked"}
    closed = watched.post(f"/v1/reviews/{item['id']}/verdict", key="reviewer", json=verdict)
    assert (closed.status_code, closed.json()["corrected"]) == (200, CORRECTED)
    assert watched.rows("select key, attempts from effect where decision_id = ?", decision) == [(key, 1)]
    # What follows on the same queue has been written, so a second write of this one would have been, too.
    later = watched.ask(CLEAR)["decision_id"]
    eventually(lambda: watched.get(f"/v1/decisions/{later}").json()["effect"]["state"] == "done")
    assert [ticket for ticket in watched.tickets() if ticket["key"] == key] == [before]
    found = json.loads(watched.ran("eval", "drift", "--json")[1])["accuracy"]
    [auto] = [row for row in found if row["disposition"] == "auto"]
    assert (auto["decided"], auto["approved"]) == (1, 0)
    assert auto["answers"] >= 3


def test_drift_says_that_there_is_too_little_to_go_by(watched):
    watched.ask(CLEAR)
    code, printed, said = watched.ran("eval", "drift", "--json")
    found = json.loads(printed)
    assert code == 3, said
    assert {monitor["state"] for monitor in found["monitors"]} == {"too_few"}
    assert found["accuracy"][-1]["disposition"] == "all"
    labels = watched.rows("select distinct json_extract(outcome, '$.category') from decision")
    assert {row["label"] for row in found["mix"]} <= {label for (label,) in labels}
    code, printed, _ = watched.ran("eval", "drift")
    assert (code, "biased sample" in printed) == (3, True)


def test_drift_is_for_operators_and_auditors(watched):
    code, _, said = watched.ran("eval", "drift", key="caller")
    assert (code, "operator or auditor" in said) == (2, True)
