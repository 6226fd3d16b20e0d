"""What leaves the process as a log line or a span has been looked through for what identifies or opens something.

The second net: nothing of ours puts customers' words there. It catches values with a shape of their own in what
libraries say; what an exception says is left out altogether, because it may quote anything.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

Redact = Callable[[str], str]
LONGEST = 8000  # characters; what is longer is cut, so that nothing makes looking slow
DEEPEST = 8  # containers in one another; one may hold itself
_VAULT_TOKEN = re.compile(r"(?<![\w.])s\.[A-Za-z0-9]{24,}")
_SAYS_ANYTHING = frozenset({"exception.message", "exception.stacktrace"})


class Redactor:
    """`redact` replaces what it finds in a text. Most texts come again and again: those are looked at once."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._text = lru_cache(maxsize=2048)(self._look)

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """The value with every text in it redacted; of what JSON cannot hold, the type or the redacted `repr`."""
        if isinstance(value, str):
            return self._text(value) if len(value) <= LONGEST else self._look(f"{value[:LONGEST]}...")
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth == DEEPEST or isinstance(value, BaseException):
            return type(value).__qualname__
        if isinstance(value, Mapping):
            return {self(key if isinstance(key, str) else repr(key)): self(of, depth + 1) for key, of in value.items()}
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        return self(repr(value))

    def _look(self, text: str) -> str:
        return _VAULT_TOKEN.sub("[SECRET]", self._redact(text))


class RedactingExporter(SpanExporter):
    """Hands on spans with redacted names, attributes and events, and with the code of a status but not its words."""

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter, self._redactor = exporter, redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        return ReadableSpan(
            name=self._redactor(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._redactor(span.attributes),
            events=[Event(self._redactor(e.name), self._of_event(e.attributes), e.timestamp) for e in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _of_event(self, attributes: Mapping[str, Any] | None) -> Any:
        return self._redactor({key: of for key, of in (attributes or {}).items() if key not in _SAYS_ANYTHING})
