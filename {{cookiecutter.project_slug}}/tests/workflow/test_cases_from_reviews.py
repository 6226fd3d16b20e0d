"""What reviewers decided becomes cases: for reviewers of the tenant, on record, and scrubbed before it is in a file."""

import json
from dataclasses import replace

import pytest

from service.evaluation.suites import load_suite
from tests.evaluation_samples import suite_in
from tests.example import CORRECTED, GRAVE, TEXT, UNCLEAR

PERSONAL = "Anna.Kowalska@posteo.de, +49 171 2345678"
SENTINELS = ("kowalska", "posteo", "2345678")


@pytest.fixture(scope="module")
def decided(stack):
    """A tenant of its own whose reviewer corrected, approved, rejected and let wait one message each."""
    keys = {}
    for role in ("caller", "reviewer"):
        made = stack.done("keys", "create", "--subject", f"{role}-x", "--tenant", "cases", "--role", role, "--json")
        keys[role] = json.loads(made)["key"]
    desk = replace(stack, keys=keys)
    asked = {
        "corrected": UNCLEAR | {TEXT: f"{UNCLEAR[TEXT]}. Reach me by {PERSONAL}", "customer_ref": "c-77"},
        "approved": GRAVE,
        "rejected": UNCLEAR | {TEXT: f"{UNCLEAR[TEXT]} nobody should keep"},
        "waiting": UNCLEAR | {TEXT: f"{UNCLEAR[TEXT]} nobody has looked at"},
    }
    verdicts = {
        "corrected": {"verdict": "correct", "outcome": CORRECTED | {"draft_reply": f"I wrote to {PERSONAL}"}},
        "approved": {"verdict": "approve"},
        "rejected": {"verdict": "reject", "note": "spam"},
    }
    ids = {name: desk.ask(message)["decision_id"] for name, message in asked.items()}
    waiting = {item["decision_id"]: item["id"] for item in desk.get("/v1/reviews?state=open", "reviewer").json()}
    for name, verdict in verdicts.items():
        path = f"/v1/reviews/{waiting[ids[name]]}/verdict"
        assert desk.post(path, key="reviewer", json=verdict).status_code == 200
    return desk, ids


@pytest.fixture
def desk(decided):
    return decided[0]


@pytest.fixture
def ids(decided):
    return decided[1]


@pytest.fixture
def suite(tmp_path):
    return suite_in(tmp_path / "small")


def from_reviews(desk, suite, *options, key="reviewer"):
    return desk.ran("eval", "cases", "from-reviews", "--since", "1h", "--suite", str(suite), *options, key=key)


def files(suite):
    return {file: file.read_text(encoding="utf-8") for file in suite.rglob("*") if file.is_file()}


def test_verdicts_become_scrubbed_cases_once(desk, suite):
    code, printed, said = from_reviews(desk, suite)
    assert (code, said) == (0, "")
    assert "2 new, 0 there already" in printed
    assert "1 of 3 decided reviews were rejected, or their message has gone" in printed
    assert "Names of people were not looked for" in printed
    made = {case.case_class.value: case for case in load_suite(suite).cases if case.source == "review"}
    assert set(made) == {"core", "high_stakes"}
    assert [category.value for category in made["core"].expected.categories] == [CORRECTED["category"]]
    assert "Reach me by person1@customer.example, +44 20 7946 0001" in made["core"].ticket.body
    assert made["core"].ticket.customer_ref is None
    assert made["high_stakes"].ticket.body == GRAVE[TEXT]
    before = files(suite)
    assert [s for s in SENTINELS if s in "".join(before.values()).lower()] == []
    assert "# check for names" in before[suite / "cases" / "from_reviews.yaml"]
    assert "0 new, 2 there already" in from_reviews(desk, suite)[1]
    assert files(suite) == before


def test_who_read_them_is_on_record_and_only_closed_ones_were_read(desk, ids, suite):
    from_reviews(desk, suite)
    query = "select actor, tenant, details from audit where action = 'reviews.read' and object = 'closed' order by seq"
    actor, tenant, details = desk.rows(query)[-1]
    assert (actor, tenant) == ("reviewer-x", "cases")
    assert set(json.loads(details)["decisions"]) == {ids[name] for name in ("corrected", "approved", "rejected")}


def test_the_messages_are_encrypted_where_they_come_from(desk, ids):
    ((encrypted,),) = desk.rows("select encrypted from payload where decision_id = ?", ids["corrected"])
    assert PERSONAL.split("@")[0].encode() not in encrypted


@pytest.mark.parametrize(("key", "status"), [("caller", "403"), ("svk_none_none", "401")])
def test_another_key_is_refused_and_nothing_is_written(desk, suite, key, status):
    before = files(suite)
    code, _, said = from_reviews(desk, suite, key=key)
    assert code == 2
    assert status in said
    assert files(suite) == before


def test_a_reviewer_of_another_tenant_finds_none_of_them(desk, stack, suite):
    other = json.loads(
        stack.done("keys", "create", "--subject", "o", "--tenant", "none", "--role", "reviewer", "--json")
    )
    code, printed, _ = from_reviews(desk, suite, key=other["key"])
    assert code == 0
    assert "0 new" in printed
    assert not (suite / "cases" / "from_reviews.yaml").exists()


def test_they_are_read_page_after_page(desk, suite, monkeypatch):
    monkeypatch.setattr("service.cli.eval_cases.PAGE", 2)
    assert "2 new, 0 there already" in from_reviews(desk, suite)[1]
