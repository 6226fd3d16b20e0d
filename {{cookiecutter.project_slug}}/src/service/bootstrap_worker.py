"""The composition root of the worker: jobs that deliver effects, and chores."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from service import bootstrap_live
from service.application.effects.contract import Ticketing
from service.application.effects.use_case import DeliverEffect, ReconcileEffects
from service.bootstrap_inference import http_client
from service.bootstrap_process import hold_secrets, telemetry
from service.bootstrap_store import Store, open_store
from service.integration.audit_chain import Keys
from service.integration.chores import Chore
from service.integration.database.audit_seals import SEAL_EVERY_S, Sealer
from service.integration.database.erasure import Retention
from service.integration.database.ledger import SqlBacklog, SqlLedger
from service.integration.jobs import make_enqueue, run_worker
from service.integration.ticketing.http import HttpTicketing
from service.settings import Settings, require

SWEEP_EVERY_S = 2.0
RETENTION_EVERY_S = 600.0


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
            *bootstrap_live.chores(store.database, config),
        ]
        ready_file, name = config.var_dir / "worker.ready", config.process.executor_id
        closing.callback(ready_file.unlink, missing_ok=True)
        await run_worker(store.database, deliver, chores, name, ready_file.touch, stop)


def effect_jobs(store: Store, ticketing: Ticketing, lease_s: float) -> tuple[DeliverEffect, ReconcileEffects]:
    """The two jobs: deliver one effect, and queue unfinished ones again."""
    ledger = SqlLedger(store.database, clock=_now, lease_s=lease_s)
    backlog = SqlBacklog(store.database, make_enqueue(store.database), clock=_now)
    return DeliverEffect(store.switches, ledger, ticketing), ReconcileEffects(store.switches, backlog)


def _now() -> datetime:
    return datetime.now(UTC)
