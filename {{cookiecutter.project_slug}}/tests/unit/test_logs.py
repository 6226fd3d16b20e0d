"""Logs say what went wrong and where, never what the customer wrote."""

import io
import json
import logging

import pytest
import structlog

from service.integration.telemetry.setup import configure_logs

SECRET = "my card is 4111 1111 1111 1111"


@pytest.fixture
def logged(monkeypatch):
    """What the process writes to stderr, as parsed lines."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs("test")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise RuntimeError(f"while reading {SECRET}") from error


@pytest.mark.parametrize(
    "logger", [logging.getLogger("uvicorn.error"), logging.getLogger("a.child"), structlog.get_logger()]
)
def test_an_exception_is_logged_by_type_and_place_without_its_text(logged, logger):
    try:
        fail()
    except RuntimeError:
        logger.error("it broke", exc_info=True)
    [line] = logged()
    assert SECRET not in json.dumps(line)
    assert [cause["type"] for cause in line["exception"]] == ["RuntimeError", "ValueError"]
    assert any("test_logs.py" in place and "in fail" in place for place in line["exception"][0]["at"])


def test_a_line_without_an_exception_has_none(logged):
    logging.getLogger("a.child").warning("careful")
    [line] = logged()
    assert line["event"] == "careful"
    assert "exception" not in line


def test_a_chain_of_causes_that_bites_its_own_tail_is_told_once(logged):
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    logging.getLogger("a.child").error("it broke", exc_info=first)
    [line] = logged()
    assert [cause["type"] for cause in line["exception"]] == ["ValueError", "KeyError"]
