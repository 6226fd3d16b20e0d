"""A hunt: values of eight kinds go through the running service, errors and crashes included. Where are they then?

LEAK_REQUESTS=200 pytest -s tests/workflow/test_leaks.py sends more of them and prints where each kind was found.
"""

import json
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from tests.example import CLEAR, PATH, TEXT, UNCLEAR
from tests.workflow.conftest import HTTP, eventually, running_stack

REQUESTS = int(os.environ.get("LEAK_REQUESTS", "40"))
CUSTOMERS = 5
ERASED = 0  # the customer who asks for it
MODES = ("ok", "garbage", "badschema", "503", "refuse", "obey", "html", "drop")
PROVIDERS = {"provider: model", "provider: backup"}
NAME = "name"  # has no shape: it reaches the provider unless PII_SPACY_MODEL finds it, as README.md says


def luhn(digits: str) -> str:
    doubled = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(digits))
    return digits + str(-doubled % 10)


def iban(number: int) -> str:
    account = f"37040044{number:010}"
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def items_of(number: int) -> dict[str, str]:
    """The eight things that one customer tells of itself, made up here so that no scanner takes them for real."""
    return {
        "e-mail": f"planted.person{number}@mail-{number}.example",
        "phone": f"+44 20 7946 09{number}8",
        "card": luhn(f"41111111222233{number}"),
        "bank account": iban(532013000 + number),
        "national number": f"536-2{number}-1871",
        "key": "sk-" + f"Pl4nted{number}" * 4,
        NAME: f"Zebulora Quintwhistle{number}",
        "customer_ref": f"CUST-PLANTED-{number}",
    }


ITEMS = {number: items_of(number) for number in range(CUSTOMERS)}
ALL = {value for told in ITEMS.values() for value in told.values()}


def request_of(number: int, base: dict[str, str]) -> dict[str, str]:
    told = ITEMS[number]
    # In one sentence with what is wanted, so that whoever quotes that quotes all of it.
    words = f"{base[TEXT].rstrip('.')}: {', '.join(value for kind, value in told.items() if kind != 'customer_ref')}."
    return {**base, "subject": f"{base['subject']} {told['e-mail']}", TEXT: words, "customer_ref": told["customer_ref"]}


@dataclass
class Hunt:
    """A stack through which everything went, and what its callers saw of it when they were refused."""

    stack: object
    problems: list[str] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)

    def note(self, answer):
        self.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            self.problems.append(f"{answer.headers} {answer.text}")
        return answer

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.stack.var / "service.db", timeout=30)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def places(self) -> dict[str, bytes]:
        """Everything that anybody could look at: every file under var/, and what the callers and providers got."""
        self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        var = self.stack.var
        found = {str(p.relative_to(var)): p.read_bytes() for p in var.rglob("*") if p.is_file() and not p.is_symlink()}
        for name in ("model", "backup"):
            found[f"provider: {name}"] = HTTP.get(f"{getattr(self.stack, f'{name}_url')}/requests").content
        found["problem bodies"] = "\n".join(self.problems).encode()
        found["audit"] = repr(self.sql("SELECT * FROM audit")).encode()
        return found

    def hits(self, *customers) -> dict[str, Counter]:
        """By kind: in which places values of these customers are, and how often."""
        found: dict[str, Counter] = {kind: Counter() for kind in ITEMS[0]}
        for place, content in self.places().items():
            for number in customers:
                for kind, value in ITEMS[number].items():
                    if times := sum(content.count(form.encode()) for form in {value, value.replace(" ", "")}):
                        found[kind][place] += times
        return found

    def columns(self) -> set[str]:
        """Columns of the service's database, the job engine's included, in which any of the values is in plain."""
        found = set()
        for (table,) in self.sql("SELECT name FROM sqlite_master WHERE type = 'table'"):
            names = [row[1] for row in self.sql("SELECT * FROM pragma_table_info(?)", table)]
            for values in self.sql(f'SELECT * FROM "{table}"'):  # noqa: S608 - the database's own names
                told = {name: repr(value) for name, value in zip(names, values, strict=True)}
                found |= {f"{table}.{name}" for name, text in told.items() if any(value in text for value in ALL)}
        return found


@pytest.fixture(scope="module")
def hunt(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("leaks"), MODEL_ATTEMPT_S="2", TICKETING_TIMEOUT_S="1") as stack:
        hunt = Hunt(stack)
        for happens in (killed, answers_and_faults, malformed, reviewed, crashes, delivered):
            happens(hunt)
        yield hunt


def answers_and_faults(hunt):
    """Requests under every fault of the model, while ticketing refuses."""
    for number in range(REQUESTS):
        mode = MODES[number * len(MODES) // REQUESTS]
        hunt.stack.fault("model", mode, 1)
        hunt.stack.fault("ticketing", ("ok", "503", "429", "drop-after-write")[number % 4], 1)
        base = UNCLEAR if number % 3 == 0 else CLEAR
        headers = {"Idempotency-Key": f"key-{number}"} if number % 2 else {}
        hunt.note(hunt.stack.post(PATH, json=request_of(number % CUSTOMERS, base), headers=headers))
    for part in ("model", "ticketing"):
        hunt.stack.fault(part, "ok")


def malformed(hunt):
    """Requests that are refused, with the values in each part of them."""
    for number, told in ITEMS.items():
        whole = request_of(number, CLEAR)
        for body in ({**whole, told["e-mail"]: 1}, {**whole, TEXT: {told["card"]: whole[TEXT]}}, [whole], {"x": whole}):
            assert hunt.note(hunt.stack.post(PATH, json=body)).status_code == 422
        cut = json.dumps(whole)[:-3]
        headers = {"X-API-Key": hunt.stack.keys["caller"], "Content-Type": "application/json"}
        hunt.note(HTTP.post(f"{hunt.stack.base_url}{PATH}", content=cut, headers=headers))
        for path in (f"/v1/decisions/{told['e-mail']}", f"/v1/{told['card']}?ref={told['key']}"):
            assert hunt.note(hunt.stack.get(path)).status_code == 404
        hunt.note(HTTP.post(f"{hunt.stack.base_url}{PATH}", headers={"Authorization": f"Bearer {told['key']}"}))
        hunt.note(hunt.stack.post(PATH, json=whole, headers={"Idempotency-Key": told["phone"]}))
        other = {"customer_ref": told["customer_ref"], "tenant": told["e-mail"]}
        hunt.note(hunt.stack.post("/v1/privacy/erase", key="operator", json=other))


def reviewed(hunt):
    """Reviewers who quote customers in what they write."""
    for item in hunt.stack.get("/v1/reviews?state=open", "reviewer").json()[:5]:
        quote = item["request"][TEXT][-200:]
        body = {"verdict": "correct", "note": quote, "outcome": {**item["outcome"], "evidence": [quote]}}
        hunt.note(hunt.stack.post(f"/v1/reviews/{item['id']}/verdict", key="reviewer", json=body))
        hunt.note(hunt.stack.post(f"/v1/reviews/{item['id']}/verdict", key="reviewer", json=body))


def crashes(hunt):
    """Bugs whose messages quote what is stored."""
    for number in (1, 2):
        decision = hunt.stack.ask(request_of(number, CLEAR))["decision_id"]
        broken = "UPDATE decision SET outcome = ?" if number == 1 else "UPDATE decision SET disposition = ?"
        hunt.sql(f"{broken} WHERE id = ?", request_of(number, CLEAR)[TEXT], decision)
        # Over a connection of its own: after a fault the server closes it.
        assert hunt.note(hunt.stack.get(f"/v1/decisions/{decision}", Connection="close")).status_code == 500
        hunt.sql("UPDATE decision SET outcome = '{}', disposition = 'auto' WHERE id = ?", decision)


def killed(hunt):
    """A worker that dies while it writes."""
    hunt.stack.fault("ticketing", "hang", 1)
    key = hunt.stack.ask(request_of(3, CLEAR))["decision_id"]
    eventually(lambda: hunt.sql("SELECT attempts FROM effect WHERE decision_id = ?", key) == [(1,)])
    os.kill(json.loads((hunt.stack.var / "dev.json").read_text())["pids"]["worker"], signal.SIGKILL)


def delivered(hunt):
    """Whatever a worker has to do, the next one included."""
    waits = "SELECT count(*) FROM effect WHERE state NOT IN ('done', 'failed')"
    eventually(lambda: hunt.sql(waits) == [(0,)], 60)


def test_what_has_a_shape_is_only_where_it_may_be(hunt):
    found = hunt.hits(*ITEMS)
    print(f"\n{REQUESTS} requests, then broken ones: {dict(hunt.statuses)}; {len(ALL)} values of 8 kinds are in")
    for kind, places in found.items():
        print(f"  {kind:16}", ", ".join(f"{place} {times}" for place, times in sorted(places.items())) or "nowhere")
    assert {200, 400, 401, 404, 409, 422, 500} <= hunt.statuses.keys()
    for kind, places in found.items():
        # Quotes in outcomes, answers and notes; the ticketing system, whose tickets they are.
        allowed = {"service.db", "ticketing.db"} | (PROVIDERS if kind == NAME else set())
        assert not [place for place in places if place.removesuffix("-wal") not in allowed], (kind, places)
        assert places["ticketing.db"] + places["ticketing.db-wal"] > 0, "nothing was hunted"


def test_in_the_database_they_are_in_the_documented_columns_and_no_reference_is(hunt):
    plain = {"decision.outcome", "idempotency.answer", "review_item.note", "review_item.corrected"}
    assert hunt.columns() == plain
    assert hunt.hits(*ITEMS)["customer_ref"]["service.db"] == 0


def test_an_auditor_sees_what_was_said_and_what_the_model_was_told(hunt):
    [(decision,)] = hunt.sql("SELECT id FROM decision WHERE source = 'model' AND outcome <> '{}' LIMIT 1")
    shown = json.loads(hunt.stack.done("decisions", "payload", decision, key="auditor"))
    told = next(told for told in ITEMS.values() if told["customer_ref"] == shown["request"]["customer_ref"])
    assert told["card"] in shown["request"][TEXT]
    [call, *_] = shown["calls"]
    assert (call["source"], call["failure"], call["ms"] >= 0) == ("model", None, True)
    assert "[CARD_" in json.dumps(call["messages"])
    assert json.loads(call["answer"])["category"]
    assert not [kind for kind, value in told.items() if kind != NAME and value in json.dumps(shown["calls"])]
    refused = hunt.stack.svc("decisions", "payload", decision, key="operator")
    assert (refused.returncode, "role auditor" in refused.stderr) == (2, True)
    assert hunt.sql("SELECT action, object FROM audit ORDER BY seq DESC LIMIT 1") == [("payload.read", decision)]


def test_an_erased_customer_is_nowhere_but_where_the_report_says(hunt):
    order = ("--customer", ITEMS[ERASED]["customer_ref"], "--tenant", "demo")
    exported = json.loads(hunt.stack.done("privacy", "export", *order))["decisions"]
    assert len(exported) >= REQUESTS // CUSTOMERS
    counted = hunt.stack.svc("privacy", "erase", *order)
    assert (counted.returncode, "nothing was erased: say --yes" in counted.stderr) == (0, True)
    report = json.loads(hunt.stack.done("privacy", "erase", *order, "--yes", "--json"))
    print("\nerased:", report["counts"], "downstream:", len(report["downstream"]), "tickets")
    assert report["counts"]["decisions"] == len(exported)
    left = hunt.hits(ERASED)
    print("left of the customer:", {kind: dict(places) for kind, places in left.items()})
    for kind, places in left.items():
        allowed = {
            "ticketing.db",
            "ticketing.db-wal",
            *({"provider: model", "provider: backup"} if kind == NAME else ()),
        }
        assert set(places) <= allowed, (kind, places)
    theirs = [t["key"] for t in hunt.stack.tickets() if ITEMS[ERASED]["customer_ref"] in json.dumps(t["body"])]
    assert {effect["key"] for effect in report["downstream"]} == set(theirs)
    assert hunt.hits(1)["card"]["service.db"] > 0
    again = json.loads(hunt.stack.done("privacy", "erase", *order, "--yes", "--json"))
    assert again["counts"] == {}
