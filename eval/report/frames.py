"""Strips of a clip's frames, to see what a net got wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.scores.rows import Result
from pipeline.clips import find_clips
from pipeline.features import INDEX, read_index, read_videos_place
from pipeline.tasks.arrow import find_clip
from pipeline.video import VideoError, read_frames, read_header

NUM_FRAMES = 5
_HEIGHT_PIXELS = 90
PASS_VIDEOS = "Pass --videos to see frames of them."


@dataclass(frozen=True)
class Videos:
    """The video of each clip by its id; `why_none` says why there is none, or ""."""

    path_of: Mapping[str, Path]
    why_none: str = ""


def list_videos(videos: Path) -> Videos:
    """The videos of a folder, or a list."""
    found = find_clips(videos)
    return Videos({clip.id: found.folder / clip.path for clip in found.clips})


def find_videos(results: Sequence[Result], *, features: str | None = None) -> Videos:
    """The videos that the runs' stores were made from, as far as these say and they are there.

    `features` is a store that stands in for the runs' own.
    """
    stores = [Path(features)] if features is not None else _list_stores(results)
    found = [_find_videos_of(store) for store in stores]
    path_of = {clip_id: path for videos in found for clip_id, path in videos.path_of.items()}
    reasons = dict.fromkeys(videos.why_none for videos in found if videos.why_none)
    return Videos(path_of, "" if path_of else " ".join(reasons) or PASS_VIDEOS)


def _list_stores(results: Sequence[Result]) -> list[Path]:
    known = [
        (result.provenance.places.get("features"), result.folder)
        for result in results
        if result.provenance is not None
    ]
    return list(dict.fromkeys(place.locate(folder) for place, folder in known if place is not None))


def _find_videos_of(store: Path) -> Videos:
    """The videos of a store. One that is gone or damaged costs the pictures, not the scores."""
    try:
        place = read_videos_place(store)
        records = [record for _, record in read_index(store)] if (store / INDEX).is_file() else []
    except ValueError as error:
        return Videos({}, f"{error} {PASS_VIDEOS}")
    if place is None or not records:
        return Videos({}, PASS_VIDEOS)
    folder = place.locate(store)
    if not folder.is_dir():
        return Videos({}, f"Their videos were below {folder}, which is not there. {PASS_VIDEOS}")
    return Videos({record.clip.id: folder / record.clip.path for record in records})


def make_strips(videos: Videos, names: Iterable[str]) -> Mapping[str, str]:
    """A JPEG data URI with frames of each of these clips that has a video and decodes.

    Those of a clip that was read backwards stand backwards.
    """
    strips = {}
    for name in names:
        clip_id, is_backwards = (name, False) if name in videos.path_of else find_clip(name)
        path = videos.path_of.get(clip_id)
        if path is not None and path.is_file():
            try:
                frames = _read_spaced(path)
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
