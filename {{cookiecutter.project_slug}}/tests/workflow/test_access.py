"""Who gets in, and to what: forged tokens, attacked keys, every role on every route, one tenant and another's things.

Real HTTP, real keys, a real provider of tokens. `pytest -s` prints the figures; MUTATIONS=3000 makes more of them.
"""

import json
import os
import random
import string
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from service.integration.database.api_keys import issue_key, revoke_key
from service.integration.database.tables import ApiKeyRow, DecisionRow
from service.integration.oidc import FRESH_S
from tests.example import CLEAR, PATH
from tests.identity_provider import crafted, generated, identity_provider, signer
from tests.integration.examples import rows
from tests.workflow.access import ALL, bearer, of_api_key, site
from tests.workflow.forgeries import forged

MUTATIONS = int(os.environ.get("MUTATIONS", "390"))
DESK = "/v1/reviews"

# Which roles may call which route; a route that is not here fails the test.
MAY = {
    ("POST", PATH): {"caller"},
    ("GET", "/v1/decisions/{decision_id}"): set(ALL),
    ("GET", "/v1/decisions/{decision_id}/payload"): {"auditor"},
    ("POST", "/v1/privacy/export"): {"operator"},
    ("POST", "/v1/privacy/erase"): {"operator"},
    ("GET", "/v1/audit/verify"): {"operator", "auditor"},
    ("GET", DESK): {"reviewer"},
    ("POST", f"{DESK}/{{review_id}}/claim"): {"reviewer"},
    ("POST", f"{DESK}/{{review_id}}/verdict"): {"reviewer"},
    ("GET", "/v1/redrive"): {"operator"},
    ("POST", "/v1/redrive"): {"operator"},
    ("GET", "/v1/flags"): {"operator", "auditor"},
    ("GET", "/v1/flags/history"): {"operator", "auditor"},
    ("PUT", "/v1/flags/{name}"): {"operator"},
    ("POST", "/v1/flags/revert"): {"operator"},
}
OPEN = {("GET", "/health/live"), ("GET", "/health/ready")}
# Routes whose parameter names what belongs to no tenant.
OF_THE_SERVICE = {("PUT", "/v1/flags/{name}")}


@pytest.fixture(scope="module")
def provider():
    with identity_provider(("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")) as provider:
        yield provider


@pytest.fixture(scope="module")
def here(tmp_path_factory, provider):
    with site(tmp_path_factory.mktemp("site"), provider) as here:
        yield here


@pytest.fixture(params=["sqlite", "postgres"])
def of_two_tenants(request, tmp_path, provider):
    """The same on either database, empty."""
    url = request.getfixturevalue("postgres_database").writer.url if request.param == "postgres" else None
    given = url.render_as_string(hide_password=False).replace("+psycopg", "") if url else ""
    with site(tmp_path, provider, given) as here:
        yield here


@pytest.fixture(autouse=True)
def provider_answers(provider):
    yield
    provider.fault = ""


def all_routes(here):
    return {(method, route.path): route for route in here.routes for method in route.methods}


def counted(what, answers, expected):
    """Print how many of what got which status; every one must have got the expected."""
    print(f"\n{what:58} {len(answers):5}: {dict(Counter(answers.values()))}", end="")
    assert {name: status for name, status in answers.items() if status != expected} == {}


def statuses(here, headers, path=DESK):
    """Of requests that differ in their headers only, which are in a dict by name."""
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda each: here.status(path, each), headers.values())
        return dict(zip(headers, answers, strict=True))


def test_good_tokens_are_accepted(here):
    """Made as the forged ones are, but for what is wrong with those."""
    provider = here.provider
    good = {kid: provider.token(kid) for kid in ("rsa", "ec", "ed")}
    good |= {
        "of text": provider.signed(json.dumps(provider.claims()), provider.keys["rsa"]),
        "an access token": provider.token(header={"typ": "at+jwt", "x-more": 1}),
        "no type": crafted({"alg": "ES256", "kid": "ec"}, provider.claims(), signer("ES256", provider.keys["ec"])),
        "over for 20 s": provider.token(exp=int(time.time()) - 20),
        "not yet for 20 s": provider.token(nbf=int(time.time()) + 20, iat=int(time.time()) + 20),
        "8 KB": provider.token(more="x" * 5000),
    }
    counted("good tokens", statuses(here, {name: bearer(token) for name, token in good.items()}), 200)


def test_forged_tokens_are_refused(here):
    tokens = forged(here.provider)
    assert len(tokens) >= 30
    counted("kinds of forged or abusive tokens", statuses(here, {n: bearer(t) for n, t in tokens.items()}), 401)


def test_a_good_token_with_any_character_changed_is_refused(here):
    choose, letters = random.Random(7), string.ascii_letters + string.digits + "-_."
    mutated = {}
    for kid in ("rsa", "ec", "ed"):
        good = here.provider.token(kid)
        places = [len(good) - 1, *choose.sample(range(len(good) - 1), min(len(good) - 1, MUTATIONS // 3 - 1))]
        for place in places * -(-MUTATIONS // 3 // len(places)):
            other = choose.choice(letters.replace(good[place], ""))
            mutated[kid, place, other] = bearer(good[:place] + other + good[place + 1 :])
    assert len(mutated) >= 300
    counted("single-character mutations of good tokens", statuses(here, mutated), 401)


def test_attacks_on_keys_are_refused(here):
    key, other = here.key("reviewer", subject="ada"), here.key("reviewer", subject="bob")
    database, ended = here.store.database, datetime.now(UTC) - timedelta(seconds=1)
    expired = issue_key(database, "eve", "acme", {"reviewer"}, expires_at=ended)
    revoked = here.key("reviewer", subject="rex")
    revoke_key(database, revoked.split("_")[1], "ann")
    _, key_id, secret = key.split("_", 2)
    stored = next(row for row in rows(database, ApiKeyRow) if row.id == key_id).secret_sha256
    token = here.provider.token()
    as_key = {
        "expired": expired,
        "revoked": revoked,
        "id of one, secret of another": f"svk_{key_id}_{other.split('_', 2)[2]}",
        "secret cut by one": key[:-1],
        "one character more": f"{key}A",
        "id only": f"svk_{key_id}",
        "id and an empty secret": f"svk_{key_id}_",
        "secret only": secret,
        "the stored hash as the secret": f"svk_{key_id}_{stored}",
        "SQL in the id": f"svk_{key_id}'OR'1'='1_{secret}",
        "SQL in the secret": f"svk_{key_id}_' OR secret_sha256 IS NOT NULL --",
        "SQL's wildcards": f"svk_%_{secret}",
        "another id": f"svk_{key_id[:-1]}g_{secret}",
        "prefix in capitals": key.replace("svk", "SVK"),
        "prefix twice": f"svk_{key}",
        "another prefix": key.replace("svk", "svc"),
        "a blank inside": key.replace("_", "_ ", 1),
        "a token": token,
        "empty": "",
        "201 characters": key.ljust(201, "A"),
        "60 KB": key.ljust(60_000, "A"),
    }
    attacks = {name: of_api_key(value) for name, value in as_key.items()}
    attacks |= {f"{name}, as bearer": bearer(value) for name, value in as_key.items() if value != token}
    attacks |= {
        "two keys": [("X-API-Key", key), ("X-API-Key", other)],
        "one key twice": [("X-API-Key", key), ("X-API-Key", key)],
        "two keys in one header": of_api_key(f"{key}, {other}"),
        "key and bearer": of_api_key(key) | bearer(key),
        "key and token": of_api_key(key) | bearer(token),
        "key and a broken bearer": of_api_key(key) | {"Authorization": "Bearer"},
        "key and another scheme": of_api_key(key) | {"Authorization": "Basic YTpi"},
        "two bearers": [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")],
        "token and key as bearers": [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {key}")],
        "basic": {"Authorization": f"Basic {key}"},
        "no scheme": {"Authorization": key},
        "bearer twice": {"Authorization": f"Bearer Bearer {key}"},
        "cookie": {"Cookie": f"X-API-Key={key}; access_token={token}"},
        "another header": {"X-Api-Token": key, "X-Forwarded-Authorization": f"Bearer {key}", "Api-Key": key},
        "no ASCII": {b"X-API-Key": f"svk_é{key_id}_{secret}".encode()},
        "no UTF-8": {b"Authorization": b"Bearer " + key.encode() + b"\xff"},
        "a NUL": {"X-API-Key": f"{key}\x00"},
        "folded": {"X-API-Key": f"svk_\r\n {key[4:]}"},
        "an operator by header": {"X-Role": "operator", "X-User": "root", "X-Tenant": "acme"},
    }
    assert statuses(here, {"whole": of_api_key(key), "bearer": bearer(key), "other": of_api_key(other)}) == {
        "whole": 200, "bearer": 200, "other": 200,
    }  # fmt: skip
    got = statuses(here, attacks)
    got["in the query"] = here.status(f"{DESK}?api_key={key}&access_token={token}", {})
    broken = {name: got.pop(name) for name in list(got) if got[name] == 400}  # no HTTP: refused before any route
    counted("attacks on API keys", got, 401)
    assert broken.keys() <= {"a NUL", "folded"}


def test_each_role_reaches_its_routes_and_no_other(here):
    assert all_routes(here).keys() == MAY.keys() | OPEN
    credentials = {(role, "key"): of_api_key(here.key(role, subject=f"matrix-{role}")) for role in ALL}
    credentials |= {(role, "token"): bearer(here.token(role)) for role in ALL}
    credentials[("none", "token")] = bearer(here.token("nothing"))
    before, wrong, cells = rows(here.store.database, DecisionRow), [], 0
    for (method, path), may in MAY.items():
        for (role, kind), headers in [*credentials.items(), (("nobody", "nothing"), {})]:
            # Bodies are empty on purpose: whoever may come in does no harm.
            concrete = path.replace("{name}", "no.flag").replace("{decision_id}", "x").replace("{review_id}", "x")
            got = here.ask(method, concrete, headers=headers, json={} if method != "GET" else None).status_code
            expected = 401 if role == "nobody" else 403 if role not in may else "in"
            cells += 1
            if expected != (got if got in (401, 403) else "in") or got >= 500:
                wrong.append((method, path, role, kind, got))
    print(f"\nroles x routes x (key, token), and nobody: {cells} cells, wrong: {len(wrong)}", end="")
    assert wrong == []
    assert rows(here.store.database, DecisionRow) == before


def test_nothing_is_told_of_what_is_not_there(here):
    """Neither what was asked for nor what there is instead, to anybody."""
    for headers in ({}, of_api_key(here.key(subject="curious"))):
        for method, path in (("GET", "/v1/MARKER"), ("PUT", DESK), ("DELETE", "/v1/flags/MARKER"), ("GET", "/MARKER")):
            answer = here.ask(method, path, headers=headers)
            assert answer.status_code in (404, 405)
            assert answer.json().keys() == {"type", "title", "status"}
            assert "MARKER" not in answer.text


def test_a_token_and_a_key_of_the_same_name_are_two_people(here):
    """One takes a review; to the other it is somebody else's. The idempotency key of one is not the other's."""
    named = of_api_key(here.key("caller", "reviewer", tenant="names", subject="ann"))
    token = bearer(here.token("caller", "reviewer", tenant="names", subject="ann"))
    same = {"Idempotency-Key": "the-same"}
    first, second = (here.ask("POST", PATH, headers=h | same, json=CLEAR) for h in (named, token))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["decision_id"] != second.json()["decision_id"]
    assert here.ask("POST", PATH, headers=named | same, json=CLEAR).json() == first.json()
    assert here.ask("POST", PATH, headers=token | same, json=CLEAR).json() == second.json()
    [item, *_] = here.ask("GET", DESK, headers=named).json()
    assert here.ask("POST", f"{DESK}/{item['id']}/claim", headers=token).json()["claimed_by"] == "oidc:ann"
    assert here.ask("POST", f"{DESK}/{item['id']}/claim", headers=named).status_code == 409


def test_another_tenants_things_are_not_there(of_two_tenants):
    """Whatever a route takes an id of: for another tenant the answer is that for an id nobody has."""
    here, same = of_two_tenants, {"Idempotency-Key": "the-same"}
    owner = of_api_key(here.key())
    decision = here.ask("POST", PATH, headers=owner | same, json=CLEAR).json()["decision_id"]
    [item] = here.ask("GET", DESK, headers=owner).json()
    ids = {"decision_id": decision, "review_id": item["id"]}
    probed, wrong = 0, []
    for (method, path), route in all_routes(here).items():
        if not route.param_convertors or (method, path) in OF_THE_SERVICE:
            continue
        assert route.param_convertors.keys() <= ids.keys(), f"{path} takes an id that this test does not know"
        body = {"verdict": "approve"} if path.endswith("verdict") else None
        for headers in (of_api_key(here.key(tenant="globex", subject=path)), bearer(here.token(tenant="globex"))):
            theirs = here.ask(method, path.format(**ids), headers=headers, json=body)
            nobodys = here.ask(method, path.format(**dict.fromkeys(ids, uuid.uuid4())), headers=headers, json=body)
            probed += 1
            if theirs.status_code != 404 or theirs.content != nobodys.content:
                wrong.append((method, path, theirs.status_code))
    other = of_api_key(here.key(tenant="globex", subject="looker"))
    assert here.ask("GET", DESK, headers=other).json() == []
    asked_alike = here.ask("POST", PATH, headers=other | same, json=CLEAR | {"subject": "Another question"})
    assert asked_alike.status_code == 200
    assert asked_alike.json()["decision_id"] != decision
    again = here.ask("POST", PATH, headers=owner | same, json=CLEAR)
    assert again.json()["decision_id"] == decision
    assert here.ask("GET", DESK, headers=owner).json() == [item]
    print(f"\nanother tenant's ids: {probed} probes, wrong: {len(wrong)}", end="")
    assert probed >= 6
    assert wrong == []


def test_a_new_key_of_the_provider_works_and_a_withdrawn_one_does_not(tmp_path, provider):
    with site(tmp_path, provider, cooldown_s=0.2) as here:
        old = provider.keys["ed"]
        before = bearer(provider.token("ed"))
        assert here.ask("GET", DESK, headers=before).status_code == 200
        del provider.keys["ed"]
        provider.add("EdDSA", "next")
        try:
            time.sleep(0.2)
            calls, after = provider.calls, bearer(provider.token("next"))
            got = {
                "new": here.ask("GET", DESK, headers=after).status_code,
                "old": here.ask("GET", DESK, headers=before).status_code,
            }
            print(f"\nkey rollover, after {provider.calls - calls} calls: {got}", end="")
            assert got == {"new": 200, "old": 401}
        finally:
            provider.keys["ed"] = old
            del provider.keys["next"]


def test_tokens_with_unknown_keys_hardly_reach_the_provider(tmp_path, provider):
    stranger = generated("ES256", "stranger")
    with site(tmp_path, provider) as here:
        assert here.ask("GET", DESK, headers=bearer(provider.token())).status_code == 200
        before, started = provider.calls, time.monotonic()
        tokens = {n: bearer(provider.signed(provider.claims(), stranger, {"kid": f"k{n}"})) for n in range(300)}
        got, calls = statuses(here, tokens), provider.calls - before
        counted("tokens with unknown keys", got, 401)
        print(f"; calls to the provider: {calls}, in {time.monotonic() - started:.1f} s", end="")
        assert calls <= 2


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_without_the_provider_known_keys_go_on_and_a_cold_start_says_when_to_come_back(tmp_path, provider, fault):
    """Cached: 200. Cold: 503. Never 500; and API keys do not notice."""
    ahead = 0.0
    with site(tmp_path, provider, clock=lambda: time.monotonic() + ahead) as here:
        key, token = of_api_key(here.key("reviewer")), bearer(provider.token())
        assert here.ask("GET", DESK, headers=token).status_code == 200
        provider.fault, ahead = fault, FRESH_S + 1
        slowest, got = 0.0, {}
        for n in range(40):
            for name, headers in ((f"key {n}", key), (f"token {n}", token)):
                answer = here.ask("GET", DESK, headers=headers)
                got[name], slowest = answer.status_code, max(slowest, answer.elapsed.total_seconds() if n else 0)
            ahead += 1  # past several cooldowns
        counted(f"provider {fault}: known keys, API keys", got, 200)
        print(f"; slowest but the first: {slowest:.2f} s", end="")
        assert slowest < 1
    (tmp_path / "cold").mkdir()
    with site(tmp_path / "cold", provider) as here:
        cold = [
            here.ask("GET", DESK, headers=headers)
            for headers in (token, bearer("e30.e30.e30"), of_api_key(here.key("reviewer")))
        ]
        print(f"\nprovider {fault}, cold: a token, no token, a key: {[answer.status_code for answer in cold]}", end="")
        assert [answer.status_code for answer in cold] == [503, 401, 200]
        assert cold[0].headers["retry-after"] == "10"
        assert cold[0].headers["content-type"] == "application/problem+json"
