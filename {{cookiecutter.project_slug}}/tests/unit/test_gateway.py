"""The gateway's failure contract, with targets that behave badly on purpose. No network here."""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from pydantic import BaseModel, ConfigDict

from service.inference.blocking import BlockingLoop
from service.inference.breaker import Breaker
from service.inference.gateway import Gateway
from service.inference.task import Call, Limits, NoUsableAnswer, Spent, Target, Task

QUICK = Limits(deadline_s=1.0, attempt_s=0.3, reserve_s=0.1)


class Number(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int


@dataclass
class Said:
    text: str
    model: str = "m"
    spent: Spent = Spent(10, 5, 0.5)


class Broken(Exception):
    def __init__(self, reason: str, **more: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.__dict__.update(more)


@dataclass
class Scripted:
    """Answers with each item in turn; an exception is raised, "hang" sleeps for ever."""

    script: list[object]
    asked: list[list[dict[str, str]]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    async def __call__(self, call):
        self.asked.append(list(call.messages))
        self.calls.append(call)
        step = self.script.pop(0)
        if step == "hang":
            await asyncio.sleep(60)
        if isinstance(step, Exception):
            raise step
        return Said(str(step))


TASK = Task(
    "number", Number, Number.model_json_schema(), [{"role": "user", "content": "a number please"}], limits=QUICK
)


def ask(primary: Scripted, backup: Scripted | None = None, task: Task[Number] = TASK, breaker: Breaker | None = None):
    second = Target("backup", backup) if backup is not None else None
    return asyncio.run(Gateway(Target("model", primary, breaker), second).ask(task))


def test_a_good_answer_takes_one_call():
    primary = Scripted(['{"n": 7}'])
    answered = ask(primary)
    assert (answered.value.n, answered.source, answered.repaired, answered.failures) == (7, "model", False, ())
    assert len(primary.asked) == 1


def test_an_unusable_answer_is_repaired_once_and_marked():
    primary = Scripted(["seven", '{"n": 7}'])
    answered = ask(primary)
    assert (answered.value.n, answered.repaired, answered.failures) == (7, True, ("output_unusable",))
    assert primary.asked[1][-2] == {"role": "assistant", "content": "seven"}
    assert "cannot be used" in primary.asked[1][-1]["content"]


def test_every_call_is_on_record_with_what_was_said_and_why_it_was_of_no_use():
    asked = ask(Scripted(["seven \ud800", Broken("model_error")]), Scripted(['{"n": 2}'])).asked
    assert [(one["source"], one["model"], one["answer"], one["failure"], one["cost_usd"]) for one in asked] == [
        ("model", "m", "seven ?", "output_unusable", 0.5),
        ("model", None, None, "model_error", 0.0),
        ("backup", "m", '{"n": 2}', None, 0.5),
    ]
    assert [len(one["messages"]) for one in asked] == [1, 3, 1]
    assert all(0 <= one["ms"] < 1000 for one in asked)


def test_a_record_of_long_texts_has_an_end_and_a_refused_answer_is_on_it():
    def refuse(_answer):
        raise Broken("not_that")

    long = '{"n": 1' + " " * 20_000 + "}"
    with pytest.raises(NoUsableAnswer) as caught:
        ask(Scripted([long]), task=replace(TASK, accept=refuse))
    [one] = caught.value.asked
    assert (one["failure"], len(one["answer"])) == ("not_that", 16_000)


def test_tokens_of_failed_attempts_count():
    assert ask(Scripted(["seven", '{"n": 7}'])).spent == Spent(20, 10, 1.0)


def test_a_second_unusable_answer_goes_to_the_backup_and_no_further():
    primary, backup = Scripted(["x", "y", '{"n": 1}']), Scripted(['{"n": 2}', '{"n": 3}'])
    answered = ask(primary, backup)
    assert (answered.value.n, answered.source) == (2, "backup")
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
    answered = ask(Scripted(["hang"]), Scripted(['{"n": 2}']), replace(TASK, limits=tight))
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

    async def slow(_call):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def scenario():
        running = asyncio.create_task(Gateway(Target("model", slow)).ask(TASK))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return cancelled.is_set()

    assert asyncio.run(scenario())


def test_what_an_attempt_cost_that_timed_out_is_unknown():
    answered = ask(Scripted(["hang"]), Scripted(['{"n": 2}']))
    assert answered.spent == Spent(10, 5, None)


def test_the_most_that_it_can_have_cost_is_added_up_if_somebody_knows():
    hung = Target("model", Scripted(["hang"]), None, lambda call: Spent(0, 0, None, call.max_tokens / 100))
    answered = asyncio.run(Gateway(hung, Target("backup", Scripted(['{"n": 2}']))).ask(TASK))
    assert answered.spent == Spent(10, 5, None, 8.0 + 0.5)


def test_an_attempt_cut_short_says_nothing_about_the_model():
    """A tenth less, as a hop on the way here takes, is not cut short."""
    late, hop, in_time = (replace(TASK, limits=replace(QUICK, deadline_s=seconds)) for seconds in (0.3, 0.37, 1.0))
    for task, opens in ((late, False), (hop, True), (in_time, True)):
        breaker = Breaker()
        for _ in range(5):
            with pytest.raises(NoUsableAnswer, match="deadline"):
                ask(Scripted(["hang"]), task=task, breaker=breaker)
        assert breaker.is_open is opens


def test_an_attempt_that_failed_before_it_cost_anything_leaves_the_cost_known():
    assert ask(Scripted([Broken("model_error")]), Scripted(['{"n": 2}'])).spent.cost_usd == 0.5


@pytest.mark.parametrize(
    "text", ['{"n": 1, "n": 2}', '{"n": 1, "m": 2}', '{"n": "one"}', "[" * 100_000, '{"n": NaN}', '"\\ud800"', ""]
)
def test_only_what_fits_the_class_exactly_enters(text):
    with pytest.raises(NoUsableAnswer, match="output_unusable"):
        ask(Scripted([text, text]))


def test_a_repair_is_told_the_schema_and_the_problem_but_never_a_value_of_the_answer_twice():
    primary = Scripted(['{"n": "secret-value"}', '{"n": 7}'])
    ask(primary)
    told = primary.asked[1][-1]["content"]
    assert "n: Input should be a valid integer" in told
    assert '"properties"' in told
    assert "secret-value" not in told


class Refusal(ValueError):
    reason = "output_active_content"


def refuse(error):
    def accept(_answer):
        raise error

    return replace(TASK, accept=accept)


def test_a_refused_answer_is_final_nobody_else_is_asked():
    primary, backup = Scripted(['{"n": 1}']), Scripted(['{"n": 2}'])
    with pytest.raises(NoUsableAnswer) as caught:
        ask(primary, backup, refuse(Refusal()))
    assert (caught.value.reason, caught.value.failures) == ("output_active_content", ("output_active_content",))
    assert caught.value.spent == Spent(10, 5, 0.5)
    assert backup.asked == []


def test_a_refusal_is_the_reason_also_of_a_repaired_answer():
    with pytest.raises(NoUsableAnswer) as caught:
        ask(Scripted(["x", '{"n": 1}']), task=refuse(Refusal()))
    assert caught.value.reason == "output_active_content"
    assert caught.value.failures == ("output_unusable", "output_active_content")


def test_a_guard_that_cannot_run_refuses():
    with pytest.raises(NoUsableAnswer, match="guard_failed"):
        ask(Scripted(['{"n": 1}']), Scripted(['{"n": 2}']), refuse(KeyError("a bug in a guard")))


def test_an_answer_that_accept_calls_wrong_is_repaired():
    def accept(answer):
        if answer.n < 5:
            raise ValueError("n must be 5 or more")
        return answer

    primary = Scripted(['{"n": 1}', '{"n": 7}'])
    answered = ask(primary, task=replace(TASK, accept=accept))
    assert (answered.value.n, answered.repaired) == (7, True)
    assert "n must be 5 or more" in primary.asked[1][-1]["content"]


IN_WORDS = Call(TASK.name, TASK.messages, TASK.schema, 0.0, 800, in_words=True)


def test_a_failure_that_names_another_call_has_that_one_made_and_it_is_no_repair():
    primary = Scripted([Broken("model_rejected_request", again=IN_WORDS), '{"n": 7}'])
    answered = ask(primary)
    assert (answered.source, answered.repaired) == ("model", False)
    assert primary.calls[1] is IN_WORDS


def test_the_backup_is_asked_as_the_primary_was_at_first():
    primary, backup = Scripted([Broken("model_rejected_request", again=IN_WORDS), "x"]), Scripted(['{"n": 2}'])
    ask(primary, backup)
    assert backup.calls == primary.calls[:1]


@pytest.mark.parametrize(("calls", "expected"), [(1, (1, 0)), (2, (2, 0)), (3, (2, 1))])
def test_no_more_calls_are_made_than_the_task_allows(calls, expected):
    primary, backup = Scripted(["x", "y"]), Scripted(["z"])
    with pytest.raises(NoUsableAnswer, match="output_unusable"):
        ask(primary, backup, replace(TASK, limits=replace(QUICK, calls=calls)))
    assert (len(primary.asked), len(backup.asked)) == expected


def test_an_open_breaker_sends_requests_to_the_backup_at_once():
    breaker = Breaker()
    for _ in range(5):
        ask(Scripted([Broken("model_error")]), Scripted(['{"n": 2}']), breaker=breaker)
    primary = Scripted([])
    answered = ask(primary, Scripted(['{"n": 2}']), breaker=breaker)
    assert (answered.source, answered.failures, primary.asked) == ("backup", ("breaker_open",), [])


@pytest.mark.parametrize("reason", ["model_rejected_request", "model_refused", "output_cut_off", "output_unusable"])
def test_a_model_that_answers_keeps_its_breaker_closed(reason):
    breaker = Breaker()
    for _ in range(20):
        ask(Scripted([Broken(reason), Broken(reason)]), Scripted(['{"n": 2}']), breaker=breaker)
    assert not breaker.is_open


def test_a_retry_after_opens_the_breaker_at_once_and_nobody_sleeps():
    breaker, started = Breaker(), time.monotonic()
    limited = Broken("model_rate_limited", retry_after_s=30.0)
    assert ask(Scripted([limited]), Scripted(['{"n": 2}']), breaker=breaker).source == "backup"
    assert breaker.is_open
    assert time.monotonic() - started < 0.2


def test_an_error_of_python_with_a_sentence_for_a_reason_is_a_model_error():
    with pytest.raises(NoUsableAnswer, match="model_error"):
        ask(Scripted([UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")]))


def test_an_answer_that_could_not_be_sent_back_is_sent_back_without_what_could_not():
    primary = Scripted(["\ud800 seven", '{"n": 7}'])
    assert ask(primary).value.n == 7
    assert primary.asked[1][-2]["content"] == "? seven"


def test_a_caller_that_hangs_up_on_a_probe_does_not_keep_the_breaker_open():
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    breaker.leave(breaker.enter(), False, retry_after_s=5.0)
    now[0] = 6.0

    async def scenario():
        running = asyncio.create_task(Gateway(Target("model", Scripted(["hang"]), breaker)).ask(TASK))
        await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(scenario())
    assert ask(Scripted(['{"n": 7}']), breaker=breaker).source == "model"


def test_many_threads_of_a_synchronous_program_share_one_gateway():
    loop = BlockingLoop()
    gateway = Gateway(Target("model", Scripted(['{"n": 7}'] * 40), Breaker()))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: loop.run(gateway.ask(TASK)).value.n, range(40)))
    assert answers == [7] * 40


def test_a_fork_is_told_that_the_loop_is_not_its_own():
    loop = BlockingLoop()
    if (child := os.fork()) == 0:
        signal.alarm(5)  # without an answer it would wait for ever
        try:
            loop.run(asyncio.sleep(0))
        except RuntimeError as error:
            os._exit(0 if "in each worker" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_on_its_own_loop_it_refuses_to_wait_for_itself():
    loop = BlockingLoop()

    async def nested():
        return loop.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="await"):
        loop.run(nested())
    assert loop.run(asyncio.sleep(0, "still there")) == "still there"


def test_a_synchronous_caller_sees_the_reason_too():
    with pytest.raises(NoUsableAnswer, match="deadline"):
        BlockingLoop().run(Gateway(Target("model", Scripted(["hang"]))).ask(TASK))
