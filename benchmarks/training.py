"""Whole training, through the trainer: `python -m benchmarks.training [--quick]`.

addition, T = 150, batch 1, as in the paper: updates a second in blocks, against one update at a
time through Lightning with the kernel, and with torch.nn.RNN; with RMSprop and Adam, too. And clips
of the lengths of the real, with RMSprop and dropout: sequences a second in blocks and one update at
a time, of small batches, and with the kernel and with torch.nn.RNN, of large ones. The sides take
turns. An epoch's seconds are those that the trainer logs, with its validation; the first epoch of
each training is left out.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from benchmarks.report import Comparison, Side, describe_machine, make_parser, write_report
from benchmarks.stores import read_lengths, write_store
from pipeline.recurrent import fused
from train.config import compose_config
from train.fit import train_run

PAPER_UPDATES = 1_000_000
TARGET = 15.0
_EPOCHS = 3


@dataclass(frozen=True)
class Way:
    """One way of training: overrides of the config, and whether the kernel is there."""

    name: str
    overrides: tuple[str, ...] = ()
    has_kernel: bool = True


IN_BLOCKS = Way("updates in blocks", ("trainer.updates_per_step=auto",))
ONE_BY_ONE = Way("one at a time", ("trainer.updates_per_step=1",))
WITH_TORCH = Way("one at a time, torch.nn.RNN", ("trainer.updates_per_step=1",), has_kernel=False)


@contextmanager
def without_kernel() -> Iterator[None]:
    """The kernel counts as not there."""
    with mock.patch.object(fused, "is_available", return_value=False):
        yield


def train_epochs(overrides: Sequence[str], way: Way) -> list[float]:
    """Seconds of every epoch but the first."""
    with (
        tempfile.TemporaryDirectory() as out,
        nullcontext() if way.has_kernel else without_kernel(),
    ):
        config = compose_config(
            [*overrides, *way.overrides, f"schedule.phase_epochs=[{_EPOCHS}]", f"out={out}",
             "trainer.accelerator=cpu"]
        )  # fmt: skip
        with (train_run(config) / "metrics.csv").open(newline="") as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)][1:]


def time_addition(way: Way, num_updates: int, *, optimizer: str = "sgd") -> list[float]:
    """Updates a second."""
    # At a rate of 1e-3 RMSprop diverges within two epochs of 20,000 single sequences.
    sizes = [f"optimizer={optimizer}", *([] if optimizer == "sgd" else ["optimizer.lr=1e-4"])]
    sizes += [f"task.num_train={num_updates}", "task.num_val=64", "task.num_test=64"]
    seconds = train_epochs(["+experiment=addition", "model=np-rnn", *sizes], way)
    return [num_updates / value for value in seconds]


def time_clips(way: Way, store: Path, batch_size: int, num_clips: int) -> list[float]:
    """Sequences a second, of the train part; the val part is an eighth of it."""
    options = [f"features={store}", "split=draw", f"trainer.batch_size={batch_size}"]
    seconds = train_epochs(["model=np-rnn", *options], way)
    return [num_clips / value for value in seconds]


def compare_addition(rounds: int, num_updates: int) -> list[Comparison]:
    # The slow ways get fewer updates, so that all take about as long.
    sizes = {IN_BLOCKS: 20 * num_updates, ONE_BY_ONE: num_updates, WITH_TORCH: num_updates // 2}
    rates: dict[Way, list[float]] = {way: [] for way in sizes}
    for _ in range(rounds):
        for way, size in sizes.items():
            rates[way] += time_addition(way, size)
    ours = Side(IN_BLOCKS.name, tuple(rates[IN_BLOCKS]))
    return [
        Comparison(
            "addition, T=150, batch 1", "updates/s", "rate", ours,
            Side(way.name, tuple(rates[way])), TARGET,
        )
        for way in (ONE_BY_ONE, WITH_TORCH)
    ]  # fmt: skip


def compare_optimizer(name: str, rounds: int, num_updates: int) -> Comparison:
    sizes = {IN_BLOCKS: 20 * num_updates, ONE_BY_ONE: num_updates}
    rates: dict[Way, list[float]] = {way: [] for way in sizes}
    for _ in range(rounds):
        for way, size in sizes.items():
            rates[way] += time_addition(way, size, optimizer=name)
    ours, theirs = (Side(way.name, tuple(rates[way])) for way in sizes)
    return Comparison(f"addition, T=150, batch 1, {name}", "updates/s", "rate", ours, theirs)


def compare_blocks_of_clips(rounds: int, batch_size: int) -> Comparison:
    return _compare_on_clips((IN_BLOCKS, ONE_BY_ONE), rounds, 1, batch_size)


def compare_clips(rounds: int, copies: int, batch_size: int) -> Comparison:
    ways = (Way("kernel"), Way("torch.nn.RNN", has_kernel=False))
    return _compare_on_clips(ways, rounds, copies, batch_size)


def _compare_on_clips(
    ways: tuple[Way, Way], rounds: int, copies: int, batch_size: int
) -> Comparison:
    rates: dict[Way, list[float]] = {way: [] for way in ways}
    lengths = read_lengths()
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", lengths, copies=copies)
        num_train = round(0.7 * len(lengths) * copies)
        for _ in range(rounds):
            for way in ways:
                rates[way] += time_clips(way, store, batch_size, num_train)
    ours, theirs = (Side(way.name, tuple(rates[way])) for way in ways)
    return Comparison(f"clips, batch {batch_size}, D=1024", "sequences/s", "rate", ours, theirs)


def main() -> None:
    options = make_parser(__doc__).parse_args()
    if (reason := fused.unavailable_reason()) is not None:
        raise SystemExit(reason)
    torch.set_num_threads(1)
    machine = describe_machine()
    quick = options.quick
    comparisons = compare_addition(*((1, 40) if quick else (3, 1000)))
    comparisons += [
        compare_optimizer(name, *((1, 20) if quick else (3, 1000)))
        for name in (("rmsprop",) if quick else ("rmsprop", "adam"))
    ]
    comparisons += [
        compare_blocks_of_clips(1 if quick else 2, size)
        for size in ((16,) if quick else (1, 4, 16))
    ]
    comparisons += [
        compare_clips(1 if quick else 2, 1 if quick else 2, size)
        for size in ((64,) if quick else (64, 256))
    ]
    minutes = PAPER_UPDATES / max(comparisons[0].ours.values) / 60
    more = {"the paper's addition run, 1,000,000 updates, minutes": round(minutes, 1)}
    write_report("training", comparisons, options, machine=machine, more=more)


if __name__ == "__main__":
    main()
