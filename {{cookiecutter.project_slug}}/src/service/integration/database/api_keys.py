"""API keys: issue, rotate, look up, revoke. The database knows the SHA-256 of a secret, never the secret.

A fast hash is right here: the secret is 256 random bits, so there is nothing to guess. Every key ends; two of a
subject may be valid at once, so that one can take the other's place while both are in use.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from service.application.errors import Invalid, NotFound
from service.application.identity import OIDC_PREFIX, WHOLE_SERVICE, Caller, Role, is_name
from service.integration.database import audit
from service.integration.database.session import Database
from service.integration.database.tables import ApiKeyRow, AuditRow

REMEMBERED_S = 1.0
MOST_REMEMBERED = 4096
NO_HASH = "0" * 64
LASTS, LONGEST = timedelta(days=90), timedelta(days=366)
AT_ONCE = 2  # valid keys of one subject
FIRST = "svc keys (first key)"  # the actor when no key can vouch
LOCK = 7_203_116  # any number, always the same: keys are made one at a time, or two could be the last that fits


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key."""

    id: str
    subject: str
    tenant: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= datetime.now(UTC) else "valid"


def issue_key(
    database: Database,
    subject: str,
    tenant: str,
    roles: set[str],
    expires_at: datetime | None = None,
    actor: str = "svc",
) -> str:
    """A new key, shown this once, that ends after `LASTS` unless told otherwise.

    Raises `Invalid` on a bad name, an unknown role, an end later than `LONGEST` from now, when the subject has two
    valid keys, and when the actor is `FIRST` but there ever was a key, or it is no operator's.
    """
    return database.write_sync(lambda session: _issue(session, _holder(subject, tenant, roles), expires_at, actor))


def no_key_ever(session: Session) -> bool:
    """Whether there is no key, and none on record."""
    keys = select(ApiKeyRow.id).limit(1)
    made = select(AuditRow.seq).where(AuditRow.action == "key.created").limit(1)
    return session.execute(keys).first() is None and session.execute(made).first() is None


def rotate_key(
    database: Database, key_id: str, overlap: timedelta, actor: str, expires_at: datetime | None = None
) -> str:
    """A new key for the same subject, tenant and roles, shown this once; the old one ends after `overlap`.

    Raises `NotFound`, and `Invalid` when the old one is not valid any more, or the subject has another valid key.
    """

    def rotate(session: Session) -> str:
        _one_at_a_time(session)
        now, row = datetime.now(UTC), _found(session, key_id)
        if (state := _info(row).state) != "valid":
            raise Invalid(f"the key {key_id} is {state}: create another one")
        row.expires_at = min(row.expires_at or now + LONGEST, now + overlap)
        session.flush()
        key = _issue(session, _holder(row.subject, row.tenant, set(row.roles)), expires_at, actor)
        details = {"subject": row.subject, "replaced_by": _parts(key)[0], "expires_at": row.expires_at.isoformat()}
        audit.append(session, audit.Entry(now, row.tenant, actor, "key.rotated", key_id, details))
        return key

    return database.write_sync(rotate)


def revoke_key(database: Database, key_id: str, actor: str) -> None:
    """Refuse the key from now on, within a second in every process.

    Raises `NotFound`; and `Invalid` for the last operator's key, without which nobody could make another.
    """
    now = datetime.now(UTC)

    def revoke(session: Session) -> None:
        row = _found(session, key_id)
        others = session.scalars(select(ApiKeyRow).where(ApiKeyRow.id != key_id, ApiKeyRow.revoked_at.is_(None)))
        operators = [key for key in others if Role.OPERATOR in key.roles and (key.expires_at or now) >= now]
        if row.revoked_at is None and Role.OPERATOR in row.roles and not operators:
            raise Invalid("this is the last operator's key that is valid: make another one first")
        if row.revoked_at is None:
            row.revoked_at = now
            audit.append(session, audit.Entry(now, row.tenant, actor, "key.revoked", key_id, {"subject": row.subject}))

    database.write_sync(revoke)


def list_keys(database: Database) -> list[KeyInfo]:
    """Every key ever issued, oldest first, without secrets."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
    return [_info(row) for row in database.read_sync(lambda session: session.execute(query).scalars().all())]


def key_info(database: Database, plaintext: str) -> KeyInfo | None:
    """What may be shown of this very key, if it would be let in now."""
    if SqlKeyring(database).find_sync(plaintext) is None:
        return None
    return next(key for key in list_keys(database) if key.id == _parts(plaintext)[0])


def _holder(subject: str, tenant: str, roles: set[str]) -> Caller:
    known = {role.value for role in Role}
    if not roles or not roles <= known:
        raise Invalid(f"roles must be some of: {', '.join(sorted(known))}")
    if not is_name(subject) or not is_name(tenant) or tenant == WHOLE_SERVICE:
        raise Invalid("a key needs a subject and a tenant, each a printable name of at most 255 characters")
    if subject.casefold().startswith(OIDC_PREFIX):
        raise Invalid(f"a key's subject must not begin with {OIDC_PREFIX}, as those of tokens do")
    return Caller(subject, tenant, frozenset(Role(role) for role in roles))


def _issue(session: Session, holder: Caller, expires_at: datetime | None, actor: str) -> str:
    _one_at_a_time(session)
    now, key_id, secret = datetime.now(UTC), secrets.token_hex(8), secrets.token_urlsafe(32)
    ends = expires_at or now + LASTS
    if actor == FIRST and not (no_key_ever(session) and holder.roles == {Role.OPERATOR}):
        raise Invalid("without SVC_API_KEY only the very first key can be made, and it must be an operator's")
    if ends > now + LONGEST:
        raise Invalid(f"a key may be valid for at most {LONGEST.days} days")
    same = select(ApiKeyRow).where(ApiKeyRow.tenant == holder.tenant, ApiKeyRow.subject == holder.subject)
    valid = [key for key in map(_info, session.execute(same).scalars()) if key.state == "valid"]
    if len(valid) >= AT_ONCE:
        named = " and ".join(
            f"{key.id} (until {f'{key.expires_at:%Y-%m-%d %H:%M}' if key.expires_at else 'revoked'})" for key in valid
        )
        raise Invalid(f"{holder.subject} of {holder.tenant} has two valid keys: {named}; revoke one of them first")
    roles = sorted(role.value for role in holder.roles)
    session.add(
        ApiKeyRow(
            id=key_id,
            secret_sha256=_hash(secret),
            subject=holder.subject,
            tenant=holder.tenant,
            roles=roles,
            created_at=now,
            expires_at=ends,
            revoked_at=None,
        )
    )
    details = {"subject": holder.subject, "roles": roles, "expires_at": ends.isoformat()}
    audit.append(session, audit.Entry(now, holder.tenant, actor, "key.created", key_id, details))
    return f"svk_{key_id}_{secret}"


def _one_at_a_time(session: Session) -> None:
    """Until this transaction ends. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _found(session: Session, key_id: str) -> ApiKeyRow:
    row = session.get(ApiKeyRow, key_id)
    if row is None:
        raise NotFound("no such key")
    return row


def _info(row: ApiKeyRow) -> KeyInfo:
    return KeyInfo(*(getattr(row, name) for name in KeyInfo.__dataclass_fields__))


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
