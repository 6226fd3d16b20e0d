"""A decision as a row, and back."""

from typing import Any

from service.application.decision import Decision, Disposition, Reason, Source, Usage
from service.integration.database.tables import DecisionRow

# What has the same name and form in both.
_SAME = (
    "id", "use_case", "tenant", "actor", "outcome", "degraded", "release", "prompt_version", "model_version",
    "repaired", "input_digest", "supersedes", "trace_id", "at",
)  # fmt: skip


def to_row(decision: Decision) -> dict[str, Any]:
    """The columns of a decision."""
    return {name: getattr(decision, name) for name in _SAME} | {
        "disposition": decision.disposition.value,
        "source": decision.source.value,
        "reason": decision.reason.value if decision.reason else None,
        "taint": list(decision.taint),
        "input_tokens": decision.usage.input_tokens,
        "output_tokens": decision.usage.output_tokens,
        "cost_usd": decision.usage.cost_usd,
    }


def from_row(row: DecisionRow) -> Decision:
    """The decision of a row."""
    return Decision(
        **{name: getattr(row, name) for name in _SAME},
        disposition=Disposition(row.disposition),
        source=Source(row.source),
        reason=Reason(row.reason) if row.reason else None,
        taint=tuple(row.taint),
        usage=Usage(row.input_tokens, row.output_tokens, row.cost_usd),
    )
