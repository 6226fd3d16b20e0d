"""Verdicts of evaluators as OpenTelemetry events and a counter.

Event and attributes are those of the semantic conventions for generative AI (in development). No explanation: it could
quote a customer.
"""

import re
import time

from opentelemetry import metrics
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.trace import (
    INVALID_SPAN_ID,
    INVALID_TRACE_ID,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

EVENT = "gen_ai.evaluation.result"


class EvaluationEvents:
    """To be told each verdict once. `passed` None: the evaluator failed."""

    def __init__(self) -> None:
        self._logger = get_logger("service.evaluation")
        self._results = metrics.get_meter("service").create_counter(
            "service.eval.results", "{verdict}", "Verdicts of evaluators on live answers"
        )

    def __call__(self, dimension: str, passed: bool | None, use_case: str, release: str, trace_id: str) -> None:
        label = "error" if passed is None else "pass" if passed else "fail"
        self._results.add(1, {"dimension": dimension, "result": label, "release": release})
        # The trace is known, the span in it is not: it ended long ago.
        known = int(trace_id, 16) if re.fullmatch("[0-9a-f]{32}", trace_id) else INVALID_TRACE_ID
        context = SpanContext(known, INVALID_SPAN_ID, is_remote=True, trace_flags=TraceFlags.get_default())
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                event_name=EVENT,
                context=set_span_in_context(NonRecordingSpan(context)),
                attributes={
                    "gen_ai.evaluation.name": dimension,
                    "gen_ai.evaluation.score.label": label,
                    **({} if passed is None else {"gen_ai.evaluation.score.value": float(passed)}),
                    "service.use_case": use_case,
                    "service.release": release,
                },
            )
        )
