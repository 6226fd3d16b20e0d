"""What is made of cases is the same everywhere, spares what must stay, and is judged by its worst."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.evaluation.cases import Dimension, Template
from service.evaluation.perturb import PERTURBATIONS, PERTURBED_CASES, perturbed, to_perturb, told
from service.evaluation.results import Sample
from service.evaluation.suites import Floors, Suite
from service.evaluation.variants import across, items_of
from tests.evaluation_samples import CASE, FLOORS, answer, case

ROOT = Path(__file__).parents[2]
SPARED = (
    "INV-20431",
    "#88213",
    "29.00 EUR",
    "$4.50",
    "ada.l@shop.example",
    "https://x.example/a?b=Track",
    "RMA ABC",
)
BODY = f"""Hello, I do not recognise a charge of {SPARED[3]} on my account. Please look at the package {SPARED[1]} and
the invoice {SPARED[0]} of 2 March, {SPARED[2]}. Write to {SPARED[4]} or see {SPARED[5]}, my code is {SPARED[6]}.
The delivery has not arrived, and the payment was definitely received. I would apologize, really."""
TEMPLATE = Template.model_validate(
    {
        "id": "fair-name",
        "axis": "name",
        "subject": "From {name}",
        "body": "I am {name}. Where is my parcel?",
        "people": {"anna": {"name": "Anna"}, "yusuf": {"name": "Yusuf"}, "li": {"name": "Li"}},
    }
)


def told_case(number=0, body=BODY, **changes):
    return case(CASE | {"id": f"core-{number}", "ticket": {"subject": "My order", "body": body}} | changes)


def suite(cases=(), templates=(), holdout=()):
    floors = Floors.model_validate(FLOORS)
    return Suite("small", tuple(cases), tuple(templates), floors, holdout=frozenset(holdout))


def samples_of(items, **answers):
    """Good answers, but for variants that are named."""
    return {item.key: answers.get(item.variant or "as_written", Sample(answer(), None, 0.1)) for item in items}


def wrong(**outcome):
    return Sample(answer(**outcome), None, 0.1)


class TestPerturbations:
    @pytest.mark.parametrize("name", PERTURBATIONS)
    def test_each_changes_words_and_spares_numbers_addresses_and_codes(self, name):
        chances = iter(lambda: 0.01, None)  # every word and gap is hit
        text = PERTURBATIONS[name](BODY, chances)
        assert text != BODY
        assert [spared for spared in SPARED if spared.lower() not in text.lower()] == []
        assert re.findall(r"\d+", text) == re.findall(r"\d+", BODY)

    @pytest.mark.parametrize("name", PERTURBATIONS)
    @pytest.mark.parametrize("body", ["?", "12 345", "😡📦", "a@b.example", "\t\n x", "ÄÖÜ ſtraße", "«»", ""])
    def test_what_has_no_words_is_left_alone_or_at_least_survives(self, name, body):
        PERTURBATIONS[name](body, iter(lambda: 0.99, None))

    def test_a_case_gets_three_that_differ_from_it_and_from_each_other(self):
        for number in range(50):
            made = perturbed(told_case(number))
            assert len(made) == len({ticket.body for ticket in made.values()} | {BODY}) - 1 == 3

    def test_what_would_not_fit_the_contract_any_more_is_not_sent(self):
        full = told_case(body=("word " * 1600)[:8000])
        made = perturbed(full)
        assert made
        assert all(len(ticket.body) <= 8000 for ticket in made.values())
        assert not {"spaces", "fillers"} & set(made)

    def test_they_are_the_same_in_every_process(self):
        texts = [[name, ticket.subject, ticket.body] for name, ticket in perturbed(told_case()).items()]
        here = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        told_again = """
import hashlib, json
from tests.unit.test_variants import perturbed, told_case
texts = [[name, ticket.subject, ticket.body] for name, ticket in perturbed(told_case()).items()]
print(hashlib.sha256(json.dumps(texts).encode()).hexdigest(), end="")
"""
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": "12345"}
        run = subprocess.run([sys.executable, "-c", told_again], env=environment, capture_output=True, text=True)
        assert run.stdout == here, run.stderr


class TestItems:
    def test_sixty_english_core_cases_are_perturbed_and_none_of_the_holdout(self):
        cases = [told_case(n) for n in range(90)] + [told_case(100, language="de")]
        held_out = {f"core-{n}" for n in range(30, 40)}
        chosen = {case.id for case in to_perturb(suite(cases, holdout=held_out).open_cases)}
        assert len(chosen) == PERTURBED_CASES
        assert not chosen & (held_out | {"core-100"})
        assert chosen == {case.id for case in to_perturb(c for c in cases if c.id not in held_out)}

    def test_all_is_sent_in_the_same_order_in_each_repeat(self):
        items = items_of(suite([told_case(1), told_case(2)], [TEMPLATE]), repeats=2)
        once = [(item.of.id, item.variant) for item in items if item.repeat == 1]
        assert once == [(item.of.id, item.variant) for item in items if item.repeat == 2]
        assert [pair for pair in once if not pair[1]] == [("core-1", ""), ("core-2", "")]
        assert [person for id_, person in once if id_ == "fair-name"] == ["anna", "yusuf", "li"]
        assert len({item.key for item in items}) == len(items) == 2 * (2 + 2 * 3 + 3)

    def test_a_template_lacking_a_value_is_refused_with_the_persons_name(self):
        lacking = TEMPLATE.model_copy(update={"body": "I live in {town}."})
        with pytest.raises(ValueError, match="anna has no town"):
            told(lacking, "anna")

    def test_the_digest_follows_the_perturbed_texts_and_the_seal_but_not_the_holdout(self, monkeypatch):
        one, held_out = told_case(1), told_case(2)
        original = suite([one]).digest
        assert suite([one, held_out], holdout={"core-2"}).digest == original
        assert Suite("small", (one,), (), Floors.model_validate(FLOORS), seal="ab").digest != original
        name = next(iter(perturbed(one)))
        monkeypatch.setitem(PERTURBATIONS, name, lambda text, chance: text + "!")
        assert suite([one]).digest != original


class TestRobustness:
    def test_the_worst_variant_counts_and_is_named_with_what_came(self):
        small = suite([told_case(1)])
        items = items_of(small, 1)
        slip = items[1].variant
        score = across(small, items, samples_of(items, **{slip: wrong(category="product")}))[Dimension.ROBUSTNESS][
            "core-1"
        ]
        assert (score.value, score.reason) == (0, f"{slip}: wanted billing, got product")

    def test_a_case_that_is_wrong_as_written_is_not_robust(self):
        small = suite([told_case(1)])
        items = items_of(small, 1)
        samples = samples_of(items, as_written=wrong(category="product"))
        assert across(small, items, samples)[Dimension.ROBUSTNESS]["core-1"].reason.startswith("as written: ")

    def test_repeats_are_averaged_after_the_worst_of_each_was_taken(self):
        small = suite([told_case(1)])
        items = items_of(small, 4)
        samples = samples_of(items)
        for repeat, item in ((1, items[1]), (2, items[2])):  # different variants fail in different repeats
            samples[item.of.id, item.variant, repeat] = wrong(category="other")
        assert across(small, items, samples)[Dimension.ROBUSTNESS]["core-1"].value == 0.5

    @pytest.mark.parametrize(
        ("sample", "reason"), [(None, "no sample"), (Sample(None, "HTTP 500", 0.1), "no answer: HTTP 500")]
    )
    def test_what_did_not_come_is_a_failure(self, sample, reason):
        small = suite([told_case(1)], [TEMPLATE])
        items = items_of(small, 1)
        samples = samples_of(items)
        for key in (items[1].key, ("fair-name", "li", 1)):
            del samples[key]
            if sample:
                samples[key] = sample
        scores = across(small, items, samples)
        assert scores[Dimension.ROBUSTNESS]["core-1"].reason == f"{items[1].variant}: {reason}"
        assert scores[Dimension.FAIRNESS]["fair-name"].reason.endswith(f"li: {reason}")

    def test_what_was_never_sent_is_a_failure(self):
        scores = across(suite([told_case(1)], [TEMPLATE]), [], {})
        assert [score.passed for kind in scores.values() for score in kind.values()] == [False, False]


class TestFairness:
    def test_another_confidence_is_no_flip(self):
        small = suite([told_case(1)], [TEMPLATE])
        items = items_of(small, 1)
        assert across(small, items, samples_of(items, li=wrong(confidence=0.1)))[Dimension.FAIRNESS]["fair-name"].passed

    @pytest.mark.parametrize(
        "other",
        [answer("review"), answer(priority="high"), answer(category="account")],
        ids=["desk", "priority", "category"],
    )
    def test_one_person_treated_otherwise_fails_and_the_reason_names_who_got_what(self, other):
        small = suite([told_case(1)], [TEMPLATE])
        items = items_of(small, 1)
        score = across(small, items, samples_of(items, yusuf=Sample(other, None, 0.1)))[Dimension.FAIRNESS]["fair-name"]
        assert score.value == 0
        assert re.fullmatch(r"anna, li: billing/normal/auto; yusuf: \w+/\w+/\w+", score.reason)

    def test_nobody_answered_is_not_fair(self):
        small = suite([told_case(1)], [TEMPLATE])
        items = items_of(small, 1)
        nothing = {item.key: Sample(None, "refused", 0.1) for item in items}
        assert not across(small, items, nothing)[Dimension.FAIRNESS]["fair-name"].passed
