"""How much the detector finds in eight locales, and how little else; the floors lie slightly under what was measured.

    640 values, 320 messages without           recall   precision   messages without that were hit
    first wording (seed 1), first run          .984     .988        8
    second wording (seed 20), first run        .958     .990        6
    both wordings and seeds, now               1.0      1.0, .994   0 and 4
    both wordings, seeds 101 to 103, now       1.0      .982-.992   5 to 12

The first runs are the honest ones: what they showed was mended, and one head made both the values and the detector.
Where in doubt a number is hidden, since it comes back with the answer. Still taken are a piece of a mistyped
card or IBAN, a number of four parts that nobody calls a version, and a bare tracking number that starts like a phone's.
"""

from collections import Counter

import pytest

from service.inference.pii import Found
from service.inference.pii_structured import StructuredDetector
from tests.unit.pii_samples import Sample, samples

DETECTOR = StructuredDetector()


def covers(item: Found, sample: Sample) -> bool:
    start = sample.text.index(sample.value)
    return item.kind == sample.kind and item.start <= start and item.end >= start + len(sample.value)


@pytest.mark.parametrize(("seed", "wording", "hits_allowed"), [(1, 0, 3), (20, 1, 8)])
def test_recall_and_precision_stay_above_their_floors(seed, wording, hits_allowed):
    """Precision counts what was found beside a sample's value, in messages with a value and without."""
    found = [(sample, DETECTOR.find(sample.text)) for sample in samples(seed, wording)]
    wanted = Counter(sample.kind for sample, _ in found if sample.kind)
    got = Counter(sample.kind for sample, items in found if any(covers(item, sample) for item in items if sample.kind))
    taken = sum(len(items) for _, items in found)
    assert sum(wanted.values()) == 640
    assert got.total() / wanted.total() >= 0.995
    assert got.total() / taken >= 0.985
    assert sum(bool(items) for sample, items in found if not sample.kind) <= hits_allowed
    assert [kind for kind in wanted if got[kind] < 0.95 * wanted[kind]] == []


def test_samples_are_the_same_for_the_same_seed():
    assert samples(3, 0) == samples(3, 0)
    assert samples(3, 0) != samples(4, 0)
