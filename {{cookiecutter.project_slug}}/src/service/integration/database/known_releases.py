"""The published releases of a running process, in memory, because every request asks."""

import logging
from collections.abc import Callable
from time import monotonic

from opentelemetry import metrics
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.application.release import Code, Release
from service.integration.database.releases import stood
from service.integration.database.session import Database
from service.integration.database.tables import ReleaseRow, ReleaseStepRow

ALERT_EVERY_S = 60.0
log = logging.getLogger(__name__)


class SqlReleases:
    """Every published release that fits this code, in memory. `refresh` is called by the poller of the flags."""

    def __init__(self, database: Database, code: Code, clock: Callable[[], float] = monotonic) -> None:
        self._database, self._code, self._clock = database, code, clock
        self._seen = (0, 0)
        self._by_name: dict[str, Release] = {}
        self._misfits: dict[str, str] = {}
        self._activated: dict[str, list[str]] = {}
        self._told: dict[str, float] = {}
        self._alerts = metrics.get_meter("service").create_counter(
            "service.release.misfits", "{answer}", "Answers for which an earlier release stood in"
        )

    def find(self, use_case: str, name: str) -> Release | None:
        """The release of this name, None for "none". For one that does not fit this code, or that is not known here,
        the last active one that does stands in, aloud.
        """
        found = self._by_name.get(name)
        if found is None and name not in ("", "none"):
            earlier = self._activated.get(use_case, [])
            found = next((self._by_name[each] for each in earlier if each in self._by_name), None)
            self._tell(name, found)
        return found if found is not None and found.use_case == use_case else None

    def refresh(self) -> None:
        """Take in what was published or activated since. Raises `Unavailable`; what is in memory then stays."""
        # Neither ever changes or goes away, so how many there are tells whether there is anything new.
        seen = self._database.read_sync(_how_many)
        if seen == self._seen:
            return
        rows, activated = self._database.read_sync(_published_and_activated)
        by_name: dict[str, Release] = {}
        misfits: dict[str, str] = {}
        for row in rows:
            try:
                release = Release.model_validate(row.bundle)
            except ValidationError:
                misfits[row.name] = "it was published by other code"
                continue
            if release.digest != row.digest:
                misfits[row.name] = "its content is not what its digest says"
            elif why := self._code.misfit(release):
                misfits[row.name] = why
            else:
                by_name[row.name] = release
        self._seen, self._by_name, self._misfits, self._activated = seen, by_name, misfits, activated

    def _tell(self, name: str, instead: Release | None) -> None:
        self._alerts.add(1, {"release": name})
        if self._clock() - self._told.get(name, -ALERT_EVERY_S) >= ALERT_EVERY_S:
            self._told[name] = self._clock()
            answers = f"{instead.name}, the last that fits, answers" if instead else "none before fits: rules answer"
            log.error("release %s does not fit: %s; %s", name, self._misfits.get(name, "it is not known here"), answers)


def _how_many(session: Session) -> tuple[int, int]:
    published, steps = select(func.count(ReleaseRow.digest)), select(func.count(ReleaseStepRow.id))
    found = session.execute(select(published.scalar_subquery(), steps.scalar_subquery())).one()
    return found[0], found[1]


def _published_and_activated(session: Session) -> tuple[list[ReleaseRow], dict[str, list[str]]]:
    rows = list(session.scalars(select(ReleaseRow)))
    names = {row.digest: row.name for row in rows}
    steps = list(session.scalars(select(ReleaseStepRow).order_by(ReleaseStepRow.id.desc())))
    use_cases = {step.use_case for step in steps}
    return rows, {
        use_case: [names[digest] for digest in stood(s for s in steps if s.use_case == use_case) if digest in names]
        for use_case in use_cases
    }
