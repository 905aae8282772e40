"""What single classes and single clips got, of one run or of several seeds of one config joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.predictions.predictions import BY_STEP, Predictions
from eval.scores.scores import find_hits
from pipeline import metrics
from pipeline.metrics import Estimate
from pipeline.tasks import CLASSIFICATION, LANGUAGE


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


def score_classes(seeds: Sequence[Predictions]) -> tuple[ClassScore, ...]:
    """The accuracy of each class that has clips, in the order of the labels."""
    first = seeds[0]
    hits, wrong = find_hits(seeds, k=1), confusions(seeds)
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
