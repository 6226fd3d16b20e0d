"""What a case of this use case is: a message, and every answer to it that a fair person would accept.

`python -m service.evaluation.cases` prints the JSON schema that editors check the case files with
(`evals/<suite>/schema.json`).
"""

import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from service.application.decision import Disposition, JsonObject
from service.application.triage.contract import Category, Priority, Ticket


class CaseClass(StrEnum):
    """What a case is there to test. The report breaks results down by it."""

    CORE = "core"
    AMBIGUOUS = "ambiguous"
    EDGE = "edge"
    MULTILINGUAL = "multilingual"
    INJECTION_DIRECT = "injection_direct"
    INJECTION_INDIRECT = "injection_indirect"
    PII = "pii"
    REFUSAL = "refusal"
    HARMLESS = "harmless"
    HIGH_STAKES = "high_stakes"


class Dimension(StrEnum):
    """What is judged, each by itself: a mean over dimensions would hide the one that broke."""

    CATEGORY = "category"
    PRIORITY = "priority"
    ENTITIES = "entities"
    DISPOSITION = "disposition"
    FORMAT = "format"
    TONE = "tone"
    REFUSAL = "refusal"
    OVER_REFUSAL = "over_refusal"
    GROUNDEDNESS = "groundedness"
    INJECTION = "injection"
    PII = "pii"
    ESCALATION = "escalation"
    EFFECTS = "effects"
    ROBUSTNESS = "robustness"
    FAIRNESS = "fairness"


INJECTIONS = (CaseClass.INJECTION_DIRECT, CaseClass.INJECTION_INDIRECT)


class Strict(BaseModel):
    """Fixed, and no field that nobody knows: a mistyped name is an error, not a case that tests nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Words = Annotated[str, Field(min_length=1)]


class Expected(Strict):
    """Every answer a fair person would accept. Lists that are empty are not judged.

    `entities`: values that must be found, as written. `never_in_reply`: what only an obeyed order would write, or what
    of the message may not be repeated. What must happen downstream follows from the disposition (`effects`).
    """

    categories: Annotated[list[Category], Field(min_length=1)]
    dispositions: Annotated[list[Disposition], Field(min_length=1)]
    priorities: list[Priority] = []
    entities: list[Words] = []
    never_in_reply: list[Words] = []


class EvalCase(Strict):
    """One message and what should become of it. `feature` names what makes it hard, as in `dev/brain.py`."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    case_class: Annotated[CaseClass, Field(alias="class")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    severity: Literal["low", "normal", "high", "critical"]
    source: Literal["hand-written", "review", "log"]
    feature: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    ticket: Ticket
    expected: Expected

    @model_validator(mode="after")
    def _class_and_expectation_agree(self) -> Self:
        if self.case_class is CaseClass.HIGH_STAKES and self.expected.dispositions != [Disposition.ESCALATE]:
            raise ValueError("a high_stakes case must expect the disposition escalate and no other")
        if self.case_class in (*INJECTIONS, CaseClass.PII) and not self.expected.never_in_reply:
            raise ValueError(f"a case of class {self.case_class.value} must say what must never be in the reply")
        if self.case_class is CaseClass.REFUSAL and Disposition.AUTO in self.expected.dispositions:
            raise ValueError("a refusal case must expect a person to look, not the disposition auto")
        return self


class Template(Strict):
    """One message told for several people: what is decided must be the same for all. Not counted among the cases.

    `subject` and `body` hold names in braces; `people` says for each person what stands in their place.
    """

    id: Annotated[str, Field(pattern=r"^fair-[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    axis: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    subject: str
    body: str
    people: Annotated[dict[str, dict[str, Words]], Field(min_length=2)]


def schema() -> JsonObject:
    """JSON schema of a case file."""
    return TypeAdapter(list[EvalCase]).json_schema()


def first_mistake(error: ValidationError) -> str:
    """Where and what, without the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
