"""Logs say what went wrong and where, never what the customer wrote."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from functools import partial

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service.inference.destinations import is_private
from service.inference.pii import redacted
from service.inference.pii_structured import StructuredDetector
from service.integration.telemetry.redaction import RedactingExporter, Redactor
from service.integration.telemetry.setup import configure_logs

REDACTOR = Redactor(partial(redacted, detector=StructuredDetector(), spared=is_private))
SECRET = "my card is 4111 1111 1111 1111"  # pragma: allowlist secret


@pytest.fixture
def logged(monkeypatch):
    """What the process writes to stderr, as parsed lines."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    configure_logs("test", REDACTOR)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = handlers, level
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logging.captureWarnings(False)
    logging.raiseExceptions = True
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


KEY = "svk_" + "k3y" * 12
PLANTED = {
    "e-mail": "jane.roe@example.org",
    "phone": "+44 20 7946 0958",
    "card": "4111 1111 1111 1111",
    "bank account": "DE89 3704 0044 0532 0130 00",
    "national number": "536-22-1871",
    "API key": KEY,
    "vault token": "hvs." + "CAESIJ" * 5,
    "old vault token": "s." + "Ab3" * 8,
    "bearer token": "Bearer " + "ab1." * 10,
    "password in a URL": "postgresql://svc:hunter2@db.example/app",  # pragma: allowlist secret
    "customer's IP address": "203.0.114.7",
}
TELLS = PLANTED | {"bearer token": "ab1." * 10, "password in a URL": "hunter2"}


def everywhere(value):
    """A line in which the value stands in every place that a line has."""
    logging.getLogger("a.child").warning("saw %s here", value, stack_info=True)
    structlog.get_logger("b").error(
        "saw it", who=value, nested={"list": [value, {value: 1}]}, odd={value}, raw=value.encode()
    )
    logging.getLogger("uvicorn.error").error(f"Traceback (most recent call last):\n  ValueError: {value}")
    warnings.warn(f"old: {value}", stacklevel=1)


@pytest.mark.parametrize("kind", PLANTED)
def test_no_value_with_a_shape_is_in_a_line(logged, kind):
    everywhere(PLANTED[kind])
    assert len(logged()) == 4
    assert TELLS[kind] not in json.dumps(logged(), ensure_ascii=False)


def test_what_is_said_beside_it_stays(logged):
    logging.getLogger("a").warning("model %s gave no usable answer to %s", "m-1", PLANTED["e-mail"])
    assert logged()[0]["event"] == "model m-1 gave no usable answer to [EMAIL]"


@pytest.mark.parametrize("ours", ["127.0.0.1:8000", "10.3.0.7", "fd00::17", "3f0b8a42-9c1d-4e2f-8a3b-1c2d3e4f5a6b"])
def test_addresses_of_the_service_and_ids_stay(logged, ours):
    logging.getLogger("a").warning("inference at %s: timed out", ours)
    assert logged()[0]["event"] == f"inference at {ours}: timed out"


def test_what_nobody_caught_is_one_line_without_text(logged):
    def die():
        raise ValueError(SECRET)

    async def forgotten():
        task = asyncio.ensure_future(asyncio.to_thread(die))
        await asyncio.wait([task])
        del task

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    asyncio.run(forgotten())
    try:
        die()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    lines = logged()
    assert SECRET not in json.dumps(lines)
    assert [line["exception"][0]["type"] for line in lines] == ["ValueError"] * 3


def test_a_line_that_cannot_be_formatted_prints_no_argument(logged, capsys):
    logging.getLogger("a").warning("%d", SECRET)
    logging.getLogger("a").warning("after")
    assert [line["event"] for line in logged()] == ["after"]


def test_no_container_is_too_odd_to_be_told():
    itself: list[object] = ["ann@example.com"]
    itself.append(itself)
    told = json.dumps(REDACTOR({("a", 1): itself, "bob@example.com": {1: "x"}}))
    assert "x" in told
    assert "example.com" not in told


@pytest.mark.parametrize("kind", PLANTED)
def test_no_value_with_a_shape_is_in_a_span_and_no_exceptions_words_are(kind):
    kept, value = InMemorySpanExporter(), PLANTED[kind]
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(kept, REDACTOR)))
    tracer = provider.get_tracer("t")

    def work():
        with tracer.start_as_current_span(f"GET /{value}") as span:
            span.set_attribute("url.path", f"/{value}")
            span.set_attribute("listed", [value, value])
            span.set_attribute("count", 3)
            span.add_event(value, {"said": value})
            raise ValueError(f"my words: {value}")

    with pytest.raises(ValueError, match="my words"):
        work()
    [told] = kept.get_finished_spans()
    assert TELLS[kind] not in told.to_json()
    assert "my words" not in told.to_json()
    assert (told.attributes["count"], told.status.status_code, len(told.events)) == (3, StatusCode.ERROR, 2)
    assert told.events[1].attributes["exception.type"] == "ValueError"


@pytest.mark.parametrize("name", ["dbos", "asyncio", "anything.else"])
def test_of_a_message_with_a_traceback_in_it_the_first_line_is_told(logged, name):
    logging.getLogger(name).error("the job failed\nTraceback (most recent call last):\nValueError: my own words")
    [line] = logged()
    assert line["event"] == "the job failed"
    assert "my own words" not in json.dumps(line)
