"""The composition root of the engine that asks models: part of the API process, or a process of its own.

settings -> where data may go -> personal data -> models -> engine -> process
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from fastapi import FastAPI
from opentelemetry.util.genai.handler import TelemetryHandler

from service.api.inference import APIS, Engine, create_inference_app
from service.application.release import Code
from service.application.triage import contract, rules
from service.application.triage.use_case import Triager
from service.bootstrap_process import hold_secrets, telemetry, until_closed
from service.inference import destinations
from service.inference.models import ChatModel
from service.inference.pii import PiiDetector, Pseudonymiser
from service.inference.pii_structured import StructuredDetector
from service.inference.prices import BadPrice, Price, price_of
from service.inference.remote import RemoteTriager
from service.inference.task import Limits
from service.inference.triage import GUARDS_VERSION, ModelTriager
from service.project import slug
from service.settings import Profile, Secrets, Settings, SettingsError, require

log = logging.getLogger(__name__)
# Whose releases this code answers. Whoever raises a version keeps the one before it here for as long as its releases
# are still answered as they were evaluated; otherwise the last release that fits stands in (ARCHITECTURE.md).
CODE = Code(contract=(contract.VERSION,), rules=(rules.VERSION,), guards=(GUARDS_VERSION,))


def engine(config: Settings, known: Secrets, closing: AsyncExitStack) -> Triager:
    """The engine: in other processes if INFERENCE_URL is set, else in this one. It works until `closing` closes."""
    if not config.inference_urls:
        return local_engine(config, known, closing)
    http = http_client(closing, config.model.deadline_s)
    token = known.inference_token.get_secret_value
    return RemoteTriager(http, config.inference_urls, token, config.model.deadline_s)


def local_engine(config: Settings, known: Secrets, closing: AsyncExitStack) -> ModelTriager:
    """The models behind the gateway. Raises `SettingsError` unless data may go to them."""
    model = config.model
    require(MODEL_URL=model.url, MODEL_NAME=model.name)
    config.refuse_unseen_names()
    detectors = pii_detectors(config)
    hosts = allowed_hosts(config)
    http = http_client(closing, model.attempt_s, hosts)
    spans = TelemetryHandler(instrumentation_scope_name="service.inference")
    prices, backup_prices = _prices(model.name, model.price), _prices(model.backup_name, model.backup_price)
    key, backup_key = known.model_api_key.get_secret_value, known.backup_model_api_key.get_secret_value
    primary = ChatModel(http, model.url, model.name, key, spans, prices, model.output)
    backup = None
    if model.backup_url:
        require(BACKUP_MODEL_NAME=model.backup_name)
        backup = ChatModel(
            http, model.backup_url, model.backup_name, backup_key, spans, backup_prices, model.backup_output
        )
    # A tenth of the deadline is kept for each step that may follow, so that even a short one asks the primary.
    reserve_s = min(2.0, model.deadline_s / 10)
    limits = Limits(model.deadline_s, min(model.attempt_s, model.deadline_s - 2 * reserve_s), reserve_s)
    hides_slowly = bool(config.data.spacy_model)
    return ModelTriager(primary, backup, Pseudonymiser(detectors), limits, hides_slowly=hides_slowly)


def inference_api(config: Settings) -> FastAPI:
    """The inference process: the engine without a database. Fails here without its settings or secrets."""
    closing = AsyncExitStack()
    held = hold_secrets(config, "inference", closing)
    telemetry(config, "inference", closing)
    triage, token = local_engine(config, held.known, closing).triage, held.known.inference_token.get_secret_value
    asked = Engine(triage, token, CODE.misfit, held.keeper.check)
    return create_inference_app(asked, slug(), until_closed(closing), config.load.most_at_once * APIS)


def http_client(closing: AsyncExitStack, longest_s: float, hosts: frozenset[str] | None = None) -> httpx2.AsyncClient:
    """A client that keeps no cookies and, given `hosts`, talks to no other. Its time-outs are per read, not totals.

    Nobody waits for a connection: that time would be missing later, and look as if the other side were slow.
    """
    http = httpx2.AsyncClient(
        # An own transport, so that no proxy that the environment names gets to read what customers wrote.
        transport=httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50)),
        timeout=httpx2.Timeout(longest_s, connect=2.0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one tenant's answer must not mark another's call
        event_hooks={"request": [] if hosts is None else [destinations.only(hosts)]},
    )
    closing.push_async_callback(http.aclose)
    return http


def _prices(usual: str, given: str) -> Callable[[str], Price]:
    """Of a model's name its price: what is `given` is that of the usual one. Raises `SettingsError`."""

    @cache
    def of(name: str) -> Price:
        try:
            price = price_of(name, given if name == usual else "")
        except BadPrice as error:
            raise SettingsError(f"MODEL_PRICE or BACKUP_MODEL_PRICE: {error}") from None
        if name and "stand-in" not in name and price(1, 1) is None:
            log.warning("no price is known for %s: budgets count each of its answers as BUDGET_REQUEST_USD", name)
        return price

    of(usual)
    return of


def pii_detectors(config: Settings) -> list[PiiDetector]:
    """What finds personal data: values with a shape always, names where PII_SPACY_MODEL is set."""
    return [StructuredDetector(), *([_names(config)] if config.data.spacy_model else [])]


def _names(config: Settings) -> PiiDetector:
    from service.inference.names import NamesUnavailable, PresidioNames  # an extra: seconds, hundreds of megabytes

    try:
        return PresidioNames(config.data.spacy_model, config.data.language)
    except NamesUnavailable as error:
        raise SettingsError(str(error)) from None


def allowed_hosts(config: Settings) -> frozenset[str]:
    """The hosts of the models, all of which must be named in MODEL_HOSTS, but for this machine in development."""
    try:
        listed = {destination.host: destination for destination in destinations.parse(config.data.model_hosts)}
    except destinations.BadDestination as error:
        raise SettingsError(f"MODEL_HOSTS: {error}") from None
    hosts = set()
    for name, url in (("MODEL_URL", config.model.url), ("BACKUP_MODEL_URL", config.model.backup_url)):
        if not url:
            continue
        host = destinations.host_of(url)
        if host in listed:
            log.info("%s may get data: %s, %s", host, listed[host].region, listed[host].agreement)
        elif config.profile is Profile.PRODUCTION or not destinations.is_loopback(url):
            raise SettingsError(
                f"no data may go to {host} ({name}): add it to MODEL_HOSTS as HOST REGION AGREEMENT, "
                f"such as '{host} eu-central-1 DPA-2026-014'"
            )
        hosts.add(host)
    return frozenset(hosts)
