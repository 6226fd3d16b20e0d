"""What comes in broken gets one clear problem, echoes nothing, stores nothing."""

import json

import httpx2
import pytest

from tests.example import CLEAR, PATH, TEXT, TEXT_MAX

MARK = "ECHO-MARKER-9137"


def raw(stack, content: bytes, **headers: str):
    headers = {"X-API-Key": stack.keys["caller"], "Content-Type": "application/json", **headers}
    return httpx2.post(f"{stack.base_url}{PATH}", content=content, headers=headers, timeout=30)


BROKEN = {
    "empty body": (b"", 422),
    "broken JSON": (json.dumps({**CLEAR, TEXT: MARK}).encode()[:-2], 400),
    "not JSON at all": (MARK.encode(), 400),
    "nested too deep": (b"[" * 60_000, 400),
    "a list": (json.dumps([CLEAR]).encode(), 422),
    "a field missing": (json.dumps({k: v + MARK for k, v in CLEAR.items() if k != TEXT}).encode(), 422),
    "blank text": (json.dumps({**CLEAR, TEXT: " \n\t "}).encode(), 422),
    "wrong type": (json.dumps({**CLEAR, TEXT: {"x": MARK}}).encode(), 422),
    "unknown field": (json.dumps({**CLEAR, MARK: "x"}).encode(), 422),
    "text too long": (json.dumps({**CLEAR, TEXT: MARK.ljust(TEXT_MAX + 1, "x")}).encode(), 422),
    "lone surrogate": (json.dumps({**CLEAR, TEXT: MARK + " \ud800"}).encode(), 422),
    "NUL character": (json.dumps({**CLEAR, TEXT: MARK + " \0"}).encode(), 422),
    "not UTF-8": (json.dumps({**CLEAR, TEXT: MARK}).encode().replace(b"ECHO", b"ECHO\xff\xfe"), 400),
    "1 MB": (json.dumps({**CLEAR, TEXT: "x" * 1_000_000}).encode(), 413),
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
    assert stack.ask(CLEAR)["decision_id"]


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
@pytest.mark.parametrize("path", [PATH, "/v1/reviews/x/claim"])
def test_without_a_valid_key_nothing_is_told(stack, headers, path):
    answer = httpx2.post(f"{stack.base_url}{path}", json=CLEAR, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_credentials_are_none(stack):
    both = {"X-API-Key": stack.keys["caller"], "Authorization": f"Bearer {stack.keys['caller']}"}
    assert httpx2.post(f"{stack.base_url}{PATH}", json=CLEAR, headers=both).status_code == 401


def test_a_bearer_key_works_too(stack):
    bearer = {"Authorization": f"Bearer {stack.keys['caller']}"}
    assert httpx2.post(f"{stack.base_url}{PATH}", json=CLEAR, headers=bearer, timeout=30).status_code == 200


def test_a_role_that_may_not_is_forbidden(stack):
    assert stack.post(PATH, key="auditor", json=CLEAR).status_code == 403


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "ünicode".encode("latin-1").decode("latin-1")])
def test_a_malformed_idempotency_key_is_refused(stack, key):
    headers = {"Idempotency-Key": key.encode("latin-1"), "X-API-Key": stack.keys["caller"].encode()}
    answer = httpx2.post(f"{stack.base_url}{PATH}", json=CLEAR, headers=headers, timeout=30)
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/decisions/", "/v1/decisions/nope", "/v1/decisions/%00"])
def test_unknown_things_are_not_found(stack, path):
    answer = stack.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(PATH, "POST"), ("/v1/flags/revert", "POST"), ("/v1/flags/x", "PUT"), ("/v1/redrive", "GET, POST")],
)
def test_a_wrong_method_is_told_the_right_ones(stack, path, allowed):
    answer = httpx2.delete(f"{stack.base_url}{path}")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_place_to_go_on_from_that_is_none_is_not_echoed(stack):
    cursor = "0~2026-99-99T99:99:99.123456+00:00~00000000-0000-0000-0000-000000009137"
    answer = stack.post("/v1/redrive", key="operator", json={"since": "2026-11-01T00:00:00Z", "after": cursor})
    assert answer.status_code == 422
    assert "99" not in answer.text


def test_a_whole_number_may_be_written_with_a_fraction_and_truth_is_no_number(stack):
    asked = {"reason": "a test", "revision": 10**6 + 0.0}
    assert stack.post("/v1/flags/revert", key="operator", json=asked).status_code == 404
    assert stack.post("/v1/flags/revert", key="operator", json=asked | {"revision": True}).status_code == 422


def test_the_server_does_not_say_what_it_is(stack):
    assert "server" not in stack.get(PATH).headers
