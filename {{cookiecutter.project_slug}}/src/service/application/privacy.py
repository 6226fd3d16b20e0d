"""What the service owes the customers whose messages it holds, and those who check on it."""

from typing import Protocol

from service.application.decision import JsonObject
from service.application.identity import Caller


class Payloads(Protocol):
    """Full payloads. Each look at one is on record. Raises `NotFound` when there is none in the caller's tenant."""

    async def read(self, caller: Caller, decision_id: str) -> JsonObject: ...


class Privacy(Protocol):
    """Everything held of one customer of the operator's tenant: told, or erased (with `dry_run`: counted)."""

    async def export(self, operator: Caller, customer: str) -> JsonObject: ...

    async def erase(self, operator: Caller, customer: str, dry_run: bool) -> JsonObject: ...
