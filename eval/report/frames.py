"""Strips of a clip's frames, to see what a net got wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.clips import find_clips
from pipeline.tasks.arrow import find_clip
from pipeline.video import VideoError, read_frames, read_header

NUM_FRAMES = 5
_HEIGHT_PIXELS = 90


def make_strips(videos: Path, names: Iterable[str]) -> Mapping[str, str]:
    """A JPEG data URI with frames of each of these clips that is in the folder and decodes.

    Those of a clip that was read backwards stand backwards.
    """
    found = find_clips(videos)
    path_of = {clip.id: found.folder / clip.path for clip in found.clips}
    strips = {}
    for name in names:
        clip_id, is_backwards = (name, False) if name in path_of else find_clip(name)
        if clip_id in path_of:
            try:
                frames = _read_spaced(path_of[clip_id])
            except VideoError:
                continue  # the page says which clips have no frames
            strips[name] = _encode(np.concatenate(frames[::-1] if is_backwards else frames, axis=1))
    return strips


def _read_spaced(path: Path) -> list[NDArray[np.uint8]]:
    """Up to NUM_FRAMES frames, evenly spaced from the first on."""
    num_frames = read_header(path).num_frames or 1
    frames: list[NDArray[np.uint8]] = []
    for chunk in read_frames(path, stride=max(1, num_frames // NUM_FRAMES), chunk_frames=1):
        frames.append(_shrink(chunk[0]))
        if len(frames) == NUM_FRAMES:
            break
    return frames


def _shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    size = (max(1, round(width * _HEIGHT_PIXELS / height)), _HEIGHT_PIXELS)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))


def _encode(strip: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(strip).save(stream, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
