"""How well runs tell clips of their own classes from clips of classes never shown to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.predictions.calibration import calibrate
from eval.predictions.predict import PartReader, compute_outputs, predict
from eval.predictions.predictions import Predictions
from eval.predictions.unknown import CONFIDENCES
from pipeline import metrics
from pipeline.clips import Clip
from pipeline.metrics import Estimate
from pipeline.runs import Run, load_net
from pipeline.tasks.clips import ClipSet, ClipsTask

FLOOR = 0.5
"""Of an AUROC: known and unknown clips in any order."""
_NUM_DRAWS = 2000
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Ranking:
    """N known and M unknown clips by a confidence: numbers (N,) and (M,), and their sources."""

    known: Floats
    unknown: Floats
    known_sources: tuple[str, ...]
    unknown_sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class UnknownScores:
    """A run on N clips of its part and M clips of `left_out` classes.

    `rankings` are by each of CONFIDENCES. At the run's threshold, None where there is none, it
    answers `kept` of the known clips, and none of these to `refused` of the unknown; `accuracy` is
    that of the known clips that are kept.
    """

    run: Run
    left_out: tuple[str, ...]
    rankings: Mapping[str, Ranking]
    threshold: float | None
    kept: float
    refused: float
    accuracy: float
    accuracy_of_all: float

    @property
    def num_known(self) -> int:
        return len(next(iter(self.rankings.values())).known)

    @property
    def num_unknown(self) -> int:
        return len(next(iter(self.rankings.values())).unknown)


def score_unknown(
    run: Run, *, part: str, features: str | None, batch_size: int, device: str
) -> UnknownScores:
    """The run's scores on the part's clips against the clips of other classes in its store.

    These are taken from all parts, as the run saw none of them. Raises ValueError for a run of
    another task than `clips`, and where the store has no other classes.
    """
    reader = PartReader(part, features)
    task, _ = reader.read(run)
    if not isinstance(task, ClipsTask):
        raise ValueError(
            f"{run.folder}: expected a run of the task clips, found {run.config.task.name}."
        )
    others = _find_others(run, task)
    predictions = predict(run, reader, batch_size=batch_size, device=device)
    left_out = tuple(sorted({clip.label for clip in others}))
    clips = ClipSet(task.store, others, left_out, is_in_memory=False)
    found = compute_outputs(load_net(run), clips, batch_size=batch_size, device=device)
    sources = tuple(f"{clip.label}/{clip.group or clip.id}" for clip in others)
    return _score(run, left_out, predictions, found.outputs, sources, features=features)


def _find_others(run: Run, task: ClipsTask) -> list[Clip]:
    clips = [record.clip for record in task.store.records.values()]
    others = sorted(clip for clip in clips if clip.label not in task.labels)
    if not others:
        raise ValueError(
            f"{run.folder}: {task.store.folder} has no clip of another class than the run's "
            f"{len(task.labels)}.\nTrain without some classes: split=LIST.csv, whose column split "
            f"is empty for their clips."
        )
    return others


def _score(
    run: Run,
    left_out: tuple[str, ...],
    predictions: Predictions,
    outputs: NDArray[np.float32],
    sources: tuple[str, ...],
    *,
    features: str | None,
) -> UnknownScores:
    if predictions.num_not_finite or not np.isfinite(outputs).all():
        raise ValueError(f"{run.folder}: the net's outputs are not finite numbers.")
    calibration = calibrate(run, features=features)
    known, unknown = (
        made.astype(np.float64) / calibration.temperature for made in (predictions.outputs, outputs)
    )
    rankings = {
        name: Ranking(measure(known), measure(unknown), predictions.sources, sources)
        for name, measure in CONFIDENCES.items()
    }
    by_probability = next(iter(rankings.values()))
    least = -np.inf if calibration.threshold is None else calibration.threshold
    is_kept, is_right = (
        by_probability.known >= least,
        metrics.top_k_hits(known, predictions.targets, 1),
    )
    return UnknownScores(
        run,
        left_out,
        rankings,
        calibration.threshold,
        kept=float(is_kept.mean()),
        refused=float((by_probability.unknown < least).mean()),
        accuracy=float(is_right[is_kept].mean()) if is_kept.any() else float("nan"),
        accuracy_of_all=float(is_right.mean()),
    )


def estimate_auroc(rankings: Sequence[Ranking], *, seed: int = 0) -> Estimate:
    """The mean over runs of the AUROC, the share of pairs in which the known clip is surer.

    A tie is half. The 95 % interval is the middle of 2,000 draws of sources, with replacement and
    the same for all runs, as these may share clips: it is of these classes. Where every pair is
    right, or none, draws say nothing: it is then that of a share of as many hits as the smaller
    side has sources.
    """
    names = sorted({s for r in rankings for s in (*r.known_sources, *r.unknown_sources)})
    generator = np.random.default_rng(seed)
    once = np.ones((1, len(names)))
    draws = generator.multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=_NUM_DRAWS
    ).astype(np.float64)
    value = float(np.mean([_weigh_pairs(r, names, once)[0] for r in rankings]))
    if value in (0.0, 1.0):
        num = min(min(len({*r.known_sources}), len({*r.unknown_sources})) for r in rankings)
        return metrics.estimate_share(np.full(num, value), [str(i) for i in range(num)])
    drawn = np.mean([_weigh_pairs(r, names, draws) for r in rankings], axis=0)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _weigh_pairs(ranking: Ranking, names: Sequence[str], weights: Floats) -> Floats:
    """(B,) the AUROC with each source weighed by (B, S); NaN where one side has no weight."""
    known = np.searchsorted(names, ranking.known_sources)
    unknown = np.searchsorted(names, ranking.unknown_sources)
    differences = np.sign(ranking.known[:, None] - ranking.unknown[None, :])
    wins = (1 + differences) / 2  # (N, M): 1, a tie 0.5
    of_known, of_unknown = weights[:, known], weights[:, unknown]  # (B, N), (B, M)
    sums = of_known.sum(axis=1) * of_unknown.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(((of_known @ wins) * of_unknown).sum(axis=1) / sums)
