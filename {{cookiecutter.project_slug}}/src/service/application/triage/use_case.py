"""Triage one ticket: the request's whole story, in order, with both fallbacks in sight."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import ValidationError

from service.application.decision import (
    Calls,
    Decision,
    Disposition,
    Earlier,
    Effect,
    JsonObject,
    ModelUnusable,
    Prediction,
    Reason,
    Source,
    Usage,
)
from service.application.errors import Unavailable
from service.application.held import Opened, Spender
from service.application.identity import Caller
from service.application.release import Release, Thresholds
from service.application.triage import rules
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.triage.policy import disposition

USE_CASE = "triage"
# Who wrote is not part of a question: two customers with the same words get the same answer.
NOT_ASKED = {"customer_ref"}
ByRules = Callable[[Ticket], TriageOutcome | None]


class Triager(Protocol):
    """Thinks. Answers within its own deadline or raises `ModelUnusable`; never hangs, never raises otherwise."""

    async def triage(self, ticket: Ticket, release: Release, tenant: str) -> Prediction[TriageOutcome]: ...


class Rollout(Protocol):
    """Answers, from flags, what this caller gets. Local and quick: it never waits on a network."""

    def ai_on(self, use_case: str, caller: Caller, customer_ref: str | None) -> bool: ...

    def auto_on(self, use_case: str, caller: Caller, customer_ref: str | None) -> bool: ...

    def release(self, use_case: str, caller: Caller, customer_ref: str | None) -> Release | None: ...


class Records(Protocol):
    """Remembers, in two transactions that never span the model call.

    `open` claims the idempotency key and, for a `spender`, holds the money: it finds the stored answer of a request
    answered before, raises `InProgress` while another one holds the claim and `KeyReused` when the key came with
    another request. `close` commits decision, audit row, payload, answer, settlement, and the review item or effect
    with its job, or none of them. `abandon` gives an unanswered claim back and settles what is known to be spent.
    `earlier` finds what a model last said, not before an instant, to the same question of the same tenant.
    """

    async def open(self, caller: Caller, key: str | None, request: JsonObject, spender: Spender | None) -> Opened: ...

    async def earlier(self, tenant: str, release: str, digest: str, since: datetime | None) -> Earlier | None: ...

    async def close(
        self, decision: Decision, opened: Opened, request: JsonObject, effect: Effect | None, calls: Calls = ()
    ) -> None: ...

    async def abandon(self, opened: Opened, usage: Usage | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One ticket, and what its caller gets for it according to the flags. `digest` names the question."""

    caller: Caller
    ticket: Ticket
    digest: str
    ai_on: bool
    release: Release | None

    @property
    def spender(self) -> Spender | None:
        """Whose money a model would cost; None when none is to be asked."""
        caller, release = self.caller, self.release
        return Spender(caller.tenant, release.name, caller.name) if self.ai_on and release else None


@dataclass(frozen=True, slots=True)
class TriageTicket:
    """The use case. `digest` is keyed; `now`, `new_id` and `trace_id` are given so that tests can pin them."""

    triager: Triager
    rollout: Rollout
    records: Records
    digest: Callable[[JsonObject], str]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    trace_id: Callable[[], str]
    by_rules: ByRules = rules.triage

    async def __call__(self, caller: Caller, ticket: Ticket, key: str | None = None) -> JsonObject:
        """The answer to one ticket, after it is stored. Raises the errors of `Records` and `Unavailable`."""
        request, asked_at = ticket.model_dump(mode="json"), self.now()
        asked = self.asked(caller, ticket)
        opened = await self.records.open(caller, key, request, asked.spender)
        if opened.answer is not None:
            return opened.answer
        spent = None
        try:
            prediction = await self._predict(asked, opened.granted)
            spent = prediction.usage
            decision = self.decide(asked, prediction, asked_at=asked_at)
            effect = effect_if_auto(decision, request)
            await self.records.close(decision, opened, request, effect, prediction.calls)
        except BaseException as error:  # also when the caller hangs up: the claim must not outlive the attempt
            if isinstance(error.__cause__, ModelUnusable):
                spent = error.__cause__.usage
            await self.records.abandon(opened, spent)
            raise
        return decision.answer()

    def asked(self, caller: Caller, ticket: Ticket) -> Asked:
        """The question, and what this caller gets for it now."""
        return Asked(
            caller,
            ticket,
            self.digest(ticket.model_dump(mode="json", exclude=NOT_ASKED)),
            self.rollout.ai_on(USE_CASE, caller, ticket.customer_ref),
            self.rollout.release(USE_CASE, caller, ticket.customer_ref),
        )

    async def _predict(self, asked: Asked, granted: bool) -> Prediction[TriageOutcome]:
        if not asked.ai_on:
            return self._without_model(asked, ModelUnusable(Reason.AI_OFF))
        if asked.release is None:
            return self._without_model(asked, ModelUnusable(Reason.NO_RELEASE))
        if asked.release.read_first_hours:
            since = self.now() - timedelta(hours=asked.release.read_first_hours)
            if (repeated := await self._earlier(asked, asked.release, since)) is not None:
                return repeated
        try:
            if not granted:
                raise ModelUnusable(Reason.BUDGET_SPENT)
            return await self.triager.triage(asked.ticket, asked.release, asked.caller.tenant)
        except ModelUnusable as failure:
            # After a refusal the message itself is suspect: no model's word for it is taken, whenever it was said.
            earlier = None if failure.reason.is_refusal else await self._earlier(asked, asked.release, None, failure)
            return earlier or self._without_model(asked, failure)

    async def _earlier(
        self, asked: Asked, release: Release, since: datetime | None, failure: ModelUnusable | None = None
    ) -> Prediction[TriageOutcome] | None:
        """What a model said before to the same question, under the same release. By choice, or after a `failure`."""
        found = await self.records.earlier(asked.caller.tenant, release.name, asked.digest, since)
        outcome = _outcome(found.outcome) if found else None
        if found is None or outcome is None:
            return None
        return Prediction(
            outcome,
            Source.CACHE,
            found.model_version,
            degraded=failure is not None,
            reason=failure.reason if failure else Reason.REPEATED,
            usage=failure.usage if failure else Usage(),
            taint=found.taint,
            calls=failure.calls if failure else (),
        )

    def _without_model(self, asked: Asked, failure: ModelUnusable) -> Prediction[TriageOutcome]:
        """The deterministic path. AI switched off is a choice, so not degraded; every other reason is."""
        outcome = self.by_rules(asked.ticket)
        if outcome is None:
            raise Unavailable("neither the model nor the rules can answer this now") from failure
        return Prediction(
            outcome,
            Source.RULES,
            rules.VERSION,
            degraded=failure.reason is not Reason.AI_OFF,
            reason=failure.reason,
            usage=failure.usage,
            calls=failure.calls,
        )

    def decide(
        self,
        asked: Asked,
        prediction: Prediction[TriageOutcome],
        supersedes: str | None = None,
        asked_at: datetime | None = None,
    ) -> Decision:
        """The decision that a prediction leads to, not stored yet."""
        now = self.now()
        thresholds = asked.release.thresholds if asked.release else Thresholds()
        auto_allowed = self.rollout.auto_on(USE_CASE, asked.caller, asked.ticket.customer_ref)
        return Decision(
            id=self.new_id(),
            use_case=USE_CASE,
            tenant=asked.caller.tenant,
            actor=asked.caller.subject,
            outcome=prediction.outcome.model_dump(mode="json"),
            disposition=disposition(asked.ticket, prediction, thresholds, auto_allowed),
            source=prediction.source,
            degraded=prediction.degraded,
            reason=prediction.reason,
            release=asked.release.name if asked.release else "none",
            prompt_version=asked.release.prompt_version if asked.release else "none",
            model_version=prediction.model_version,
            repaired=prediction.repaired,
            taint=prediction.taint,
            usage=prediction.usage,
            input_digest=asked.digest,
            supersedes=supersedes,
            trace_id=self.trace_id(),
            at=now,
            latency_ms=round((now - asked_at).total_seconds() * 1000) if asked_at else None,
            flags={"ai": asked.ai_on, "auto": auto_allowed},
        )


def _outcome(stored: JsonObject) -> TriageOutcome | None:
    """An outcome stored earlier, unless the contract has changed since."""
    try:
        return TriageOutcome.model_validate_json(json.dumps(stored))
    except ValidationError:
        return None


def effect_if_auto(decision: Decision, request: JsonObject) -> Effect | None:
    """The write that follows at once, without a person, if one does."""
    if decision.disposition is not Disposition.AUTO:
        return None
    return effect_of(decision.id, request, decision.outcome)


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
