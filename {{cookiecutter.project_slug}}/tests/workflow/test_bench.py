"""`svc bench` measures the running service, or says in one line why it cannot."""

import pytest

from dev import bench


def test_the_service_and_the_bare_route_are_measured(stack):
    figures = bench.bench(stack.var, requests=60, rounds=1)
    assert {"service", "bare route", "ratio", "worker"} == set(figures)
    assert figures["ratio"]["p50_ms"] > 0


def test_a_path_that_fails_is_one_line_with_the_answer(stack, monkeypatch):
    monkeypatch.setattr(bench, "PATH", "/v1/nothing")
    with pytest.raises(bench.NotRunning, match=r"^[^\n]*/v1/nothing answered 404: [^\n]*$"):
        bench.bench(stack.var, requests=1, rounds=1)


def test_nothing_running_is_one_line(tmp_path):
    with pytest.raises(bench.NotRunning, match="start `svc run`"):
        bench.bench(tmp_path, requests=1, rounds=1)
