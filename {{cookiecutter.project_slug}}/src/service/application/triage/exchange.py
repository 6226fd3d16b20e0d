"""What crosses the wire when triage thinks in another process: one request, one answer, for both sides.

A field at its default is not sent, so a field added later disturbs an older peer only once it is used.
"""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt

from service.application.decision import Prediction, Reason, Source, Usage
from service.application.release import Release
from service.application.text import STORABLE
from service.application.triage.contract import Ticket, TriageOutcome
from service.application.unusable import ModelUnusable


def _known(reason: object) -> object:
    """A newer server may have reasons of which this client has not heard."""
    return Reason.MODEL_ERROR if isinstance(reason, str) and reason not in list(Reason) else reason


PATH = "/v1/predict/triage"
KnownReason = Annotated[Reason, BeforeValidator(_known)]
Name = Annotated[str, Field(max_length=1000), STORABLE]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


class PredictRequest(_Wire):
    """`digest` names the release; the bundle itself is sent to a server that does not have it yet."""

    ticket: Ticket
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    tenant: Name
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)]
    release: Release | None = None


class WireUsage(_Wire):
    """`Usage`, field by field."""

    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = 0.0


class WireUnusable(_Wire):
    """`ModelUnusable`, field by field."""

    reason: KnownReason
    usage: WireUsage = WireUsage()


class WirePrediction(_Wire):
    """`Prediction[TriageOutcome]`, field by field."""

    outcome: TriageOutcome
    source: Source
    model_version: Name
    degraded: bool = False
    reason: KnownReason | None = None
    usage: WireUsage = WireUsage()
    repaired: bool = False
    taint: tuple[Name, ...] = ()


class PredictAnswer(_Wire):
    """One of the two: the engine has answered, or has found that no model will."""

    prediction: WirePrediction | None = None
    unusable: WireUnusable | None = None

    def result(self) -> Prediction[TriageOutcome]:
        """The prediction. Raises the `ModelUnusable` that was sent, or `ValueError` when neither or both were."""
        if self.prediction and not self.unusable:
            return Prediction(**dict(self.prediction) | {"usage": Usage(**dict(self.prediction.usage))})
        if self.unusable and not self.prediction:
            raise ModelUnusable(self.unusable.reason, Usage(**dict(self.unusable.usage)))
        raise ValueError("an answer holds either a prediction or why there is none")


def answer_of(result: Prediction[TriageOutcome] | ModelUnusable) -> PredictAnswer:
    """The answer that carries what the engine returned or raised."""
    kind = "unusable" if isinstance(result, ModelUnusable) else "prediction"
    return PredictAnswer.model_validate({kind: result}, from_attributes=True)
