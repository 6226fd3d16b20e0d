"""The ticketing STAND-IN: a downstream system over real HTTP that keeps its tickets in one SQLite file.

    TICKETING_TOKEN=... python -m dev.ticketing --port 9002 --data var/ticketing.db

`POST /tickets` with `Authorization: Bearer <token>` and `Idempotency-Key`: 201 and a reference; the same key and
body again: 200 and the same reference; the same key with another body: 409. `GET /tickets` lists what was written
and how often each key was seen. `POST /faults {"mode": ..., "for": N}` makes the next N writes go wrong:
`drop-after-write` writes and then cuts the connection, `ignore-key` writes a second ticket for a known key.
"""

import argparse
import asyncio
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dev.faults import Drop, Faults, Hang, answer
from dev.labels import HEADERS
from dev.labels import TICKETING as NAME
from dev.stand_in import serve

MODES = ("ok", "hang", "503", "429", "drop-after-write", "ignore-key")
TABLE = """create table if not exists ticket (
    id integer primary key autoincrement, key text not null, body text not null, times_seen integer not null default 1
)"""


class KeyReused(Exception):
    """The key came before with another body."""


class Tickets:
    """The tickets on disk. Every write is committed before it is acknowledged."""

    def __init__(self, data: Path) -> None:
        data.parent.mkdir(parents=True, exist_ok=True)
        self._data = data
        self._lock = Lock()
        with self._connection() as connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute(TABLE)
            connection.execute("create index if not exists ticket_key on ticket (key)")

    def write(self, key: str, body: Any, ignore_key: bool = False) -> tuple[str, bool]:
        """The ticket's reference, and whether this call created it. Raises `KeyReused`."""
        text = json.dumps(body, sort_keys=True)
        with self._lock, self._connection() as connection:
            row = connection.execute("select id, body from ticket where key = ? order by id", (key,)).fetchone()
            if row is None or ignore_key:
                cursor = connection.execute("insert into ticket (key, body) values (?, ?)", (key, text))
                return _reference(cursor.lastrowid), True
            if row[1] != text:
                raise KeyReused
            connection.execute("update ticket set times_seen = times_seen + 1 where id = ?", (row[0],))
            return _reference(row[0]), False

    def all(self) -> list[dict[str, Any]]:
        """Every ticket, oldest first."""
        with self._connection() as connection:
            rows = connection.execute("select id, key, body, times_seen from ticket order by id").fetchall()
        return [
            {"reference": _reference(number), "key": key, "body": json.loads(body), "times_seen": times_seen}
            for number, key, body, times_seen in rows
        ]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._data, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


class TicketingStandIn:
    """One stand-in: its tickets, its fault switch and its HTTP routes."""

    def __init__(self, tickets: Tickets, token: str | None) -> None:
        """Without a token, any will do, but one must be there."""
        self.tickets = tickets
        self.faults = Faults(MODES)
        self._credentials = None if token is None else f"Bearer {token}".encode()

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._label),
                Route("/tickets", self._create, methods=["POST"]),
                Route("/tickets", self._list),
                Route("/faults", self.faults.switch, methods=["POST"]),
                Route("/faults", self.faults.show),
            ]
        )

    async def _label(self, _: Request) -> Response:
        text = f"{NAME}: a STAND-IN for a ticketing system. Nobody reads these tickets.\n"
        return PlainTextResponse(text, headers=HEADERS)

    async def _list(self, _: Request) -> Response:
        return answer(200, await asyncio.to_thread(self.tickets.all))

    async def _create(self, request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("latin-1")
        if not secrets.compare_digest(given, self._credentials or given) or not given.startswith(b"Bearer "):
            return answer(401, {"error": "stand-in: wrong or missing bearer token"}, {"WWW-Authenticate": "Bearer"})
        key = request.headers.get("idempotency-key", "").strip()
        if not key:
            return answer(400, {"error": "stand-in: the header Idempotency-Key is required"})
        body = _parsed(await request.body())
        if not isinstance(body, dict):
            return answer(422, {"error": "stand-in: the body must be a JSON object"})
        return await self._answer(key, body)

    async def _answer(self, key: str, body: dict[str, Any]) -> Response:
        order = self.faults.take()
        if order.mode == "hang":
            return Hang()
        if order.mode in ("503", "429"):
            error = {"error": f"stand-in: {order.mode} as ordered"}
            return answer(int(order.mode), error, {"Retry-After": str(order.retry_after)})
        try:
            reference, created = await asyncio.to_thread(self.tickets.write, key, body, order.mode == "ignore-key")
        except KeyReused:
            return answer(409, {"error": "stand-in: this Idempotency-Key came with another body"})
        if order.mode == "drop-after-write":
            return Drop()
        return answer(201 if created else 200, {"reference": reference})


def _reference(number: int | None) -> str:
    return f"T-{number:06d}"


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _token(any_token: bool) -> str | None:
    if any_token:
        return None
    token = os.environ.get("TICKETING_TOKEN", "")
    if not token:
        sys.exit(f"{NAME}: no token: set TICKETING_TOKEN or give --any-token")
    return token


def main() -> None:
    """Serve the stand-in until told to stop."""
    parser = argparse.ArgumentParser(description="Ticketing STAND-IN")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="SQLite file, created if missing")
    parser.add_argument("--any-token", action="store_true", help="accept whatever bearer token comes")
    options = parser.parse_args()
    token = _token(options.any_token)
    serve(TicketingStandIn(Tickets(options.data), token).app(), NAME, options.port)


if __name__ == "__main__":
    main()
