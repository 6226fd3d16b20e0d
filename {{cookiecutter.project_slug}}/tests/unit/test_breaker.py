"""The circuit breaker: opens on an outage, lets one probe through, finds its way back."""

import pytest

from service.inference.breaker import FAILURES, OPEN_S, PROBE_S, WINDOW, Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock=clock)


def call(breaker, ok, retry_after_s=0.0):
    ticket = breaker.enter()
    assert ticket is not None
    breaker.leave(ticket, ok, retry_after_s)


def opened(breaker):
    for _ in range(FAILURES):
        call(breaker, False)
    return breaker


def test_single_failures_among_successes_leave_it_closed(breaker):
    for number in range(200):
        call(breaker, ok=number % 3 != 0)
    assert not breaker.is_open


def test_half_of_the_last_answers_failing_opens_it(breaker):
    for number in range(WINDOW):
        if not breaker.is_open:
            call(breaker, ok=number % 2 != 0)
    assert breaker.is_open


def test_while_open_nothing_is_called(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S - 0.01
    assert breaker.enter() is None


def test_after_a_while_exactly_one_probe_is_let_through(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S
    assert breaker.enter() is not None
    assert [breaker.enter() for _ in range(100)] == [None] * 100


def test_a_probe_that_succeeds_closes_it(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S
    call(breaker, True)
    assert not breaker.is_open
    for _ in range(FAILURES - 1):  # with a clean record
        call(breaker, False)
    assert not breaker.is_open


def test_a_probe_that_fails_keeps_it_open_for_another_while(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S
    call(breaker, False)
    assert breaker.enter() is None
    clock.now += OPEN_S
    assert breaker.enter() is not None


def test_a_probe_nobody_waited_for_lets_the_next_one_through(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S
    call(breaker, None)
    assert breaker.enter() is not None


def test_a_probe_that_never_reports_does_not_keep_it_open_for_ever(breaker, clock):
    opened(breaker)
    clock.now += OPEN_S
    assert breaker.enter() is not None
    clock.now += PROBE_S
    assert breaker.enter() is not None


def test_calls_from_before_it_opened_change_nothing_when_they_end(breaker, clock):
    stragglers = [breaker.enter() for _ in range(20)]
    opened(breaker)
    clock.now += OPEN_S
    for ticket in stragglers:
        breaker.leave(ticket, False)
    call(breaker, True)
    for ticket in stragglers:
        breaker.leave(ticket, False)
    assert not breaker.is_open


def test_a_retry_after_is_kept_to_but_for_a_minute_at_most(breaker, clock):
    call(breaker, False, retry_after_s=10.0)
    clock.now += 9.9
    assert breaker.enter() is None
    clock.now += 0.2
    call(breaker, False, retry_after_s=86_400.0)
    clock.now += 61
    assert breaker.enter() is not None
