"""`svc eval judge` against a real HTTP server that plays the judge, on labels made for the test."""

import json
import shutil
from pathlib import Path

import pytest
import typer
import yaml
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from typer.testing import CliRunner

from service.cli.eval_judge import judge
from service.evaluation.cases import EvalCase
from service.evaluation.judge import LEAST_LABELS
from tests.example import CLEAR, CORRECTED
from tests.processes import serving

(SHIPPED,) = (path.parent for path in (Path(__file__).parents[2] / "evals").glob("*/floors.yaml"))
GOOD_WORD = "thank you"
app = typer.Typer()
app.command()(judge)


class Judge:
    """Calls a reply good that thanks, except that every `wrong`-th answer is the opposite."""

    def __init__(self, wrong=0, status=200):
        self.wrong, self.status, self.asked = wrong, status, []
        self.http = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])

    async def answer(self, request):
        if self.status != 200:
            return PlainTextResponse("no", self.status)
        body = await request.json()
        self.asked.append(body)
        good = GOOD_WORD in json.loads(body["messages"][1]["content"])["reply"].casefold()
        if self.wrong and len(self.asked) % self.wrong == 0:
            good = not good
        text = json.dumps({"reason": "it thanks" if good else "no thanks", "good": good})
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return JSONResponse({"model": "the-tests-judge", "choices": [choice], "usage": {}})


@pytest.fixture
def suite(tmp_path):
    """One case, the shipped guide, and labels: four in five drafts are good, because they thank."""
    case = {
        **{"id": "one", "class": "core", "language": "en", "severity": "normal", "source": "hand-written"},
        "ticket": CLEAR,
        "expected": {"categories": [CORRECTED["category"]], "dispositions": ["auto"]},
    }
    EvalCase.model_validate(case)
    folder = tmp_path / "suite"
    (folder / "cases").mkdir(parents=True)
    (folder / "cases" / "one.yaml").write_text(yaml.safe_dump([case]))
    shutil.copy(SHIPPED / "floors.yaml", folder)
    (folder / "judge").mkdir()
    shutil.copy(SHIPPED / "judge" / "guide.md", folder / "judge")
    label(folder, LEAST_LABELS)
    return folder


def label(folder, count):
    rows = [
        {"case": "one", "reply": f"{i}: {'Thank you.' if i % 5 else 'No.'}", "good": bool(i % 5), "labeller": "a test"}
        for i in range(count)
    ]
    (folder / "judge" / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(suite, played):
    with serving(played.http) as url:
        return CliRunner().invoke(app, ["--suite", str(suite), "--url", f"{url}/v1", "--model", "the-tests-judge"])


def agreement_of(suite):
    return json.loads((suite / "judge" / "agreement.json").read_text())


def test_a_judge_that_agrees_with_people_may_gate(suite):
    played = Judge(wrong=20)
    done = run(suite, played)
    assert done.exit_code == 0, done.output
    assert "agreed on 0.95, where people call 0.80 good" in done.output
    assert "may gate, until judge, guide or labels change" in done.output
    measured = agreement_of(suite)
    assert (measured["n"], len(measured["disagreements"]), measured["labellers"]) == (100, 5, ["a test"])
    assert measured["kappa_low"] < measured["kappa"] < measured["kappa_high"]
    guide = (SHIPPED / "judge" / "guide.md").read_text()
    assert all(asked["messages"][0]["content"].startswith(guide) for asked in played.asked)
    assert {asked["response_format"]["json_schema"]["name"] for asked in played.asked} == {"judgement"}


@pytest.mark.parametrize(("labels", "wrong", "why"), [(100, 6, "kappa may be as low as"), (60, 0, "60 labels, and")])
def test_one_that_does_not_or_on_few_labels_is_advisory(suite, labels, wrong, why):
    label(suite, labels)
    done = run(suite, Judge(wrong))
    assert done.exit_code == 0, done.output
    assert f"ADVISORY ONLY: {why}" in done.output


def test_a_judge_that_does_not_answer_leaves_nothing_behind(suite):
    done = run(suite, Judge(status=400))
    assert done.exit_code == 3
    assert "the-tests-judge gave no judgement: model_rejected_request; nothing was written" in done.stderr
    assert not (suite / "judge" / "agreement.json").exists()


def test_labels_of_unknown_cases_are_wrong_use(suite):
    with (suite / "judge" / "labels.jsonl").open("a") as file:
        file.write(json.dumps({"case": "two", "reply": "x", "good": True, "labeller": "a test"}) + "\n")
    played = Judge()
    done = run(suite, played)
    assert (done.exit_code, played.asked) == (2, [])
    assert "no such case: two" in done.stderr


def test_the_shipped_suite_has_no_labels_and_says_so():
    done = run(SHIPPED, Judge())
    assert done.exit_code == 2
    assert "no labels; guide.md beside it says how to write them" in done.stderr
