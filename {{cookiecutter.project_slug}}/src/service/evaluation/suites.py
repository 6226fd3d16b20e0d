"""A suite on disk: its cases, the templates told for several people, the floors it is held to, and what is waived.

`evals/<suite>/cases/*.yaml`, `holdout/*.yaml`, `counterfactuals.yaml`, `floors.yaml` and `waivers.yaml`.
`holdout/SEAL` holds the digest of the holdout cases, so that nobody changes them unseen.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from service.evaluation.cases import CaseClass, Dimension, EvalCase, Strict, Template, Words, first_mistake
from service.evaluation.perturb import perturbed, to_perturb, told

M = TypeVar("M", bound=BaseModel)
RESEAL = "look at what changed, then run `svc eval cases lint --seal`"


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
    """Least acceptable rate per dimension, and the dimensions of which a single failure is too many.

    `least_cases`: how many cases of a class there must be, with those held out, for its figures to mean anything.
    """

    floors: dict[Dimension, Annotated[float, Field(gt=0, le=1)]]
    zero_tolerance: list[Dimension]
    limits: Limits = Limits()
    least_cases: Annotated[dict[CaseClass, Annotated[int, Field(ge=1)]], Field(default_factory=dict)]

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

    The digest changes with any content that is measured, not with comments or waivers. It is the same whether or not
    the holdout cases are loaded: their `seal` stands for them.
    """

    name: str
    cases: tuple[EvalCase, ...]
    templates: tuple[Template, ...]
    floors: Floors
    waivers: tuple[Waiver, ...] = ()
    holdout: frozenset[str] = frozenset()
    seal: str = ""

    @property
    def open_cases(self) -> list[EvalCase]:
        """The cases that every run sends."""
        return [case for case in self.cases if case.id not in self.holdout]

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of `asked` and the floors: what a verdict depends on."""
        return digest_of([self.asked, self.floors.model_dump(mode="json", exclude={"least_cases"})])

    @property
    def read(self) -> dict[str, str]:
        """By id twelve digits that change with what a case or template says or expects, also of a sealed one."""
        told = [*((case.id, _dumped([case])) for case in self.cases), *((t.id, t.model_dump()) for t in self.templates)]
        return {id_: digest_of(content)[:12] for id_, content in told}

    @property
    def asked(self) -> str:
        """SHA-256, in hex, of cases, their perturbed texts, templates and seal: what scores depend on."""
        variants = {case.id: perturbed(case) for case in to_perturb(self.open_cases)}
        texts = [[id_, name, t.subject, t.body] for id_, made in variants.items() for name, t in made.items()]
        content = {
            "cases": _dumped(self.open_cases),
            "variants": texts,
            "templates": [template.model_dump(mode="json") for template in self.templates],
            "seal": self.seal,
        }
        return digest_of(content)


def digest_of(content: Any) -> str:
    """SHA-256, in hex, of the canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def suite_folder(suite: str) -> Path:
    """The folder of a suite under evals/, or the given one. Raises `SuiteError` when there is none."""
    folder = Path("evals") / suite  # an absolute path stays what it is
    if not folder.is_dir():
        there = ", ".join(sorted(place.name for place in Path("evals").glob("*/"))) or "none"
        raise SuiteError(f"no suite at {folder}; run from the project's directory. Suites here: {there}")
    return folder


def load_suite(folder: Path, holdout: bool = False) -> Suite:
    """The suite in `folder`, with its holdout cases if wanted. Raises `SuiteError` at the first mistake."""
    cases = _cases_of(folder / "cases")
    if not cases:
        raise SuiteError(f"{folder / 'cases'}: no cases")
    sealed = _cases_of(folder / "holdout") if holdout else []
    seal = seal_in(folder)
    if holdout and seal != seal_of(sealed):
        raise SuiteError(f"{folder / 'holdout'}: the cases do not fit their SEAL: {RESEAL}")
    _refuse_duplicates([case.id for case in (*cases, *sealed)], folder / "cases")
    return Suite(
        name=folder.name,
        cases=(*cases, *sealed),
        templates=tuple(templates_in(folder)),
        floors=floors_in(folder / "floors.yaml"),
        waivers=tuple(waivers_in(folder)),
        holdout=frozenset(case.id for case in sealed),
        seal=seal,
    )


def cases_by_file(folder: Path) -> dict[Path, list[EvalCase]]:
    """Every case, also of the holdout, by the file it is in. Raises `SuiteError`."""
    files = sorted([*(folder / "cases").glob("*.yaml"), *(folder / "holdout").glob("*.yaml")])
    return {file: _entries(file, EvalCase) for file in files}


def seal_in(folder: Path) -> str:
    """What holdout/SEAL of the suite holds; empty without one."""
    file = folder / "holdout" / "SEAL"
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def reseal(folder: Path) -> None:
    """Make holdout/SEAL fit the holdout cases as they are now. Raises `SuiteError`."""
    seal = seal_of(_cases_of(folder / "holdout"))
    (folder / "holdout").mkdir(exist_ok=True)
    (folder / "holdout" / "SEAL").write_text(f"{seal}\n", encoding="utf-8")


def seal_of(sealed: Iterable[EvalCase]) -> str:
    """What SEAL must hold for these holdout cases; nothing for none."""
    cases = _dumped(sealed)
    return digest_of({"cases": cases}) if cases else ""


def templates_in(folder: Path) -> list[Template]:
    """The suite's templates, each of which can be told for each of its people."""
    file = folder / "counterfactuals.yaml"
    templates = _entries(file, Template)
    for template in templates:
        for person in template.people:
            try:
                told(template, person)
            except ValueError as error:
                raise SuiteError(f"{file}: case {template.id}: {error}") from None
    _refuse_duplicates([template.id for template in templates], file)
    return templates


def waivers_in(folder: Path) -> list[Waiver]:
    """The suite's waivers, over or not."""
    return _entries(folder / "waivers.yaml", Waiver)


def rows_in(file: Path) -> list[tuple[int, Any]]:
    """The entries of a file, numbered from 1, before anything is known of them."""
    rows = _yaml(file)
    if not isinstance(rows, list):
        raise SuiteError(f"{file}: must be a list")
    return list(enumerate(rows, start=1))


def entry(file: Path, number: int, row: Any, model: type[M]) -> M:
    """One entry of a file, valid. Raises `SuiteError`."""
    name = row.get("id", f"number {number}") if isinstance(row, dict) else f"number {number}"
    try:
        return model.model_validate(row)
    except ValidationError as error:
        raise SuiteError(f"{file}: case {name}: {first_mistake(error)}") from None


def floors_in(file: Path) -> Floors:
    """The floors of a suite."""
    try:
        return Floors.model_validate(_yaml(file))
    except ValidationError as error:
        raise SuiteError(f"{file}: {first_mistake(error)}") from None


def _cases_of(folder: Path) -> list[EvalCase]:
    return [case for file in sorted(folder.glob("*.yaml")) for case in _entries(file, EvalCase)]


def _entries(file: Path, model: type[M]) -> list[M]:
    return [entry(file, number, row, model) for number, row in rows_in(file)] if file.exists() else []


def _dumped(cases: Iterable[EvalCase]) -> list[Any]:
    return [case.model_dump(mode="json", by_alias=True) for case in cases]


def _yaml(file: Path) -> Any:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where there is one
        return yaml.load(file.read_text(encoding="utf-8"), loader)  # noqa: S506 - both are safe
    except FileNotFoundError:
        raise SuiteError(f"{file}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"{file}: not YAML in UTF-8: {' '.join(str(error).split())}") from None


def _refuse_duplicates(ids: list[str], place: Path) -> None:
    for twice in (one for one, times in Counter(ids).items() if times > 1):
        raise SuiteError(f"{place}: case {twice}: the id is used twice")
