"""Reading back what was decided: a decision with its review and its effect."""

from dataclasses import dataclass
from typing import Protocol

from service.application.decision import JsonObject
from service.application.errors import NotFound
from service.application.identity import Caller


class DecisionArchive(Protocol):
    """Finds a stored decision of one tenant, as JSON, or None.

    The JSON holds the answer's fields, `at`, `taint`, the ids `supersedes` and `superseded_by`, `review` (None, or
    id, state, verdict, note, reviewer, corrected) and `effect` {state: none|held|queued|done|failed, reference}.
    """

    async def find(self, tenant: str, decision_id: str) -> JsonObject | None: ...


@dataclass(frozen=True, slots=True)
class ShowDecision:
    """One decision of the caller's own tenant. Another tenant's decision does not exist for it."""

    archive: DecisionArchive

    async def __call__(self, caller: Caller, decision_id: str) -> JsonObject:
        found = await self.archive.find(caller.tenant, decision_id)
        if found is None:
            raise NotFound("no such decision")
        return found
