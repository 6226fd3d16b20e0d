"""Where spans, metrics and logs of this process go. Called once, by the composition root, before anything runs."""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

import structlog
from opentelemetry import metrics, propagate, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from sqlalchemy import Engine

from service.integration.telemetry.redaction import RedactingExporter, Redactor

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


def configure_telemetry(
    service: str, process: str, otlp_endpoint: str, directory: Path, redactor: Redactor
) -> Callable[[], None]:
    """Send spans, metrics, events over OTLP/HTTP to `otlp_endpoint`, or to OTLP JSON files in `directory` without one.

    Prompts and answers are never captured; spans are redacted. Returns the function that flushes and closes everything.
    """
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "NO_CONTENT"
    resource = Resource.create({"service.name": service, "service.instance.id": f"{process}-{os.getpid()}"})
    spans, measurements, events = _otlp() if otlp_endpoint else _files(directory, process)
    tracing = TracerProvider(
        sampler=ParentBased(RequestsAndJobs(), local_parent_sampled=RequestsAndJobs(dropped=CONNECTION_HANDLING)),
        resource=resource,
    )
    tracing.add_span_processor(BatchSpanProcessor(RedactingExporter(spans, redactor), schedule_delay_millis=100))
    metering = MeterProvider([PeriodicExportingMetricReader(measurements)], resource=resource)
    trace.set_tracer_provider(tracing)
    propagate.set_global_textmap(TraceContextTextMapPropagator())  # a caller's baggage must not reach the vendor
    metrics.set_meter_provider(metering)

    # Events only: log lines go to stderr. What tells an event chooses its attributes, none of which is a text.
    telling = LoggerProvider(resource)
    telling.add_log_record_processor(BatchLogRecordProcessor(events))
    set_logger_provider(telling)

    def close() -> None:
        telling.shutdown()
        tracing.shutdown()
        metering.shutdown()

    return close


# What the SQL instrumentation records around every transaction: a quarter of all spans, and no news in any.
CONNECTION_HANDLING = ("connect", "BEGIN")


class RequestsAndJobs(Sampler):
    """Traces begin with a request or a job. What runs under neither, such as polling for flags, is housekeeping."""

    def __init__(self, dropped: tuple[str, ...] | None = None) -> None:
        """Under a sampled parent: drop names that begin with one of `dropped`. Without one: drop client calls."""
        self._dropped = dropped

    def should_sample(  # noqa: PLR0913 - the SDK calls it like this
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        wanted = kind is not SpanKind.CLIENT if self._dropped is None else not name.startswith(self._dropped)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if wanted else Decision.DROP, attributes if wanted else None)

    def get_description(self) -> str:
        return type(self).__name__


def _otlp() -> tuple[SpanExporter, MetricExporter, LogRecordExporter]:
    """The exporters read endpoint, headers and time-outs from the standard OTEL_EXPORTER_OTLP_* variables."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPMetricExporter(), OTLPLogExporter()


def _files(directory: Path, process: str) -> tuple[SpanExporter, MetricExporter, LogRecordExporter]:
    from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
    from opentelemetry.exporter.otlp.json.file.metric_exporter import FileMetricExporter
    from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter

    directory.mkdir(parents=True, exist_ok=True)
    return (
        FileSpanExporter(directory / f"{process}-traces.jsonl"),
        FileMetricExporter(directory / f"{process}-metrics.jsonl"),
        FileLogExporter(directory / f"{process}-events.jsonl"),
    )


def instrument_sql(engines: Iterable[Engine]) -> None:
    """A span per SQL statement, without bind values."""
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # Its declared range stops short of SQLAlchemy 2.1: without `skip_dep_check` it silently does nothing. It is a
    # singleton that takes its engines once, so all of them go in together.
    SQLAlchemyInstrumentor().instrument(engines=list(engines), skip_dep_check=True)


def traced(name: str, call: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """The same callable inside a span of this name. Exceptions mark the span by type, without their text."""
    tracer = trace.get_tracer("service")

    @wraps(call)
    async def within_span(*args: P.args, **kwargs: P.kwargs) -> R:
        with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                return await call(*args, **kwargs)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                if isinstance(error, Exception):  # a caller that hung up is no error of ours
                    span.set_status(trace.StatusCode.ERROR)
                raise

    return within_span


def current_trace_id() -> str:
    """The running trace's id in 32 hex digits; all zeros outside any trace."""
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def configure_logs(process: str, redactor: Redactor) -> None:
    """One redacted JSON object a line on stderr: structlog, `logging`, warnings, and errors that nobody caught."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
    ]
    render = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _exception_without_text,
            partial(_redacted, redactor),
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(render)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    jobs = logging.getLogger("dbos")
    jobs.handlers, jobs.propagate = [logging.NullHandler()], True  # having one, it adds no console of its own
    jobs.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # else a line that cannot be formatted is printed with its raw arguments
    sys.excepthook = _uncaught
    sys.unraisablehook = lambda found: _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("nobody caught this", exc_info=(kind, error or kind(), trace))


# Ours, or the processors': times, types and places.
_NO_TEXT = frozenset({"timestamp", "level", "logger", "trace_id", "process", "exception"})


def _redacted(
    redactor: Redactor, _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Nothing in it identifies anybody. Of what it says, the first line: libraries put tracebacks into the others."""
    event["event"] = str(event.get("event")).partition("\n")[0]
    return {key: value if key in _NO_TEXT else redactor(value) for key, value in event.items()}


def _exception_without_text(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Types and places of an exception and its causes. Their texts are left out: they quote what customers wrote."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else sys.exc_info()[1]
    if info and error is not None:
        event["exception"] = []
        told: set[int] = set()  # a chain may bite its own tail
        while error is not None and id(error) not in told:
            told.add(id(error))
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
            event["exception"].append({"type": type(error).__qualname__, "at": places})
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return event


def _add_trace_id(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = format(span.trace_id, "032x")
    return event
