"""The only retry owner: one task, at most three upstream calls, an answer or a reason within the deadline.

Copyable: imports nothing of this project. You give it `Target`s (how to ask each model) and a `Task` (what to
ask, how to read the answer); it leaves to you what happens when no model helps.

    primary --unusable output--> primary again, told what was wrong --any failure--> backup --> NoUsableAnswer
    primary --any other failure------------------------------------------------------> backup --> NoUsableAnswer
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
Message = dict[str, str]
log = logging.getLogger(__name__)


class Reply(Protocol):
    """What a model answered."""

    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A model to ask. `ask` may raise anything; an exception's `reason` attribute, if any, says why."""

    source: str
    ask: Callable[[Sequence[Message]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """What to ask and how to read it. `parse` raises ValueError, whose text may be sent back for one repair."""

    messages: Sequence[Message]
    parse: Callable[[str], T]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. `reserve_s` is kept back for each step that may still follow, so a hang always reaches it."""

    deadline_s: float = 20.0
    attempt_s: float = 8.0
    reserve_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """A parsed answer. `failures` are the reasons of the attempts before it; tokens count every attempt."""

    value: T
    source: str
    model: str
    repaired: bool
    failures: tuple[str, ...]
    input_tokens: int
    output_tokens: int


class NoUsableAnswer(Exception):
    """No model gave a usable answer. `reason` is why the first one did not."""

    def __init__(self, reason: str, input_tokens: int, output_tokens: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens


@dataclass(slots=True)
class _Attempts(Generic[T]):
    """The running account of one task."""

    task: Task[T]
    limits: Limits
    ends_at: float
    failures: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    repair_hint: tuple[str, str] | None = None

    async def attempt(self, target: Target, steps_behind: int, repair: bool = False) -> Answered[T] | None:
        left = self.ends_at - asyncio.get_running_loop().time() - steps_behind * self.limits.reserve_s
        if left <= 0:
            self._failed(target, "deadline")
            return None
        messages = [*self.task.messages, *self._repair_messages()] if repair else self.task.messages
        self.repair_hint = None
        try:
            async with asyncio.timeout(min(self.limits.attempt_s, left)):
                reply = await target.ask(messages)
        except TimeoutError:
            self._failed(target, "deadline")
            return None
        except Exception as error:
            self._failed(target, self._reason_of(error))
            return None
        self._spend(reply.input_tokens, reply.output_tokens)
        return self._parsed(target, reply, repair)

    def _parsed(self, target: Target, reply: Reply, repair: bool) -> Answered[T] | None:
        try:
            value = self.task.parse(reply.text)
        except ValueError as error:
            self.repair_hint = (reply.text[:4000], str(error)[:1000])
            self._failed(target, "output_unusable")
            return None
        return Answered(
            value,
            target.source,
            reply.model,
            repair,
            tuple(self.failures),
            self.input_tokens,
            self.output_tokens,
        )

    def _failed(self, target: Target, reason: str) -> None:
        self.failures.append(reason)
        log.warning("%s gave no usable answer: %s", target.source, reason)

    def _reason_of(self, error: Exception) -> str:
        reason = getattr(error, "reason", None)
        if not isinstance(reason, str):
            log.error("the model client raised %s", type(error).__name__, exc_info=error)
            reason = "model_error"
        self._spend(getattr(error, "input_tokens", 0), getattr(error, "output_tokens", 0))
        if reason == "output_unusable":
            self.repair_hint = ("", "the answer was not a chat completion with a text")
        return reason

    def _spend(self, input_tokens: int, output_tokens: int) -> None:
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def _repair_messages(self) -> list[Message]:
        said, problem = self.repair_hint or ("", "")
        ask = f"That answer cannot be used: {problem}\nAnswer again, as one JSON object of the given schema only."
        return [*([{"role": "assistant", "content": said}] if said else []), {"role": "user", "content": ask}]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Asks the primary, repairs once, then the backup if there is one. Stateless between tasks."""

    primary: Target
    backup: Target | None = None
    limits: Limits = Limits()

    async def ask(self, task: Task[T]) -> Answered[T]:
        """The first usable answer. Raises `NoUsableAnswer`, at the latest when the deadline is reached."""
        behind = 1 if self.backup else 0
        attempts = _Attempts(task, self.limits, asyncio.get_running_loop().time() + self.limits.deadline_s)
        answered = await attempts.attempt(self.primary, steps_behind=behind + 1)
        if answered is None and attempts.repair_hint is not None:
            answered = await attempts.attempt(self.primary, steps_behind=behind, repair=True)
        if answered is None and self.backup is not None:
            answered = await attempts.attempt(self.backup, steps_behind=0)
        if answered is None:
            raise NoUsableAnswer(attempts.failures[0], attempts.input_tokens, attempts.output_tokens)
        return answered
