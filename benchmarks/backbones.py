"""Frames a second of backbones on real frames: `python -m benchmarks.backbones --videos UCF101/`.

CPU, one thread, not compiled, dtype auto: preprocessing and net. The backbones take turns within a
round; the fastest round is given. `--backbone NAME=WEIGHTS ...`: imagenet, random, or a file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.backbones import Backbone, load_backbone, prepare, resolve_dtype
from pipeline.clips import find_clips
from pipeline.video import read_frames

BACKBONES = (
    "googlenet=random",
    "timm/mobilenetv3_small_100=random",
    "timm/resnet18=random",
    "timm/convnext_atto=random",
    "timm/vit_small_patch16_224=random",
)
NUM_FRAMES = 64
ROUNDS = 3


def read_some_frames(videos: Path, num_frames: int) -> Tensor:
    """(num_frames, H, W, 3): the first frame of each of the first clips of one size."""
    found = find_clips(videos)
    frames: list[np.ndarray] = []
    for clip in found.clips:
        frame = next(iter(read_frames(found.folder / clip.path, chunk_frames=1)))[0]
        if not frames or frame.shape == frames[0].shape:
            frames.append(frame)
        if len(frames) == num_frames:
            break
    return torch.from_numpy(np.stack(frames))


def time_backbones(backbones: Sequence[Backbone], frames: Tensor, rounds: int) -> list[float]:
    """Seconds each takes for the frames, in its fastest round."""
    best = [float("inf")] * len(backbones)
    for backbone in backbones:
        backbone.encode(frames[:1])
    for _ in range(rounds):
        for place, backbone in enumerate(backbones):
            start = time.perf_counter()
            backbone.encode(frames)
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbones", description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, metavar="DIR|CSV")
    parser.add_argument("--backbone", nargs="+", default=BACKBONES, metavar="NAME=WEIGHTS")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES, metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dtype = resolve_dtype("auto", "cpu")
    frames = read_some_frames(options.videos, options.frames)
    asked = [name.partition("=")[::2] for name in options.backbone]
    backbones = [
        prepare(load_backbone(name, weights=weights or "imagenet"), dtype=dtype)
        for name, weights in asked
    ]
    seconds = time_backbones(backbones, frames, options.rounds)
    print(f"{len(frames)} frames {tuple(frames.shape[1:3])}, {dtype}, one thread")
    print("| backbone | weights | features | parameters | frames/s |\n|---|---|---|---|---|")
    for backbone, spent in zip(backbones, seconds, strict=True):
        num = sum(weights.numel() for weights in backbone.module.parameters())
        print(
            f"| {backbone.name} | {backbone.weights} | {backbone.dim} | {num / 1e6:.1f} M "
            f"| {len(frames) / spent:.0f} |"
        )


if __name__ == "__main__":
    main()
