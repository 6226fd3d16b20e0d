"""The composition root. Read it top to bottom: it is the table of contents of the running system.

settings -> secrets -> telemetry -> database -> flags and releases -> adapters -> use cases -> processes
"""

import asyncio
import hashlib
import hmac
import json
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

from fastapi import FastAPI
from sqlalchemy import text

from service.api.app import Lifespan, Service, create_app
from service.api.authentication import FindCaller, by_key_or_token
from service.api.inference import APIS, create_inference_app
from service.application.decision import JsonObject
from service.application.effects.contract import Ticketing
from service.application.effects.use_case import DeliverEffect, ReconcileEffects
from service.application.errors import Unavailable
from service.application.identity import Caller
from service.application.review.use_case import Reviewable, ReviewWork
from service.application.triage import contract, rules
from service.application.triage.redrive import RedriveTickets
from service.application.triage.use_case import USE_CASE as TRIAGE
from service.application.triage.use_case import ByRules, Triager, TriageTicket, effect_of
from service.bootstrap_inference import CODE, engine, http_client, local_engine
from service.bootstrap_secrets import Held, hold_secrets
from service.integration.audit_chain import Keys
from service.inference.destinations import is_private
from service.inference.pii import redacted
from service.inference.pii_structured import StructuredDetector
from service.integration.chores import Chore
from service.integration.database import installation
from service.integration.database.api_keys import SqlKeyring
from service.integration.database.audit_reading import Verifier
from service.integration.database.audit_seals import SEAL_EVERY_S, Sealer
from service.integration.database.budgets import Budgets, Limits
from service.integration.database.decisions import SqlDecisions
from service.integration.database.erasure import Retention, SqlPrivacy
from service.integration.database.known_releases import SqlReleases
from service.integration.database.ledger import SqlBacklog, SqlLedger
from service.integration.database.payloads import SqlPayloads
from service.integration.database.records import SqlRecords
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.session import Database, open_database
from service.integration.database.waiting import SqlWaiting
from service.integration.flags.processes import Presence
from service.integration.flags.provider import DatabaseFlagProvider
from service.integration.flags.switchboard import SqlSwitchboard
from service.integration.flags.switches import FlagSwitches
from service.integration.jobs import make_enqueue, run_worker
from service.integration.oidc import Provider, SigningKeys, TokenCallers
from service.integration.rates import Rates, redis_storage
from service.integration.sealing import Sealer
from service.integration.telemetry.redaction import Redactor
from service.integration.telemetry.setup import (
    configure_logs,
    configure_telemetry,
    current_trace_id,
    instrument_sql,
    traced,
)
from service.integration.telemetry.spending import SpendingWatch
from service.integration.ticketing.http import HttpTicketing
from service.project import slug
from service.settings import Secrets, Settings, SettingsError, require

SWEEP_EVERY_S = 2.0
RETENTION_EVERY_S = 600.0


def telemetry(config: Settings, process: str, closing: AsyncExitStack) -> None:
    """Logs, spans and metrics of this process, until `closing` closes."""
    redactor = Redactor(partial(redacted, detector=StructuredDetector(), spared=is_private))
    configure_logs(process, redactor)
    endpoint, files = config.telemetry.otlp_endpoint, config.var_dir / "telemetry"
    closing.callback(configure_telemetry(slug(), process, endpoint, files, redactor))


@dataclass(frozen=True, slots=True)
class Store:
    """The database and what is read from it all the time: flags and releases, kept fresh by one poller.

    `watched` is the same database for the poller, which gives up on a silent server sooner than requests may.
    """

    database: Database
    watched: Database
    releases: SqlReleases
    flags: DatabaseFlagProvider
    switches: FlagSwitches
    presence: Presence
    check_secrets: Callable[[], bool | str] = lambda: True

    async def close(self) -> None:
        await asyncio.to_thread(self.flags.shutdown)
        await asyncio.to_thread(self.presence.leave)
        if self.watched is not self.database:
            await self.watched.close()
        await self.database.close()


def open_store(config: Settings, kind: str, known: Secrets, held: Held | None = None) -> Store:
    """Open the migrated database, load flags and releases, and be known as a process of this kind.

    `held`: where its database user comes from, if that is the vault. Raises `Invalid` when the database is another
    profile's.
    """
    user = held.database_user if held else None
    database = open_database(config.database_url, user, sealer=_sealer(known))
    with suppress(Unavailable):  # it may come later
        database.read_sync(lambda session: installation.refuse_anothers(session, config.profile.value))
    instrument_sql(database.engines)
    # A network that swallows packets must not hold up a flip for longer than it lasts. SQLite has no network.
    postgres = database.dialect == "postgresql"
    watched = open_database(config.database_url, user, pool_size=1, patient=False) if postgres else database
    if user:
        user.on_change += [database.reconnect, watched.reconnect]
    releases, presence = SqlReleases(watched, CODE), Presence(watched, kind, asdict(CODE))
    kill_file = config.var_dir / "AI_OFF"
    flags = DatabaseFlagProvider(watched, kill_file, also_refresh=releases.refresh, tell=presence.tell)
    switches = FlagSwitches(flags, releases, internal_tenants=config.internal_tenants)
    check_secrets = held.keeper.check if held else lambda: True
    return Store(database, watched, releases, flags, switches, presence, check_secrets)


def tokens(config: Settings, closing: AsyncExitStack) -> FindCaller | None:
    """Callers by the bearer tokens of OIDC_ISSUER; None without one."""
    if not config.oidc.issuer:
        return None
    provider = Provider(**config.oidc.model_dump())
    return TokenCallers(SigningKeys(http_client(closing, 2.0), provider), provider).find


def use_cases(
    store: Store,
    config: Settings,
    known: Secrets,
    thinks: Triager,
    by_rules: ByRules = rules.triage,
    find_token: FindCaller | None = None,
) -> Service:
    """Everything the API can do."""
    enqueue = make_enqueue(store.database)
    # A claim outlives the longest a model may take, so that no retry asks it again meanwhile.
    lease_s = config.model.deadline_s + 40
    digest = _keyed_digest(known)
    records = SqlRecords(store.database, enqueue, digest, clock=_now, lease_s=lease_s, budgets=_budgets(config))
    triage = TriageTicket(
        triager=thinks,
        rollout=store.switches,
        records=records,
        digest=digest,
        by_rules=by_rules,
        now=_now,
        new_id=_new_id,
        trace_id=current_trace_id,
    )
    desk = SqlReviewDesk(store.database, enqueue, clock=_now)
    privacy = SqlPrivacy(store.database, _now)
    reviewables = {TRIAGE: Reviewable(validate=_triage_outcome, effect=effect_of)}
    return Service(
        triage=traced("triage ticket", triage.__call__),
        reviews=ReviewWork(desk, reviewables),
        redrive=RedriveTickets(triage, SqlWaiting(store.database, enqueue, _now, TRIAGE)),
        switchboard=SqlSwitchboard(store.database, CODE),
        show_decision=SqlDecisions(store.database).show,
        find_caller=by_key_or_token(SqlKeyring(store.database).find, find_token),
        limit=_rates(config, known),
        verify_audit=Verifier(store.database, Keys(known.audit_key.get_secret_value)),
        show_payload=SqlPayloads(store.database, _now).read,
        export_customer=privacy.export,
        erase_customer=privacy.erase,
        check=_checks(store),
    )


def api(config: Settings) -> FastAPI:
    """The API process. Fails here, before it listens, without its settings or secrets; the database may come later."""
    require(DATABASE_URL=config.database_url)
    config.refuse_unbounded_spending()
    closing = AsyncExitStack()
    held = hold_secrets(config, "api", closing)
    telemetry(config, "api", closing)
    store = open_store(config, "api", held.known, held)
    closing.push_async_callback(store.close)
    store.switches.release(TRIAGE, Caller("start", "-", frozenset()), None)  # a misfit is said now, not at a request
    known = held.known
    service = use_cases(store, config, known, engine(config, known, closing), find_token=tokens(config, closing))
    return create_app(service, slug(), _until_closed(closing), config.load.most_at_once, config.api_docs)


def inference_api(config: Settings) -> FastAPI:
    """The inference process: the engine without a database. Fails here without its settings or secrets."""
    closing = AsyncExitStack()
    held = hold_secrets(config, "inference", closing)
    telemetry(config, "inference", closing)
    triage, token = local_engine(config, held.known, closing).triage, held.known.inference_token.get_secret_value
    most, check = config.load.most_at_once * APIS, held.keeper.check
    return create_inference_app(triage, token, slug(), _until_closed(closing), CODE.misfit, check, most)


async def worker(config: Settings) -> None:
    """The worker process: delivers effects and sweeps up unfinished ones until SIGTERM or SIGINT."""
    require(DATABASE_URL=config.database_url)
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with AsyncExitStack() as closing:
        held, timeout_s = hold_secrets(config, "worker", closing), config.ticketing.timeout_s
        require(TICKETING_URL=config.ticketing.url)
        telemetry(config, "worker", closing)
        store = open_store(config, "worker", held.known, held)
        closing.push_async_callback(store.close)
        http, token = http_client(closing, timeout_s), held.known.ticketing_token.get_secret_value
        ticketing = HttpTicketing(http, config.ticketing.url, token, timeout_s)
        # Longer than one attempt can take, so that only a dead worker's lease ever runs out.
        deliver, reconcile = effect_jobs(store, ticketing, lease_s=timeout_s + 5)
        seal = Sealer(store.database, Keys(held.known.audit_key.get_secret_value), config.var_dir / "audit.anchors")
        retention = Retention(store.database, config.data.payload_days, config.data.record_days)
        chores = [
            Chore("sweep", SWEEP_EVERY_S, reconcile),
            Chore("sealing", SEAL_EVERY_S, seal),
            Chore("retention", RETENTION_EVERY_S, retention),
        ]
        ready_file, name = config.var_dir / "worker.ready", config.process.executor_id
        closing.callback(ready_file.unlink, missing_ok=True)
        await run_worker(store.database, deliver, chores, name, ready_file.touch, stop)


def effect_jobs(store: Store, ticketing: Ticketing, lease_s: float) -> tuple[DeliverEffect, ReconcileEffects]:
    """The two jobs: deliver one effect, and queue unfinished ones again."""
    ledger = SqlLedger(store.database, clock=_now, lease_s=lease_s)
    backlog = SqlBacklog(store.database, make_enqueue(store.database), clock=_now)
    return DeliverEffect(store.switches, ledger, ticketing), ReconcileEffects(store.switches, backlog)


def _until_closed(closing: AsyncExitStack) -> Lifespan:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with closing:
            yield

    return lifespan


def _rates(config: Settings, known: Secrets) -> Rates:
    """A connection to Redis for every request that can be in work, so that none waits for another's."""
    load, password = config.load, known.redis_password.get_secret_value()
    shared = redis_storage(load.redis_url, password, f"{slug()}:rates", load.most_at_once) if load.redis_url else None
    return Rates(*config.rates, shared)


def _budgets(config: Settings) -> Budgets | None:
    product = config.product
    limits = Limits(product.tenant_usd, product.release_usd, product.request_usd, product.subject_usd)
    return Budgets(limits, SpendingWatch(_now)) if limits.any else None


def _triage_outcome(outcome: JsonObject) -> JsonObject:
    """Validated as JSON, as the model's answer is: strict about types, lax about nothing."""
    return contract.TriageOutcome.model_validate_json(json.dumps(outcome)).model_dump(mode="json")


def _sealer(known: Secrets) -> Sealer:
    try:
        return Sealer(known.payload_key.get_secret_value)
    except ValueError as error:
        raise SettingsError(f"the vault: {error}") from None


def _keyed_digest(known: Secrets) -> Callable[[JsonObject], str]:
    """HMAC-SHA-256 of a request's canonical JSON: equal requests match, and nobody can guess them from it."""

    def digest(request: JsonObject) -> str:
        key = known.digest_key.get_secret_value().encode()
        canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
        return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()

    return digest


def _checks(store: Store) -> Callable[[], Awaitable[dict[str, bool | str]]]:
    async def check() -> dict[str, bool | str]:
        found: dict[str, bool | str] = {"database": True, "flags": store.flags.loaded and store.flags.fresh}
        try:
            await store.database.read(lambda session: session.execute(text("select 1")).scalar())
        except Unavailable:
            found["database"] = False
        return found | {"secrets": store.check_secrets()}

    return check


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())
