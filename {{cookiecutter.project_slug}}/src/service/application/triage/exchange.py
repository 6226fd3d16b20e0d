"""What crosses the wire when triage thinks in another process: one request, one answer, for both sides.

A field at its default is not sent, so a field added later disturbs an older peer only once it is used.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.application.decision import Calls, ModelUnusable, Prediction, Reason, Usage
from service.application.release import Release
from service.application.text import Name
from service.application.triage.contract import Ticket, TriageOutcome

PATH = "/v1/predict/triage"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


class PredictRequest(_Wire):
    """`digest` names the release; the bundle itself is sent to a server that does not have it yet.

    `calls` is how many upstream calls may still be made for this request.
    """

    ticket: Ticket
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    tenant: Name
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)]
    calls: Annotated[int, Field(ge=1, le=3)] = 3
    release: Release | None = None


class Unusable(_Wire):
    """`ModelUnusable`, field by field: an exception is no model."""

    reason: Reason
    usage: Usage = Usage()
    calls: Calls = ()


class PredictAnswer(_Wire):
    """One of the two: the engine has answered, or has found that no model will."""

    prediction: Prediction[TriageOutcome] | None = None
    unusable: Unusable | None = None

    def result(self) -> Prediction[TriageOutcome]:
        """The prediction. Raises the `ModelUnusable` that was sent, or `ValueError` when neither or both were."""
        if self.prediction and not self.unusable:
            return self.prediction
        if self.unusable and not self.prediction:
            raise ModelUnusable(self.unusable.reason, self.unusable.usage, self.unusable.calls)
        raise ValueError("an answer holds either a prediction or why there is none")


def answer_of(result: Prediction[TriageOutcome] | ModelUnusable) -> PredictAnswer:
    """The answer that carries what the engine returned or raised."""
    if isinstance(result, ModelUnusable):
        return PredictAnswer(unusable=Unusable(reason=result.reason, usage=result.usage, calls=result.calls))
    return PredictAnswer(prediction=result)
