"""Extraction against the machine's limit, and against the plain way:
`python -m benchmarks.extraction [--quick]`.

The limit is measured beside the flow: frames a second of the bare backbone on ready-made batches,
by torch's threads on one batch or each on its own, whichever is faster; on a CPU the cost of
decoding is added, since it shares the cores: 1/limit = 1/backbone + decoding CPU seconds/cores. On
a GPU the decoding runs beside it: the limit is the lower of the two.
The plain way: a clip at a time, decoded, each frame through torchvision's transforms, the clip
through the net in float32, not compiled; it is so slow that it gets every eighth clip. Real clips
where they are found, else the demo's.

A package, because processes that are spawned import the main module again, but no `__main__.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchvision import transforms

from benchmarks.extraction.flow import Job, find_videos, spread, time_flow
from benchmarks.extraction.memory import measure_memory, measure_memory_apart
from benchmarks.report import (
    Comparison,
    Side,
    describe_machine,
    find_data,
    make_parser,
    write_report,
)
from extract.setup import default_workers
from pipeline.allocation import keep_freed_memory
from pipeline.backbones import Backbone, has_compiler, load_backbone, prepare, resolve_dtype
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.clips import FoundClips
from pipeline.video import read_frames

LIMIT_SHARE, TIMES_PLAIN, LEAST_COSINE = 0.9, 8.0, 0.999
MEMORY_COUNTS = (25, 100, 198)
_FLOW_SECONDS = 80.0


def time_bare(backbone: Backbone, num_batches: int) -> float:
    """Frames a second of the bare backbone on ready-made batches, the better of two ways."""
    size = backbone.batch_frames
    crops = torch.randint(0, 256, (size, 3, *backbone.steps.size), dtype=torch.uint8)
    crops = crops.to(backbone.device).contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()

    def run(_: int) -> None:
        features = backbone.encode_crops(crops)
        if features.is_cuda:
            torch.cuda.synchronize()

    def measure(encode: Callable[[], object]) -> float:
        encode()
        start = time.perf_counter()
        encode()
        return num_batches * size / (time.perf_counter() - start)

    def together() -> None:
        for place in range(num_batches):
            run(place)

    if backbone.device != "cpu":
        return measure(together)
    shared = measure(together)
    torch.set_num_threads(1)
    with ThreadPoolExecutor(threads) as pool:
        own = measure(lambda: list(pool.map(run, range(num_batches))))
    torch.set_num_threads(threads)
    return max(shared, own)


def time_decoding(found: FoundClips) -> tuple[float, int]:
    """CPU seconds a frame, and frames."""
    start, num_frames = time.process_time(), 0
    for clip in found.clips:
        num_frames += sum(len(chunk) for chunk in read_frames(found.folder / clip.path))
    return (time.process_time() - start) / num_frames, num_frames


def find_limit(bare: float, decode_seconds: float, device: str) -> float:
    """Frames a second that this machine cannot exceed."""
    if device == "cpu":
        return 1 / (1 / bare + decode_seconds / (os.cpu_count() or 1))
    return min(bare, default_workers(device) / decode_seconds)


def plain_transform(steps: Preprocessing) -> Any:
    """The steps as torchvision's transforms of one frame."""
    # squash: to this very size; else the short side.
    size = steps.scaled if steps.resize == "squash" else steps.scaled[0]
    mean, std = ([value / 255 for value in values] for values in (steps.mean, steps.std))
    return transforms.Compose(
        [
            transforms.ToPILImage(), transforms.Resize(size), transforms.CenterCrop(steps.size),
            transforms.ToTensor(), transforms.Normalize(mean, std),
        ]
    )  # fmt: skip


def time_plain(found: FoundClips, module: nn.Module, steps: Preprocessing) -> float:
    """Frames a second of the plain way."""
    transform = plain_transform(steps)
    start, num_frames = time.perf_counter(), 0
    for clip in found.clips:
        frames = [f for chunk in read_frames(found.folder / clip.path) for f in chunk]
        batch = torch.stack([transform(frame) for frame in frames])
        with torch.no_grad():
            module(batch)
        num_frames += len(frames)
    return num_frames / (time.perf_counter() - start)


def find_least_cosine(found: FoundClips, fast: Backbone, reference: Backbone) -> float:
    """The smallest cosine, over every frame of the clips, of fast features to float32 ones."""
    least = 1.0
    for clip in found.clips:
        for chunk in read_frames(found.folder / clip.path):
            frames = torch.from_numpy(chunk)
            features, expected = (b.encode(frames).double().cpu() for b in (fast, reference))
            least = min(least, float(F.cosine_similarity(features, expected).min()))
    return least


def prepare_job(options: argparse.Namespace, folder: Path) -> tuple[Job, float]:
    """The job, and the seconds that compiling took."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = resolve_dtype("auto", device)
    compiled = device == "cpu" and has_compiler() and not options.quick
    backbone = prepare(
        load_backbone("googlenet", weights="random"), device=device, dtype=dtype, compiled=compiled
    )
    start = time.perf_counter()
    backbone.encode_crops(torch.zeros(1, 3, *backbone.steps.size, dtype=torch.uint8).to(device))
    seconds = time.perf_counter() - start
    compute = dtype + (" compiled" if compiled else "")
    found = find_videos(folder, 2 if options.quick else options.clips)
    return Job(found, backbone, compute), seconds


def compare_speed(job: Job, rounds: int, num_batches: int) -> list[Comparison]:
    """The flow against the limit, by turns, and against the plain way in between."""
    plain = load_backbone("googlenet", weights="random")
    limits: list[float] = []
    flows: list[float] = []
    plains: list[float] = []
    decode_seconds, num_frames = time_decoding(job.found)

    def measure_limit() -> None:
        bare = time_bare(job.backbone, num_batches)
        limits.append(find_limit(bare, decode_seconds, job.backbone.device))

    measure_limit()
    share = min(1.0, limits[0] * _FLOW_SECONDS / num_frames)  # fewer clips on a slow machine
    job = replace(job, found=spread(job.found, math.ceil(share * len(job.found.clips))))
    for _ in range(rounds):
        tally = time_flow(job)
        flows.append(tally.num_steps / tally.wall_seconds)
        measure_limit()
        if not plains:  # it takes long
            few = replace(job.found, clips=job.found.clips[::8])
            plains.append(time_plain(few, plain.module, plain.steps))
    ours = Side(f"extract, {job.compute}", tuple(flows))
    what, unit = f"{len(job.found.clips)} clips, {tally.num_steps} frames", "frames/s"
    sides = {"limit": (limits, LIMIT_SHARE), "plain way": (plains, TIMES_PLAIN)}
    return [
        Comparison(what, unit, "rate", ours, Side(name, tuple(values)), target)
        for name, (values, target) in sides.items()
    ]


def compare_features(found: FoundClips, num_clips: int) -> dict[str, Any]:
    """The least cosine; with real weights where they are found."""
    weights = (find_data() or Path()) / "weights" / "bvlc_googlenet.npz"
    reference = load_backbone("bvlc-googlenet", weights=weights if weights.is_file() else "random")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fast = prepare(
        reference, device=device, dtype=resolve_dtype("auto", device),
        compiled=device == "cpu" and has_compiler() and num_clips > 1,
    )  # fmt: skip
    found = spread(found, num_clips)
    least = find_least_cosine(found, fast, prepare(reference))
    return {
        "least": least, "target": LEAST_COSINE, "clips": len(found.clips), "dtype": fast.dtype,
        "weights": reference.weights,
    }  # fmt: skip


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--clips", type=int, default=100, help="whose speed is measured, at most")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(measure_memory(options.memory_of)))
        return
    keep_freed_memory()  # as `python -m extract` does
    # Compiling shall be measured as a new user meets it.
    cache = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    machine = describe_machine()
    with cache, tempfile.TemporaryDirectory() as folder:
        job, compile_seconds = prepare_job(options, Path(folder))
        comparisons = compare_speed(job, 1 if options.quick else 2, 1 if options.quick else 32)
        more = {
            "compile_seconds": round(compile_seconds, 1),
            "cosine_to_float32": compare_features(job.found, 1 if options.quick else 20),
            "memory": [measure_memory_apart(n) for n in ((2,) if options.quick else MEMORY_COUNTS)],
        }
    write_report("extraction", comparisons, options, machine=machine, more=more)


if __name__ == "__main__":
    main()
