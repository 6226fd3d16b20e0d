"""Triage one ticket: the request's whole story, in order, with both fallbacks in sight."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.application.decision import (
    Decision,
    Disposition,
    Effect,
    JsonObject,
    Prediction,
    Reason,
    Source,
)
from service.application.errors import Unavailable
from service.application.idempotency import Claim, Opened
from service.application.identity import Caller
from service.application.release import Release, Thresholds
from service.application.triage import rules
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.policy import disposition
from service.application.unusable import ModelUnusable

USE_CASE = "triage"


class Triager(Protocol):
    """Thinks. Answers within its own deadline or raises `ModelUnusable`; never hangs, never raises otherwise."""

    async def triage(self, ticket: Ticket, release: Release) -> Prediction[TriageOutcome]: ...


class Rollout(Protocol):
    """Answers, from flags, what this caller gets. Local and quick: it never waits on a network."""

    def ai_on(self, use_case: str, caller: Caller, customer_ref: str | None) -> bool: ...

    def auto_on(self, use_case: str, caller: Caller) -> bool: ...

    def release(self, use_case: str, caller: Caller, customer_ref: str | None) -> Release | None: ...


class Records(Protocol):
    """Remembers, in two transactions that never span the model call.

    `open` claims the idempotency key: it finds the stored answer of a request answered before, raises
    `InProgress` while another one holds the claim and `KeyReused` when the key came with another request.
    `close` commits decision, audit row, payload, answer, and the review item or effect with its job, or none
    of them. `abandon` gives an unanswered claim back.
    """

    async def open(self, caller: Caller, key: str | None, request: JsonObject) -> Opened: ...

    async def close(
        self, decision: Decision, claim: Claim | None, request: JsonObject, answer: JsonObject, effect: Effect | None
    ) -> None: ...

    async def abandon(self, claim: Claim | None) -> None: ...


@dataclass(frozen=True, slots=True)
class TriageTicket:
    """The use case. `now`, `new_id` and `trace_id` are given so that tests can pin them."""

    triager: Triager
    rollout: Rollout
    records: Records
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    trace_id: Callable[[], str]

    async def __call__(self, caller: Caller, ticket: Ticket, key: str | None = None) -> JsonObject:
        """The answer to one ticket, after it is stored. Raises the errors of `Records` and `Unavailable`."""
        request = ticket.model_dump(mode="json")
        opened = await self.records.open(caller, key, request)
        if opened.answer is not None:
            return opened.answer
        try:
            release = self.rollout.release(USE_CASE, caller, ticket.customer_ref)
            prediction = await self._predict(caller, ticket, release)
            decision = self._decide(caller, ticket, prediction, release)
            answer = answer_of(decision)
            effect = effect_of(decision.id, request, decision.outcome) if is_auto(decision) else None
            await self.records.close(decision, opened.claim, request, answer, effect)
        except BaseException:  # also when the caller hangs up: the claim must not outlive the attempt
            await self.records.abandon(opened.claim)
            raise
        return answer

    async def _predict(self, caller: Caller, ticket: Ticket, release: Release | None) -> Prediction[TriageOutcome]:
        if not self.rollout.ai_on(USE_CASE, caller, ticket.customer_ref):
            return by_rules(ticket, Reason.AI_OFF)
        if release is None:
            return by_rules(ticket, Reason.NO_RELEASE)
        try:
            return await self.triager.triage(ticket, release)
        except ModelUnusable as failure:
            return by_rules(ticket, failure.reason, failure)

    def _decide(
        self, caller: Caller, ticket: Ticket, prediction: Prediction[TriageOutcome], release: Release | None
    ) -> Decision:
        thresholds = release.thresholds if release else Thresholds()
        auto_allowed = self.rollout.auto_on(USE_CASE, caller)
        return Decision(
            id=self.new_id(),
            use_case=USE_CASE,
            tenant=caller.tenant,
            actor=caller.subject,
            outcome=prediction.outcome.model_dump(mode="json"),
            disposition=disposition(ticket, prediction, thresholds, auto_allowed),
            source=prediction.source,
            degraded=prediction.degraded,
            reason=prediction.reason,
            release=release.name if release else "none",
            prompt_version=release.prompt_version if release else "none",
            model_version=prediction.model_version,
            usage=prediction.usage,
            trace_id=self.trace_id(),
            at=self.now(),
        )


def by_rules(ticket: Ticket, reason: Reason, failure: ModelUnusable | None = None) -> Prediction[TriageOutcome]:
    """The deterministic path. AI switched off is a choice, so not degraded; every other reason is."""
    outcome = rules.triage(ticket)
    if outcome is None:
        raise Unavailable("neither the model nor the rules can answer this now")
    return Prediction(
        outcome=outcome,
        source=Source.RULES,
        model_version=rules.VERSION,
        degraded=reason is not Reason.AI_OFF,
        reason=reason,
        **({"usage": failure.usage} if failure else {}),
    )


def is_auto(decision: Decision) -> bool:
    """Whether the effect follows at once, without a person."""
    return decision.disposition is Disposition.AUTO


def effect_of(decision_id: str, request: JsonObject, outcome: JsonObject) -> Effect:
    """The ticket to write downstream. One decision has one effect, hence the key."""
    body = {
        "decision_id": decision_id,
        "subject": request["subject"],
        "body": request["body"],
        "customer_ref": request["customer_ref"],
        "category": outcome["category"],
        "priority": outcome["priority"],
        "draft_reply": outcome["draft_reply"],
    }
    return Effect(key=f"{USE_CASE}:{decision_id}", decision_id=decision_id, body=body)


def answer_of(decision: Decision) -> JsonObject:
    """What the caller sees; stored with the idempotency key so that a retry sees the same."""
    return {
        "decision_id": decision.id,
        "outcome": decision.outcome,
        "disposition": decision.disposition.value,
        "source": decision.source.value,
        "degraded": decision.degraded,
        "reason": decision.reason.value if decision.reason else None,
        "release": decision.release,
        "prompt_version": decision.prompt_version,
        "model_version": decision.model_version,
        "usage": {
            "input_tokens": decision.usage.input_tokens,
            "output_tokens": decision.usage.output_tokens,
            "cost_usd": decision.usage.cost_usd,
        },
        "trace_id": decision.trace_id,
    }
