"""From predictions to scores: of one run, or of several seeds of one config joined."""

from __future__ import annotations

from collections import Counter
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


@dataclass(frozen=True)
class ClassScore:
    """How the clips of one class were answered; `taken_for` is the commonest wrong answer."""

    label: str
    num_clips: int
    accuracy: Estimate
    taken_for: str


@dataclass(frozen=True)
class ConfusedPair:
    """Clips of one class that were answered with another: `num_clips`, a mean over seeds."""

    label: str
    answer: str
    num_clips: float
    share: float
    """Of the clips of `label`."""


@dataclass(frozen=True)
class ClipScore:
    """A clip, its target, the commonest answer and how good that is.

    Classification: `goodness` is the probability given to the target, a mean over seeds;
    regression: minus the largest absolute error; steps: the share answered rightly; a language: the
    mean log probability of a token, and the answer its perplexity. No answer of a regression or a
    language is right.
    """

    id: str
    target: str
    answer: str
    goodness: float
    is_right: bool


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
    top_1, weights = _hits(seeds, k=1), metrics.class_weights(targets)
    scores = [_share("top-1 accuracy", top_1, sources, floor=metrics.constant_floor(targets))]
    if len(seeds[0].labels) > TOP_K:
        floor = metrics.constant_floor(targets, TOP_K)
        scores.append(_share("top-5 accuracy", _hits(seeds, k=TOP_K), sources, floor=floor))
    floor = metrics.constant_class_floor(targets)
    name = "mean per-class accuracy"
    return (*scores, _share(name, top_1, sources, floor=floor, weights=weights))


def _hits(seeds: Sequence[Predictions], *, k: int) -> NDArray[np.bool_]:
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


def score_classes(seeds: Sequence[Predictions]) -> tuple[ClassScore, ...]:
    """The accuracy of each class that has clips, in the order of the labels."""
    first = seeds[0]
    hits, wrong = _hits(seeds, k=1), confusions(seeds)
    np.fill_diagonal(wrong, 0)
    rows = []
    for place, label in enumerate(first.labels):
        of_class = np.flatnonzero(first.targets == place)
        if len(of_class):
            sources = [first.sources[i] for i in of_class]
            accuracy = metrics.estimate_share(hits[:, of_class], sources)
            taken_for = first.labels[wrong[place].argmax()] if wrong[place].any() else ""
            rows.append(ClassScore(label, len(of_class), accuracy, taken_for))
    return tuple(rows)


def confusions(seeds: Sequence[Predictions]) -> NDArray[np.int64]:
    """(C, C) numbers of answers, summed over seeds; row: target, column: answer."""
    num = len(seeds[0].labels)
    given = [metrics.answers(p.outputs, p.targets) for p in seeds]
    matrices = [
        metrics.confusion_matrix(answer, p.targets, num)
        for answer, p in zip(given, seeds, strict=True)
    ]
    total: NDArray[np.int64] = np.sum(matrices, axis=0)
    return total


def most_confused(seeds: Sequence[Predictions], most: int = 10) -> tuple[ConfusedPair, ...]:
    """The pairs (class, wrong answer) with the most clips, most first."""
    counts, labels = confusions(seeds), seeds[0].labels
    num_of_class = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(flat), len(labels)) for flat in order if counts.flat[flat] > 0]
    return tuple(
        ConfusedPair(
            labels[row], labels[column], counts[row, column] / len(seeds),
            counts[row, column] / num_of_class[row],
        )
        for row, column in pairs
    )  # fmt: skip


def worst_clips(seeds: Sequence[Predictions], most: int = 10) -> tuple[ClipScore, ...]:
    """The clips answered wrongly whose target got the lowest probability; worst first.

    Of a regression those with the largest error, of classified steps the sequences with the fewest
    answered rightly, none of which has all its steps right.
    """
    return tuple(clip for clip in _rank_clips(seeds) if not clip.is_right)[:most]


def best_clips(seeds: Sequence[Predictions], most: int = 10) -> tuple[ClipScore, ...]:
    """Of each class the clip answered rightly that got the highest probability; best first."""
    best: dict[str, ClipScore] = {}
    for clip in _rank_clips(seeds)[::-1]:
        if clip.is_right:
            best.setdefault(clip.target, clip)
    return tuple(best.values())[:most]


def _rank_clips(seeds: Sequence[Predictions]) -> tuple[ClipScore, ...]:
    """All clips, the worst first."""
    first = seeds[0]
    is_right = [False] * len(first.ids)
    if first.kind == CLASSIFICATION:
        of_seeds = [metrics.target_probabilities(p.outputs, p.targets) for p in seeds]
        given = np.stack([metrics.answers(p.outputs, p.targets) for p in seeds])  # (S, N)
        answers = [first.labels[Counter(column).most_common(1)[0][0]] for column in given.T]
        targets = [first.labels[target] for target in first.targets]
        is_right = [answer == target for answer, target in zip(answers, targets, strict=True)]
    elif first.kind == LANGUAGE:
        of_seeds = [p.outputs[:, 0] / p.targets[:, 0] for p in seeds]
        answers = [f"{np.exp(-mean):.4g}" for mean in np.mean(of_seeds, axis=0)]
        targets = [f"{num:.0f} {first.unit}s" for num in first.targets[:, 0]]
    elif first.kind == BY_STEP:
        of_seeds = [p.outputs[:, 0] for p in seeds]
        answers = targets = [""] * len(first.ids)
        is_right = [bool(share == 1) for share in np.mean(of_seeds, axis=0)]
    else:
        of_seeds = [-np.abs(p.outputs - p.targets).max(axis=1) for p in seeds]
        answers = [_write_numbers(row) for row in np.mean([p.outputs for p in seeds], axis=0)]
        targets = [_write_numbers(row) for row in first.targets]
    goodness = np.mean(of_seeds, axis=0)
    return tuple(
        ClipScore(first.ids[i], targets[i], answers[i], float(goodness[i]), is_right[i])
        for i in np.argsort(goodness, kind="stable")
    )


def _write_numbers(row: NDArray[np.floating]) -> str:
    return " ".join(f"{number:.3f}" for number in row)
