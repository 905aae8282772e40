"""What happens beside the training itself: the log of epochs, and what a terminal or log shows."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
from tqdm import tqdm

from pipeline.files import replacing
from pipeline.runs import METRICS

_LINE_SECONDS = 30.0
_SCORES = ("train_loss", "val_loss", "val_accuracy", "val_within")


class EpochLog(pl.Callback):
    """Writes a row of metrics.csv per epoch; a resumed training goes on below its rows.

    Lightning's CSVLogger begins the file anew on resuming, and what was logged would be lost.
    """

    COLUMNS = (
        "epoch", "step", "lr", *_SCORES, "seconds",
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
        values = _read_logged(trainer)
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


def read_scores(folder: Path, epoch: int) -> dict[str, float]:
    """The losses and validation scores that metrics.csv holds of an epoch."""
    with (folder / METRICS).open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if int(row["epoch"]) == epoch)
    return {name: float(row[name]) for name in _SCORES if row.get(name)}


def write_scores(scores: Mapping[str, float]) -> str:
    """`train_loss=0.531 val_loss=0.612 val_accuracy=0.812`."""
    return " ".join(f"{name}={scores[name]:.3g}" for name in _SCORES if name in scores)


class EpochBar(pl.Callback):
    """One bar over all epochs on standard error, for a terminal: scores, and the time left.

    Lightning's own begins anew in each epoch, and so never tells when the training ends.
    """

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert trainer.max_epochs is not None
        num_batches = int(trainer.num_training_batches)
        self._bar = tqdm(
            total=trainer.max_epochs * num_batches, initial=trainer.current_epoch * num_batches,
            desc=_count_epochs(trainer), bar_format="{desc} |{bar}| {remaining} left",
            file=sys.stderr, dynamic_ncols=True, disable=not trainer.is_global_zero,
        )  # fmt: skip

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        assert self._bar is not None
        self._bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._bar is not None
        scores = write_scores(_read_logged(trainer))
        self._bar.set_description_str(f"{_count_epochs(trainer)}: {scores}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _read_logged(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _count_epochs(trainer: pl.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"


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
        values = write_scores(_read_logged(trainer))
        print(f"{_count_epochs(trainer)}: {values}", file=sys.stderr, flush=True)
