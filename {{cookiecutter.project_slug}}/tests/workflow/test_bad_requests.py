"""What comes in broken gets one clear problem, echoes nothing, stores nothing."""

import json

import httpx2
import pytest

GOOD = {"subject": "Hello", "body": "Where is my parcel?"}
MARK = "ECHO-MARKER-9137"


def raw(stack, content: bytes, **headers: str):
    headers = {"X-API-Key": stack.keys["caller"], "Content-Type": "application/json", **headers}
    return httpx2.post(f"{stack.base_url}/v1/triage", content=content, headers=headers, timeout=30)


BROKEN = {
    "empty body": (b"", 422),
    "broken JSON": (b'{"subject": "' + MARK.encode(), 400),
    "not JSON at all": (MARK.encode(), 400),
    "nested too deep": (b"[" * 60_000, 400),
    "a list": (json.dumps([GOOD]).encode(), 422),
    "no body field": (json.dumps({"subject": MARK}).encode(), 422),
    "blank body": (json.dumps({**GOOD, "body": " \n\t "}).encode(), 422),
    "wrong types": (json.dumps({"subject": 7, "body": {"x": MARK}}).encode(), 422),
    "unknown field": (json.dumps({**GOOD, MARK: "x"}).encode(), 422),
    "subject too long": (json.dumps({**GOOD, "subject": MARK * 20}).encode(), 422),
    "body too long": (json.dumps({**GOOD, "body": "x" * 8001}).encode(), 422),
    "lone surrogate": (b'{"subject": "s", "body": "' + MARK.encode() + b' \\ud800"}', 422),
    "NUL character": (b'{"subject": "s", "body": "' + MARK.encode() + b' \\u0000"}', 422),
    "not UTF-8": (b'{"subject": "s", "body": "\xff\xfe"}', 400),
    "1 MB": (json.dumps({**GOOD, "body": "x" * 1_000_000}).encode(), 413),
    "null body": (b"null", 422),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_request_gets_a_problem_that_echoes_nothing(stack, case):
    content, status = BROKEN[case]
    before = stack.rows("select count(*) from decision")
    answer = raw(stack, content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert MARK not in answer.text
    assert stack.rows("select count(*) from decision") == before


def test_the_service_still_answers_after_all_of_them(stack):
    assert stack.triage("Where is my parcel?")["decision_id"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "svk_nobody_nothing"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "x" * 5000},
    ],
)
@pytest.mark.parametrize("path", ["/v1/triage", "/v1/reviews/x/claim"])
def test_without_a_valid_key_nothing_is_told(stack, headers, path):
    answer = httpx2.post(f"{stack.base_url}{path}", json=GOOD, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_credentials_are_none(stack):
    both = {"X-API-Key": stack.keys["caller"], "Authorization": f"Bearer {stack.keys['caller']}"}
    assert httpx2.post(f"{stack.base_url}/v1/triage", json=GOOD, headers=both).status_code == 401


def test_a_bearer_key_works_too(stack):
    bearer = {"Authorization": f"Bearer {stack.keys['caller']}"}
    assert httpx2.post(f"{stack.base_url}/v1/triage", json=GOOD, headers=bearer, timeout=30).status_code == 200


def test_a_role_that_may_not_is_forbidden(stack):
    assert stack.post("/v1/triage", key="auditor", json=GOOD).status_code == 403


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "ünicode".encode("latin-1").decode("latin-1")])
def test_a_malformed_idempotency_key_is_refused(stack, key):
    headers = {"Idempotency-Key": key.encode("latin-1"), "X-API-Key": stack.keys["caller"].encode()}
    answer = httpx2.post(f"{stack.base_url}/v1/triage", json=GOOD, headers=headers, timeout=30)
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/decisions/", "/v1/decisions/nope", "/v1/decisions/%00"])
def test_unknown_things_are_not_found(stack, path):
    answer = stack.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_is_said_so(stack):
    assert stack.get("/v1/triage").status_code == 405
