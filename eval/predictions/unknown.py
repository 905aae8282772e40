"""Whether outputs speak of any label at all: confidences, and the least that is trusted.

A net that knows C labels spreads its probabilities over these, whatever it is shown. The baselines
of open-set recognition take a number of its outputs as its confidence, and say that below a
threshold it is none of the labels: the largest probability (Hendrycks & Gimpel 2017), the free
energy (Liu et al. 2020), the largest output (Hendrycks et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import softmax, top_k_hits

NONE = "none of these"
KEPT_SHARE = 0.95
"""Of the validation clips that are answered rightly: above the threshold."""

Floats = NDArray[np.floating]


def take_largest_probability(outputs: Floats) -> Floats:
    """(N,) the largest probability of calibrated outputs (N, C)."""
    return np.asarray(softmax(outputs).max(axis=-1))


def take_energy(outputs: Floats) -> Floats:
    """(N,) minus the free energy of calibrated outputs (N, C): log of the sum of exp(output)."""
    from scipy.special import logsumexp  # noqa: PLC0415 - answers to videos come without it

    return np.asarray(logsumexp(outputs, axis=-1))


def take_largest_output(outputs: Floats) -> Floats:
    """(N,) the largest of calibrated outputs (N, C)."""
    return np.asarray(outputs.max(axis=-1))


CONFIDENCES: dict[str, Callable[[Floats], Floats]] = {
    "probability": take_largest_probability,
    "energy": take_energy,
    "output": take_largest_output,
}
"""Functions (N, C) -> (N,), the larger the surer; the first is what thresholds are for."""


def find_threshold(probabilities: Floats, targets: NDArray[np.integer]) -> float | None:
    """The threshold that KEPT_SHARE of the rightly answered of N clips reach; None without any.

    `probabilities` (N, C), `targets` (N,). Of fewer than 21 right clips it is the least sure one.
    """
    right = probabilities.max(axis=-1)[top_k_hits(probabilities, targets, 1)]
    return float(np.quantile(right, 1 - KEPT_SHARE, method="lower")) if len(right) else None


def describe_threshold(threshold: float | None) -> str:
    """What the threshold does, in a sentence."""
    if threshold is None:
        return f"Every video gets a label: there is no threshold for {NONE}."
    return f"The answer is {NONE} where no label reaches a probability of {threshold:.3g}."


def name_answer(probabilities: Floats, labels: Sequence[str], threshold: float | None) -> str:
    """The likeliest label of the probabilities (C,), or NONE."""
    return labels[int(probabilities.argmax())] if is_known(probabilities, threshold) else NONE


def with_nearest(answer: str, nearest: str, *, known: bool) -> str:
    """The answer in words; of NONE with the label that came nearest."""
    return answer if known else f"{answer} (nearest: {nearest})"


def is_known(probabilities: Floats, threshold: float | None) -> bool:
    """Whether the likeliest of the probabilities (C,) reaches the threshold; without one always."""
    return threshold is None or bool(probabilities.max() >= threshold)
