"""The OpenFeature provider over the database: flagd's evaluator, fed by a short poll, on Postgres at once.

It always answers from memory. When the database is away or a flag is bad, the last good one counts; before the first
document every flag has its code default, which is "off". The kill file needs no database.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy.orm import Session

from service.application.decision import JsonObject
from service.application.errors import Invalid, Unavailable
from service.integration.database.session import Database, cause_of
from service.integration.flags import document, store
from service.integration.flags.listener import Listener

STALE_S = 10.0
log = logging.getLogger(__name__)


class DatabaseFlagProvider(AbstractProvider):
    """While `kill_file` exists, every switch is off but that of effects.

    `also_refresh` is called at each poll before the flags are used, `tell` after it, with the revision in use and
    whether there is a kill file.
    """

    def __init__(
        self,
        database: Database,
        kill_file: Path | None = None,
        also_refresh: Callable[[], None] | None = None,
        interval_s: float = 0.2,
        tell: Callable[[int, bool], None] | None = None,
    ) -> None:
        super().__init__()
        self._database, self._kill_file, self._also_refresh = database, kill_file, also_refresh
        self._interval_s, self._tell = interval_s, tell
        self._core = FlagdCore()
        self._seen = self._in_use = 0
        self._newest: JsonObject | None = None
        self._good: JsonObject = {}
        self._loaded, self._fresh_at = False, time.monotonic()
        self._trouble: str | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._listener: Listener | None = None

    @property
    def loaded(self) -> bool:
        """Whether a good document was ever read."""
        return self._loaded

    @property
    def fresh(self) -> bool:
        """Whether the database was asked with success in the last ten seconds."""
        return time.monotonic() - self._fresh_at < STALE_S

    @property
    def revision(self) -> int:
        """The revision that answers go by; 0 before the first."""
        return self._in_use

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Poll once, then keep polling from a thread. A database that is away is not an error: flags are off."""
        self.poll()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_polling, name="flag-poller", daemon=True)
            self._thread.start()
            if (engine := self._database.engine_for(connections=1)) is not None:
                self._listener = Listener(engine, self._wake.set)
                self._listener.start()

    def shutdown(self) -> None:
        """Stop polling. The last answers stay available."""
        self._stop.set()
        self._wake.set()
        if self._listener is not None:
            self._listener.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def poll(self) -> None:
        """Take in the newest revision if there is one. Never raises; trouble is logged when it begins and ends."""
        trouble = None
        with suppress_instrumentation():  # five traces a second would bury those of requests
            for step in (self._look, self._use, self._report):
                try:
                    step()
                except Invalid as error:
                    log.error("flag revision %s is ignored: %s", self._seen, error)
                except Unavailable as error:
                    trouble = trouble or cause_of(error)
                except Exception as error:  # a poller that dies would freeze every switch
                    trouble = trouble or f"{type(error).__name__}: {error}"
        if trouble != self._trouble:
            log.warning("flags cannot be refreshed: %s", trouble) if trouble else log.info("flags are fresh again")
        self._trouble = trouble

    def get_metadata(self) -> Metadata:
        return Metadata(name="database")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        if flag_key != document.EFFECTS and self._killed():
            return FlagResolutionDetails(False, variant="off", reason=Reason.DISABLED)
        return self._core.resolve_boolean_value(flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._core.resolve_string_value(flag_key, default_value, evaluation_context)

    def _no_other_kind(
        self, flag_key: str, default_value: Any, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        raise TypeMismatchError(f"{flag_key}: a flag is a switch or names a release (document.py)")

    resolve_integer_details = resolve_float_details = resolve_object_details = _no_other_kind

    def _killed(self) -> bool:
        return self._kill_file is not None and os.path.lexists(self._kill_file)

    def _look(self) -> None:
        """Read what is new. Releases come after the flags and before their use: what is named must be known by then."""
        revision, newest = self._database.read_sync(self._newer)
        if newest is not None:
            self._seen, self._newest = revision, newest
        if self._also_refresh is not None:
            self._also_refresh()
        self._fresh_at = time.monotonic()

    def _use(self) -> None:
        newest, self._newest = self._newest, None  # a bad document is not tried again and again
        if newest is None:
            return
        good, wrong = document.usable(newest, self._good)
        for why in wrong:
            log.error("in flag revision %s a flag is not understood and stays what it was: %s", self._seen, why)
        changed = self._core.set_flags_and_get_changed_keys(json.dumps(good))
        self._good, self._loaded, self._in_use = good["flags"], True, self._seen
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))

    def _report(self) -> None:
        if self._tell is not None:
            self._tell(self._in_use, self._killed())

    def _newer(self, session: Session) -> tuple[int, JsonObject | None]:
        revision = store.newest_revision(session)
        return revision, (store.newest_document(session) or {}) if revision != self._seen else None

    def _keep_polling(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._interval_s)
            self._wake.clear()
            if not self._stop.is_set():
                self.poll()
