"""Videos as browsers play them, and to be passed on. Part of pipeline/video.py's home for PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.files import replacing

# By preference: container, codec, options. Some builds of PyAV come without H.264.
_FORMS = (
    ("mp4", "libx264", {"preset": "veryfast", "crf": "28"}),
    ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "600k"}),
)
# Of each ending, by preference: codec, form of its pixels, options.
_SHARED: dict[str, tuple[tuple[str, str, dict[str, str]], ...]] = {
    "mp4": (
        ("libx264", "yuv420p", {"preset": "veryfast", "crf": "23"}),
        ("mpeg4", "yuv420p", {"flags": "+qscale", "global_quality": "590"}),
    ),
    "gif": (("gif", "bgr8", {}),),
}


def encode_web_video(
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    height_pixels: int = 360,
    most_bytes: int = 20_000_000,
) -> tuple[str, bytes] | None:
    """The media type and bytes of a video of (H, W, 3) RGB frames, at most `height_pixels` high.

    Frame i is shown from i / fps on, whatever the timing of the file it came from was. None where
    it would have more than `most_bytes`. Raises ValueError without a frame.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("encode_web_video was given no frame; it needs at least one.")
    suffix, codec, options = next(form for form in _FORMS if form[1] in av.codecs_available)
    height = min(height_pixels, first.shape[0])
    width = first.shape[1] * height / first.shape[0]
    target = io.BytesIO()
    with av.open(target, "w", format=suffix) as file:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = _even(width), _even(height)
        stream.pix_fmt = "yuv420p"
        for frame in chain([first], frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            scaled = picture.reformat(width=stream.width, height=stream.height, format="yuv420p")
            file.mux(stream.encode(scaled))
            if target.tell() > most_bytes:
                return None
        file.mux(stream.encode())
    return (f"video/{suffix}", target.getvalue()) if target.tell() <= most_bytes else None


def write_shared_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: float) -> None:
    """Write (H, W, 3) RGB frames of one even size as an .mp4 or a .gif, whole or not at all.

    Raises ValueError for another ending, and without a frame.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in _SHARED:
        raise ValueError(f"{path}: expected a name that ends in .mp4 or .gif.")
    codec, pix_fmt, options = next(kind for kind in _SHARED[form] if kind[0] in av.codecs_available)
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("write_shared_video was given no frame; it needs at least one.")
    rate = Fraction(fps).limit_denominator(1001)
    with replacing(path) as unfinished, av.open(str(unfinished), "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        for frame in chain([first], frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            file.mux(stream.encode(picture.reformat(format=pix_fmt)))
        file.mux(stream.encode())


def _even(pixels: float) -> int:
    """The nearest even size, which 4:2:0 needs."""
    return max(2, 2 * round(pixels / 2))
