"""Feature stores to measure on: the lengths of the real clips, as often as wanted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import find_data
from pipeline.clips import Clip, find_clips
from pipeline.features import FeatureSpec, FeatureWriter
from pipeline.video import read_header

DIM = 1024
DRAWN = FeatureSpec(backbone="drawn", dim=DIM)
_NUM_LABELS = 11


def read_lengths() -> list[int]:
    """Frames of the real clips, by their headers; without them 198 drawn from 30 to 330."""
    data = find_data()
    if data is None:
        generator = random.Random(0)
        return [generator.randint(30, 330) for _ in range(198)]
    found = find_clips(data / "ucf101")
    counts = [read_header(found.folder / clip.path).num_frames for clip in found.clips]
    return [count for count in counts if count]


def write_store(
    folder: Path, lengths: Sequence[int], *, copies: int = 1, spec: FeatureSpec = DRAWN
) -> Path:
    """A store of float16 features (T, 1024), `copies` clips of each length, in 11 classes.

    Each clip is cut from one drawn array, so that writing takes no longer than it must.
    """
    generator = np.random.default_rng(0)
    pool = generator.gamma(0.5, 1.0, size=(2 * max(lengths), DIM)).astype(np.float16)
    with FeatureWriter(folder, spec) as writer:
        for number, length in enumerate(list(lengths) * copies):
            label = f"Class{number % _NUM_LABELS:02d}"
            group = f"g{number % len(lengths) // _NUM_LABELS:02d}"  # copies are not independent
            name = f"v_{label}_{group}_n{number:05d}"
            start = int(generator.integers(len(pool) - length + 1))
            clip = Clip(name, label, f"{label}/{group}", f"{label}/{name}.avi")
            writer.write(clip, pool[start : start + length], fps=25.0)
    return folder
