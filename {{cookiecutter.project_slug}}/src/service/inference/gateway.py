"""The only retry owner: one task, at most three upstream calls, an answer or a reason within the deadline.

Copyable with task.py: needs pydantic, nothing of this project. You give it `Target`s (how to ask each model) and a
`Task` (what to ask, which class the answer must fit, what to refuse); what happens when no model helps is left to you.

    primary --unusable output--> primary again, told what was wrong --any failure--> backup --> NoUsableAnswer
    primary --any other failure------------------------------------------------------> backup --> NoUsableAnswer
    an answer that `accept` refuses: no second try, nobody else is asked ----------------------> NoUsableAnswer
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from pydantic import ValidationError

from service.inference.task import Answered, Call, Message, NoUsableAnswer, Reply, Spent, T, Target, Task

# Failures that say the model is down. Others came from a model that answers.
OUTAGES = frozenset({"deadline", "model_unreachable", "model_rate_limited", "model_error"})
log = logging.getLogger(__name__)


class _RefusedForGood(Exception):
    """The task's `accept` refused an answer."""


@dataclass(slots=True)
class _Attempts(Generic[T]):
    """The running account of one task."""

    task: Task[T]
    ends_at: float
    failures: list[str] = field(default_factory=list)
    spent: Spent = Spent()
    # What to add to the messages of one more try at the same model; None: it is not worth one.
    another_try: list[Message] | None = None

    async def attempt(self, target: Target, steps_behind: int, added: Sequence[Message] = ()) -> Answered[T] | None:
        limits, self.another_try = self.task.limits, None
        left = self.ends_at - asyncio.get_running_loop().time() - steps_behind * limits.reserve_s
        ticket = target.breaker.enter() if target.breaker else 0
        if left <= 0 or ticket is None:
            self._left(target, ticket, None)
            self._failed(target, "deadline" if left <= 0 else "breaker_open")
            return None
        task = self.task
        call = Call(task.name, [*task.messages, *added], task.schema, task.temperature, task.max_tokens)
        try:
            async with asyncio.timeout(min(limits.attempt_s, left)):
                reply = await target.ask(call)
        except TimeoutError:
            self._left(target, ticket, False)
            self.spent += Spent(cost_usd=None)  # it may have worked all the time, and be paid for it
            self._failed(target, "deadline")
            return None
        except asyncio.CancelledError:
            self._left(target, ticket, None)
            raise
        except Exception as error:
            reason = self._reason_of(error)
            self._left(target, ticket, reason not in OUTAGES, getattr(error, "retry_after_s", 0.0))
            self._failed(target, reason)
            return None
        self._left(target, ticket, True)
        self.spent += reply.spent
        return self._read(target, reply, repaired=bool(added))

    def _read(self, target: Target, reply: Reply, repaired: bool) -> Answered[T] | None:
        try:
            value = self._valid(reply.text)
        except ValueError as error:
            self.another_try = self._told(reply.text, str(error))
            self._failed(target, "output_unusable")
            return None
        return Answered(value, target.source, reply.model, repaired, tuple(self.failures), self.spent)

    def _valid(self, text: str) -> T:
        try:
            json.loads(text, object_pairs_hook=_no_name_twice)  # else the last one would win, unnoticed
            return self._accepted(self.task.output.model_validate_json(text))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except ValidationError as error:  # told without the values: a repair is asked of another company
            found = error.errors(include_input=False, include_url=False)[:10]
            raise ValueError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found)) from error

    def _accepted(self, answer: T) -> T:
        try:
            return self.task.accept(answer)
        except Exception as error:
            reason = _reason_in(error)
            if reason is None and isinstance(error, ValueError):
                raise
            if reason is None:  # a guard that cannot run refuses
                log.error("accepting an answer raised %s", type(error).__name__, exc_info=error)
            self.failures.insert(0, reason or "guard_failed")
            raise _RefusedForGood from error

    def _failed(self, target: Target, reason: str) -> None:
        self.failures.append(reason)
        log.warning("%s gave no usable answer: %s", target.source, reason)

    def _left(self, target: Target, ticket: int | None, ok: bool | None, retry_after_s: float = 0.0) -> None:
        if target.breaker and ticket is not None:
            target.breaker.leave(ticket, ok, retry_after_s)

    def _reason_of(self, error: Exception) -> str:
        reason = _reason_in(error)
        if reason is None:
            log.error("the model client raised %s", type(error).__name__, exc_info=error)
            reason = "model_error"
        self.spent += getattr(error, "spent", Spent())
        if reason == "output_unusable":
            self.another_try = self._told("", "it was not a chat completion with a text")
        elif getattr(error, "again", False):
            self.another_try = []
        return reason

    def _told(self, said: str, problem: str) -> list[Message]:
        ask = (
            f"That answer cannot be used: {problem[:1000]}\n"
            f"Answer again, as one JSON object of this schema and nothing else: {json.dumps(self.task.schema)}"
        )
        said = said[:4000].encode("utf-8", "replace").decode()  # a lone surrogate could not be sent
        before = [{"role": "assistant", "content": said}] if said else []
        return [*before, {"role": "user", "content": ask}]


def _reason_in(error: Exception) -> str | None:
    """A name that the error gives itself. Some of Python's own have a `reason` too, but it is a sentence."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, str) and reason.isidentifier() else None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found


@dataclass(frozen=True, slots=True)
class Gateway:
    """Asks the primary, once more if that may help, then the backup if there is one. Stateless between tasks."""

    primary: Target
    backup: Target | None = None

    async def ask(self, task: Task[T]) -> Answered[T]:
        """The first usable answer. Raises `NoUsableAnswer`, at the latest when the deadline is reached."""
        behind = 1 if self.backup else 0
        attempts = _Attempts(task, asyncio.get_running_loop().time() + task.limits.deadline_s)
        try:
            answered = await attempts.attempt(self.primary, steps_behind=behind + 1)
            if answered is None and attempts.another_try is not None:
                answered = await attempts.attempt(self.primary, behind, attempts.another_try)
            if answered is None and self.backup is not None:
                answered = await attempts.attempt(self.backup, steps_behind=0)
        except _RefusedForGood as refusal:
            log.warning("an answer was refused: %s", attempts.failures[0])
            raise NoUsableAnswer(attempts.failures, attempts.spent) from refusal
        if answered is None:
            raise NoUsableAnswer(attempts.failures, attempts.spent)
        return answered
