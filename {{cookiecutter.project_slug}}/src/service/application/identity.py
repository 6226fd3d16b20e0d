"""Who is asking: the caller that authentication found, and what a role may do."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote


class Role(StrEnum):
    """A caller sends work, a reviewer decides on it, an operator steers the service, an auditor reads."""

    CALLER = "caller"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated subject of one tenant. Everything it reads or writes stays inside that tenant."""

    subject: str
    tenant: str
    roles: frozenset[Role]

    @property
    def name(self) -> str:
        """TENANT/SUBJECT, another one for every other subject of any tenant."""
        return f"{quote(self.tenant, safe='')}/{self.subject}"
