"""Ways to compute a backbone on a CPU: `python -m benchmarks.engines [--quick]`.

Frames a second of ready-made batches of 16 crops, on one thread and on two (a batch each), and the
cosine of the features to those of torch in float32. All ways take turns within a round, and each is
compared with torch in bfloat16, compiled. Ranges are found on frames of other clips than those that
are encoded. It needs the extras `openvino` and `export`, and a C++ compiler.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from benchmarks.extraction.flow import find_videos
from benchmarks.report import (
    Comparison,
    Side,
    describe_machine,
    find_data,
    make_parser,
    write_report,
)
from pipeline.backbones import Backbone, load_backbone, prepare
from pipeline.backbones.calibration import build_graph, calibrate, serialise
from pipeline.backbones.int8 import Int8Net
from pipeline.versions import find_versions
from pipeline.video import read_frames

Engine = Callable[[Tensor], Tensor]
"""Crops uint8 (16, 3, h, w) to features (16, D), from any number of threads at a time."""
BATCH, THREADS = 16, (1, 2)
TODAY, REFERENCE = "torch bfloat16 compiled", "torch float32"
BEST, TARGET = "OpenVINO int8 and bfloat16", 1.6


@dataclass(frozen=True)
class Job:
    """A backbone in float32, crops to find ranges on, and whole batches of crops to encode."""

    backbone: Backbone
    calibration: Tensor
    batches: tuple[Tensor, ...]


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Batches of scaled crops for ONNX Runtime."""

    def __init__(self, backbone: Backbone, crops: Tensor) -> None:
        whole = crops[: len(crops) // BATCH * BATCH]
        self._batches = iter(torch.split(whole, BATCH))
        self._backbone = backbone

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"x": scale(self._backbone, batch)}


def scale(backbone: Backbone, crops: Tensor) -> Any:
    """What the net reads (N, 3, h, w), float32, in the order of the axes."""
    return backbone.steps.normalise(crops).contiguous().numpy()


def make_job(backbone: Backbone, folder: Path, *, num_clips: int) -> Job:
    """Every second clip gives 3 frames to find ranges on, the others 16 to encode."""
    found = find_videos(folder, num_clips)
    clips = [found.folder / clip.path for clip in found.clips]
    ranges = [_read_crops(backbone, path, num=3, stride=10) for path in clips[::2]]
    batches = [_read_crops(backbone, path, num=BATCH, stride=2) for path in clips[1::2]]
    full = tuple(batch for batch in batches if len(batch) == BATCH)
    return Job(backbone, torch.cat(ranges), full)


def _read_crops(backbone: Backbone, path: Path, *, num: int, stride: int) -> Tensor:
    chunk = next(iter(read_frames(path, stride=stride, chunk_frames=num)))
    return backbone.crop(torch.from_numpy(chunk))


def make_engines(job: Job, folder: Path) -> dict[str, Engine]:
    """All ways, by name."""
    small = calibrate(job.backbone, job.calibration, features="pool", num_clips=len(job.batches))
    graph, numbers = serialise(build_graph(job.backbone))
    whole = replace(small, graph=graph, numbers=numbers)
    return {
        TODAY: prepare(job.backbone, dtype="bfloat16", compiled=True).encode_crops,
        REFERENCE: prepare(job.backbone).encode_crops,
        "OpenVINO float32": Int8Net(replace(whole, between="float32")),
        "OpenVINO bfloat16": Int8Net(replace(whole, between="bfloat16")),
        "OpenVINO int8": Int8Net(replace(small, between="float32")),
        BEST: Int8Net(replace(small, between="bfloat16")),
        "ONNX Runtime int8": make_onnx(job, folder),
    }


def make_onnx(job: Job, folder: Path) -> Engine:
    """ONNX Runtime on the exported net, 8 bits for layers' inputs and weights."""
    net = prepare(job.backbone).module.to(memory_format=torch.contiguous_format)
    files = [str(folder / f"{job.backbone.name}-{step}.onnx") for step in ("net", "shapes", "int8")]
    inputs = torch.from_numpy(scale(job.backbone, job.batches[0]))
    torch.onnx.export(
        net, (inputs,), files[0], dynamo=True, input_names=["x"], external_data=False, verbose=False
    )
    quant_pre_process(files[0], files[1])
    quantize_static(
        files[1], files[2], Calibration(job.backbone, job.calibration[: 8 * BATCH]),
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(files[2], options, providers=["CPUExecutionProvider"])

    def encode(crops: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"x": scale(job.backbone, crops)})[0])

    return encode


def time_engines(
    engines: dict[str, Engine], batches: Sequence[Tensor], *, threads: int, rounds: int
) -> dict[str, list[float]]:
    """Frames a second of each engine, by round."""
    rates: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(threads) as pool:
        for number in range(rounds + 1):
            for name, encode in engines.items():
                start = time.perf_counter()
                list(pool.map(encode, batches))
                seconds = time.perf_counter() - start
                if number:  # the first compiles
                    rates[name].append(BATCH * len(batches) / seconds)
    return rates


def find_cosines(engines: dict[str, Engine], batches: Sequence[Tensor]) -> dict[str, str]:
    """The least and the median cosine of each engine's features to the reference's."""
    expected = torch.cat([engines[REFERENCE](batch) for batch in batches]).double()
    found = {}
    for name, encode in engines.items():
        features = torch.cat([encode(batch) for batch in batches]).double()
        cosines = F.cosine_similarity(features, expected).numpy()
        found[name] = f"least {cosines.min():.5f}, median {np.median(cosines):.5f}"
    return found


def compare(job: Job, folder: Path, options: argparse.Namespace) -> tuple[list[Comparison], Any]:
    """Every way beside today's, on each number of threads; and the cosines."""
    engines = make_engines(job, folder)
    comparisons = []
    for threads in THREADS:
        batches = job.batches[: threads * (1 if options.quick else 2)]
        rates = time_engines(engines, batches, threads=threads, rounds=options.rounds)
        comparisons += [
            Comparison(
                f"{job.backbone.name}, threads: {threads}", "frames/s", "rate",
                Side(name, tuple(rates[name])), Side(TODAY, tuple(rates[TODAY])),
                TARGET if name == BEST else None,
            )
            for name in engines if name != TODAY
        ]  # fmt: skip
    return comparisons, find_cosines(engines, job.batches)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    machine = describe_machine()
    packages = find_versions(("openvino", "nncf", "onnxruntime"))
    machine["engines"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    data = find_data()
    trained = str(data / "weights" / "bvlc_googlenet.npz") if data else "random"
    comparisons: list[Comparison] = []
    cosines = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, weights in (("googlenet", "random"), ("bvlc-googlenet", trained)):
            backbone = load_backbone(name, weights=weights)
            job = make_job(backbone, Path(folder), num_clips=12 if options.quick else 60)
            found, cosines[name] = compare(job, Path(folder), options)
            comparisons += found
    more = {f"cosine, {name}": found for name, found in cosines.items()}
    write_report("engines", comparisons, options, machine=machine, more=more)


if __name__ == "__main__":
    main()
