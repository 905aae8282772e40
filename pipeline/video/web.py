"""Videos as browsers play them. Part of pipeline/video.py's home for PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# By preference: container, codec, options. Some builds of PyAV come without H.264.
_FORMS = (
    ("mp4", "libx264", {"preset": "veryfast", "crf": "28"}),
    ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "600k"}),
)


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


def _even(pixels: float) -> int:
    """The nearest even size, which 4:2:0 needs."""
    return max(2, 2 * round(pixels / 2))
