"""What happens beside the training itself: the log of epochs, and lines for a log file."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import pytorch_lightning as pl

from pipeline.files import replacing
from pipeline.runs import METRICS

_LINE_SECONDS = 30.0


class EpochLog(pl.Callback):
    """Writes a row of metrics.csv per epoch; a resumed training goes on below its rows.

    Lightning's CSVLogger begins the file anew on resuming, and what was logged would be lost.
    """

    COLUMNS = (
        "epoch", "step", "lr", "train_loss", "val_loss", "val_accuracy", "val_within", "seconds",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._start = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(newline="") as file:
                # A row that a kill cut short is of an epoch that is done again.
                whole = (row for row in csv.DictReader(file) if None not in row.values())
                rows = [row for row in whole if int(row["epoch"]) < trainer.current_epoch]
        with replacing(self._path) as unfinished, unfinished.open("w", newline="") as file:
            table = csv.DictWriter(file, self.COLUMNS)
            table.writeheader()
            table.writerows(rows)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "epoch": trainer.current_epoch,
            "step": pl_module.num_updates,
            "lr": self._lr,
            "seconds": round(time.perf_counter() - self._start, 3),
            **{name: f"{values[name]:.6g}" for name in self.COLUMNS if name in values},
        }
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self.COLUMNS).writerow(row)


def count_seconds(folder: Path) -> float:
    """Seconds of all epochs in metrics.csv, also those before a stop."""
    with (folder / METRICS).open(newline="") as file:
        return round(sum(float(row["seconds"]) for row in csv.DictReader(file)), 3)


class EpochLines(pl.Callback):
    """A line every 30 seconds on standard error, for logs: a bar would flood them."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if now - self._last < _LINE_SECONDS and not is_last:
            return
        self._last = now
        values = " ".join(
            f"{k}={float(v):.4g}" for k, v in sorted(trainer.callback_metrics.items())
        )
        print(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {values}",
              file=sys.stderr, flush=True)  # fmt: skip
