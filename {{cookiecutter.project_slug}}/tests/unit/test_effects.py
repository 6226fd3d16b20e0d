"""Delivering an effect: what counts as done, refused, or to be tried again. The ledger here is a list."""

import asyncio
from dataclasses import dataclass, field

import pytest

from service.application.decision import Effect
from service.application.effects.contract import EffectRefused, EffectUnavailable
from service.application.effects.use_case import DeliverEffect, retry_delay
from service.integration.ticketing.http import _reference


@dataclass
class Noted:
    """A ledger that notes what it is told. `attempt` is the number it gives out."""

    attempt: int = 1
    told: list = field(default_factory=list)

    async def begin(self, key):
        return Effect(key, "d-1", {}), self.attempt

    async def hold(self, key):
        self.told.append("hold")

    async def done(self, key, reference):
        self.told.append(("done", reference))

    async def failed(self, key, error):
        self.told.append(("failed", error))

    async def retry_in(self, key, seconds, error):
        self.told.append(("retry", seconds, error))


@dataclass
class Downstream:
    result: object = "T-1"

    async def create(self, key, body):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Switch:
    def __init__(self, on=True):
        self.on = on

    def effects_on(self):
        return self.on


def deliver(result="T-1", attempt=1, on=True):
    ledger = Noted(attempt)
    state = asyncio.run(DeliverEffect(Switch(on), ledger, Downstream(result))("k"))
    return state, ledger.told


def test_a_reference_ends_it():
    assert deliver() == ("done", [("done", "T-1")])


def test_a_refusal_is_final():
    assert deliver(EffectRefused("HTTP 422")) == ("failed", [("failed", "HTTP 422")])


@pytest.mark.parametrize("attempt", [1, 20, 5000])
def test_an_outage_is_never_given_up_however_long(attempt):
    state, told = deliver(EffectUnavailable("HTTP 503"), attempt)
    assert state == "queued"
    assert told == [("retry", retry_delay(attempt), "HTTP 503")]
    assert told[0][1] <= 300


def test_a_bug_in_an_adapter_counts_as_an_outage_and_its_text_is_not_kept():
    assert deliver(RuntimeError("row 4711 of Jane Doe")) == ("queued", [("retry", 2.0, "RuntimeError")])


def test_switched_off_it_is_held_and_not_tried():
    assert deliver(on=False) == ("held", ["hold"])


@pytest.mark.parametrize("status", [400, 409, 422])
def test_what_the_request_itself_caused_is_a_refusal(status):
    with pytest.raises(EffectRefused):
        _reference(status, b"")


@pytest.mark.parametrize("status", [202, 204, 301, 302, 401, 403, 404, 405, 408, 410, 429, 500, 503])
def test_what_a_proxy_or_a_deploy_can_cause_is_an_outage(status):
    with pytest.raises(EffectUnavailable):
        _reference(status, b'{"reference": "T-1"}')


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"reference": null}',
        b'{"reference": ""}',
        b'{"reference": "\\ud800"}',
        b'{"reference": {"a": 1}}',
        b'{"reference": "' + b"x" * 201 + b'"}',
        b"[" * 60_000,
    ],
)
def test_a_success_without_a_plain_reference_is_an_outage(answer):
    with pytest.raises(EffectUnavailable):
        _reference(201, answer)
