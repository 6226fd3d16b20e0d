"""Translates triage to the gateway and back: ticket and release in, validated prediction or a reason out.

What a customer wrote is normalised, screened, pseudonymised and put between two random lines before a model reads
it; what the model wrote must fit the contract, gets the customer's values back, and must then pass the guard.
"""

import asyncio
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from opentelemetry import trace

from service.application.decision import ModelUnusable, Prediction, Reason, Source, Usage
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.inference import screening
from service.inference.breaker import Breaker
from service.inference.gateway import Gateway
from service.inference.guards import Refused
from service.inference.models import ChatModel
from service.inference.pii import Hidden, Pseudonymiser
from service.inference.prompts import render
from service.inference.task import Answered, Call, Limits, NoUsableAnswer, Reply, Spent, Target, Task
from service.inference.triage_guard import guard, source
from service.inference.watch import ModelWatch

# Keywords that strict decoders of several vendors refuse; the contract enforces them after the call.
_NOT_ON_THE_WIRE = {"minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "title"}
TAINT = "customer_text"
# Changes with what guards refuse or what is shown of a ticket, and so makes a new release.
GUARDS_VERSION = "guards-1"
LONG_TEXT = 1000  # characters, from which on looking for personal data would hold up other requests
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the model is shown of a ticket, and what is needed to read its answer."""

    text: str
    hidden: Hidden
    boundary: str
    taint: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelTriager:
    """Implements the application's `Triager` with a primary and, if there is one, a backup model."""

    primary: ChatModel
    backup: ChatModel | None
    pseudonymiser: Pseudonymiser
    limits: Limits = Limits()
    watch: ModelWatch = field(default_factory=ModelWatch)
    breakers: dict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))
    hides_slowly: bool = False

    async def triage(
        self, ticket: Ticket, release: Release, tenant: str, within_s: float | None = None, calls: int = 3
    ) -> Prediction[TriageOutcome]:
        """A prediction within the contract, or `ModelUnusable`, within `limits.deadline_s` and `within_s` seconds."""
        trace.get_current_span().set_attribute("service.tenant", tenant)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + min(self.limits.deadline_s, within_s or self.limits.deadline_s)
        shown = await self._shown(ticket, ends_at)
        task = Task(
            "triage_outcome",
            TriageOutcome,
            SCHEMA,
            render(release.prompt, {"ticket": shown.text, "boundary": shown.boundary}),
            release.temperature,
            release.max_tokens,
            lambda outcome: _accepted(ticket, shown, outcome),
            replace(self.limits, deadline_s=ends_at - clock(), calls=calls),
        )
        primary = self._target("model", self.primary, release.model)
        backup = self._target("backup", self.backup) if self.backup else None
        try:
            answered = await Gateway(primary, backup).ask(task)
        except NoUsableAnswer as failure:
            self.watch.failed(failure.failures)
            raise ModelUnusable(Reason(failure.reason), _usage(failure.spent), tuple(failure.asked)) from failure
        return self._prediction(answered, shown)

    async def _shown(self, ticket: Ticket, ends_at: float) -> Shown:
        """Normalised, screened, pseudonymised, marked. The customer's reference stays here: no model needs it."""
        fields = {
            name: screening.normalise(text)
            for name, text in (("subject", ticket.subject), ("body", ticket.body), ("channel", ticket.channel))
            if text is not None
        }
        hits = screening.screen(source(ticket))
        self.watch.screened(hits)
        try:
            async with asyncio.timeout_at(ends_at):
                texts, hidden = await self._hide(list(fields.values()))
        except TimeoutError:
            raise ModelUnusable(Reason.DEADLINE) from None
        except Exception as error:
            _cannot_look(error)
        boundary = screening.new_boundary()
        text = json.dumps(dict(zip(fields, texts, strict=True)), ensure_ascii=False)
        return Shown(screening.spotlight(text, boundary), hidden, boundary, (TAINT, *sorted(hits)))

    async def _hide(self, texts: list[str]) -> tuple[list[str], Hidden]:
        if self.hides_slowly or sum(map(len, texts)) > LONG_TEXT:
            return await asyncio.to_thread(self.pseudonymiser.hide, texts)
        return self.pseudonymiser.hide(texts)

    def _target(self, name: str, model: ChatModel, pinned: str = "") -> Target:
        async def ask(call: Call) -> Reply:
            reply = await model.complete(replace(call, model=pinned))
            self.watch.named(pinned or model.name, reply.model)
            return reply

        # A breaker for each model: what a canary's model does must not open that of the others.
        breaker = self.breakers[f"{name} {pinned}"]
        return Target(name, ask, breaker, lambda call: model.if_lost(replace(call, model=pinned)))

    def _prediction(self, answered: Answered[TriageOutcome], shown: Shown) -> Prediction[TriageOutcome]:
        self.watch.failed(answered.failures)
        self.watch.answered(answered.source, answered.repaired, answered.spent.cost_usd)
        by_backup = answered.source == Source.BACKUP
        return Prediction(
            outcome=answered.value,
            source=Source(answered.source),
            model_version=answered.model,
            degraded=by_backup,
            reason=Reason(answered.failures[0]) if by_backup else None,
            usage=_usage(answered.spent),
            repaired=answered.repaired,
            taint=shown.taint,
            calls=tuple(answered.asked),
        )


def _cannot_look(error: Exception) -> NoReturn:
    """Nobody can tell whether the text holds personal data, so it does not leave."""
    log.error("hiding personal data raised %s", type(error).__name__, exc_info=error)
    raise ModelUnusable(Reason.GUARD_FAILED) from error


def _accepted(ticket: Ticket, shown: Shown, outcome: TriageOutcome) -> TriageOutcome:
    """The outcome with the customer's own values in it. Raises `Refused`, or ValueError when it no longer fits."""
    told = outcome.model_dump_json()
    if shown.hidden.foreign(told):
        raise Refused(Reason.FOREIGN_DETAIL)
    restored = outcome if not shown.hidden.kinds else TriageOutcome.model_validate(_restored(outcome, shown.hidden))
    guard(ticket, restored, shown.boundary)
    return restored


def _restored(outcome: TriageOutcome, hidden: Hidden) -> dict[str, Any]:
    draft = outcome.draft_reply
    return outcome.model_dump() | {
        "draft_reply": None if draft is None else hidden.restore(draft),
        "evidence": [hidden.restore(quote) for quote in outcome.evidence],
        "entities": [{"type": entity.type, "value": hidden.restore(entity.value)} for entity in outcome.entities],
    }


def _usage(spent: Spent) -> Usage:
    return Usage(spent.input_tokens, spent.output_tokens, spent.cost_usd, spent.at_most_usd)


def wire_schema(schema: Any) -> Any:
    """The same JSON schema without the keywords that strict decoders refuse."""
    if isinstance(schema, dict):
        return {
            key: {name: wire_schema(property_) for name, property_ in value.items()}
            if key in ("properties", "$defs")
            else wire_schema(value)
            for key, value in schema.items()
            if key not in _NOT_ON_THE_WIRE
        }
    return [wire_schema(item) for item in schema] if isinstance(schema, list) else schema


SCHEMA: dict[str, Any] = wire_schema(TriageOutcome.model_json_schema())
