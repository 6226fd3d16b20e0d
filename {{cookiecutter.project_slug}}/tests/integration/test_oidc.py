"""Tokens of an identity provider: when its keys are asked for, for how long they count, and what it may answer."""

import asyncio
import time

import httpx2
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from service.application.errors import Unavailable
from service.application.identity import Caller, Role
from service.integration.oidc import COOLDOWN_S, FRESH_S, LOG_EVERY_S, STALE_S, Provider, SigningKeys, TokenCallers
from tests.identity_provider import AUDIENCE, crafted, generated, identity_provider, signer


class Watch:
    """A clock that can be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture(scope="module")
def started():
    with identity_provider(("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")) as provider:
        yield provider


@pytest.fixture
def provider(started):
    started.fault, started.calls, started.more = "", 0, []
    return started


def judged(provider, script, **settings):
    """What `script(find, watch)` returns; `find` is that of a new service, which has asked the provider nothing yet."""

    async def run():
        watch = Watch()
        async with httpx2.AsyncClient(timeout=2, trust_env=False) as http:
            known = Provider(provider.url, AUDIENCE, **settings)
            return await script(TokenCallers(SigningKeys(http, known, clock=watch), known).find, watch)

    return asyncio.run(run())


def found(provider, token, **settings):
    return judged(provider, lambda find, _watch: find(token), **settings)


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_token_makes_its_caller(provider, kid):
    expected = Caller("oidc:ann", "acme", frozenset({Role.REVIEWER}))
    assert found(provider, provider.token(kid)) == expected
    assert found(provider, provider.token(kid), jwks_url=f"{provider.url}/keys") == expected


@pytest.mark.parametrize(
    ("changes", "roles"),
    [
        ({"roles": ["operator", "king"]}, {Role.OPERATOR}),
        ({"roles": "openid auditor caller"}, {Role.AUDITOR, Role.CALLER}),
        ({"roles": ["Operator", "operators"]}, set()),
        ({"roles": None}, set()),
        ({"roles": []}, set()),
        ({"aud": ["another", AUDIENCE]}, {Role.REVIEWER}),
    ],
)
def test_roles_are_those_of_the_claim_that_are_known_here(provider, changes, roles):
    caller = found(provider, provider.token(**changes))
    assert caller is not None
    assert caller.roles == roles


def test_tenant_and_roles_may_have_other_names(provider):
    token = provider.token(tenant=None, roles=None, org="globex", permissions=["caller"])
    caller = found(provider, token, tenant_claim="org", roles_claim="permissions")
    assert caller == Caller("oidc:ann", "globex", frozenset({Role.CALLER}))
    assert found(provider, provider.token(), tenant_claim="org") is None


def test_the_keys_are_asked_for_once_and_again_when_they_are_old(provider):
    async def script(find, watch):
        counts = []
        for ahead in (0, 1, FRESH_S - 1, FRESH_S + 1, FRESH_S + 2):
            watch.ahead = ahead
            assert await find(provider.token())
            counts.append(provider.calls)
        return counts

    assert judged(provider, script) == [2, 2, 2, 4, 4]  # discovery and keys


def test_a_hundred_first_requests_ask_once(provider):
    async def script(find, _watch):
        return await asyncio.gather(*(find(provider.token()) for _ in range(100)))

    assert None not in judged(provider, script)
    assert provider.calls == 2


def test_a_new_key_works_after_one_look_and_a_withdrawn_one_no_longer(provider):
    old, withdrawn = provider.token(), provider.keys.pop("ed")

    async def script(find, watch):
        async def accepted():
            tokens = [provider.token("new"), provider.signed(provider.claims(), withdrawn)]
            return [await find(token) is not None for token in tokens]

        provider.keys["ed"] = withdrawn
        assert await find(old)
        del provider.keys["ed"]
        provider.add("ES256", "new")
        within = await accepted()
        watch.ahead = COOLDOWN_S
        return within, await accepted(), await find(old) is not None

    try:
        # Until the cooldown is over, what was seen last counts, for better and worse.
        assert judged(provider, script) == ([False, True], [True, False], True)
    finally:
        provider.keys["ed"] = withdrawn
        provider.keys.pop("new")


def test_unknown_keys_cost_the_provider_one_look_in_a_cooldown(provider):
    stranger = generated("ES256", "stranger")

    async def script(find, watch):
        assert await find(provider.token())
        calls = []
        for ahead in (0, COOLDOWN_S, 2 * COOLDOWN_S):
            watch.ahead, before = ahead, provider.calls
            tokens = [provider.signed(provider.claims(), stranger, {"kid": f"k{n}"}) for n in range(100)]
            assert set(await asyncio.gather(*map(find, tokens))) == {None}
            calls.append(provider.calls - before)
        return calls

    assert judged(provider, script) == [0, 2, 2]


@pytest.mark.parametrize("fault", ["down", "html", "list", "empty", "huge", "redirect", "other issuer"])
def test_without_the_provider_known_keys_count_for_an_hour(provider, fault):
    async def script(find, watch):
        assert await find(provider.token())
        provider.fault, watch.ahead = fault, FRESH_S + 1
        assert await find(provider.token())  # the only one that may have waited
        watch.ahead += COOLDOWN_S
        started = time.monotonic()
        assert await find(provider.token())
        assert await find(provider.signed(provider.claims(), generated("ES256", "unknown"))) is None
        waited = time.monotonic() - started
        watch.ahead = STALE_S + 1
        with pytest.raises(Unavailable) as refused:
            await find(provider.token())
        return waited, refused.value.retry_after

    waited, retry_after = judged(provider, script)
    assert waited < 0.2
    assert retry_after == COOLDOWN_S


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_a_service_that_never_had_keys_says_to_come_back_and_then_works(provider, fault):
    async def script(find, watch):
        provider.fault = fault
        started = time.monotonic()
        for _ in range(3):  # one waits for the provider, the others do not
            with pytest.raises(Unavailable):
                await find(provider.token())
        waited = time.monotonic() - started
        provider.fault, watch.ahead = "", COOLDOWN_S
        return waited, await find(provider.token())

    waited, caller = judged(provider, script)
    assert waited < 3.5
    assert caller is not None


def test_while_it_is_silent_and_no_keys_are_at_hand_only_one_waits_for_it(provider):
    async def script(find, watch):
        async def waited():
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await find(provider.token())
            return time.monotonic() - began

        provider.fault = "hang"
        await waited()  # in this first look nobody knows yet that it is silent
        watch.ahead = COOLDOWN_S
        return await asyncio.gather(*(waited() for _ in range(50)))

    long, *short = sorted(judged(provider, script), reverse=True)
    assert long > 1
    assert max(short) < 1


def test_what_the_provider_publishes_besides_spoils_nothing_and_is_not_used(provider):
    not_for_this = [generated("RS256", "enc", use="enc"), generated("RS256", "pss", alg="PS256")]
    provider.more = [
        None,
        "key",
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": 1, "e": "AQAB", "kid": "odd"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "curve"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        *(key.as_dict(private=False) for key in not_for_this),
    ]
    assert found(provider, provider.token()) is not None
    assert found(provider, provider.token(header={"kid": "shared"})) is None
    for key in not_for_this:
        forged = crafted({"alg": "RS256", "kid": key.kid}, provider.claims(), signer("RS256", key))
        assert found(provider, forged) is None


def test_why_tokens_are_refused_is_counted(provider):
    async def refuse():
        async with httpx2.AsyncClient(trust_env=False) as http:
            reader, known = InMemoryMetricReader(), Provider(provider.url, AUDIENCE)
            meter = MeterProvider([reader]).get_meter("test")
            callers = TokenCallers(SigningKeys(http, known), known, meter)
            bad = [provider.token(exp=1), provider.token(exp=1), provider.token(aud="x"), "x", provider.token(sub=" ")]
            assert [await callers.find(token) for token in bad] == [None] * len(bad)
            [resource] = reader.get_metrics_data().resource_metrics
            [metric] = resource.scope_metrics[0].metrics
            return {point.attributes["reason"]: point.value for point in metric.data.data_points}

    counted = asyncio.run(refuse())
    assert counted == {"expired_token": 2, "invalid_claim": 1, "decode_error": 1, "malformed": 1}


def test_why_tokens_are_refused_is_logged_once_in_a_minute_without_a_byte_of_them(provider, caplog):
    stranger, watch = generated("ES256", "from-a-stranger"), Watch()
    bad = [provider.token(aud="secret-aud"), provider.token(iss="secret-iss"), provider.token(tenant=None)]
    bad += [provider.signed(provider.claims(), stranger), "svc.secret", provider.token(sub="secret sub ")]

    async def refuse():
        async with httpx2.AsyncClient(trust_env=False) as http:
            known = Provider(provider.url, AUDIENCE)
            callers, logged = TokenCallers(SigningKeys(http, known), known, clock=watch), []
            for ahead in (0, 0, LOG_EVERY_S - 5, LOG_EVERY_S):
                watch.ahead = ahead
                caplog.clear()
                assert {await callers.find(token) for token in bad} == {None}
                logged.append([r.getMessage().removeprefix("a bearer token was refused: ") for r in caplog.records])
            return logged

    with caplog.at_level("WARNING", "service"):
        first, *others = asyncio.run(refuse())
    reasons = ["invalid_claim aud", "invalid_claim iss", "missing_claim tenant"]
    assert first == [*reasons, "invalid_key_id", "decode_error", "malformed"]
    assert others == [[], [], first]


def test_a_key_is_good_for_its_own_algorithm_only(provider):
    of = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
    for kid, own in of.items():
        for other in {*of.values()} - {own}:
            assert found(provider, provider.token(kid, header={"alg": other})) is None


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/keys", "http:", "javascript:1", "", None, 7])
def test_a_discovery_document_with_a_strange_place_for_keys_is_not_followed(provider, where):
    async def answer(document):
        if "jwks_uri" in document:
            document["jwks_uri"] = where
        return await type(provider)._answer(provider, document)

    provider._answer = answer
    try:
        with pytest.raises(Unavailable):
            found(provider, provider.token())
    finally:
        del provider._answer
