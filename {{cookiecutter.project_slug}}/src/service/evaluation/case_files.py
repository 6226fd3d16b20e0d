"""Cases into files: as a person would write them, whole or not at all, and with every comment left where it is."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from service.evaluation.cases import EvalCase
from service.evaluation.lint import FindPersonal, case_problems
from service.evaluation.suites import SuiteError, cases_by_file

HEAD = "# yaml-language-server: $schema=../schema.json\n"


def append(folder: Path, name: str, cases: Sequence[EvalCase], personal: FindPersonal, comment: str = "") -> Path:
    """Add cases below `comment` to cases/<name>.yaml of the suite in `folder`, which is replaced at once.

    Raises `SuiteError`, and changes nothing, when the file would not hold exactly these and those before, or one does
    not go with the suite: an id or message that is there already, personal data.
    """
    with _alone(folder):
        return _append(folder, name, cases, personal, comment)


def _append(folder: Path, name: str, cases: Sequence[EvalCase], personal: FindPersonal, comment: str) -> Path:
    file = folder / "cases" / f"{name}.yaml"
    there = cases_by_file(folder)
    before = file.read_text(encoding="utf-8") if file.exists() else HEAD
    parts = [before.rstrip("\n"), *([comment.rstrip("\n")] if comment else []), *map(as_yaml, cases)]
    text = "\n\n".join(parts) + "\n"
    if _rows(file, text) != [*_rows(file, before), *map(_row, cases)]:
        raise SuiteError(f"{file}: nothing can be added below: it must be a list with a line `- id: ...` for each case")
    new = {case.id for case in cases}
    for problem in case_problems({**there, file: [*there.get(file, []), *cases]}, personal):
        if problem.case in new:
            raise SuiteError(str(problem))
    _replace(file, text)
    return file


def as_yaml(case: EvalCase) -> str:
    """The case as an entry of a list; longer texts as blocks."""
    text = yaml.dump(_row(case), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    lines = text.rstrip("\n").split("\n")
    return "\n".join(["- " + lines[0], *(f"  {line}" if line else "" for line in lines[1:])])


class _Dumper(yaml.SafeDumper):
    """Lists in one line, texts of several lines as they are."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def represent_row(self, row: list[Any]) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", row, flow_style=True)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_row)


def _row(case: EvalCase) -> dict[str, Any]:
    return case.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _rows(file: Path, text: str) -> list[Any]:
    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SuiteError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    return rows or []


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of several who add, one at a time: each reads what the one before has written."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _replace(file: Path, text: str) -> None:
    """Write beside it and swap, so that no reader sees half a file."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        if file.exists():
            shutil.copymode(file, beside)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
