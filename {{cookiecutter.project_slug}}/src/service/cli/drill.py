"""The drill: what has to work at night, done by day, with the times it took."""

import time

from service.application.decision import JsonObject
from service.application.errors import Invalid
from service.application.identity import Caller
from service.application.switchboard import Change
from service.bootstrap_inference import CODE
from service.cli.operator import Ask
from service.integration.database.session import Database
from service.integration.flags import document, processes, rollout, store

SLOWEST_MS, PATIENCE_S = 1000, 10.0
KILL_SWITCH = "ai.enabled"


def practise(database: Database, ask: Ask, who: Caller, use_case: str, reason: str) -> list[JsonObject]:
    """Kill switch off and back, then a rollback and back. What was is restored, also when something fails.

    Each row has the step, how many processes confirm it, and the milliseconds until all of them and the service at
    its address go by it. Raises `Invalid` when the switch is off already.
    """
    before = database.read_sync(store.newest_revision)
    flags = database.read_sync(store.read_document)["flags"]
    if document.describe(KILL_SWITCH, flags[KILL_SWITCH])["gives"] != "on for everybody":
        raise Invalid(f"{KILL_SWITCH} is not on for everybody: this is no time for a drill")
    off = Change(KILL_SWITCH, "off", f"drill: {reason}")
    rows = []
    try:
        start = time.monotonic()
        revision = database.write_sync(lambda session: store.set_flag(session, off, who.subject))
        rows.append(_measured("kill switch", database, ask, revision, start))
        rows.append(_restore(database, ask, who, before, "kill switch back"))
        start = time.monotonic()
        revision, given_up, back = database.write_sync(
            lambda session: rollout.rollback(session, use_case, who.subject, f"drill: {reason}", CODE)
        )
        rows.append(_measured(f"rollback {given_up} -> {back}", database, ask, revision, start))
    except Invalid as error:
        rows.append({"step": f"no rollback: {error}", "processes": 0, "ms": None, "within_a_second": False})
    finally:
        if database.read_sync(store.read_document)["flags"] != flags:
            rows.append(_restore(database, ask, who, before, "all as before"))
    return rows


def _restore(database: Database, ask: Ask, who: Caller, before: int, step: str) -> JsonObject:
    start = time.monotonic()
    revision, _ = database.write_sync(lambda session: store.revert(session, before, who.subject, f"drill: {step}"))
    return _measured(step, database, ask, revision, start)


def _measured(step: str, database: Database, ask: Ask, revision: int, start: float) -> JsonObject:
    """Waits for every process, as the database and as the service at its address tell of them."""
    done, late, _ = processes.wait_for(database, revision, PATIENCE_S)
    running = ask("GET", "/v1/flags")["processes"]
    ms = round((time.monotonic() - start) * 1000)
    confirmed = bool(done) and not late and all(process["flag_rev"] >= revision for process in running)
    return {"step": step, "processes": len(done), "ms": ms, "within_a_second": confirmed and ms <= SLOWEST_MS}
