"""What training on clips waits for: `python -m benchmarks.loading [--quick]`.

Ten times the real sample (its lengths, drawn features of 1024 numbers), features in memory and on
disk, trained by the trainer itself. Waiting is the time inside the loader's `next`; an epoch's
share of it is given without the first epoch, in which features are read into memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils.data import DataLoader

from benchmarks.report import Comparison, Side, describe_machine, make_parser, write_report
from benchmarks.stores import read_lengths, write_store
from pipeline.sequences import LengthGroupedBatches, make_loader
from train.callbacks import EpochLog
from train.config import compose_config
from train.fit import train_run

MOST_WAITING, MOST_PADDED = 0.05, 0.10
NETS = ("np-rnn", "lstm")
_SPLIT_ONE = 9537


@dataclass
class Waits:
    """Seconds of every epoch of training: inside `next` of the loader, and in all."""

    waiting: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


@contextmanager
def timed_epochs() -> Iterator[Waits]:
    """Trainings inside the block measure how long they wait for their batches."""
    waits = Waits()
    start = 0.0

    def make_timed(*arguments: Any, seed: int | None, **options: Any) -> DataLoader[Any]:
        loader = make_loader(*arguments, seed=seed, **options)
        kind = type(loader)

        class TimedLoader(kind):  # type: ignore[valid-type, misc]
            def __iter__(self) -> Any:
                return timed(super().__iter__())

        if seed is not None:  # the loader of the training, not of the validation
            loader.__class__ = TimedLoader
        return loader

    def timed(batches: Iterator[Any]) -> Iterator[Any]:
        nonlocal start
        start = time.perf_counter()
        waits.waiting.append(0.0)
        waits.whole.append(0.0)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            waits.waiting[-1] += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def end_batch(*_: object) -> None:
        waits.whole[-1] = time.perf_counter() - start

    with (
        mock.patch("train.fit.make_loader", make_timed),
        mock.patch.object(EpochLog, "on_train_batch_end", end_batch),
    ):
        yield waits


def time_training(
    store: Path, *, net: str, cache: str, batch_size: int, num_epochs: int
) -> Comparison:
    """Waiting against whole epochs of one training."""
    with tempfile.TemporaryDirectory() as out, timed_epochs() as waits:
        train_run(
            compose_config(
                [
                    f"model={net}", f"features={store}", "split=draw", f"task.cache={cache}",
                    f"trainer.batch_size={batch_size}", "trainer.accelerator=cpu",
                    f"schedule.phase_epochs=[{num_epochs}]", f"out={out}",
                ]
            )
        )  # fmt: skip
    return Comparison(
        f"{net}, features {'in memory' if cache == 'memory' else 'on disk'}, batch {batch_size}",
        "s",
        "share",
        Side("waiting", tuple(waits.waiting[1:])),
        Side("epoch", tuple(waits.whole[1:])),
        MOST_WAITING,
    )


def count_padding(lengths: list[int], batch_size: int, num_epochs: int = 5) -> Comparison:
    """Padded steps against all steps of the batches."""
    of_all = torch.tensor(lengths)
    batches = LengthGroupedBatches(of_all, batch_size, seed=0)
    padded, whole = [], []
    for epoch in range(num_epochs):
        batches.set_epoch(epoch)
        drawn = [of_all[indices] for indices in batches]
        whole.append(float(sum(len(batch) * int(batch.max()) for batch in drawn)))
        padded.append(whole[-1] - float(sum(int(batch.sum()) for batch in drawn)))
    return Comparison(
        f"batches of {batch_size}, {len(lengths)} clips",
        "steps",
        "share",
        Side("padded", tuple(padded)),
        Side("all", tuple(whole)),
        MOST_PADDED,
    )


def main() -> None:
    options = make_parser(__doc__).parse_args()
    machine, lengths = describe_machine(), read_lengths()
    if options.quick:
        lengths = lengths[:66]
    copies, num_epochs = (1, 2) if options.quick else (10, 4)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", lengths, copies=copies)
        os.sync()  # what is still being written is not to be measured
        comparisons = [
            time_training(store, net=net, cache=cache, batch_size=size, num_epochs=num_epochs)
            for net in (NETS[:1] if options.quick else NETS)
            for size in ((16,) if options.quick else (64, 256))
            for cache in ("memory", "disk")
        ]
    comparisons += [count_padding(lengths * copies, size) for size in (64, 256)]
    # As many clips as UCF-101's first split trains on, in the paper's batches.
    comparisons += [count_padding((lengths * _SPLIT_ONE)[:_SPLIT_ONE], 256)]
    more = {"clips": len(lengths) * copies, "shortest": min(lengths), "longest": max(lengths)}
    write_report("loading", comparisons, options, machine=machine, more=more)


if __name__ == "__main__":
    main()
