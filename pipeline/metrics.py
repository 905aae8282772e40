"""Scores of predictions, with their intervals and floors: plain functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
WITHIN = 0.04
"""An answer of the addition and multiplication problems is right if its error is below this."""


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % interval [low, high]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def top_k_hits(outputs: Floats, targets: Ints, k: int) -> NDArray[np.bool_]:
    """(N,) whether the target is among the k largest of its outputs (N, C); a tie is no hit.

    So a net that gives all classes the same output is never right by the order of the classes.
    """
    target_outputs = np.take_along_axis(outputs, targets[:, None], axis=1)
    num_others_as_good = (outputs >= target_outputs).sum(axis=1) - 1
    finite = np.isfinite(outputs).all(axis=1)
    hits: NDArray[np.bool_] = (num_others_as_good < k) & finite
    return hits


def answers(outputs: Floats, targets: Ints) -> NDArray[np.int64]:
    """(N,) the class with the largest of the finite outputs (N, C); tied with the target, another.

    So an answer is the target exactly where `top_k_hits(..., k=1)` is true.
    """
    others = outputs.copy()
    np.put_along_axis(others, targets[:, None], -np.inf, axis=1)
    hits = top_k_hits(outputs, targets, k=1)
    return np.where(hits, targets, others.argmax(axis=1)).astype(np.int64)


def softmax(outputs: Floats) -> Floats:
    """Probabilities (..., C), adding up to 1, of outputs (..., C).

    To the bits of scipy's, whose import takes a tenth of a second.
    """
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def target_probabilities(outputs: Floats, targets: Ints) -> Floats:
    """(N,) the softmax of the outputs (N, C) at the target."""
    shares = softmax(outputs.astype(np.float64))
    return np.take_along_axis(shares, targets[:, None], axis=1)[:, 0]


def within(predictions: Floats, targets: Floats, tolerance: float = WITHIN) -> NDArray[np.bool_]:
    """(N,) whether each prediction (N,) is less than `tolerance` from its target (N,)."""
    hits: NDArray[np.bool_] = np.abs(predictions - targets) < tolerance
    return hits


def class_weights(targets: Ints) -> Floats:
    """(N,) weights that sum to 1 and give every class of the targets the same share."""
    classes, places, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return 1.0 / (len(classes) * counts[places])


def constant_floor(targets: Ints, k: int = 1) -> float:
    """The best share of hits that always giving the same k classes can reach on these targets."""
    counts = np.sort(np.unique(targets, return_counts=True)[1])
    return float(counts[-k:].sum() / len(targets))


def constant_class_floor(targets: Ints) -> float:
    """The mean per-class accuracy of always giving the same class."""
    return 1.0 / len(np.unique(targets))


def constant_within_floor(targets: Floats, tolerance: float = WITHIN) -> float:
    """The best share of these targets (N,) that one constant answer can be `within`."""
    ordered = np.sort(targets)
    ends = np.searchsorted(ordered, ordered + 2 * tolerance, side="left")
    return float((ends - np.arange(len(ordered))).max() / len(ordered))


def estimate_share(
    hits: NDArray[np.bool_] | Floats, sources: Sequence[str], weights: Floats | None = None
) -> Estimate:
    """The weighted share of hits and its 95 % interval.

    `hits` is (N,) for one run or (S, N) for S seeds on the same N clips; `sources` names what each
    clip was cut from: clips of one source are no independent evidence. The variance is that of the
    sums over sources plus that of the seeds' mean (`_add_seeds`); the interval is Clopper and
    Pearson's at the number of independent clips that has this variance (Korn & Graubard 1998). With
    one seed and one clip per source, that number is N. Where all are hits, or none, it is the
    number of sources.
    """
    matrix = np.atleast_2d(np.asarray(hits, dtype=np.float64))
    num_clips = matrix.shape[1]
    if weights is None:
        weights = np.full(num_clips, 1.0 / num_clips)
    per_clip = matrix.mean(axis=0)
    value = float(np.clip(per_clip @ weights, 0.0, 1.0))
    if value * (1.0 - value) < 1e-12:
        share_of_source = _sum_by_source(weights, sources)
        return Estimate(value, *_clopper_pearson(value, float(1.0 / (share_of_source**2).sum())))
    variance = float((_sum_by_source(weights * (per_clip - value), sources) ** 2).sum())
    variance = _add_seeds(variance, matrix @ weights)
    # A grouping can make the variance of a lucky draw tiny: never claim more than N clips know.
    effective = value * (1.0 - value) / max(variance, value * (1.0 - value) / num_clips)
    return Estimate(value, *_clopper_pearson(value, effective))


def estimate_mean(
    values: Floats, sources: Sequence[str], weights: Floats | None = None
) -> Estimate:
    """The mean of `values`, (N,) or (S, N) for S seeds, and its 95 % interval by Student's t.

    With `weights` (N,) that sum to 1, the weighted mean, as of N clips of unlike lengths: the
    variance is then a ratio's (Cochran 1977, 6.3). Sources and seeds count as in `estimate_share`.
    One source alone bounds nothing: [-inf, inf].
    """
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float64))
    per_clip = matrix.mean(axis=0)
    if weights is None:
        weights = np.full(len(per_clip), 1.0 / len(per_clip))
        value, of_seeds = float(per_clip.mean()), matrix.mean(axis=1)
    else:
        value, of_seeds = float(per_clip @ weights), matrix @ weights
    sums = _sum_by_source((per_clip - value) * weights, sources)
    if len(sums) == 1:
        return Estimate(value, -np.inf, np.inf)
    variance = float((sums**2).sum()) * len(sums) / (len(sums) - 1)
    variance = _add_seeds(variance, of_seeds)
    half = _student(len(sums) - 1) * variance**0.5
    return Estimate(value, value - half, value + half)


def estimate_ratio(sums: Floats, weights: Floats, sources: Sequence[str]) -> Estimate:
    """The `sums` over the `weights` (N,), each added up, and its 95 % interval by Student's t.

    `sums` is (N,), or (S, N) for S seeds; sources and seeds count as in `estimate_mean`, of what
    each sum differs from its weight times the ratio.
    """
    matrix = np.atleast_2d(np.asarray(sums, dtype=np.float64))
    mean_weight = weights.mean(dtype=np.float64)
    ratio = matrix.mean() / mean_weight
    return estimate_mean(ratio + (matrix - ratio * weights) / mean_weight, sources)


def _sum_by_source(values: Floats, sources: Sequence[str]) -> Floats:
    _, source_of = np.unique(np.asarray(sources), return_inverse=True)
    return np.bincount(source_of, values).astype(np.float64)


def _add_seeds(variance: float, means: Floats) -> float:
    """The variance of the mean over seeds: of its clips, and of the draw of the seeds.

    A spread over few seeds is itself uncertain: the sum is enlarged as Student's t is against the
    normal, at Welch and Satterthwaite's degrees of freedom.
    """
    from scipy import stats  # noqa: PLC0415

    if len(means) == 1:
        return variance
    of_seeds = float(means.var(ddof=1)) / len(means)
    if of_seeds == 0.0:
        return variance
    freedom = (variance + of_seeds) ** 2 / (of_seeds**2 / (len(means) - 1))
    widening = _student(freedom) / float(stats.norm.ppf(0.975))
    return (variance + of_seeds) * widening**2


def _student(freedom: float) -> float:
    """What 2.5 % of Student's t exceed."""
    from scipy import stats  # noqa: PLC0415 - commands that only answer --help need no scipy

    return float(stats.t.ppf(0.975, freedom))


def _clopper_pearson(share: float, num: float) -> tuple[float, float]:
    from scipy import stats  # noqa: PLC0415

    hits = share * num
    low = stats.beta.ppf(0.025, hits, num - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(0.975, hits + 1, num - hits) if hits < num else 1.0
    return float(low), float(high)


def confusion_matrix(predicted: Ints, targets: Ints, num_classes: int) -> NDArray[np.int64]:
    """(C, C) numbers of clips; row: target, column: prediction."""
    flat = np.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)
