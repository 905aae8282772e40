"""From predictions to scores: of one run, or of several seeds of one config joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from eval.predictions.predictions import BY_STEP, Predictions
from pipeline import metrics
from pipeline.metrics import Estimate
from pipeline.tasks import CLASSIFICATION, LANGUAGE
from pipeline.tasks.timit import place_folds

TOP_K = 5
FRAME_ERROR = "frame error"


@dataclass(frozen=True)
class Score:
    """A score over the seeds given: their mean with its interval, each one's value, the floor.

    `floor` is what the best constant answer reaches on the same clips.
    """

    name: str
    estimate: Estimate
    of_seeds: tuple[float, ...]
    floor: float
    is_share: bool = True
    """In [0, 1], more is better; otherwise an error, less is better."""

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None for one seed."""
        return float(np.std(self.of_seeds, ddof=1)) if len(self.of_seeds) > 1 else None


def score(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    """The scores of a run, or of several seeds that answered the same clips; the first leads."""
    if seeds[0].kind == CLASSIFICATION:
        return _score_classification(seeds)
    if seeds[0].kind == BY_STEP:
        return _score_steps(seeds) if seeds[0].num_scored is None else _score_frames(seeds)
    if seeds[0].kind == LANGUAGE:
        return score_language(seeds)
    return _score_regression(seeds)


def _score_classification(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    targets, sources = seeds[0].targets, seeds[0].sources
    top_1, weights = find_hits(seeds, k=1), metrics.class_weights(targets)
    scores = [_share("top-1 accuracy", top_1, sources, floor=metrics.constant_floor(targets))]
    if len(seeds[0].labels) > TOP_K:
        floor = metrics.constant_floor(targets, TOP_K)
        scores.append(_share("top-5 accuracy", find_hits(seeds, k=TOP_K), sources, floor=floor))
    floor = metrics.constant_class_floor(targets)
    name = "mean per-class accuracy"
    return (*scores, _share(name, top_1, sources, floor=floor, weights=weights))


def find_hits(seeds: Sequence[Predictions], *, k: int) -> NDArray[np.bool_]:
    """(S, N) whether each seed has the target of each clip among its k largest outputs."""
    return np.stack([metrics.top_k_hits(p.outputs, p.targets, k) for p in seeds])  # (S, N)


def _share(
    name: str,
    hits: NDArray[Any],
    sources: Sequence[str],
    *,
    floor: float,
    weights: NDArray[np.floating] | None = None,
) -> Score:
    estimate = metrics.estimate_share(hits, sources, weights)
    of_seeds = np.average(hits, axis=1, weights=weights)
    return Score(name, estimate, tuple(map(float, of_seeds)), floor)


def _score_steps(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    """The shares of steps answered rightly, and the cross entropy: a mean over sequences each.

    Its floor is that of the best constant distribution, the labels' own: their entropy. The share's
    interval is that of one answer a sequence, so it is rather too wide.
    """
    sources, of_labels = seeds[0].sources, seeds[0].targets.mean(axis=0)
    right = np.stack([p.outputs[:, 0] for p in seeds])  # (S, N)
    entropies = np.stack([-p.outputs[:, 1] for p in seeds])
    entropy = Score(
        "cross entropy",
        metrics.estimate_mean(entropies, sources),
        tuple(map(float, entropies.mean(axis=1))),
        floor=float(stats.entropy(of_labels)),
        is_share=False,
    )
    name = "share of steps right"
    return _share(name, right, sources, floor=float(of_labels.max())), entropy


def _score_frames(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    """The shares of frames answered wrongly, by phones and by their folds, and the cross entropy.

    Over all frames alike, with intervals over the sources, which are speakers. The floor is that of
    the commonest phone or class of these frames.
    """
    first = seeds[0]
    assert first.num_scored is not None
    shares, num = first.targets.astype(np.float64), first.num_scored
    scores = [_frame_error(seeds, FRAME_ERROR, column=0, counts=shares * num[:, None])]
    for column, fold in enumerate(first.folds, start=2):
        counts = _fold_counts(shares * num[:, None], place_folds(first.labels, fold))
        scores.append(_frame_error(seeds, f"{FRAME_ERROR}, {fold}", column=column, counts=counts))
    entropies = np.stack([-p.outputs[:, 1] for p in seeds])
    of_labels = (shares * num[:, None]).sum(axis=0)
    floor = float(stats.entropy(of_labels))
    entropy = _mean("cross entropy", entropies, first.sources, weights=num / num.sum(), floor=floor)
    return (*scores, entropy)


def _fold_counts(counts: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
    """Frames of each class (N, F), of frames of each label (N, C)."""
    folded = np.zeros((len(counts), max(places) + 1))
    for label, place in enumerate(places):
        if place >= 0:
            folded[:, place] += counts[:, label]
    return folded


def _frame_error(
    seeds: Sequence[Predictions], name: str, *, column: int, counts: NDArray[np.float64]
) -> Score:
    """The share of wrong frames of which `counts` (N, C) says those of each class."""
    wrong = np.stack([1.0 - p.outputs[:, column].astype(np.float64) for p in seeds])  # (S, N)
    weights = counts.sum(axis=1) / counts.sum()
    floor = 1.0 - float(counts.sum(axis=0).max() / counts.sum())
    found = _mean(name, wrong, seeds[0].sources, weights=weights, floor=floor)
    value, low, high = found.estimate.value, found.estimate.low, found.estimate.high
    return replace(found, estimate=Estimate(value, max(low, 0.0), min(high, 1.0)))


def _mean(
    name: str,
    values: NDArray[np.floating],
    sources: Sequence[str],
    *,
    weights: NDArray[np.floating],
    floor: float,
) -> Score:
    """An error: less is better."""
    estimate = metrics.estimate_mean(values, sources, weights)
    return Score(name, estimate, tuple(map(float, values @ weights)), floor, is_share=False)


def score_language(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    """Perplexity of words, or bits of a character, over all tokens, beside that of counting.

    The floor is the unigram's; the second score is the net's over the Kneser-Ney model's, below 1
    where the net is better. The mean over seeds is that of their log probabilities.
    """
    first = seeds[0]
    own = np.stack([-p.outputs[:, 0] for p in seeds])  # (S, N)
    name = "perplexity" if first.unit == "word" else "bits a character"
    scores = [_of_tokens(name, own, first, floor=score_floors(first)[0])]
    beside = "over" if first.unit == "word" else "above"
    for place, floor in enumerate(first.floors[1:], start=2):
        more = own + first.outputs[:, place].astype(np.float64)
        even = _write_tokens(0.0, first.unit)
        scores.append(_of_tokens(f"{name} {beside} {floor}", more, first, floor=even))
    return tuple(scores)


def score_floors(predictions: Predictions) -> list[float]:
    """What each of the floors of a language reaches."""
    num = predictions.targets[:, 0].sum(dtype=np.float64)
    sums = predictions.outputs[:, 1:].sum(axis=0, dtype=np.float64)
    return [_write_tokens(-total / num, predictions.unit) for total in sums]


def _of_tokens(name: str, sums: NDArray[np.floating], first: Predictions, *, floor: float) -> Score:
    """The score of negative log probabilities (S, N), in nats, over the tokens."""
    num = first.targets[:, 0].astype(np.float64)
    found = metrics.estimate_ratio(sums, num, first.sources)
    bounds = (_write_tokens(nats, first.unit) for nats in (found.value, found.low, found.high))
    of_seeds = (float(_write_tokens(nats, first.unit)) for nats in sums.sum(axis=1) / num.sum())
    return Score(name, Estimate(*bounds), tuple(of_seeds), floor, is_share=False)


def _write_tokens(nats: float, unit: str) -> float:
    """A loss as it is told: the perplexity of words, bits of characters."""
    return float(np.exp(nats) if unit == "word" else nats / np.log(2))


def _score_regression(seeds: Sequence[Predictions]) -> tuple[Score, ...]:
    targets, sources = seeds[0].targets, seeds[0].sources
    errors = np.stack([np.abs(p.outputs - p.targets).max(axis=1) for p in seeds])  # (S, N)
    squares = np.stack([((p.outputs - p.targets) ** 2).mean(axis=1) for p in seeds])
    mse = Score(
        "mean squared error",
        metrics.estimate_mean(squares, sources),
        tuple(map(float, squares.mean(axis=1))),
        floor=float(targets.var(axis=0).mean()),
        is_share=False,
    )
    if targets.shape[1] > 1:
        return (mse,)
    floor = metrics.constant_within_floor(targets[:, 0])
    name = f"share with error < {metrics.WITHIN}"
    return _share(name, errors < metrics.WITHIN, sources, floor=floor), mse
