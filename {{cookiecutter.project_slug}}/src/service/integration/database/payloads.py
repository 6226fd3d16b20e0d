"""Encrypted customers' words in the tables: only sessions of a database that was opened with the key can read them."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import NotFound, Unavailable
from service.application.identity import Caller
from service.integration.database import audit
from service.integration.database.session import Database
from service.integration.database.tables import DecisionRow, PayloadRow
from service.integration.encryption import CannotDecrypt, Cipher

log = logging.getLogger(__name__)


def encrypt(session: Session, content: Any, *place: str) -> bytes:
    """The content for this place: what it is, tenant, decision. Raises `Unavailable` in a process without the key."""
    return _cipher(session).encrypt(content, *place)


def decrypt(session: Session, encrypted: bytes | None, *place: str) -> JsonObject:
    """What was encrypted for this place; {} when it has gone. Raises `Unavailable` when it cannot be opened."""
    if encrypted is None:
        return {}
    try:
        return dict(_cipher(session).decrypt(encrypted, *place))
    except CannotDecrypt as error:
        log.error("%s cannot be opened: %s", " ".join(place), error)
        raise Unavailable("what is stored here cannot be opened: see the log") from None


def row(session: Session, decision_id: str, tenant: str, content: JsonObject, at: datetime) -> JsonObject:
    """The payload's columns. `content` has the `request`, whose `customer_ref`, if any, becomes a mark."""
    customer = content["request"].get("customer_ref")
    return {
        "decision_id": decision_id,
        "tenant": tenant,
        "customer": marks(session, tenant, customer)[0] if customer else None,
        "encrypted": encrypt(session, content, "payload", tenant, decision_id),
        "created_at": at,
    }


def marks(session: Session, tenant: str, customer: str) -> Sequence[str]:
    """What may stand in `payload.customer` for this customer, the newest key's first."""
    return _cipher(session).marks(tenant, customer)


def refuse_unknown_keys(session: Session, heads: Sequence[bytes]) -> None:
    """Raise `Unavailable` when something encrypted begins with one of these heads, and its key is not there."""
    if not all(_cipher(session).knows(bytes(head)) for head in heads):
        log.error("there are payloads under a key that payload_key does not hold: their customers cannot be found")
        raise Unavailable("payload_key lacks a key of payloads that are stored: nothing can be said of any customer")


def request_of(session: Session, tenant: str, decision_id: str, encrypted: bytes | None) -> JsonObject:
    """The customer's message; {} when it has gone or, as the log then says, cannot be opened."""
    try:
        return dict(decrypt(session, encrypted, "payload", tenant, decision_id).get("request", {}))
    except Unavailable:
        return {}


class SqlPayloads:
    """Full payloads, for auditors."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database, self._clock = database, clock

    async def read(self, caller: Caller, decision_id: str) -> JsonObject:
        """The customer's message, and every upstream call made for it. On record before it is shown.

        Raises `NotFound` when the tenant has no such decision or its payload has gone.
        """

        def transaction(session: Session) -> JsonObject:
            mine = (DecisionRow.id == decision_id, DecisionRow.tenant == caller.tenant)
            query = (
                select(PayloadRow.encrypted).join(DecisionRow, DecisionRow.id == PayloadRow.decision_id).where(*mine)
            )
            encrypted = session.execute(query).scalar_one_or_none()
            if encrypted is None:
                raise NotFound("no such decision, or its payload is past its time or erased")
            entry = audit.Entry(self._clock(), caller.tenant, caller.subject, "payload.read", decision_id, {})
            audit.append(session, entry)
            return {"decision_id": decision_id, **decrypt(session, encrypted, "payload", caller.tenant, decision_id)}

        return await self._database.write(transaction)


def _cipher(session: Session) -> Cipher:
    cipher = session.info.get("cipher")
    if not isinstance(cipher, Cipher):
        raise Unavailable("this process was not given the key to customers' words")
    return cipher
