"""What to ask a model and how, and what comes back: the words that gateway.py and models.py share.

Copyable with them: needs pydantic, nothing of this project.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)
Message = dict[str, str]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens, and US dollars: `cost_usd` is None when any part is unknown, `at_most_usd` then is the most it can be.

    Both are None when that is unknown, too.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    at_most_usd: float | None = None

    def __add__(self, other: "Spent") -> "Spent":
        tokens = self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        if self.cost_usd is not None and other.cost_usd is not None:
            return Spent(*tokens, self.cost_usd + other.cost_usd)
        most = [spent.at_most_usd if spent.cost_usd is None else spent.cost_usd for spent in (self, other)]
        return Spent(*tokens, None, None if None in most else sum(filter(None, most)))


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's text and what it cost. `model` is the id the endpoint says answered, not the one asked for."""

    text: str
    model: str
    spent: Spent


class CircuitBreaker(Protocol):
    """Says whether to call, and is told how it went (breaker.py)."""

    def enter(self) -> int | None: ...
    def leave(self, admission: int, ok: bool | None, retry_after_s: float = 0.0) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call: messages, the JSON schema of the answer under a name, parameters.

    `in_words`: the endpoint is not given the schema as such but told of it in words. `model`: another than the
    endpoint's usual one.
    """

    name: str
    messages: Sequence[Message]
    schema: dict[str, Any]
    temperature: float
    max_tokens: int
    in_words: bool = False
    model: str = ""


def _unknown(_call: Call) -> Spent:
    return Spent(cost_usd=None)


@dataclass(frozen=True, slots=True)
class Target:
    """A model to ask.

    `ask` may raise anything; of an exception these attributes are used if it has them: `reason`, a short name;
    `spent`; `retry_after_s`; `again`, the call that is worth making instead. `if_lost` is what a call has to be
    counted as of which no more was heard.
    """

    source: str
    ask: Callable[[Call], Awaitable[Reply]]
    breaker: CircuitBreaker | None = None
    if_lost: Callable[[Call], Spent] = _unknown


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and upstream calls. `reserve_s` is kept for each step that may still follow, so a hang reaches it."""

    deadline_s: float = 20.0
    attempt_s: float = 8.0
    reserve_s: float = 2.0
    calls: int = 3


def _as_it_is(answer: T) -> T:
    return answer


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """What to ask, and the pydantic class in which alone an answer enters.

    `accept` returns the answer to use. It raises ValueError to have it repaired; an exception with a `reason`
    refuses it for good; whatever else it raises does so too, as "guard_failed".
    """

    name: str
    output: type[T]
    schema: dict[str, Any]
    messages: Sequence[Message]
    temperature: float = 0.0
    max_tokens: int = 800
    accept: Callable[[T], T] = _as_it_is
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """A valid answer. `failures` are the reasons of the attempts before it; `spent` counts every attempt.

    `asked` has every upstream call: source, model, messages, answer, failure, ms, cost_usd. Keep these where people's
    words are kept.
    """

    value: T
    source: str
    model: str
    repaired: bool
    failures: tuple[str, ...]
    spent: Spent
    asked: Sequence[Record] = field(default=(), repr=False)


class NoUsableAnswer(Exception):
    """No model gave a usable answer. `reason` is why an answer was refused, or else why the first attempt failed."""

    def __init__(self, reason: str, failures: Sequence[str], spent: Spent, asked: Sequence[Record] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failures = tuple(failures)
        self.spent = spent
        self.asked = asked
