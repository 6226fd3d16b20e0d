"""A check that schemathesis loads by its name (SCHEMATHESIS_HOOKS)."""

import schemathesis


@schemathesis.check
def contract_accepts_what_it_documents(_context, response, case):
    """What fits the schema is not refused as unfit, but for what no schema can say (`value_error`)."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 422:
        return
    errors = response.json().get("errors", [])
    unfit = [error for error in errors if error["type"] != "value_error"]
    assert not unfit, f"a request that fits the schema is refused as unfit: {unfit}"
