"""The triage use case inside this process, for `svc eval`: everything behind it real but the callers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from service import bootstrap
from service.application.decision import JsonObject
from service.application.identity import Caller, Role
from service.application.release import Release
from service.application.triage.contract import Ticket
from service.bootstrap_inference import local_engine
from service.bootstrap_store import open_store
from service.cli.migrate import make_active, prepare, releases_from
from service.integration.database.migrate import project_root
from service.settings import Secrets, Settings


@dataclass(frozen=True, slots=True)
class EvaluationService:
    """The use case as the evaluation suite sees it: one ticket in, one answer out."""

    answer: Callable[[Ticket], Awaitable[JsonObject]]
    release: Release
    target: str


@asynccontextmanager
async def evaluation_service(
    model_url: str, model_name: str, model_api_key: str, workdir: Path, release: Release | None = None
) -> AsyncIterator[EvaluationService]:
    """The use case on a fresh SQLite file in `workdir`, all flags on, no backup model, no worker.

    It answers by the `release`, or by the last one in prompts/.

    The backup is left out on purpose: the suite measures the release, not what catches its failures.
    """
    config = Settings(
        process={"profile": "development", "var_dir": workdir},
        database={"url": f"sqlite:///{workdir / 'evaluation.db'}"},
        model={"url": model_url, "name": model_name, "backup_url": "", "backup_name": "", "inference_url": ""},
        product={"tenant_usd": None, "release_usd": None, "subject_usd": None},
    )
    root = project_root()
    prepare(config, root)
    release = release or releases_from(root / "prompts")[-1]
    known = {**dict.fromkeys(Secrets.model_fields, "evaluation"), "model_api_key": model_api_key}
    secrets = Secrets.model_validate(known)
    caller = Caller("evaluation", "evaluation", frozenset({Role.CALLER}))
    asked = release.model or model_name
    target = "stand-in" if "stand-in" in asked else f"{asked} at {httpx2.URL(model_url).host}"
    async with AsyncExitStack() as closing:
        store = open_store(config, "evaluation", secrets)
        closing.push_async_callback(store.close)
        store.database.write_sync(lambda session: make_active(session, release, "the suite"))
        store.flags.poll()
        triage = bootstrap.use_cases(store, config, secrets, local_engine(config, secrets, closing)).triage
        yield EvaluationService(lambda ticket: triage(caller, ticket, None), release, target)
