"""`svc audit` beside the running service: verified through the process that has the key, exported, verified offline."""

import json
import os
import sqlite3

import hvac
import pytest

from service.project import slug
from tests.example import CLEAR, PATH, TEXT, UNCLEAR
from tests.workflow.conftest import eventually


def verify(stack, *options: str, **more: str) -> dict:
    code, printed, said = stack.ran("audit", "verify", "--json", *options, **more)
    return {"code": code, "said": said, **(json.loads(printed) if printed else {})}


@pytest.fixture
def sealed(stack):
    """A decision made just now; its row has a seal."""
    made = stack.ask(CLEAR)["decision_id"]
    query = "select s.position from audit_seal s join audit a on a.seq = s.audit_seq where a.object = ?"
    eventually(lambda: stack.rows(query, made))
    return made


@pytest.fixture(scope="module")
def key_file(stack, tmp_path_factory):
    told = json.loads((stack.var / "dev.json").read_text())
    root = json.loads((stack.var / "vault" / "root.json").read_text())["root_token"]
    vault = hvac.Client(url=told["vault_addr"], token=root)
    secret = vault.secrets.kv.v2.read_secret_version(f"{slug()}/app", raise_on_deleted_version=True)
    file = tmp_path_factory.mktemp("auditor") / "key"
    file.write_text(secret["data"]["data"]["audit_key"])
    return str(file)


def test_the_log_of_a_running_service_is_whole(stack, sealed):
    found = verify(stack, key="auditor")
    assert (found["code"], found["flawed"]) == (0, 0)
    assert found["checked"] > 5
    eventually(lambda: (stack.var / "audit.anchors").exists())
    for anchor in (found["head"], str(stack.var / "audit.anchors")):
        assert verify(stack, "--anchor", anchor)["code"] == 0


def test_an_anchor_that_is_not_in_the_chain_is_a_flaw(stack, sealed):
    position = stack.rows("select max(position) from audit_seal")[0][0]
    found = verify(stack, "--anchor", f"{position + 1000}:{'ab' * 32}")
    assert (found["code"], found["flawed"]) == (1, 1)
    assert "the chain was cut" in found["flaws"][0]["what"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--anchor", "12:zz"), 2, "POSITION:MAC"),
        (("--file", "x"), 2, "go together"),
        (("--file", "no-such-file", "--key-file", "neither"), 2, "No such file"),
        (("--file", "README.md", "--key-file", "no-such-file"), 2, "no-such-file: No such file"),
        (("--file", "README.md", "--key-file", "README.md"), 2, "not an export"),
        (("--file", "README.md", "--key-file", os.devnull), 2, "holds no key"),
        (("--file", "x", "--key-file", "x", "--anchor", f"1:{'ab' * 32}"), 2, "--anchor is for the running service"),
        (("--url", "http://127.0.0.1:9"), 3, "no usable answer"),
    ],
)
def test_what_cannot_be_verified_is_said_in_a_line(stack, options, code, words):
    found = verify(stack, *options)
    assert (found["code"], found["said"].count("\n")) == (code, 1), found
    assert words in found["said"]


def test_callers_and_reviewers_do_not_verify(stack):
    assert [stack.get("/v1/audit/verify", key).status_code for key in ("caller", "reviewer")] == [403, 403]
    assert stack.get("/v1/audit/verify?after=1", "auditor").status_code == 422


@pytest.fixture
def exported(stack, sealed, key_file, tmp_path):
    """Verifies an export whose sealed lines were changed so."""
    file = tmp_path / "export.jsonl"
    lines = [json.loads(line) for line in stack.done("audit", "export", "--since", "1h", key="auditor").splitlines()]

    def verified(change):
        changed = change([line for line in lines if line["seal"]])
        file.write_text("\n".join(map(json.dumps, changed)))
        return verify(stack, "--file", str(file), "--key-file", key_file)

    return verified


def test_an_export_verifies_offline_and_is_itself_on_record(stack, sealed, key_file, tmp_path):
    file = tmp_path / "export.jsonl"
    file.write_text(stack.done("audit", "export", "--since", "1h", key="auditor"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["row"]["tenant"] for line in lines} == {"demo", "-"}  # an auditor's key: its own tenant, the service
    (row,) = [line["row"] for line in lines if line["row"]["object"] == sealed]
    told = row["details"]
    assert told["input_digest"] == stack.rows("select input_digest from decision where id = ?", sealed)[0][0]
    assert (told["release"], told["model_version"], told["disposition"]) != (None, None, None)
    assert told["flags"] == {"ai": True, "auto": True}
    assert len(row["trace_id"]) == 32
    offline = ("--file", str(file), "--key-file", key_file)
    assert verify(stack, *offline)["code"] == 0
    forged = json.dumps({**lines[0], "row": {**lines[0]["row"], "actor": "somebody else"}})
    file.write_text("\n".join([forged, *map(json.dumps, lines[1:])]))
    found = verify(stack, *offline)
    assert (found["code"], [flaw["what"] for flaw in found["flaws"]]) == (1, ["row or seal was altered"])
    exports = stack.rows("select actor, object from audit where action = 'audit.exported'")
    assert ("dev-auditor", "demo, -") in exports


def without_seal(lines):
    return [lines[0] | {"seal": None}, *lines[1:]]


def with_a_row_made_up(lines):
    newest = lines[-1]["row"]
    return [*lines, {"row": newest | {"seq": newest["seq"] + 1, "at": "2026-01-01T00:00:00+00:00"}, "seal": None}]


def with_a_young_row(lines):
    newest = lines[-1]["row"]
    return [*lines, {"row": newest | {"seq": newest["seq"] + 1}, "seal": None}]


NOT_SEALED = "has no seal, though newer rows have theirs"
NOTHING = "there is no sealed row, so nothing is verified"


@pytest.mark.parametrize(
    ("change", "code", "unsealed", "flaws"),
    [
        (without_seal, 1, 1, [NOT_SEALED]),
        (with_a_row_made_up, 1, 1, [NOT_SEALED]),
        (with_a_young_row, 0, 1, []),
        (lambda lines: [line | {"seal": None} for line in lines[:2]], 1, 2, [NOTHING]),
        (lambda _lines: [], 1, 0, [NOTHING]),
    ],
)
def test_rows_without_a_seal_are_counted_and_only_the_newest_may_be(exported, change, code, unsealed, flaws):
    found = exported(change)
    assert (found["code"], found["unsealed"]) == (code, unsealed)
    assert [flaw["what"] for flaw in found["flaws"]] == flaws


def altered(part, **values):
    return lambda lines: [{**lines[0], part: lines[0][part] | values}, *lines[1:]]


@pytest.mark.parametrize(
    "change",
    [
        altered("seal", mac="é" * 64),
        altered("seal", position="1"),
        altered("seal", position=-1),
        altered("seal", key_id="\x1b[2J"),
        altered("seal", more=1),
        altered("seal", sealed_at="0001-01-01T00:00:00+14:00"),
        altered("row", seq=None),
        altered("row", at="2026-01-01T00:00:00"),
        lambda lines: [{"row": {"at": lines[0]["row"]["at"]}, "seal": lines[0]["seal"]}, *lines],
        lambda lines: [{"row": lines[0]["row"]}, *lines],
        lambda _lines: [None],
    ],
)
def test_what_is_no_export_is_said_in_a_line(exported, change):
    found = exported(change)
    assert (found["code"], found["said"].count("\n")) == (2, 1), found
    assert "is not an export" in found["said"]


def test_another_tenants_rows_are_an_operators_business(stack):
    refused = stack.ran("audit", "export", "--since", "1h", "--tenant", "other", key="auditor")
    assert refused[:2] == (2, "")
    for tenant in ("demo", "-"):
        own = stack.done("audit", "export", "--since", "1h", "--tenant", tenant, key="auditor").splitlines()
        assert {json.loads(line)["row"]["tenant"] for line in own} == {tenant}
    everything = stack.done("audit", "export", "--since", "1h").splitlines()
    assert {json.loads(line)["row"]["tenant"] for line in everything} >= {"demo", "-"}
    assert stack.ran("audit", "export", "--since", "1h", key="caller")[0] == 2


def test_nothing_in_the_log_is_a_customers_word(stack):
    secret = "the-parrot-said-hello"  # pragma: allowlist secret
    for request in (CLEAR, UNCLEAR):
        made = stack.post(PATH, json=request | {TEXT: f"{request[TEXT]} {secret}", "customer_ref": secret})
        assert made.status_code == 200
    (item,) = [i for i in stack.get("/v1/reviews?state=open", "reviewer").json() if secret in str(i["request"])]
    verdict = {"verdict": "reject", "note": secret}
    assert stack.post(f"/v1/reviews/{item['id']}/verdict", key="reviewer", json=verdict).status_code == 200
    assert stack.rows("select count(*) from audit where details || object || actor like ?", f"%{secret}%") == [(0,)]


def test_pruning_takes_nothing_that_is_young_and_needs_an_operator(stack, sealed):
    before = stack.rows("select count(*) from audit_seal")
    assert "0 rows" in stack.done("audit", "prune")
    assert stack.ran("audit", "prune", key="auditor")[0] == 2
    assert stack.rows("select count(*) from audit_seal") >= before
    code, _, said = stack.ran("audit", "prune", AUDIT_DAYS="90")
    assert (code, said) == (2, "svc: AUDIT_DAYS: Input should be greater than or equal to 183\n")


def test_what_an_audit_trigger_refuses_is_not_answered(stack):
    """On SQLite as on Postgres: row, decision and answer are one transaction."""
    before = stack.rows("select count(*) from decision")
    with sqlite3.connect(stack.var / "service.db", timeout=10) as file:
        file.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    try:
        refused = stack.post(PATH, json=CLEAR, headers={"Idempotency-Key": "unaudited", "Connection": "close"})
        assert refused.status_code == 500
        assert stack.rows("select count(*) from decision") == before
    finally:
        with sqlite3.connect(stack.var / "service.db", timeout=10) as file:
            file.execute("DROP TRIGGER full")
    again = stack.post(PATH, json=CLEAR, headers={"Idempotency-Key": "unaudited"})
    assert again.status_code == 200
