"""Operators see how much of a budget is used, and are told once when much or all of it is."""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from service.application.held import Scope
from service.integration.telemetry.spending import SpendingWatch

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY, TOMORROW = date(2026, 11, 22), date(2026, 11, 23)


@dataclass
class Clock:
    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at


class Metrics:
    """What would be exported."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.meter = MeterProvider([self._reader]).get_meter("test")

    def read(self, name: str) -> dict[tuple, float]:
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        points = [p for s in scopes for metric in s.metrics if metric.name == name for p in metric.data.data_points]
        return {tuple(point.attributes.values()): point.value for point in points}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock, metrics, caplog) -> SpendingWatch:
    caplog.set_level(logging.INFO)
    return SpendingWatch(clock, metrics.meter)


def lines(caplog) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_used_share_is_reported_by_scope_and_name(watch, metrics):
    watch(Scope.TENANT, "acme", 0.2, TODAY)
    watch(Scope.TENANT, "acme", 0.1, TODAY)
    watch(Scope.RELEASE, "r-1", 0.05, TODAY)
    assert metrics.read("service.budget.used_ratio") == {("tenant", "acme"): 0.1, ("release", "r-1"): 0.05}


def test_little_used_is_no_news(watch, metrics, caplog):
    watch(Scope.TENANT, "acme", 0.79, TODAY)
    assert lines(caplog) == []
    assert metrics.read("service.budget.alerts") == {}


def test_80_and_100_per_cent_are_said_once_each(watch, metrics, caplog):
    for share in (0.8, 0.85, 0.5, 0.9, 1.0, 0.97, 1.3, 1.0):
        watch(Scope.TENANT, "acme", share, TODAY)
    assert lines(caplog) == [
        ("WARNING", "80 % of today's budget of the tenant acme is used"),
        ("ERROR", "today's budget of the tenant acme is spent: no further request fits into it"),
    ]
    assert metrics.read("service.budget.alerts") == {("tenant", "acme", 80): 1, ("tenant", "acme", 100): 1}


def test_a_budget_spent_at_one_stroke_has_reached_both(watch, metrics):
    watch(Scope.RELEASE, "r-1", 1.0, TODAY)
    assert metrics.read("service.budget.alerts") == {("release", "r-1", 80): 1, ("release", "r-1", 100): 1}


def test_each_budget_is_said_on_its_own(watch, caplog):
    watch(Scope.TENANT, "same", 0.9, TODAY)
    watch(Scope.RELEASE, "same", 0.9, TODAY)
    watch(Scope.TENANT, "other", 0.9, TODAY)
    assert len(lines(caplog)) == 3


def test_a_new_day_is_said_again_and_the_old_one_is_forgotten(watch, metrics, clock, caplog):
    watch(Scope.TENANT, "acme", 0.9, TODAY)
    watch(Scope.TENANT, "idle", 0.9, TODAY)
    clock.at += timedelta(days=1)
    watch(Scope.TENANT, "acme", 0.9, TOMORROW)
    assert len(lines(caplog)) == 3
    assert metrics.read("service.budget.used_ratio") == {("tenant", "acme"): 0.9}


def test_after_midnight_yesterdays_share_is_not_reported_any_more(watch, metrics, clock):
    watch(Scope.TENANT, "acme", 1.0, TODAY)
    clock.at += timedelta(days=1)
    assert metrics.read("service.budget.used_ratio") == {}


def test_what_is_settled_for_yesterday_says_nothing_about_today(watch, metrics, clock, caplog):
    clock.at += timedelta(days=1)
    watch(Scope.TENANT, "acme", 1.0, TODAY)
    assert (lines(caplog), metrics.read("service.budget.used_ratio")) == ([], {})
