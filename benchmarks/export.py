"""What a net costs on a small device: `python -m benchmarks.export --run runs/* [--out FILE]`.

A step is one frame for one stream, in ONNX Runtime on one core. The nets take turns within a round,
so that a busy machine slows all of them; the fastest round is given, the median one beside it.
Torch's step is timed in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from eval.export.export import read_test
from eval.export.exported import OnnxStep
from eval.export.graphs import build_step, build_whole
from eval.export.quantise import Loss, measure_loss, quantise
from pipeline.recurrent.classifier import SequenceNet, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.runs import load_net, load_run

ROUNDS = 150
STEPS_A_ROUND = 50


@dataclass(frozen=True)
class Microseconds:
    """Of a step: in the fastest round, and in the median one."""

    best: float
    median: float

    def __str__(self) -> str:
        return f"{self.best:.1f} ({self.median:.0f})"


@dataclass(frozen=True)
class Row:
    """One net; accuracies are means over its seeds, `spread` their standard deviation."""

    net: str
    seeds: int
    parameters: int
    step_bytes: int
    step_bytes_8bit: int
    multiply_adds: int
    step: Microseconds
    step_8bit: Microseconds
    step_in_torch: Microseconds
    num_clips: int
    accuracy: float
    spread: float
    accuracy_8bit: float
    num_changed: int


@dataclass(frozen=True)
class Candidate:
    """One run's net, with its steps as functions that read STEPS_A_ROUND frames of noise."""

    net: SequenceNet
    loss: Loss
    step_bytes: int
    step_bytes_8bit: int
    steps: dict[str, Callable[[], None]]


def load_candidate(folder: Path) -> Candidate:
    run = load_run(folder)
    net = load_net(run)
    step, whole = build_step(net), build_whole(net)
    small = quantise(step)
    loss = measure_loss(whole, small, net, read_test(run))
    steps = {
        "float32": make_onnx_steps(OnnxStep(step, net), net),
        "8 bits": make_onnx_steps(OnnxStep(small, net), net),
        "torch": make_torch_steps(net),
    }
    return Candidate(net, loss, step.ByteSize(), small.ByteSize(), steps)


def make_onnx_steps(stepper: OnnxStep, net: SequenceNet) -> Callable[[], None]:
    features = draw_features(net).numpy()

    def read() -> None:
        state = stepper.start(1)
        for features_t in features:
            _, state = stepper.step(features_t, state)

    return read


def make_torch_steps(net: SequenceNet) -> Callable[[], None]:
    features = draw_features(net)

    @torch.inference_mode()
    def read() -> None:
        state = net.initial_state(1)
        for features_t in features:
            _, state = net.step(features_t, state)

    return read


def draw_features(net: SequenceNet) -> torch.Tensor:
    """(STEPS_A_ROUND, 1, D), not negative, as features of a ReLU net are."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(STEPS_A_ROUND, 1, net.spec.input_size, generator=generator).relu()


def time_steps(candidates: dict[str, Candidate], rounds: int) -> dict[str, dict[str, Microseconds]]:
    """A step of each net, each way."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, candidate in candidates.items():
            for way, read in candidate.steps.items():
                start = time.perf_counter()
                read()
                seconds[name, way].append(time.perf_counter() - start)
    scale = 1e6 / STEPS_A_ROUND
    return {
        name: {
            way: Microseconds(scale * min(spent), scale * statistics.median(spent))
            for way in candidate.steps
            if (spent := seconds[name, way])
        }
        for name, candidate in candidates.items()
    }


def make_row(name: str, seeds: Sequence[Candidate], microseconds: dict[str, Microseconds]) -> Row:
    first = seeds[0]
    accuracies = [seed.loss.accuracy for seed in seeds]
    return Row(
        net=name,
        seeds=len(seeds),
        parameters=num_parameters(first.net),
        step_bytes=first.step_bytes,
        step_bytes_8bit=first.step_bytes_8bit,
        multiply_adds=multiply_adds_per_step(first.net.spec),
        step=microseconds["float32"],
        step_8bit=microseconds["8 bits"],
        step_in_torch=microseconds["torch"],
        num_clips=first.loss.num_clips,
        accuracy=statistics.mean(accuracies),
        spread=statistics.stdev(accuracies) if len(seeds) > 1 else float("nan"),
        accuracy_8bit=statistics.mean(seed.loss.accuracy_8bit for seed in seeds),
        num_changed=sum(seed.loss.num_changed for seed in seeds),
    )


def format_rows(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = [
        "| net | parameters | step.onnx | 8-bit | multiply-adds a frame | µs a step, fastest "
        "(median) round | 8-bit µs | torch µs | accuracy (spread) | 8-bit accuracy "
        "| answers changed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.net} | {row.parameters:,} | {row.step_bytes / 1000:,.0f} kB "
            f"| {row.step_bytes_8bit / 1000:,.0f} kB | {row.multiply_adds:,} "
            f"| {row.step} | {row.step_8bit} "
            f"| {row.step_in_torch} | {row.accuracy:.3f} ({row.spread:.3f}) "
            f"| {row.accuracy_8bit:.3f} | {row.num_changed} of {row.seeds * row.num_clips} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--run", nargs="+", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the rows as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    by_net: dict[str, list[Candidate]] = defaultdict(list)
    for folder in options.run:
        candidate = load_candidate(folder)
        by_net[candidate.net.spec.name].append(candidate)
    timed = time_steps({name: seeds[0] for name, seeds in by_net.items()}, options.rounds)
    rows = [make_row(name, seeds, timed[name]) for name, seeds in by_net.items()]
    print(format_rows(rows))
    if options.out:
        versions = {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__,
                    "numpy": np.__version__, "machine": platform.machine()}  # fmt: skip
        content = {"rounds": options.rounds, "steps_a_round": STEPS_A_ROUND, "versions": versions,
                   "rows": [asdict(row) for row in rows]}  # fmt: skip
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
