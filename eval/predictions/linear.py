"""Linear classifiers of frames, beside nets: what a frame, or those around it, tell without memory.

Multinomial logistic regression on the features that a run's net reads, fitted on the train part;
how strongly its weights are held back is chosen by the validation part.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eval.predictions.predict import PartReader, count_scored, summarize_steps
from eval.predictions.predictions import Predictions, read_predictions, write_predictions
from pipeline.runs import Run
from pipeline.sequences import SequenceSet
from pipeline.tasks import NOT_SCORED, Task
from pipeline.tasks.draws import draw_permutation
from pipeline.tasks.options import COUNTED_BY_STEPS
from pipeline.tasks.timit import find_folds, place_folds

CONTEXTS = (0, 5)
"""Frames to each side that are read with a frame: the frame alone, and 11 frames."""
_STRENGTHS = (0.01, 0.1, 1.0)  # scikit-learn's C: a small one holds the weights back
_MOST_FRAMES = 200_000
_ITERATIONS = 100
_FOLDER = "linear"
_FORM = 1  # another one when the same data would give other answers

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class LinearAnswers:
    """What the classifier that reads `num_frames` at once answered on a part, kept in `path`."""

    num_frames: int
    predictions: Predictions
    path: Path

    @property
    def name(self) -> str:
        """`linear, 11 frames`."""
        return f"linear, {self.num_frames} frame{'s' if self.num_frames > 1 else ''}"


def has_linear(run: Run) -> bool:
    """Whether the run's task is one that linear classifiers stand beside."""
    return run.config.task.name in COUNTED_BY_STEPS and run.features is not None


def answer_linear(
    run: Run, reader: PartReader, say: Callable[[str], None]
) -> Iterator[LinearAnswers]:
    """What linear classifiers answer on the part that the reader reads, on the run's own data.

    Their answers are kept beside the features, and found again for the same features and parts.
    """
    task, sequences = reader.read(run)
    for context in CONTEXTS:
        path = _find_place(task, run, reader.part, context)
        predictions = read_predictions(path) if path.is_file() else None
        if predictions is None:
            say(f"fitting a linear classifier to {2 * context + 1} frames at once, for {path}")
            scores = _fit(run, reader, context)
            predictions = _predict(scores, task, sequences, part=reader.part, context=context)
            with suppress(OSError):  # a store that cannot be written is fitted to each time
                write_predictions(path, predictions)
        yield LinearAnswers(2 * context + 1, predictions, path)


def _find_place(task: Task, run: Run, part: str, context: int) -> Path:
    folder, digest = task.places()["features"]
    learned = [run.config.task.learned(), run.config.origin.learned(), list(task.labels)]
    text = json.dumps([_FORM, digest, *learned], sort_keys=True)
    name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return folder / _FOLDER / f"{name}-{part}-{2 * context + 1}.csv"


def _fit(run: Run, reader: PartReader, context: int) -> _Scores:
    """The classifier of the strength that errs least on the validation part."""
    frames, labels = _read_frames(run, PartReader("train", reader.features), context)
    val_frames, val_labels = _read_frames(run, PartReader("val", reader.features), context)
    if len(frames) > _MOST_FRAMES:
        chosen = draw_permutation(0, len(frames))[:_MOST_FRAMES]
        frames, labels = frames[chosen], labels[chosen]
    fitted = [_Scores.fit(frames, labels, run, strength=strength) for strength in _STRENGTHS]
    errors = [float((m(val_frames).argmax(axis=1) != val_labels).mean()) for m in fitted]
    return fitted[int(np.argmin(errors))]


def _read_frames(run: Run, reader: PartReader, context: int) -> tuple[Frames, NDArray[np.int64]]:
    """The labelled frames (N, K D) of a part, K at a time, and their labels (N,)."""
    _, sequences = reader.read(run)
    frames, labels = [], []
    for place in range(len(sequences)):
        batch = sequences[[place]]
        targets = batch.targets[0].numpy()
        joined = join_frames(batch.features[0].float().numpy(), context)
        frames.append(joined[targets != NOT_SCORED])
        labels.append(targets[targets != NOT_SCORED])
    return np.concatenate(frames), np.concatenate(labels)


def join_frames(frames: Frames, context: int) -> Frames:
    """(T, K D): each frame of (T, D) with `context` before and after it, K in all; ends repeat."""
    padded = np.pad(frames, ((context, context), (0, 0)), mode="edge")
    num = len(frames)
    return np.concatenate([padded[k : k + num] for k in range(2 * context + 1)], axis=1)


@dataclass(frozen=True)
class _Scores:
    """Log probabilities (N, C) of frames (N, K D)."""

    model: Any
    num_labels: int
    lowest: float

    @classmethod
    def fit(
        cls, frames: Frames, labels: NDArray[np.int64], run: Run, *, strength: float
    ) -> _Scores:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - slow to import
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        model = LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings():
            # Stopped early it holds the weights back a little more.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(frames, labels)
        # Of a label that no frame of train has, as if the next one were to have it.
        return cls(model, len(run.config.labels), -float(np.log(len(frames) + 1)))

    def __call__(self, frames: Frames) -> NDArray[np.float32]:
        outputs = np.full((len(frames), self.num_labels), self.lowest, np.float32)
        shares = self.model.predict_proba(frames)
        outputs[:, self.model.classes_] = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
        return outputs


def _predict(
    scores: _Scores, task: Task, sequences: SequenceSet, *, part: str, context: int
) -> Predictions:
    folds = find_folds(task.origin)
    places = [place_folds(task.labels, fold) for fold in folds]
    outputs, targets, counts = [], [], []
    for place in range(len(sequences)):
        batch = sequences[[place]]
        found = scores(join_frames(batch.features[0].float().numpy(), context))
        kept, wanted = summarize_steps(torch.from_numpy(found)[None], batch.targets, places)
        outputs.append(kept)
        targets.append(wanted)
        counts.append(count_scored(batch.targets))
    return Predictions(
        labels=task.labels,
        outputs=torch.cat(outputs).numpy(),
        targets=torch.cat(targets).numpy(),
        sources=tuple(task.sources(part)),
        use=task.use(part),
        is_by_step=True,
        num_scored=torch.cat(counts).numpy(),
        folds=folds,
    )
