"""Alerts about models: each kind at most once a minute, and only for what somebody must look at."""

import pytest

from service.inference.watch import ALERT_EVERY_S, ModelWatch


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def watch(clock):
    return ModelWatch(clock=lambda: clock[0])


def test_a_rejected_request_is_told_each_minute_while_it_lasts(watch, clock, caplog):
    for _ in range(10):
        watch.failed(["model_rejected_request"])
    assert caplog.text.count("model_rejected_request") == 1
    clock[0] += ALERT_EVERY_S
    watch.failed(["model_rejected_request"])
    assert caplog.text.count("model_rejected_request") == 2


def test_an_outage_is_counted_but_wakes_nobody(watch, caplog):
    watch.failed(["model_error", "deadline", "breaker_open"])
    assert caplog.text == ""


@pytest.mark.parametrize("answered", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-001", "gpt-4o@20250929"])
def test_the_model_asked_for_or_a_numbered_version_of_it_is_as_expected(watch, caplog, answered):
    watch.named("gpt-4o", answered)
    assert caplog.text == ""


@pytest.mark.parametrize("answered", ["gpt-4o-mini", "gpt-4", "unknown", "other-gpt-4o", "gpt-4o-2024-mini"])
def test_another_model_is_told(watch, caplog, answered):
    watch.named("gpt-4o", answered)
    assert "look at the model: other_model" in caplog.text
