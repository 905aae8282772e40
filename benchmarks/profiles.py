"""Where the time of training and extraction goes: `python -m benchmarks.profiles [--quick]`.

Four programs run once each: clips of the lengths of the real with np-rnn and with an lstm, addition
in blocks of updates, and an extraction with random weights. A table tells what share of the
CPU time each part takes, and the kernel's multiply-adds a second beside the machine's: those of
torch's product of two large matrices in the same run. Training has one thread; products with ReLU's
zeros count as done; the first epoch is left out.
<out>/profile-*.svg show some updates, or batches, on a time axis.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.extraction.flow import Job, find_videos, time_flow
from benchmarks.report import describe_machine, make_parser
from benchmarks.spans import (
    LightningSpans,
    Recorder,
    Span,
    draw_timeline,
    own_cpu_seconds,
    take_moment,
)
from benchmarks.stores import read_lengths, write_store
from pipeline.backbones import Backbone, has_compiler, load_backbone, prepare, resolve_dtype
from pipeline.recurrent import library
from pipeline.recurrent.fused import num_sums
from pipeline.tasks import clips
from train.config import compose_config
from train.fit import train_run

MAIN = "MainThread"
UPDATE, EPOCH = "the rest of an update", "between updates"
# Lightning's actions, by their endings; others count as what is around them.
ACTIONS = {
    "train_dataloader_next": "waiting for the batch",
    ".training_step": "readout and loss",
    ".backward": "the rest of backward",
    "optimizer_step": "clipping and optimizer",
    "run_training_batch": UPDATE,
    "run_training_epoch": EPOCH,
    ".validation_step": "validation",
    "val_next": "validation",
}
SHOWN = 4


def measure_peak(size: int = 1024, rounds: int = 8) -> float:
    """Multiply-adds a second of one thread, at best."""
    a, b = torch.randn(2, size, size)
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        a @ b
        best = min(best, time.thread_time() - start)
    return size**3 / best


def count_products(name: str, _: torch.dtype, struct: Any) -> tuple[str, float]:
    """The kernel's part, and the multiply-adds that a call of the library stands for."""
    hidden, inputs = int(struct.hidden), int(struct.inputs)
    sums = num_sums(library.CELLS[struct.cell], hidden)
    if name == "updates":
        steps = _sum_steps_of_updates(struct)
        return "kernel, blocks", float(steps * sums * (3 * hidden + 2 * inputs))
    steps = _sum_lengths(struct)
    if name == "forward":
        return "kernel, forward", float(steps * sums * (hidden + inputs))
    to_features = inputs if struct.grad_features else 0
    return "kernel, backward", float(steps * sums * (2 * hidden + inputs + to_features))


def _sum_lengths(struct: Any) -> int:
    if not struct.lengths:
        return int(struct.batch * struct.steps)
    return _sum_integers(struct.lengths, struct.batch)


def _sum_steps_of_updates(struct: Any) -> int:
    if struct.lengths:
        return _sum_integers(struct.lengths, struct.num_updates * struct.batch)
    return int(struct.batch) * _sum_integers(struct.steps, struct.num_updates)


def _sum_integers(address: int, count: int) -> int:
    return sum(ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))[:count])


def record_training(overrides: Sequence[str]) -> list[Span]:
    """The spans of a training's epochs but the first."""
    recorder = Recorder()
    profiler = LightningSpans(recorder, ACTIONS)
    recorder.replace(pl, "Trainer", partial(pl.Trainer, profiler=profiler))
    recorder.wrap(library, "call", count_products)
    recorder.wrap(clips, "pad_sequences", "reading the next batch")
    with recorder.patches, tempfile.TemporaryDirectory() as out:
        config = compose_config(
            [*overrides, "schedule.phase_epochs=[3]", f"out={out}", "trainer.accelerator=cpu",
             "logger=none"]
        )  # fmt: skip
        train_run(config)
    epochs = sorted(s.start for s in recorder.spans if s.part == EPOCH)
    return [span for span in recorder.spans if span.start >= epochs[1]]


def record_extraction(folder: Path, *, num_clips: int, compiled: bool) -> list[Span]:
    """The spans of the threads that encode, and one of the processes that decode."""
    backbone = prepare(
        load_backbone("googlenet", weights="random"),
        dtype=resolve_dtype("auto", "cpu"), compiled=compiled,
    )  # fmt: skip
    backbone.encode_crops(torch.zeros(1, 3, *backbone.steps.size, dtype=torch.uint8))
    recorder = Recorder()
    recorder.wrap(Backbone, "crop", "resizing")
    recorder.wrap(Backbone, "encode_crops", "backbone")
    job = Job(find_videos(folder, num_clips), backbone, backbone.dtype)
    start, before = take_moment(), os.times()
    with recorder.patches:
        time_flow(job)
    after = os.times()
    decoding = sum(after[2:4]) - sum(before[2:4])  # of the processes that ended
    return [
        *recorder.spans,
        Span("decoding", "decoding processes", start.clock, time.perf_counter(), decoding),
    ]


def tell_parts(spans: Sequence[Span], *, peak: float) -> Iterator[str]:
    """A line a part, the longest first: its share of CPU time, and of the machine's peak."""
    seconds: Counter[str] = Counter()
    for thread in {span.thread for span in spans}:
        seconds.update(own_cpu_seconds([span for span in spans if span.thread == thread]))
    for part, value in seconds.most_common():
        work = sum(span.work for span in spans if span.part == part)
        rate = f"  {work / value / 1e9:6.1f} G multiply-adds/s, {work / value / peak:4.0%} of peak"
        yield f"  {value / seconds.total():6.1%}  {part}" + (rate if work else "")


def choose_shown(spans: Sequence[Span], part: str) -> list[Span]:
    """The spans around some of `part`, in the middle."""
    times = sorted((span.start, span.end) for span in spans if span.part == part)
    shown = times[len(times) // 2 :][:SHOWN]
    start, end = shown[0][0], shown[-1][1]
    return [s for s in spans if start <= s.start and s.end <= end and s.part != EPOCH]


def main() -> None:
    options = make_parser(__doc__).parse_args()
    print(*(f"{key}: {value}" for key, value in describe_machine().items()), sep="\n")
    options.out.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    peak = measure_peak()
    print(f"peak of a thread: {peak / 1e9:.1f} G multiply-adds/s")
    with tempfile.TemporaryDirectory() as folder:
        copies = 1 if options.quick else 4
        store = write_store(Path(folder) / "store", read_lengths(), copies=copies)
        data = [f"features={store}", "split=draw", "trainer.batch_size=64"]
        num_train = 1_024 if options.quick else 100_000
        trainings = {
            "clips": ["model=np-rnn", *data],
            "clips-lstm": ["model=lstm", *data],
            "addition": [
                "+experiment=addition-np-rnn-150",
                f"task.num_train={num_train}",
                "task.num_val=1000",
                "task.num_test=100",
            ],
        }
        for name, overrides in trainings.items():
            spans = record_training(overrides)
            main_thread = [s for s in spans if s.thread == MAIN]
            print(" ".join([name, *overrides]), *tell_parts(main_thread, peak=peak), sep="\n")
            shown = choose_shown(spans, UPDATE)
            draw_timeline(shown, options.out / f"profile-{name}.svg")
        torch.set_num_threads(threads)
        compiled = has_compiler() and not options.quick
        spans = record_extraction(
            Path(folder) / "videos", num_clips=2 if options.quick else 22, compiled=compiled
        )
        print("extraction", *tell_parts(spans, peak=peak), sep="\n")
        draw_timeline(choose_shown(spans, "backbone"), options.out / "profile-extraction.svg")


if __name__ == "__main__":
    main()
