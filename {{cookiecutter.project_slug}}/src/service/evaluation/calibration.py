"""Whether a confidence of .8 is right eight times in ten."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import numpy as np

from service.application.decision import JsonObject
from service.evaluation.statistics import SEED, Numbers

BINS = 5  # with ten, a perfectly calibrated model shows an error of .067 at 200 answers by chance alone; with five .047
SIMULATED = 2_000


def calibration(pairs: Sequence[tuple[float, float]]) -> JsonObject | None:
    """The report's `calibration`, from (confidence, 1 if right else 0) of each answer; None without answers.

    `ece`: expected calibration error over bins of equal size, sum of n_b / n * |confidence_b - accuracy_b|, as in
    P. Liang et al., "Holistic evaluation of language models", 2022. `ece_null_95`: 95 % of perfectly calibrated models
    with the same confidences stay below it, so an error under it shows nothing. `brier`: mean squared error (G. W.
    Brier, Monthly Weather Review 78 (1950) 1-3). `coverage`: accuracy among the most confident 10, 20, ... 100 %.
    Answers of equal confidence share their accuracy, so that the order of cases changes nothing.
    """
    if not pairs:
        return None
    n = len(pairs)
    confidence, right = np.array(sorted(pairs), dtype=np.float64).T
    shared = _shared(confidence, right)
    edges = np.linspace(0, n, min(BINS, n) + 1).astype(np.int64)
    drawn = np.random.default_rng(SEED).random((SIMULATED, n)) < confidence
    null = _ece(confidence, _shared(confidence, drawn.astype(np.float64)), edges)
    coverage = [[tenth / 10, _round(shared[n - ceil(n * tenth / 10) :].mean())] for tenth in range(1, 11)]
    return {
        "n": n,
        "ece": _round(_ece(confidence, shared, edges)),
        "ece_null_95": _round(np.quantile(null, 0.95)),
        "brier": _round(np.square(confidence - right).mean()),
        "bins": [
            {"confidence": _round(confidence[a:b].mean()), "accuracy": _round(shared[a:b].mean()), "n": int(b - a)}
            for a, b in pairwise(edges)
        ],
        "coverage": coverage,
        "top_10_accuracy": coverage[0][1],
    }


def _ece(confidence: Numbers, right: Numbers, edges: np.ndarray) -> Numbers:
    """Along the last axis, which is sorted by confidence."""
    gaps = np.add.reduceat(confidence - right, edges[:-1], axis=-1)
    return np.abs(gaps).sum(axis=-1) / len(confidence)  # type: ignore[no-any-return]


def _shared(confidence: Numbers, right: Numbers) -> Numbers:
    """Each answer's accuracy among those of its confidence, along the last axis."""
    _, starts, sizes = np.unique(confidence, return_index=True, return_counts=True)
    return np.repeat(np.add.reduceat(right, starts, axis=-1) / sizes, sizes, axis=-1)


def _round(value: np.floating | Numbers) -> float:
    return round(float(value), 4)
