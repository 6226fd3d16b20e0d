"""The service as `svc eval` measures it: its own processes on a new database, asked over HTTP, effects looked up."""

import asyncio
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from service.application.decision import JsonObject
from service.application.identity import Role
from service.application.release import Release
from service.application.triage.contract import Ticket
from service.bootstrap_inference import CODE
from service.cli.eval_run import EnvironmentFailed, Reached, Target, source_digest
from service.cli.migrate import make_active, prepare, releases_from
from service.cli.run import development_part
from service.evaluation.results import Key, Sample, Samples
from service.integration.database.api_keys import issue_key
from service.integration.database.migrate import project_root
from service.integration.database.session import Database, open_database
from service.integration.database.tables import AuditRow, DecisionRow, EffectRow, ReviewItemRow
from service.settings import Profile, Secrets, Settings, groups, require

PATH = "/v1/triage"
STAND_IN = "stand-in"
NO_KEY = "none"  # local model servers need no key, but an empty one makes no valid header
SETTLE_S = 30.0  # without any effect finished meanwhile
# What decides answers stays as it is in the environment; all else that a process reads is the evaluation's own.
OWN = (groups.ModelSettings, groups.DataSettings)
NOT_MEASURED = ("BACKUP_MODEL_URL", "INFERENCE_URL")


def local_target(config: Settings, release: Release | None, concurrency: int = 8) -> Target:
    """The service of this project by a `release`, else the last in prompts/, with MODEL_URL or else a stand-in.

    No backup model: what is measured is the release, not what catches its failures. Raises `SettingsError`.
    """
    if config.model.url:
        require(MODEL_NAME=config.model.name)
    chosen = release or releases_from(project_root() / "prompts")[-1]
    asked = chosen.model or config.model.name
    name = f"{asked} at {httpx2.URL(config.model.url).host}" if config.model.url else STAND_IN
    parameters = {
        "temperature": chosen.temperature,
        "max_tokens": chosen.max_tokens,
        **config.model.model_dump(mode="json", include={"output", "deadline_s", "attempt_s"}),
        **config.data.model_dump(mode="json", include={"spacy_model", "language"}),
    }
    code = source_digest("src/service", "flags", *(() if config.model.url else ("dev",)))
    return Target(
        name=name,
        baseline="model" if config.model.url else STAND_IN,
        release=chosen.digest,
        model=asked or STAND_IN,
        parameters=parameters,
        code={"versions": asdict(CODE)},
        decides={"url": config.model.url, "price": config.model.price, "code": code},
        reach=lambda: _reached(config, chosen),
        observed=True,
        concurrency=concurrency,
    )


@asynccontextmanager
async def _reached(config: Settings, release: Release) -> AsyncIterator[Reached]:
    alone = development_part("alone")
    with tempfile.TemporaryDirectory(prefix="svc-eval-") as name, ExitStack() as closing:
        folder = Path(name)
        run = _Run(release, folder, open_database(f"sqlite:///{folder / 'service.db'}"))
        closing.callback(run.database.close_sync)
        try:
            with alone.service(folder, run.environment(), run.token, run.prepare) as run.addresses:
                async with httpx2.AsyncClient(timeout=config.model.deadline_s + 30, trust_env=False) as run.http:
                    yield Reached(run.ask, run.observe)
        except alone.StartFailed as error:
            raise EnvironmentFailed(str(error)) from None


@dataclass
class _Run:
    """One run of the service. `addresses` and `http` come once it is up."""

    release: Release
    folder: Path
    database: Database
    addresses: Any = None
    http: httpx2.AsyncClient = field(init=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _keys: list[str] = field(default_factory=list)
    _sent: Counter[Ticket] = field(default_factory=Counter)

    def environment(self) -> dict[str, str]:
        """What each process gets; mounted files hold the secrets."""
        mounted = self.folder / "secrets"
        mounted.mkdir(mode=0o700)
        known = {"model_api_key": os.environ.get("MODEL_API_KEY") or NO_KEY, "ticketing_token": self.token}
        for name in Secrets.model_fields:
            (mounted / name).write_text(known.get(name) or secrets.token_urlsafe(32), encoding="utf-8")
        found = [each for each in vars(groups).values() if isinstance(each, type) and issubclass(each, groups.Group)]
        others = {str(f.validation_alias) for group in found if group not in OWN for f in group.model_fields.values()}
        left_out = {*others, *NOT_MEASURED, *(name.upper() for name in Secrets.model_fields)}
        return {name: value for name, value in os.environ.items() if name not in left_out} | {
            "DATABASE_URL": self._url,
            "VAR_DIR": str(self.folder),
            "SECRETS_DIR": str(mounted),
        }

    def prepare(self) -> None:
        """The database as `svc migrate` leaves it, with the release active."""
        process = {"profile": Profile.DEVELOPMENT, "var_dir": self.folder}
        prepare(Settings(process=process, database={"url": self._url, "credentials": ""}), project_root())
        self.database.write_sync(lambda session: make_active(session, self.release, "the suite"))

    async def ask(self, ticket: Ticket) -> Sample:
        """One message over HTTP. Raises when the service itself is gone: that is no answer of its."""
        key = self._key(self._sent[ticket])
        self._sent[ticket] += 1
        began = time.perf_counter()
        try:
            response = await self.http.post(
                self.addresses.api + PATH, json=ticket.model_dump(mode="json"), headers={"X-API-Key": key}
            )
            answer, problem = response.json(), None if response.status_code == 200 else f"status {response.status_code}"
        except (httpx2.HTTPError, ValueError) as error:
            self.addresses.check()
            answer, problem = None, f"no answer: {type(error).__name__}"
        return Sample(None if problem else answer, problem, time.perf_counter() - began)

    def _key(self, number: int) -> str:
        """A tenant for each time that the same message is sent: within one, an earlier answer may be given again."""
        while len(self._keys) <= number:
            tenant = f"evaluation-{len(self._keys)}"
            self._keys.append(issue_key(self.database, "svc eval", tenant, {Role.CALLER.value}))
        return self._keys[number]

    async def observe(self, samples: Samples, wait: bool) -> dict[Key, JsonObject]:
        """What each sample left behind whose effect has ended; to `wait` is until none has ended for `SETTLE_S`."""
        decision_of = {key: (sample.answer or {}).get("decision_id", "") for key, sample in samples.items()}
        # Before anything is counted, so that what ends meanwhile is not seen by half.
        pending = self._pending(decision_of.values())
        deadline = time.monotonic() + SETTLE_S
        while wait and pending and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            left = self._pending(decision_of.values())
            pending, deadline = left, deadline if left == pending else time.monotonic() + SETTLE_S
        tickets = (await self.http.get(self.addresses.ticketing + "/tickets")).raise_for_status().json()
        written = Counter(ticket["body"]["decision_id"] for ticket in tickets)
        category = {ticket["body"]["decision_id"]: ticket["body"]["category"] for ticket in tickets}
        counted = {name: dict(self._select(statement)) for name, statement in COUNTED.items()} | {"tickets": written}
        return {
            key: {name: of.get(decision, 0) for name, of in counted.items()}
            | {"ticket_category": category.get(decision)}
            for key, decision in decision_of.items()
            if wait or decision not in pending
        }

    def _pending(self, decisions: Iterable[str]) -> set[str]:
        return set(decisions).intersection(dict(self._select(UNFINISHED)))

    def _select(self, statement: Select[str, int]) -> list[tuple[str, int]]:
        return self.database.read_sync(lambda session: [(row[0], row[1]) for row in session.execute(statement)])

    @property
    def _url(self) -> str:
        return f"sqlite:///{self.folder / 'service.db'}"


def _count(column: InstrumentedAttribute[str], *where: ColumnElement[bool]) -> Select[str, int]:
    return select(column, func.count()).where(*where).group_by(column)


COUNTED = {
    "decisions": _count(DecisionRow.id),
    "audit_rows": _count(AuditRow.object, AuditRow.action == "decision.made"),
    "review_items": _count(ReviewItemRow.decision_id),
    "effects_done": _count(EffectRow.decision_id, EffectRow.state == "done"),
}
UNFINISHED = _count(EffectRow.decision_id, EffectRow.state.not_in(("done", "failed")))
