"""The drill: what has to work at night, done by day, with the times it took."""

import sys
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Conflict, Invalid
from service.application.identity import Caller
from service.application.switchboard import Change
from service.bootstrap_inference import CODE
from service.cli.operator import Ask
from service.integration.database.session import Database
from service.integration.flags import document, processes, rollout, store

SLOWEST_MS, PATIENCE_S = 1000, 10.0
KILL_SWITCH = "ai.enabled"


class Drill:
    """Throws the kill switch and rolls back for real. Each step is a row: what, in how many processes, after how long.

    What was is restored, also when a step fails; but never over what somebody else has changed meanwhile.
    """

    def __init__(self, database: Database, ask: Ask, who: Caller, reason: str) -> None:
        self._database, self._ask, self._who, self._reason = database, ask, who, f"drill: {reason}"
        self._before = self._newest = database.read_sync(store.newest_revision)
        self._doc = database.read_sync(store.read_document)
        self.rows: list[JsonObject] = []

    def practise(self, use_case: str) -> None:
        """Both, and back. Raises `Invalid` when the switch is off already, `Conflict` when somebody interferes."""
        self._ask("GET", "/v1/flags")  # a wrong address is found out before anything is thrown
        board = document.describe(self._doc, KILL_SWITCH)
        if board["gives"] != "on for everybody":
            raise Invalid(f"{KILL_SWITCH} is not on for everybody: this is no time for a drill")
        print(f"svc: if this is cut short: svc flags revert {self._before} --reason ...", file=sys.stderr)
        try:
            self._throw_and_roll_back(use_case)
        finally:
            self._put_back()

    def _throw_and_roll_back(self, use_case: str) -> None:
        off = Change(KILL_SWITCH, "off", self._reason)
        self._step("kill switch", lambda session: store.set_flag(session, off, self._who.subject))
        self._restore("kill switch back")
        try:
            self._step("rollback", self._roll_back(use_case))
        except Invalid as error:
            self.rows.append({"step": f"no rollback: {error}", "processes": 0, "ms": None, "within_a_second": False})
        else:
            self._restore("release back")

    def _put_back(self) -> None:
        """After a failure half way."""
        doc = self._database.read_sync(store.read_document)
        if self._before != self._newest and doc != self._doc and self._mine():
            self._restore("all as before")

    def _mine(self) -> bool:
        return self._database.read_sync(store.newest_revision) == self._newest

    def _restore(self, what: str) -> None:
        def back(session: Session) -> int:
            return rollout.revert(session, self._before, self._who.subject, self._reason, CODE)[0]

        self._step(what, back)

    def _roll_back(self, use_case: str) -> Callable[[Session], int]:
        return lambda session: rollout.rollback(session, use_case, self._who.subject, self._reason, CODE)[0]

    def _step(self, what: str, change: Callable[[Session], int]) -> None:
        def alone(session: Session) -> int:
            store.current_for_change(session)
            if store.newest_revision(session) != self._newest:
                raise Conflict(f"somebody has changed a flag during the drill, which stops here, before: {what}")
            return change(session)

        start = time.monotonic()
        self._newest = self._database.write_sync(alone)
        done, late, _ = processes.wait_for(self._database, self._newest, PATIENCE_S)
        running = self._ask("GET", "/v1/flags")["processes"]
        ms = round((time.monotonic() - start) * 1000)
        confirmed = bool(done) and not late and all(process["flag_rev"] >= self._newest for process in running)
        row = {"step": what, "processes": len(done), "ms": ms, "within_a_second": confirmed and ms <= SLOWEST_MS}
        self.rows.append(row)
