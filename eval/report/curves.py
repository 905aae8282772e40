"""The numbers a run logged while it trained."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pipeline.runs import METRICS

Curve = tuple[tuple[float, float], ...]
"""Points (epoch, value)."""


def read_curves(folder: Path) -> Mapping[str, Curve]:
    """For each column of the run's log its mean over each epoch; {} where there is no log.

    Blank cells are steps at which the number was not logged. An epoch in which a number was NaN or
    infinite has no point: the curve ends where the run diverged.
    """
    path = folder / METRICS
    if not path.is_file():
        return {}
    logged: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                epoch = float(row["epoch"])
                for name, cell in row.items():
                    if name not in ("epoch", "step") and cell:
                        logged[name][epoch].append(float(cell))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {line}: expected an epoch and numbers, found {dict(row)}.\n"
                    f"Delete the file to have a report without curves."
                ) from error
    return {name: _mean_by_epoch(epochs) for name, epochs in logged.items()}


def _mean_by_epoch(epochs: Mapping[float, list[float]]) -> Curve:
    means = ((epoch, sum(values) / len(values)) for epoch, values in sorted(epochs.items()))
    return tuple((epoch, mean) for epoch, mean in means if math.isfinite(mean))
