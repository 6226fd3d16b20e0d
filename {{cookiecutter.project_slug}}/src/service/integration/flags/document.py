"""The flags as one flagd document, and what makes one acceptable.

flagd's evaluator takes a misspelt document and then answers every call with the code default, so mistakes are
refused here, when they are written, and again by the provider, which keeps the last good document.
"""

import json
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from service.application.decision import JsonObject
from service.application.errors import Invalid

FLAG_FIELDS = {"state", "variants", "defaultVariant", "targeting", "metadata"}
DOCUMENT_FIELDS = {"flags", "$schema", "$evaluators", "metadata"}


def validate(document: JsonObject) -> None:
    """Raises `Invalid`, naming the first flag and field that is wrong."""
    if not isinstance(document, dict) or not isinstance(document.get("flags"), dict):
        raise Invalid("a flag document needs an object 'flags'")
    if unknown := set(document) - DOCUMENT_FIELDS:
        raise Invalid(f"unknown field in the flag document: {sorted(unknown)[0]}")
    for name, flag in document["flags"].items():
        _validate_flag(name, flag)
    _try_out(document)


def is_switch(name: str) -> bool:
    """Whether a flag turns something on or off: every flag but the one that chooses a release."""
    return not name.endswith(".release")


def with_default(document: JsonObject, name: str, variant: str) -> JsonObject:
    """A copy in which everybody gets `variant` of flag `name`: its targeting is gone. Raises `Invalid`."""
    if name not in document["flags"]:
        raise Invalid(f"there is no flag {name}; there are: {', '.join(sorted(document['flags']))}")
    changed: JsonObject = json.loads(json.dumps(document))
    flag = changed["flags"][name]
    if variant not in flag["variants"]:
        raise Invalid(f"{name} has no variant {variant}; it has: {', '.join(flag['variants'])}")
    flag.pop("targeting", None)
    flag["defaultVariant"] = variant
    return changed


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


def _try_out(document: JsonObject) -> None:
    """Evaluate each flag once for a made-up caller: an unknown operator, reference or result shows here."""
    core = FlagdCore()
    anyone = EvaluationContext("someone", {"tenant": "a", "subject": "b", "roles": [], "internal": False})
    name = ""
    try:
        core.set_flags(json.dumps(document))
        for name in document["flags"]:
            if is_switch(name):
                core.resolve_boolean_value(name, False, anyone)
            else:
                core.resolve_string_value(name, "", anyone)
    except (OpenFeatureError, ReferenceError, ValueError, TypeError, KeyError) as error:
        raise Invalid(f"{name or 'the flag document'} cannot be evaluated: {error}") from None
