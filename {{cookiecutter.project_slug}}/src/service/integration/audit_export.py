"""An export of the audit log, verified without the service. Whoever gave the file may have written it himself."""

import json
from datetime import timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, StrictInt, StrictStr

from service.integration import audit_chain
from service.integration.audit_chain import Flaw, Keys, Seal, Sealed

# A row may be there a moment before its seal.
SOON = timedelta(seconds=60)
Mac = Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")]


class NoExport(ValueError):
    """The text is not what `svc audit export` prints."""


class _Row(BaseModel, extra="allow"):
    seq: StrictInt
    at: AwareDatetime


class _Seal(BaseModel, extra="forbid"):
    position: Annotated[StrictInt, Field(gt=0)]
    audit_seq: StrictInt
    previous: Mac
    mac: Mac
    key_id: Annotated[StrictStr, Field(pattern="^[0-9a-f]{16}$")]
    sealed_at: AwareDatetime


class _Line(BaseModel, extra="forbid"):
    row: _Row
    seal: _Seal | None


def check(keys: Keys, text: str) -> tuple[int, int, list[Flaw]]:
    """How many rows have a seal, how many have none, and what is wrong. Raises `NoExport`.

    Each seal is checked, and the links between neighbours: rows of other tenants or times may lie between two lines.
    """
    try:
        lines = [_Line.model_validate(json.loads(line)) for line in text.splitlines()]
        found = [Sealed(Seal(**line.seal.model_dump()), line.row.model_dump()) for line in lines if line.seal]
        found.sort(key=lambda one: one.seal.position)
        flaws = audit_chain.check(keys, None, found, whole=False)
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise NoExport("not an export") from error
    bare = [line.row for line in lines if line.seal is None]
    return len(found), len(bare), flaws + _not_sealed(found, bare)


def _not_sealed(found: list[Sealed], bare: list[_Row]) -> list[Flaw]:
    """Only the newest rows may have no seal yet; in others somebody took it away, or made the row up."""
    if not found:
        return [Flaw(None, None, "there is no sealed row, so nothing is verified")]
    highest, newest = max(one.seal.audit_seq for one in found), found[-1].row or {}
    return [
        Flaw(None, row.seq, "has no seal, though newer rows have theirs")
        for row in bare
        if row.seq <= highest or newest["at"] - row.at > SOON
    ]
