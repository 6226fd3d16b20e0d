"""What is wrong with a suite on disk beyond what keeps it from loading, one line for each mistake."""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from service.evaluation.cases import EvalCase, Template, schema
from service.evaluation.perturb import told
from service.evaluation.suites import (
    RESEAL,
    SuiteError,
    entry,
    floors_in,
    rows_in,
    seal_in,
    seal_of,
    templates_in,
    waivers_in,
)

# Share of the words of two messages that both have, of the words that either has, from which they count as one.
NEAR = 0.8
# The kinds of personal data in a text that a case from this source may not hold.
FindPersonal = Callable[[str, str], Iterable[str]]
Files = Mapping[Path, list[EvalCase]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a case, or a whole file (`case` is empty), and what to do."""

    file: str
    case: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.case}: {self.problem}" if self.case else f"{self.file}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Linted:
    """A suite looked through: how much of what there is (that as text), and every problem found."""

    suite: str
    cases: int
    holdout: int
    templates: int
    problems: list[Problem]

    def __str__(self) -> str:
        return f"{self.suite}: {self.cases} cases, {self.holdout} of them held out; {self.templates} templates"


def lint(folder: Path, personal: FindPersonal, today: date) -> Linted:
    """Everything that is wrong with the suite in `folder`. A file that cannot be read is a problem like others."""
    problems: list[Problem] = []
    is_open, held_out = (_readable(folder / place, problems) for place in ("cases", "holdout"))
    files = {**is_open, **held_out}
    templates = list[Template]()
    with _noted(problems):
        templates = templates_in(folder)
    with _noted(problems):
        problems += _class_mix(folder / "floors.yaml", files)
    with _noted(problems):
        problems += _waivers(folder, files, today)
    problems += [*_schema(folder / "schema.json"), *_seal(folder, held_out), *case_problems(files, personal)]
    problems += _templates(folder / "counterfactuals.yaml", templates, personal)
    count, sealed = (sum(map(len, group.values())) for group in (files, held_out))
    return Linted(folder.name, count, sealed, len(templates), problems)


def case_problems(files: Files, personal: FindPersonal) -> Iterator[Problem]:
    """Ids, personal data, and messages that are there twice."""
    cases = [(file, case) for file, cases in files.items() for case in cases]
    times = Counter(case.id for _, case in cases)
    for file, case in cases:
        prefix = case.case_class.value.replace("_", "-")
        if not case.id.startswith(f"{prefix}-"):
            yield Problem(str(file), case.id, f"its class is {case.case_class.value}: begin the id with {prefix}-")
        if times[case.id] > 1:
            yield Problem(str(file), case.id, "the id is used twice: choose another")
        for part, text in (("subject", case.ticket.subject), ("body", case.ticket.body)):
            yield from _personal(file, case.id, part, personal(text, case.source))
    for first, second, share in alike([message_of(case) for _, case in cases]):
        file, case = cases[second]
        what = "the same message as" if share == 1 else f"{share:.0%} of its words are those of"
        yield Problem(str(file), case.id, f"{what} {cases[first][1].id}: change or drop one of them")


def message_of(case: EvalCase) -> str:
    """Subject and body."""
    return f"{case.ticket.subject}\n{case.ticket.body}"


def normalised(message: str) -> str:
    """The message's words in lower case: what two spellings of the same message have in common."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", message).casefold())) or message.strip()


@contextmanager
def _noted(problems: list[Problem]) -> Iterator[None]:
    """A block whose `SuiteError` becomes a problem."""
    try:
        yield
    except SuiteError as error:
        file, _, mistake = str(error).partition(": ")
        named = re.match(r"case (.+?): (.*)", mistake)
        problems.append(Problem(file, named[1], named[2]) if named else Problem(file, "", mistake))


def _readable(folder: Path, problems: list[Problem]) -> dict[Path, list[EvalCase]]:
    """The valid cases of each file."""
    files: dict[Path, list[EvalCase]] = {}
    for file in sorted(folder.glob("*.yaml")):
        files[file] = []
        with _noted(problems):
            for number, row in rows_in(file):
                with _noted(problems):
                    files[file].append(entry(file, number, row, EvalCase))
    if folder.name == "cases" and not any(files.values()):
        problems.append(Problem(str(folder), "", "no cases: write some, or run `svc eval cases add`"))
    return files


def _schema(file: Path) -> Iterator[Problem]:
    try:
        shown = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        shown = None
    if shown != json.loads(json.dumps(schema())):
        yield Problem(str(file), "", f"not what the code says: run `python -m service.evaluation.cases > {file}`")


def _seal(folder: Path, held_out: Files) -> Iterator[Problem]:
    if seal_in(folder) != seal_of(case for cases in held_out.values() for case in cases):
        yield Problem(str(folder / "holdout" / "SEAL"), "", f"does not fit the holdout cases: {RESEAL}")


def _class_mix(floors: Path, files: Files) -> list[Problem]:
    least, there = floors_in(floors).least_cases, Counter(case.case_class for cases in files.values() for case in cases)
    return [
        Problem(str(floors), "", f"{there[name]} cases of class {name.value}, at least {wanted} wanted: add some")
        for name, wanted in least.items()
        if there[name] < wanted
    ]


def _waivers(folder: Path, files: Files, today: date) -> list[Problem]:
    known, file = {case.id for cases in files.values() for case in cases}, str(folder / "waivers.yaml")
    waivers = waivers_in(folder)
    unknown = [waiver.case for waiver in waivers if waiver.case not in known]
    over = [waiver for waiver in waivers if waiver.until < today]
    return [Problem(file, case, "there is no such case: take the waiver out") for case in unknown] + [
        Problem(file, waiver.case, f"the waiver ended on {waiver.until}: mend what fails, or ask {waiver.owner}")
        for waiver in over
    ]


def _templates(file: Path, templates: list[Template], personal: FindPersonal) -> Iterator[Problem]:
    for template in templates:
        texts = [told(template, person) for person in template.people]
        if len({(text.subject, text.body) for text in texts}) < len(texts):
            yield Problem(str(file), template.id, "two people tell the same: name in the text what tells them apart")
        for kinds in {tuple(personal(f"{text.subject}\n{text.body}", "hand-written")) for text in texts}:
            yield from _personal(file, template.id, "a told text", kinds)


def _personal(file: Path, case: str, part: str, kinds: Iterable[str]) -> Iterator[Problem]:
    if named := ", ".join(sorted(set(kinds))):
        told = f"personal data in {part} ({named}): write a value that is reserved for examples"
        yield Problem(str(file), case, f"{told} (src/service/cli/scrubbing.py has some)")


def alike(messages: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Pairs of messages, by place, with the same or nearly the same words, and the share that they have in common.

    Sets so alike share one of their rarest words, so only those that do are compared.
    """
    texts = [normalised(message) for message in messages]
    words = [frozenset(text.split()) for text in texts]
    times = Counter(word for each in words for word in each)
    seen: dict[str, list[int]] = {}
    for second, mine in enumerate(words):
        rarest = sorted(mine, key=lambda word: (times[word], word))
        rarest = rarest[: len(mine) - math.ceil(NEAR * len(mine)) + 1]
        for first in sorted({other for word in rarest for other in seen.get(word, ())}):
            share = len(mine & words[first]) / len(mine | words[first])
            if texts[first] == texts[second]:
                yield first, second, 1
            elif share >= NEAR:
                yield first, second, min(share, 0.99)
        for word in rarest:
            seen.setdefault(word, []).append(second)
