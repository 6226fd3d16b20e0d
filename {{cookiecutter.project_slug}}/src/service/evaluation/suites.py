"""A suite on disk: its cases, the templates told for several people, the floors it is held to, and what is waived.

`evals/<suite>/cases/*.yaml`, `holdout/*.yaml`, `counterfactuals.yaml`, `floors.yaml` and `waivers.yaml`.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from service.evaluation.cases import Dimension, EvalCase, Strict, Template, Words, first_mistake

M = TypeVar("M", bound=BaseModel)


class SuiteError(Exception):
    """The suite cannot be read. The message is one line that names the file, the case and the mistake."""


class Waiver(Strict):
    """A known failure of a zero-tolerance dimension that somebody answers for, until a day."""

    case: str
    dimension: Dimension
    owner: Words
    reason: Words
    until: date


class Limits(Strict):
    """Most a run may take or cost. None: not judged."""

    p95_seconds: Annotated[float, Field(gt=0)] | None = None
    mean_cost_usd: Annotated[float, Field(gt=0)] | None = None


class Floors(Strict):
    """Least acceptable rate per dimension, and the dimensions of which a single failure is too many."""

    floors: dict[Dimension, Annotated[float, Field(gt=0, le=1)]]
    zero_tolerance: list[Dimension]
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _every_dimension_is_judged_once(self) -> Self:
        judged = [*self.floors, *self.zero_tolerance]
        wrong = [dimension.value for dimension in Dimension if judged.count(dimension) != 1]
        if wrong:
            raise ValueError(f"exactly one of floors and zero_tolerance must name {', '.join(wrong)}")
        return self


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases, templates, floors and waivers, in file order. `holdout` says which cases only a release's evaluation runs.

    The digest changes with any content that is measured, not with comments or waivers.
    """

    name: str
    cases: tuple[EvalCase, ...]
    templates: tuple[Template, ...]
    floors: Floors
    waivers: tuple[Waiver, ...] = ()
    holdout: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of cases, templates and floors."""
        content = {
            "cases": [case.model_dump(mode="json", by_alias=True) for case in self.cases],
            "templates": [template.model_dump(mode="json") for template in self.templates],
            "floors": self.floors.model_dump(mode="json"),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def load_suite(folder: Path, holdout: bool = False) -> Suite:
    """The suite in `folder`, with its holdout cases if wanted. Raises `SuiteError` at the first mistake."""
    cases = _cases_of(folder / "cases")
    if not cases:
        raise SuiteError(f"{folder / 'cases'}: no cases")
    sealed = _cases_of(folder / "holdout") if holdout else []
    templates = _each(folder / "counterfactuals.yaml", Template) if (folder / "counterfactuals.yaml").exists() else []
    waivers = _each(folder / "waivers.yaml", Waiver) if (folder / "waivers.yaml").exists() else []
    _refuse_duplicates([case.id for case in (*cases, *sealed)] + [template.id for template in templates], folder)
    return Suite(
        name=folder.name,
        cases=(*cases, *sealed),
        templates=tuple(templates),
        floors=_floors_in(folder / "floors.yaml"),
        waivers=tuple(waivers),
        holdout=frozenset(case.id for case in sealed),
    )


def _cases_of(folder: Path) -> list[EvalCase]:
    return [case for file in sorted(folder.glob("*.yaml")) for case in _each(file, EvalCase)]


def _each(file: Path, model: type[M]) -> list[M]:
    rows = _yaml(file)
    if not isinstance(rows, list):
        raise SuiteError(f"{file}: must be a list")
    return [_entry(file, number, row, model) for number, row in enumerate(rows, start=1)]


def _entry(file: Path, number: int, row: Any, model: type[M]) -> M:
    name = row.get("id", f"number {number}") if isinstance(row, dict) else f"number {number}"
    try:
        return model.model_validate(row)
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


def _refuse_duplicates(ids: list[str], folder: Path) -> None:
    for twice in (one for one, times in Counter(ids).items() if times > 1):
        raise SuiteError(f"{folder / 'cases'}: case {twice}: the id is used twice")
