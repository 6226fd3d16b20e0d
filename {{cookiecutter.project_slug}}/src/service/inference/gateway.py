"""The only retry owner: one task, at most three upstream calls, an answer or a reason within the deadline.

Copyable with task.py: needs pydantic, nothing of this project. You give it `Target`s (how to ask each model) and a
`Task` (what to ask, which class the answer must fit, what to refuse); what happens when no model helps is left to you.

    primary --unusable output--> primary again, told what was wrong --any failure--> backup --> NoUsableAnswer
    primary --failure with another call to make--> that one         --any failure--> backup --> NoUsableAnswer
    primary --any other failure----------------------------------------------------> backup --> NoUsableAnswer
    an answer that `accept` refuses: no second try, nobody else is asked --------------------> NoUsableAnswer
"""

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from pydantic import ValidationError

from service.inference.task import Answered, Call, NoUsableAnswer, Record, Reply, Spent, T, Target, Task

# Failures that say the model is down. Others came from a model that answers.
OUTAGES = frozenset({"deadline", "model_unreachable", "model_rate_limited", "model_error"})
KEPT_TEXT = 16_000  # characters of each text that a record of a call keeps
log = logging.getLogger(__name__)


class _RefusedForGood(Exception):
    """The task's `accept` refused an answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _Attempts(Generic[T]):
    """The running account of one task."""

    task: Task[T]
    ends_at: float
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    spent: Spent = Spent()
    asked: list[Record] = field(default_factory=list)
    # What the model that has just failed is worth being asked instead.
    next_call: Call | None = None

    async def attempt(self, target: Target, call: Call, steps_after: int, repairs: bool = False) -> Answered[T] | None:
        """Ask once. None after a failure, which then stands in `failures`, or when no call is left."""
        limits, self.next_call = self.task.limits, None
        if self.calls == limits.calls:
            return None
        remaining_s = self.ends_at - asyncio.get_running_loop().time() - steps_after * limits.reserve_s
        admission = target.breaker.enter() if target.breaker else 0
        if remaining_s <= 0 or admission is None:
            self._report(target, admission, None)
            self._failed(target, "deadline" if remaining_s <= 0 else "breaker_open")
            return None
        self.calls += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(limits.attempt_s, remaining_s)):
                reply = await target.ask(call)
        except TimeoutError:
            # Cut short by what came before, it says nothing about the model; a hop on the way here takes a tenth.
            self._report(target, admission, None if remaining_s < 0.75 * limits.attempt_s else False)
            self.spent += target.if_lost(call)
            self._note(target, call, began, Spent(cost_usd=None))
            self._failed(target, "deadline")
            return None
        except asyncio.CancelledError:
            self._report(target, admission, None)
            raise
        except Exception as error:
            reason = self._account_for(error, call)
            self._report(target, admission, reason not in OUTAGES, getattr(error, "retry_after_s", 0.0))
            self._note(target, call, began, getattr(error, "spent", Spent()))
            self._failed(target, reason)
            return None
        self._report(target, admission, True)
        self.spent += reply.spent
        self._note(target, call, began, reply.spent, reply)
        return self._read(target, call, reply, repairs)

    def _read(self, target: Target, call: Call, reply: Reply, repairs: bool) -> Answered[T] | None:
        try:
            value = self._valid(reply.text)
        except ValueError as error:
            self.next_call = self._repairing(call, reply.text, str(error))
            self._failed(target, "output_unusable")
            return None
        return Answered(value, target.source, reply.model, repairs, tuple(self.failures), self.spent, self.asked)

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
            raise _RefusedForGood(reason or "guard_failed") from error

    def _note(self, target: Target, call: Call, began: float, spent: Spent, reply: Reply | None = None) -> None:
        record = {
            "source": target.source,
            "model": reply.model if reply else call.model or None,
            "messages": [{name: _kept(text) for name, text in message.items()} for message in call.messages],
            "answer": _kept(reply.text) if reply else None,
            "failure": None,
            "ms": round((time.monotonic() - began) * 1000),
            "cost_usd": spent.cost_usd,
        }
        self.asked.append(record)

    def failed(self, reason: str) -> None:
        """The last attempt did. If it came to a call, that has no reason yet: one that has answered ends the task."""
        self.failures.append(reason)
        if self.asked and self.asked[-1]["failure"] is None:
            self.asked[-1]["failure"] = reason

    def _failed(self, target: Target, reason: str) -> None:
        self.failed(reason)
        log.warning("%s gave no usable answer: %s", target.source, reason)

    def _report(self, target: Target, admission: int | None, ok: bool | None, retry_after_s: float = 0.0) -> None:
        if target.breaker and admission is not None:
            target.breaker.leave(admission, ok, retry_after_s)

    def _account_for(self, error: Exception, call: Call) -> str:
        """The reason of a failed call, after noting what it cost and what could be asked instead."""
        reason = _reason_in(error)
        if reason is None:
            log.error("the model client raised %s", type(error).__name__, exc_info=error)
            reason = "model_error"
        self.spent += getattr(error, "spent", Spent())
        self.next_call = getattr(error, "again", None)
        if reason == "output_unusable":
            self.next_call = self._repairing(call, "", "it was not a chat completion with a text")
        return reason

    def _repairing(self, call: Call, said: str, problem: str) -> Call:
        ask = (
            f"That answer cannot be used: {problem[:1000]}\n"
            f"Answer again, as one JSON object of this schema and nothing else: {json.dumps(call.schema)}"
        )
        said = said[:4000].encode("utf-8", "replace").decode()  # a lone surrogate could not be sent
        before = [{"role": "assistant", "content": said}] if said else []
        return replace(call, messages=[*call.messages, *before, {"role": "user", "content": ask}])


def _kept(text: str) -> str:
    return text[:KEPT_TEXT].encode("utf-8", "replace").decode()  # a lone surrogate could not be sent or stored


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
        backups = 1 if self.backup else 0
        attempts = _Attempts(task, asyncio.get_running_loop().time() + task.limits.deadline_s)
        call = Call(task.name, task.messages, task.schema, task.temperature, task.max_tokens)
        try:
            answered = await attempts.attempt(self.primary, call, steps_after=backups + 1)
            if answered is None and (again := attempts.next_call) is not None:
                repairs = again.messages is not call.messages
                answered = await attempts.attempt(self.primary, again, steps_after=backups, repairs=repairs)
            if answered is None and self.backup is not None:
                answered = await attempts.attempt(self.backup, call, steps_after=0)
        except _RefusedForGood as refusal:
            log.warning("an answer was refused: %s", refusal.reason)
            attempts.failed(refusal.reason)
            raise NoUsableAnswer(refusal.reason, attempts.failures, attempts.spent, attempts.asked) from refusal
        if answered is None:
            raise NoUsableAnswer(attempts.failures[0], attempts.failures, attempts.spent, attempts.asked)
        return answered
