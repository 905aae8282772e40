"""Small real video files for tests: generated, with UCF-101's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.video import write_video


def write_clip(path: Path, *, num_frames: int = 12, seed: int = 0) -> Path:
    """A 64×48 AVI whose frames brighten from a level that the seed draws."""
    generator = np.random.default_rng(seed)
    level = generator.integers(20, 100, size=(48, 64, 3))
    frames = [np.minimum(level + 8 * i, 255).astype(np.uint8) for i in range(num_frames)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames)
    return path


def write_clips(folder: Path, *, num: int = 6, num_frames: int = 12) -> Path:
    """`num` clips in two classes, groups g01, g02, ..."""
    for i in range(num):
        label = ("Archery", "Punch")[i % 2]
        name = f"v_{label}_g{i // 2 + 1:02d}_c01.avi"
        write_clip(folder / label / name, num_frames=num_frames + i, seed=i)
    return folder
