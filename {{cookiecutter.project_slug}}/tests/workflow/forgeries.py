"""Tokens that must not be accepted, by what is wrong with them. Most are signed by the provider's own key."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jws import JWSRegistry

from tests.identity_provider import IdentityProvider, b64, crafted, generated, signer

EVIL = "https://evil.example"


def forged(provider: IdentityProvider) -> dict[str, str]:
    """Each kind of forgery, by name."""
    return {**_of_signature(provider), **_of_header(provider), **_of_claims(provider), **_of_form(provider)}


def _hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda content: hmac.new(secret, content, hashlib.sha256).digest()


def _of_signature(provider: IdentityProvider) -> dict[str, str]:
    claims, rsa, ec = provider.claims(), provider.keys["rsa"], provider.keys["ec"]
    header = {"alg": "RS256", "typ": "JWT", "kid": "rsa"}
    good, thief = provider.token(), generated("RS256", "rsa")
    signed, _, signature = good.rpartition(".")
    hs256 = {**header, "alg": "HS256"}
    raw = JWSRegistry.algorithms["ES256"].sign(b"", ec)
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    return {
        "alg none": crafted({**header, "alg": "none"}, claims),
        "alg None": crafted({**header, "alg": "None"}, claims),
        "alg NoNe": crafted({**header, "alg": "NoNe"}, claims),
        "alg none with a signature": crafted({**header, "alg": "none"}, claims, b"signature"),
        "HS256 by the public PEM": crafted(hs256, claims, _hs256(rsa.as_pem(private=False))),
        "HS256 by the public DER": crafted(hs256, claims, _hs256(rsa.as_der(private=False))),
        "HS256 by the public JWK": crafted(hs256, claims, _hs256(json.dumps(rsa.as_dict(private=False)).encode())),
        "HS256 by the modulus": crafted(hs256, claims, _hs256(str(rsa["n"]).encode())),
        "HS256 by nothing": crafted(hs256, claims, _hs256(b"")),
        "RS512 by the right key": crafted({**header, "alg": "RS512"}, claims, signer("RS512", rsa)),
        "PS256 by the right key": crafted({**header, "alg": "PS256"}, claims, signer("PS256", rsa)),
        "alg in small letters": crafted({**header, "alg": "rs256"}, claims, signer("RS256", rsa)),
        "signature taken away": f"{signed}.",
        "signature and its dot taken away": signed,
        "signature of another token": f"{signed}.{provider.token(sub='bob').rpartition('.')[2]}",
        "signature cut": good[:-4],
        "signature of zeros": crafted(header, claims, bytes(256)),
        "another key under the same id": provider.signed(claims, thief),
        "another key of the same kind": provider.signed(claims, rsa, {"kid": "other"}),
        "claims changed": f"{good.split('.')[0]}.{b64({**claims, 'sub': 'root'})}.{signature}",
        "ES256 of r = s = 0": crafted({**header, "alg": "ES256", "kid": "ec"}, claims, bytes(64)),
        "ES256 in DER": crafted({**header, "alg": "ES256", "kid": "ec"}, claims, der),
        "ES256 under an RSA key's id": crafted({**header, "alg": "ES256"}, claims, signer("ES256", ec)),
        "RS256 under an EC key's id": crafted({**header, "kid": "ec"}, claims, signer("RS256", rsa)),
    }


def _of_header(provider: IdentityProvider) -> dict[str, str]:
    claims, thief = provider.claims(), generated("RS256", "thief")
    public = thief.as_dict(private=False)

    def with_(**header: Any) -> str:
        return provider.token(header=header)

    return {
        "jwk": provider.signed(claims, thief, {"jwk": public}),
        "jwk under a known id": provider.signed(claims, thief, {"jwk": public, "kid": "rsa"}),
        "jku": provider.signed(claims, thief, {"jku": f"{EVIL}/keys", "kid": "rsa"}),
        "x5u": provider.signed(claims, thief, {"x5u": f"{EVIL}/chain.pem", "kid": "rsa"}),
        "x5c": provider.signed(claims, thief, {"x5c": ["MIIB" + "A" * 300], "kid": "rsa"}),
        "crit": with_(crit=["exp"], exp=1),
        "crit of nothing": with_(crit=[]),
        "crit a number": with_(crit=7),
        "crit of objects": with_(crit=[{}]),
        "b64 false": with_(b64=False, crit=["b64"]),
        "kid a path": with_(kid="../../../../dev/null"),
        "kid SQL": with_(kid="rsa' OR '1'='1"),
        "kid a command": with_(kid="rsa|id"),
        "kid a URL": with_(kid=f"{EVIL}/key"),
        "kid empty": with_(kid=""),
        "kid missing": crafted({"alg": "RS256"}, claims, signer("RS256", provider.keys["rsa"])),
        "kid a number": with_(kid=1),
        "kid a list": with_(kid=["rsa"]),
        "kid null": with_(kid=None),
        "alg a list": with_(alg=["RS256"]),
        "alg an object": with_(alg={}),
        "alg missing": crafted({"kid": "rsa"}, claims, signer("RS256", provider.keys["rsa"])),
        "typ of a logout token": with_(typ="logout+jwt"),
        "typ of a proof": with_(typ="dpop+jwt"),
        "typ a number": with_(typ=1),
        "header a list": crafted(["alg", "kid"], claims, b"x"),
        "header a text": crafted('"alg kid"', claims, b"x"),
        "header null": crafted("null", claims, b"x"),
        "header no JSON": crafted("alg=RS256", claims, b"x"),
        "header no UTF-8": crafted(b'{"alg":"\xff"}', claims, b"x"),
        "header of brackets": crafted("[" * 370, claims, b"x"),
    }


def _of_claims(provider: IdentityProvider) -> dict[str, str]:
    now, good = int(time.time()), json.dumps(provider.claims())

    def text(old: str, new: str) -> str:
        assert old in good
        return provider.signed(good.replace(old, new), provider.keys["rsa"])

    exp = f'"exp": {provider.claims()["exp"]}'
    changes: dict[str, dict[str, Any]] = {
        "iss of another": {"iss": EVIL},
        "iss with a slash": {"iss": provider.url + "/"},
        "iss in capitals": {"iss": provider.url.upper()},
        "iss a list": {"iss": [provider.url]},
        "iss missing": {"iss": None},
        "aud of another": {"aud": "other-service"},
        "aud of others": {"aud": ["a", "b"]},
        "aud longer": {"aud": "support-service-admin"},
        "aud empty": {"aud": []},
        "aud an object": {"aud": {"support-service": True}},
        "aud with a number": {"aud": ["support-service", 1]},
        "aud missing": {"aud": None},
        "exp missing": {"exp": None},
        "exp a text": {"exp": str(now + 600)},
        "exp true": {"exp": True},
        "exp a list": {"exp": [now + 600]},
        "exp over for 31 s": {"exp": now - 31},
        "exp in 1969": {"exp": -1},
        "nbf in an hour": {"nbf": now + 3600},
        "nbf a text": {"nbf": "now"},
        "iat in an hour": {"iat": now + 3600},
        "sub missing": {"sub": None},
        "sub a number": {"sub": 1},
        "sub empty": {"sub": ""},
        "sub blank": {"sub": "  "},
        "sub with a NUL": {"sub": "ann\x00"},
        "sub with a line break": {"sub": "ann\nroot"},
        "sub of other letters": {"sub": "аnn"},
        "sub too long": {"sub": "a" * 256},
        "tenant missing": {"tenant": None},
        "tenant a list": {"tenant": ["acme", "globex"]},
        "tenant an object": {"tenant": {"acme": 1}},
        "tenant a number": {"tenant": 7},
        "tenant empty": {"tenant": ""},
        "tenant of the whole service": {"tenant": "-"},
        "tenant with a blank before": {"tenant": " acme"},
        "tenant invisible": {"tenant": "acme\u200b"},
        "roles an object": {"roles": {"operator": True}},
        "roles with a number": {"roles": ["operator", 1]},
        "roles a number": {"roles": 1},
    }
    return {name: provider.token(**change) for name, change in changes.items()} | {
        "exp NaN": text(exp, '"exp": NaN'),
        "exp infinite": text(exp, '"exp": 1e999'),
        "tenant twice": text('"tenant": "acme"', '"tenant": "acme", "tenant": "globex"'),
        "roles twice": text('"roles": ', '"roles": ["caller"], "roles": '),
        "sub a lone surrogate": text('"sub": "ann"', r'"sub": "\ud800"'),
        "claims a list": provider.signed([provider.claims()], provider.keys["rsa"]),
        "claims a token": provider.signed(provider.token(), provider.keys["rsa"], {"cty": "JWT"}),
        "claims null": provider.signed("null", provider.keys["rsa"]),
        "claims empty": provider.signed("", provider.keys["rsa"]),
        "claims of brackets": provider.signed("[" * 4000, provider.keys["rsa"]),
    }


def _of_form(provider: IdentityProvider) -> dict[str, str]:
    good = provider.token()
    first, second, third = good.split(".")
    return {
        "8193 characters": provider.token(more="x" * 8192)[:8193],
        "100 KB": provider.token(more="x" * 40_000),
        "four parts": f"{good}.x",
        "five parts, as if encrypted": f"{first}.{second}.{third}.x.y",
        "no parts": "e30",
        "dots": "..",
        "padded": f"{first}.{second}=.{third}",
        "standard base64": f"{first}.{second}.{third.replace('-', '+').replace('_', '/')}+/",
        "a blank inside": f"{first}. {second}.{third}",
        "twice": f"{good},{good}",
        "in quotes": f'"{good}"',
        "as JSON": json.dumps({"protected": first, "payload": second, "signature": third}),
        "in capitals": good.upper(),
        "null": "null",
        "undefined": "undefined",
    }
