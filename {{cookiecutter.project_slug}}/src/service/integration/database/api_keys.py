"""API keys: issue, look up, revoke. The database knows the SHA-256 of a secret, never the secret.

A fast hash is right here: the secret is 256 random bits, so there is nothing to guess.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.application.errors import Invalid, NotFound
from service.application.identity import Caller, Role
from service.integration.database import audit
from service.integration.database.session import Database
from service.integration.database.tables import ApiKeyRow

REMEMBERED_S = 1.0
MOST_REMEMBERED = 4096
NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key."""

    id: str
    subject: str
    tenant: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def issue_key(
    database: Database,
    subject: str,
    tenant: str,
    roles: set[str],
    expires_at: datetime | None = None,
    actor: str = "svc",
) -> str:
    """A new key, shown this once. Raises `Invalid` on an empty name or an unknown role."""
    known = {role.value for role in Role}
    if not roles or not roles <= known:
        raise Invalid(f"roles must be some of: {', '.join(sorted(known))}")
    if not subject.strip() or not tenant.strip():
        raise Invalid("a key needs a subject and a tenant")
    now, key_id, secret = datetime.now(UTC), secrets.token_hex(8), secrets.token_urlsafe(32)

    def insert(session: Session) -> None:
        session.add(
            ApiKeyRow(
                id=key_id,
                secret_sha256=_hash(secret),
                subject=subject,
                tenant=tenant,
                roles=sorted(roles),
                created_at=now,
                expires_at=expires_at,
                revoked_at=None,
            )
        )
        details = {"subject": subject, "roles": sorted(roles)}
        audit.append(session, audit.Entry(now, tenant, actor, "key.created", key_id, details))

    database.write_sync(insert)
    return f"svk_{key_id}_{secret}"


def revoke_key(database: Database, key_id: str, actor: str) -> None:
    """Refuse the key from now on, within a second in every process. Raises `NotFound`."""
    now = datetime.now(UTC)

    def revoke(session: Session) -> None:
        row = session.get(ApiKeyRow, key_id)
        if row is None:
            raise NotFound("no such key")
        if row.revoked_at is None:
            session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(revoked_at=now))
            audit.append(session, audit.Entry(now, row.tenant, actor, "key.revoked", key_id, {"subject": row.subject}))

    database.write_sync(revoke)


def list_keys(database: Database) -> list[KeyInfo]:
    """Every key ever issued, oldest first, without secrets."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
    rows = database.read_sync(lambda session: session.execute(query).scalars().all())
    return [KeyInfo(r.id, r.subject, r.tenant, tuple(r.roles), r.created_at, r.expires_at, r.revoked_at) for r in rows]


def key_exists(database: Database, plaintext: str) -> bool:
    """Whether this very key would be let in now."""
    return SqlKeyring(database).find_sync(plaintext) is not None


class SqlKeyring:
    """Finds the caller a key belongs to, or None. Remembers an answer for a second, so revoking takes as long."""

    def __init__(
        self, database: Database, remembered_s: float = REMEMBERED_S, most_remembered: int = MOST_REMEMBERED
    ) -> None:
        self._database = database
        self._remembered_s, self._most_remembered = remembered_s, most_remembered
        self._remembered: dict[str, tuple[float, ApiKeyRow | None]] = {}

    async def find(self, plaintext: str) -> Caller | None:
        key_id, secret = _parts(plaintext)
        hit, row = self._recall(key_id)
        if not hit:
            row = await self._database.read(lambda session: session.get(ApiKeyRow, key_id))
        return self._judge(key_id, secret, row, remember=not hit)

    def find_sync(self, plaintext: str) -> Caller | None:
        key_id, secret = _parts(plaintext)
        row = self._database.read_sync(lambda session: session.get(ApiKeyRow, key_id))
        return self._judge(key_id, secret, row, remember=False)

    def _recall(self, key_id: str) -> tuple[bool, ApiKeyRow | None]:
        until, row = self._remembered.get(key_id, (0.0, None))
        return until > time.monotonic(), row

    def _judge(self, key_id: str, secret: str, row: ApiKeyRow | None, remember: bool) -> Caller | None:
        if remember:
            if len(self._remembered) >= self._most_remembered:
                self._remembered.clear()
            self._remembered[key_id] = (time.monotonic() + self._remembered_s, row)
        # Compared also when there is no such id, so that the time taken does not tell which ids exist.
        matches = hmac.compare_digest(_hash(secret), row.secret_sha256 if row else NO_HASH)
        if row is None or not matches or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
            return None
        roles = frozenset(role for role in Role if role.value in row.roles)
        return Caller(subject=row.subject, tenant=row.tenant, roles=roles)


def _parts(plaintext: str) -> tuple[str, str]:
    prefix, _, rest = plaintext.partition("_")
    key_id, _, secret = rest.partition("_")
    well_formed = prefix == "svk" and key_id.isascii() and key_id.isalnum() and len(key_id) <= 64 and secret
    return (key_id, secret) if well_formed else ("", "")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
