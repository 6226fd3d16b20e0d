"""The composition root. Read it top to bottom: it is the table of contents of the running system.

settings -> secrets -> telemetry -> database -> flags and releases -> adapters -> use cases -> processes
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from fastapi import FastAPI

from service.api.app import Service, create_app
from service.api.authentication import FindCaller, by_key_or_token
from service.application.decision import JsonObject
from service.application.identity import Caller
from service.application.review.use_case import Reviewable, ReviewWork
from service.application.triage import contract, rules
from service.application.triage.redrive import RedriveTickets
from service.application.triage.use_case import USE_CASE as TRIAGE
from service.application.triage.use_case import ByRules, Triager, TriageTicket, effect_of
from service.bootstrap_inference import CODE, engine, http_client
from service.bootstrap_process import hold_secrets, telemetry, until_closed
from service.bootstrap_store import Store, open_store
from service.integration.audit_chain import Keys
from service.integration.database.api_keys import SqlKeyring
from service.integration.database.audit_reading import Verifier
from service.integration.database.budgets import Budgets, Limits
from service.integration.database.decisions import SqlDecisions
from service.integration.database.erasure import SqlPrivacy
from service.integration.database.payloads import SqlPayloads
from service.integration.database.records import SqlRecords
from service.integration.database.reviews import SqlReviewDesk
from service.integration.database.waiting import SqlWaiting
from service.integration.flags.switchboard import SqlSwitchboard
from service.integration.jobs import make_enqueue
from service.integration.oidc import Provider, SigningKeys, TokenCallers
from service.integration.rates import Rates, redis_storage
from service.integration.telemetry.setup import (
    current_trace_id,
    traced,
)
from service.integration.telemetry.spending import SpendingWatch
from service.project import slug
from service.settings import Secrets, Settings, require


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
    records = SqlRecords(
        store.database,
        enqueue,
        digest,
        clock=_now,
        lease_s=lease_s,
        budgets=_budgets(config),
        reviewed=config.reviewed_share,
    )
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
        check=store.check,
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
    return create_app(service, slug(), until_closed(closing), config.load.most_at_once, config.api_docs)


def _rates(config: Settings, known: Secrets) -> Rates:
    """A connection to Redis for every request that can be in work, so that none waits for another's."""
    load, password = config.load, known.redis_password.get_secret_value
    shared = redis_storage(load.redis_url, password, f"{slug()}:rates", load.most_at_once) if load.redis_url else None
    return Rates(*config.rates, shared)


def _budgets(config: Settings) -> Budgets | None:
    product = config.product
    limits = Limits(product.tenant_usd, product.release_usd, product.request_usd, product.subject_usd)
    return Budgets(limits, SpendingWatch(_now)) if limits.any else None


def _triage_outcome(outcome: JsonObject) -> JsonObject:
    """Validated as JSON, as the model's answer is: strict about types, lax about nothing."""
    return contract.TriageOutcome.model_validate_json(json.dumps(outcome)).model_dump(mode="json")


def _keyed_digest(known: Secrets) -> Callable[[JsonObject], str]:
    """HMAC-SHA-256 of a request's canonical JSON: equal requests match, and nobody can guess them from it."""

    def digest(request: JsonObject) -> str:
        key = known.digest_key.get_secret_value().encode()
        canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
        return hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()

    return digest


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())
