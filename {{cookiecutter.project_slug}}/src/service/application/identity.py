"""Who is asking: the caller that authentication found, and what a role may do."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

# Subjects of an identity provider's tokens begin like this, in the audit log too; subjects of API keys never do.
OIDC_PREFIX = "oidc:"
WHOLE_SERVICE = "-"  # in the place of a tenant, in audit rows; never a tenant


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


def is_name(text: object, longest: int = 255) -> bool:
    """Whether this can name a subject or a tenant: printable, not blank, and looking like itself everywhere."""
    return isinstance(text, str) and 0 < len(text) <= longest and text.isprintable() and text == text.strip()
