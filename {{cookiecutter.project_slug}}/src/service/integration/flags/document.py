"""The flags as one flagd document, and what makes one acceptable.

flagd's evaluator takes a misspelt document and then answers every call with the code default, so mistakes are
refused here, when they are written, and again by the provider, which keeps what was last good.
"""

import json
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.switchboard import Audience

FLAG_FIELDS = {"state", "variants", "defaultVariant", "targeting", "metadata"}
DOCUMENT_FIELDS = {"flags", "$schema", "$evaluators", "metadata"}
# The worker's switch: no caller is there to ask about. The kill file spares it, too: what people approved must go out.
EFFECTS = "effects.enabled"
# Sticky: the same customer always falls into the same share of the same flag.
_CUSTOMER = {"var": "targetingKey"}


def validate(document: JsonObject, unless: JsonObject | None = None) -> None:
    """Raises `Invalid`, naming the first flag and field that is wrong; a flag that is in `unless` stays unjudged."""
    _validate_shape(document)
    for name, flag in document["flags"].items():
        known = unless is not None and unless.get(name) == flag
        if not known and (why := problem(name, flag, document)) is not None:
            raise Invalid(why)


def problem(name: str, flag: Any, document: JsonObject) -> str | None:
    """What is wrong with a flag of this document; None if nothing is."""
    try:
        _validate_flag(name, flag)
        _try_out(name, flag, document)
    except Invalid as error:
        return str(error)
    return None


def usable(document: JsonObject, last_good: JsonObject) -> tuple[JsonObject, list[str]]:
    """The document without flags that are damaged or of a kind that only newer code knows, and what is wrong with them.

    In their place stand the `last_good` ones, if there are any. Raises `Invalid` when it is no flag document.
    """
    _validate_shape(document)
    wrong = {name: why for name, flag in document["flags"].items() if (why := problem(name, flag, document))}
    kept = {name: last_good[name] for name in wrong if name in last_good}
    good = {name: flag for name, flag in document["flags"].items() if name not in wrong}
    return {**document, "flags": {**good, **kept}}, list(wrong.values())


def releases_of(flag: JsonObject) -> list[str]:
    """The releases that a flag gives to anybody."""
    canary = canary_of(flag)
    return [flag["defaultVariant"], *([canary[0]] if canary else [])]


def is_switch(name: str) -> bool:
    """Whether a flag turns something on or off: every flag but the one that chooses a release."""
    return not name.endswith(".release")


def use_case_of(name: str) -> str:
    """The use case whose release this flag chooses."""
    return name.removesuffix(".release")


def with_variant(document: JsonObject, name: str, variant: str, audience: Audience | None = None) -> JsonObject:
    """A copy in which the `audience`, or everybody, gets `variant`, and nobody by another rule. Raises `Invalid`."""
    flag = _flag(document, name)
    if variant not in flag["variants"]:
        raise Invalid(f"{name} has no such variant; it has: {', '.join(flag['variants'])}")
    if audience is None:
        return _with(document, name, defaultVariant=variant, targeting=None)
    if variant != "on" or name == EFFECTS or not is_switch(name):
        raise Invalid("only a switch about callers can be on for some and off for others: set it on for them")
    if not 0 <= audience.percent <= 100:
        raise Invalid("a percentage is a whole number from 0 to 100")
    return _with(document, name, defaultVariant="off", targeting=_for_audience(audience))


def with_release(document: JsonObject, name: str, release: str, canary: str = "", percent: int = 0) -> JsonObject:
    """A copy in which the flag `name` gives everybody `release`, or `percent` of customers the `canary`."""
    flag = _flag(document, name)
    kept = {key: value for key, value in flag["variants"].items() if key == "none"}
    variants = {**kept, release: release, **({canary: canary} if canary else {})}
    rule = _for_share(canary, release, percent) if canary else None
    return _with(document, name, variants=variants, defaultVariant=release, targeting=rule)


def describe(document: JsonObject, name: str) -> JsonObject:
    """The flag in an operator's words: `gives` says who gets what."""
    flag = document["flags"][name]
    if (why := problem(name, flag, document)) is not None:
        return {"name": name, "gives": f"not understood by this code: {why}"}
    return {
        "name": name,
        "gives": _gives(flag),
        "default": flag["defaultVariant"],
        "targeting": bool(flag.get("targeting")),
        "state": flag["state"],
        "variants": list(flag["variants"]),
    }


def audience_of(flag: JsonObject) -> Audience | None:
    """The audience that a switch is on for; None when its rules are none that `with_variant` writes."""
    rule = flag.get("targeting")
    try:
        percent = rule["if"][2]["fractional"][1][1]  # type: ignore[index]
        found = Audience(tuple(rule["if"][0]["or"][1]["in"][1]), percent)  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return None
    return found if rule == _for_audience(found) and flag["defaultVariant"] == "off" else None


def canary_of(flag: JsonObject) -> tuple[str, int] | None:
    """The canary release and its per cent of customers, if there is one that `with_release` wrote."""
    try:
        canary, percent = flag["targeting"]["fractional"][1]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return (canary, percent) if flag["targeting"] == _for_share(canary, flag["defaultVariant"], percent) else None


def _for_audience(audience: Audience) -> JsonObject:
    insiders = {"or": [{"var": "internal"}, {"in": [{"var": "tenant"}, list(audience.beta)]}]}
    share = [["on", audience.percent], ["off", 100 - audience.percent]]
    return {"if": [insiders, "on", {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, _CUSTOMER]}, *share]}]}


def _for_share(canary: str, release: str, percent: int) -> JsonObject:
    # With the canary's name in the key, every canary meets other customers.
    return {"fractional": [{"cat": [canary, _CUSTOMER]}, [canary, percent], [release, 100 - percent]]}


def _gives(flag: JsonObject) -> str:
    default = str(flag["defaultVariant"])
    if flag["state"] == "DISABLED":
        return "off: disabled"
    if not flag.get("targeting"):
        return f"{default} for everybody"
    if canary := canary_of(flag):
        return f"{default}; {canary[0]} for {canary[1]} % of customers"
    if (audience := audience_of(flag)) is None:
        return f"{default}, and by rules of its own something else for some"
    beta = f" and {', '.join(audience.beta)}" if audience.beta else ""
    others = f", {audience.percent} % of all other customers" if audience.percent else ""
    return f"on for internal tenants{beta}{others}; else off"


def _flag(document: JsonObject, name: str) -> JsonObject:
    if name not in document["flags"]:
        raise Invalid(f"there is no such flag; there are: {', '.join(sorted(document['flags']))}")
    if why := problem(name, document["flags"][name], document):
        raise Invalid(f"{why}; it was not written by this code: svc flags revert, or newer code")
    return dict(document["flags"][name])


def _with(document: JsonObject, name: str, **fields: Any) -> JsonObject:
    flag = {key: value for key, value in {**document["flags"][name], **fields}.items() if value is not None}
    changed: JsonObject = json.loads(json.dumps({**document, "flags": {**document["flags"], name: flag}}))
    return changed


def _validate_shape(document: JsonObject) -> None:
    if not isinstance(document, dict) or not isinstance(document.get("flags"), dict):
        raise Invalid("a flag document needs an object 'flags'")
    if unknown := set(document) - DOCUMENT_FIELDS:
        raise Invalid(f"unknown field in the flag document: {sorted(unknown)[0]}")


def _validate_flag(name: str, flag: Any) -> None:
    if not isinstance(flag, dict):
        raise Invalid(f"{name} must be an object")
    if unknown := set(flag) - FLAG_FIELDS:
        raise Invalid(f"{name} has an unknown field: {sorted(unknown)[0]}")
    if flag.get("state") not in ("ENABLED", "DISABLED"):
        raise Invalid(f"{name}: state must be ENABLED or DISABLED")
    variants = flag.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise Invalid(f"{name}: variants must be an object that is not empty")
    default = flag.get("defaultVariant")
    if not isinstance(default, str) or default not in variants:
        raise Invalid(f"{name}: defaultVariant must be one of the variants")
    if not isinstance(flag.get("targeting", {}), dict):
        raise Invalid(f"{name}: targeting must be an object")
    if is_switch(name):
        if any(type(value) is not bool for value in variants.values()) or variants.get("off") is not False:
            raise Invalid(f"{name} is a switch: its variants must be true or false, and 'off' must be false")
    elif not all(isinstance(value, str) and value for value in variants.values()):
        raise Invalid(f"{name}: its variants must be names of releases")


def _try_out(name: str, flag: JsonObject, document: JsonObject) -> None:
    """Evaluate it once for a made-up caller: an unknown operator, reference or result shows here."""
    core = FlagdCore()
    anyone = EvaluationContext("someone", {"tenant": "a", "subject": "b", "roles": [], "internal": False})
    alone = {key: value for key, value in document.items() if key != "flags"} | {"flags": {name: flag}}
    try:
        core.set_flags(json.dumps(alone))
        if is_switch(name):
            core.resolve_boolean_value(name, False, anyone)
        else:
            core.resolve_string_value(name, "", anyone)
    except (OpenFeatureError, ReferenceError, ValueError, TypeError, KeyError) as error:
        raise Invalid(f"{name} cannot be evaluated: {error}") from None
