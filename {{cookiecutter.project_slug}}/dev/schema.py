"""Makes an answer fit whatever JSON schema the caller asks for, so that the model stand-in outlives the example.

The triage answer fits its own schema and passes unchanged. Asked for anything else, the stand-in keeps what
fits and fills the rest with the plainest value that the schema allows.
"""

from typing import Any

Json = dict[str, Any]
FILLING = "stand-in"
_PLAIN: dict[str, Any] = {"boolean": False, "null": None, "integer": 0, "number": 0.0}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def fit(value: Any, schema: Json | None) -> Any:
    """`value` where the schema allows it, else the plainest allowed value."""
    return value if schema is None else _fit(value, schema, schema, depth=0)


def _fit(value: Any, schema: Json, root: Json, depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > 8:
        return None
    if "const" in schema:
        return schema["const"]
    if choices := schema.get("enum"):
        return value if value in choices else choices[-1]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        fitting = [o for o in options if _is_type(value, _resolved(o, root))]
        return _fit(value, (fitting or options)[0], root, depth + 1)
    if schema.get("type") == "object" or "properties" in schema:
        return _fit_object(value, schema, root, depth)
    if schema.get("type") == "array":
        items = value if isinstance(value, list) else [None] * schema.get("minItems", 0)
        return [_fit(item, schema.get("items", {}), root, depth + 1) for item in items]
    return _fit_plain(value, schema)


def _fit_object(value: Any, schema: Json, root: Json, depth: int) -> Json:
    properties: Json = schema.get("properties", {})
    given = value if isinstance(value, dict) else {}
    required = schema.get("required", list(properties))
    wanted = [name for name in properties if name in given or name in required]
    return {name: _fit(given.get(name), properties[name], root, depth + 1) for name in wanted}


def _fit_plain(value: Any, schema: Json) -> Any:
    if "type" not in schema:
        return value if value is not None else FILLING
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if _is_type(value, schema):
        longest = schema.get("maxLength")
        return value[:longest] if isinstance(value, str) else value
    if kind == "string":
        return FILLING[: schema.get("maxLength", len(FILLING))].ljust(schema.get("minLength", 0), ".")
    return schema.get("minimum", _PLAIN.get(kind))


def _is_type(value: Any, schema: Json) -> bool:
    kinds = schema.get("type", [])
    if "enum" in schema:
        return value in schema["enum"]
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if isinstance(value, bool) and kind != "boolean":
            continue
        if isinstance(value, _TYPES.get(kind, ())):
            return True
    return False


def _resolved(schema: Json, root: Json) -> Json:
    """The schema behind a local `$ref`."""
    seen = 0
    while isinstance(reference := schema.get("$ref"), str) and seen < 8:
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        schema, seen = target, seen + 1
    return schema
