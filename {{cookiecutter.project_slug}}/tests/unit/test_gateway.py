"""The gateway's failure contract, with targets that behave badly on purpose. No network here."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import pytest

from service.inference.gateway import Gateway, Limits, NoUsableAnswer, Target, Task

QUICK = Limits(deadline_s=1.0, attempt_s=0.3, reserve_s=0.1)


@dataclass
class Said:
    text: str
    model: str = "m"
    input_tokens: int = 10
    output_tokens: int = 5


class Broken(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Scripted:
    """Answers with each item in turn; an exception is raised, "hang" sleeps for ever."""

    script: list[object]
    asked: list[list[dict[str, str]]] = field(default_factory=list)

    async def __call__(self, messages):
        self.asked.append(list(messages))
        step = self.script.pop(0)
        if step == "hang":
            await asyncio.sleep(60)
        if isinstance(step, Exception):
            raise step
        return Said(str(step))


def number(text: str) -> int:
    return int(json.loads(text)["n"])


TASK = Task(messages=[{"role": "user", "content": "a number please"}], parse=number)


def ask(primary: Scripted, backup: Scripted | None = None, limits: Limits = QUICK):
    gateway = Gateway(Target("model", primary), Target("backup", backup) if backup is not None else None, limits)
    return asyncio.run(gateway.ask(TASK))


def test_a_good_answer_takes_one_call():
    primary = Scripted(['{"n": 7}'])
    answered = ask(primary)
    assert (answered.value, answered.source, answered.repaired, answered.failures) == (7, "model", False, ())
    assert len(primary.asked) == 1


def test_an_unusable_answer_is_repaired_once_and_marked():
    primary = Scripted(["seven", '{"n": 7}'])
    answered = ask(primary)
    assert (answered.value, answered.repaired, answered.failures) == (7, True, ("output_unusable",))
    assert primary.asked[1][-2] == {"role": "assistant", "content": "seven"}
    assert "cannot be used" in primary.asked[1][-1]["content"]


def test_tokens_of_failed_attempts_count():
    assert ask(Scripted(["seven", '{"n": 7}'])).input_tokens == 20


def test_a_second_unusable_answer_goes_to_the_backup_and_no_further():
    primary, backup = Scripted(["x", "y", '{"n": 1}']), Scripted(['{"n": 2}', '{"n": 3}'])
    answered = ask(primary, backup)
    assert (answered.value, answered.source) == (2, "backup")
    assert len(primary.asked) + len(backup.asked) == 3


def test_an_outage_is_not_repaired_but_goes_straight_to_the_backup():
    primary, backup = Scripted([Broken("model_error")]), Scripted(['{"n": 2}'])
    answered = ask(primary, backup)
    assert (answered.source, answered.failures, len(primary.asked)) == ("backup", ("model_error",), 1)


def test_a_hang_reaches_the_backup_within_the_deadline():
    started = time.monotonic()
    answered = ask(Scripted(["hang"]), Scripted(['{"n": 2}']))
    assert answered.source == "backup"
    assert answered.failures == ("deadline",)
    assert time.monotonic() - started < QUICK.deadline_s


def test_hangs_everywhere_end_within_the_deadline_with_the_first_reason():
    started = time.monotonic()
    with pytest.raises(NoUsableAnswer) as caught:
        ask(Scripted(["hang"]), Scripted(["hang"]))
    assert caught.value.reason == "deadline"
    assert time.monotonic() - started < QUICK.deadline_s + 0.2


def test_an_attempt_leaves_the_reserve_for_the_steps_behind_it():
    tight = Limits(deadline_s=0.5, attempt_s=10.0, reserve_s=0.15)
    started = time.monotonic()
    answered = ask(Scripted(["hang"]), Scripted(['{"n": 2}']), tight)
    assert answered.source == "backup"
    assert time.monotonic() - started < 0.35


def test_no_model_left_gives_the_reason_of_the_first_failure():
    with pytest.raises(NoUsableAnswer, match="model_rate_limited"):
        ask(Scripted([Broken("model_rate_limited")]), Scripted([Broken("model_unreachable")]))


def test_an_unexpected_exception_is_a_model_error_not_a_crash():
    with pytest.raises(NoUsableAnswer, match="model_error"):
        ask(Scripted([RuntimeError("a bug in a client")]))


def test_cancelling_the_caller_cancels_the_call():
    cancelled = asyncio.Event()

    async def slow(_messages):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def scenario():
        running = asyncio.create_task(Gateway(Target("model", slow), limits=QUICK).ask(TASK))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return cancelled.is_set()

    assert asyncio.run(scenario())
