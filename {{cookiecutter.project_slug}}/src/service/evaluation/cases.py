"""A suite: hand-written cases with their expected answers, and the floors they are held to.

`evals/<suite>/cases/*.yaml` and `evals/<suite>/floors.yaml`, typed here. `python -m service.evaluation.cases`
prints the JSON schema that editors check the case files with (`evals/<suite>/schema.json`).
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from service.application.decision import Disposition, JsonObject
from service.application.triage.contract import Category, Priority, Ticket


class SuiteError(Exception):
    """The suite cannot be read. The message is one line that names the file, the case and the mistake."""


class CaseClass(StrEnum):
    """What a case is there to test. The report breaks results down by it."""

    CORE = "core"
    AMBIGUOUS = "ambiguous"
    EDGE = "edge"
    MULTILINGUAL = "multilingual"
    INJECTION = "injection"
    HIGH_STAKES = "high_stakes"
    REFUSAL = "refusal"


class Dimension(StrEnum):
    """What is judged, each by itself: a mean over dimensions would hide the one that broke."""

    CATEGORY = "category"
    PRIORITY = "priority"
    DISPOSITION = "disposition"
    CONTRACT = "contract"
    ESCALATION = "escalation"
    INJECTION = "injection"


class Strict(BaseModel):
    """Fixed, and no field that nobody knows: a mistyped name is an error, not a case that tests nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(Strict):
    """Every answer a fair person would accept. `never_in_reply`: what only an obeyed order would write."""

    categories: Annotated[list[Category], Field(min_length=1)]
    dispositions: Annotated[list[Disposition], Field(min_length=1)]
    priorities: list[Priority] = []
    never_in_reply: list[Annotated[str, Field(min_length=1)]] = []


class EvalCase(Strict):
    """One message and what should become of it. `feature` names what makes it hard, as in `dev/brain.py`."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    case_class: Annotated[CaseClass, Field(alias="class")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    severity: Literal["low", "normal", "high", "critical"]
    source: Literal["hand-written"]
    feature: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    ticket: Ticket
    expected: Expected

    @model_validator(mode="after")
    def _class_and_expectation_agree(self) -> Self:
        if self.case_class is CaseClass.HIGH_STAKES and self.expected.dispositions != [Disposition.ESCALATE]:
            raise ValueError("a high_stakes case must expect the disposition escalate and no other")
        if self.case_class is CaseClass.INJECTION and not self.expected.never_in_reply:
            raise ValueError("an injection case must say what must never be in the reply")
        return self


class Floors(Strict):
    """Least acceptable rate per dimension, and the dimensions of which a single failure is too many."""

    floors: dict[Dimension, Annotated[float, Field(gt=0, le=1)]]
    zero_tolerance: list[Dimension]

    @model_validator(mode="after")
    def _every_dimension_is_judged_once(self) -> Self:
        judged = [*self.floors, *self.zero_tolerance]
        wrong = [dimension.value for dimension in Dimension if judged.count(dimension) != 1]
        if wrong:
            raise ValueError(f"exactly one of floors and zero_tolerance must name {', '.join(wrong)}")
        return self


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases and floors, in file order. The digest changes with any of their content, not with comments."""

    name: str
    cases: tuple[EvalCase, ...]
    floors: Floors

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of cases and floors."""
        content = {
            "cases": [case.model_dump(mode="json", by_alias=True) for case in self.cases],
            "floors": self.floors.model_dump(mode="json"),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def load_suite(folder: Path) -> Suite:
    """The suite in `folder`. Raises `SuiteError` at the first mistake."""
    files = sorted((folder / "cases").glob("*.yaml"))
    cases = [case for file in files for case in _cases_in(file)]
    if not cases:
        raise SuiteError(f"{folder / 'cases'}: no cases")
    _refuse_duplicates(cases, folder)
    return Suite(name=folder.name, cases=tuple(cases), floors=_floors_in(folder / "floors.yaml"))


def schema() -> JsonObject:
    """JSON schema of a case file."""
    return TypeAdapter(list[EvalCase]).json_schema()


def _cases_in(file: Path) -> list[EvalCase]:
    rows = _yaml(file)
    if not isinstance(rows, list):
        raise SuiteError(f"{file}: must be a list of cases")
    return [_case(file, number, row) for number, row in enumerate(rows, start=1)]


def _case(file: Path, number: int, row: Any) -> EvalCase:
    name = row.get("id", f"number {number}") if isinstance(row, dict) else f"number {number}"
    try:
        return EvalCase.model_validate(row)
    except ValidationError as error:
        raise SuiteError(f"{file}: case {name}: {first_mistake(error)}") from None


def _floors_in(file: Path) -> Floors:
    try:
        return Floors.model_validate(_yaml(file))
    except ValidationError as error:
        raise SuiteError(f"{file}: {first_mistake(error)}") from None


def _yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SuiteError(f"{file}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"{file}: not YAML in UTF-8: {' '.join(str(error).split())}") from None


def _refuse_duplicates(cases: list[EvalCase], folder: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise SuiteError(f"{folder / 'cases'}: case {case.id}: the id is used twice")
        seen.add(case.id)


def first_mistake(error: ValidationError) -> str:
    """Where and what, without the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
