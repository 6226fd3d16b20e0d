"""Translates triage to the gateway and back: ticket and release in, validated prediction or a reason out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.application.decision import Prediction, Reason, Source, Usage
from service.application.release import Release
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.unusable import ModelUnusable
from service.inference.gateway import Gateway, Limits, NoUsableAnswer, Target, Task
from service.inference.models import ChatModel, Completion, Message, OutputSchema
from service.inference.prompts import render

# Keywords that strict decoders of several vendors refuse; the contract enforces them after the call.
_NOT_ON_THE_WIRE = {"minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "title"}


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class ModelTriager:
    """Implements the application's `Triager` with a primary and, if there is one, a backup model."""

    primary: ChatModel
    backup: ChatModel | None = None
    limits: Limits = DEFAULT_LIMITS

    async def triage(self, ticket: Ticket, release: Release) -> Prediction[TriageOutcome]:
        """A prediction within the contract, or `ModelUnusable`, within `limits.deadline_s`."""
        backup = _target("backup", self.backup, release) if self.backup else None
        gateway = Gateway(_target("model", self.primary, release), backup, self.limits)
        task = Task(messages=_messages(ticket, release), parse=_parse)
        try:
            answered = await gateway.ask(task)
        except NoUsableAnswer as failure:
            spent = Usage(failure.input_tokens, failure.output_tokens)
            raise ModelUnusable(Reason(failure.reason), spent) from failure
        by_backup = answered.source == "backup"
        return Prediction(
            outcome=answered.value,
            source=Source(answered.source),
            model_version=answered.model,
            degraded=by_backup,
            reason=Reason(answered.failures[0]) if by_backup else None,
            usage=Usage(answered.input_tokens, answered.output_tokens),
        )


def _target(source: str, model: ChatModel, release: Release) -> Target:
    async def ask(messages: Sequence[Message]) -> Completion:
        return await model.complete(messages, SCHEMA, release.temperature, release.max_tokens)

    return Target(source, ask)


def _messages(ticket: Ticket, release: Release) -> list[Message]:
    """The customer's reference stays here: the model does not need to know who is writing."""
    shown = ticket.model_dump(mode="json", include={"subject", "body", "channel"})
    return render(release.prompt, {"ticket": json.dumps(shown, ensure_ascii=False)})


def _parse(text: str) -> TriageOutcome:
    try:
        return TriageOutcome.model_validate_json(text)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise ValueError("; ".join(problems[:10])) from error


def wire_schema(schema: Any) -> Any:
    """The same JSON schema without the keywords that strict decoders refuse."""
    if isinstance(schema, dict):
        return {
            key: {name: wire_schema(field) for name, field in value.items()}
            if key in ("properties", "$defs")
            else wire_schema(value)
            for key, value in schema.items()
            if key not in _NOT_ON_THE_WIRE
        }
    return [wire_schema(item) for item in schema] if isinstance(schema, list) else schema


SCHEMA = OutputSchema(name="triage_outcome", schema=wire_schema(TriageOutcome.model_json_schema()))
