"""A run's scores on its model card."""

from __future__ import annotations

from collections.abc import Iterator

from eval.predictions.predictions import PREDICTIONS, read_predictions
from eval.scores.scores import score
from pipeline.runs import CardScore, Run, write_card


def refresh_card(run: Run) -> bool:
    """Write the run's card with the scores of all predictions in its folder.

    False where it was changed by hand: it is left as it is.
    """
    return write_card(run, list(_read_scores(run)))


def _read_scores(run: Run) -> Iterator[CardScore]:
    for path in sorted(run.folder.glob(f"eval/*/{PREDICTIONS}")):
        predictions = read_predictions(path)
        if predictions.num_not_finite:
            continue
        for one in score([predictions]):
            estimate = one.estimate
            yield CardScore(
                path.parent.name, one.name, estimate.value, estimate.low, estimate.high,
                floor=one.floor, num_sequences=len(predictions.ids),
            )  # fmt: skip
