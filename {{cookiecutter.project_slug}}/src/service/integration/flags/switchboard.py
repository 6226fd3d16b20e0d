"""The flags as an operator changes them over HTTP."""

from service.application.decision import JsonObject
from service.application.identity import Caller
from service.application.release import Code
from service.application.switchboard import Board, Change
from service.integration.database.session import Database
from service.integration.flags import rollout, store


class SqlSwitchboard:
    """`Switchboard`. Releases that do not fit the `code` are not gone back to."""

    def __init__(self, database: Database, code: Code) -> None:
        self._database, self._code = database, code

    async def board(self) -> Board:
        return await self._database.read(store.read_board)

    async def history(self, limit: int) -> list[JsonObject]:
        revisions = await self._database.read(lambda session: store.history(session, limit))
        return [{"rev": r.rev, "at": r.at.isoformat(), "actor": r.actor, "reason": r.reason} for r in revisions]

    async def set(self, operator: Caller, change: Change) -> int:
        return await self._database.write(lambda session: store.set_flag(session, change, operator.subject))

    async def revert(self, operator: Caller, revision: int, reason: str) -> int:
        made, _ = await self._database.write(
            lambda session: rollout.revert(session, revision, operator.subject, reason, self._code)
        )
        return made
