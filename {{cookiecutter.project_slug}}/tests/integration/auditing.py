"""What the tests of the audit log share: appending, sealing, verifying to the end."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.application.decision import JsonObject
from service.integration.audit_chain import Keys, Seal
from service.integration.database import audit
from service.integration.database.audit_reading import Verifier
from service.integration.database.audit_seals import Sealer
from service.integration.database.session import Database
from service.integration.database.tables import AuditSealRow

KEY = "a key of the test"


def append(database: Database, *objects: str, at: datetime | None = None, tenant: str = "acme") -> None:
    """One row each, in one transaction."""

    def insert(session):
        for name in objects:
            details = {"b": [1, 2.5, None], "a": {"ü": "x"}}
            audit.append(session, audit.Entry(at or datetime.now(UTC), tenant, "ann", "test.done", name, details))

    database.write_sync(insert)


def as_seal(row: AuditSealRow) -> Seal:
    """The seal of a row."""
    return Seal(**{name: getattr(row, name) for name in Seal.__slots__})


@dataclass
class Log:
    """A database's audit log, with a sealer of its own."""

    database: Database
    anchors: Path
    key: str = KEY

    @property
    def keys(self) -> Keys:
        return Keys(lambda: self.key)

    def seal(self, now: datetime | None = None) -> int:
        """As a worker that has just started, with the anchors that are left."""
        return asyncio.run(Sealer(self.database, self.keys, self.anchors)(now or datetime.now(UTC)))

    def verify(self, anchor: str | None = None) -> JsonObject:
        """Every page."""
        verify, head = Verifier(self.database, self.keys), None
        total: JsonObject = {"checked": 0, "flaws": []}
        while True:
            page = asyncio.run(verify(head, anchor))
            head = page["head"]
            total = {
                "checked": total["checked"] + page["checked"],
                "flaws": total["flaws"] + page["flaws"],
                "head": head,
            }
            if not page["more"]:
                return total

    def wrong(self, anchor: str | None = None) -> list[str]:
        """What is said to be wrong."""
        return [flaw["what"] for flaw in self.verify(anchor)["flaws"]]
