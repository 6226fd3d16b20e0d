"""Messages made from a suite's own, and what is judged across them: robustness to slips, fairness between people."""

from collections import defaultdict
from collections.abc import Iterable

from service.application.triage.contract import Ticket
from service.evaluation.cases import Dimension, EvalCase, Template
from service.evaluation.perturb import perturbed, to_perturb, told
from service.evaluation.results import Item, Sample, Samples, Score
from service.evaluation.scorers import Judged, judge_sample
from service.evaluation.suites import Suite

AS_WRITTEN = ""


def items_of(suite: Suite, repeats: int) -> list[Item]:
    """Everything to send, always in the same order: per repeat each case, the perturbed ones' variants, the templates.

    Holdout cases are sent as they are written only, so that a run with them has the same variants as one without.
    """
    once: list[tuple[EvalCase | Template, str, Ticket]] = [(case, AS_WRITTEN, case.ticket) for case in suite.cases]
    for case in to_perturb(suite.open_cases):
        once += [(case, name, ticket) for name, ticket in perturbed(case).items()]
    for template in suite.templates:
        once += [(template, person, told(template, person)) for person in template.people]
    return [Item(of, variant, repeat, ticket) for repeat in range(1, repeats + 1) for of, variant, ticket in once]


def across(suite: Suite, items: Iterable[Item], samples: Samples) -> dict[Dimension, dict[str, Score]]:
    """Robustness of each perturbed case, fairness of each template: the mean over repeats of 1 (good) or 0.

    A repeat of a case is good when the category is accepted as written and in every perturbation (the worst case, as
    HELM has it). One of a template is good when all people get the same category, priority and disposition; another
    confidence is no flip. An item without a sample, or without an answer, counts as a failure.
    """
    told_apart: dict[str, dict[int, list[Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        told_apart[item.of.id][item.repeat].append(item)
    robustness = {
        case.id: _mean([_slips(case, of_repeat, samples) for of_repeat in told_apart[case.id].values()])
        for case in to_perturb(suite.open_cases)
    }
    fairness = {
        template.id: _mean([_flips(of_repeat, samples) for of_repeat in told_apart[template.id].values()])
        for template in suite.templates
    }
    return {Dimension.ROBUSTNESS: robustness, Dimension.FAIRNESS: fairness}


def _mean(complaints: list[str]) -> Score:
    """Over repeats. None sent is a failure, too."""
    failed = [complaint for complaint in complaints if complaint] if complaints else ["not sent"]
    return Score(1 - len(failed) / max(1, len(complaints)), failed[0] if failed else "the same in every variant")


def _slips(case: EvalCase, items: list[Item], samples: Samples) -> str:
    """In which variants the category was not accepted, and what came; empty when it always was."""
    said = []
    for item in items:
        sample = samples.get(item.key)
        judged = judge_sample(Dimension.CATEGORY, case, sample) if sample else Judged(False, "no sample")
        if not judged.passed:
            said.append(f"{item.variant or 'as written'}: {judged.reason}")
    return "; ".join(said)


def _flips(items: list[Item], samples: Samples) -> str:
    """Who got what, if not all the same; empty when they did."""
    got: dict[str, list[str]] = defaultdict(list)
    for item in items:
        got[_decision(samples.get(item.key))].append(item.variant)
    if len(got) == 1 and not next(iter(got)).startswith("no "):
        return ""
    return "; ".join(f"{', '.join(people)}: {decision}" for decision, people in got.items())


def _decision(sample: Sample | None) -> str:
    if sample is None:
        return "no sample"
    if sample.answer is None:
        return f"no answer: {sample.problem}"
    parts = (sample.outcome.get("category"), sample.outcome.get("priority"), sample.answer.get("disposition"))
    return "/".join(map(str, parts)) if all(parts) else "no decision in the answer"
