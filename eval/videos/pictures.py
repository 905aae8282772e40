"""Pictures of a video inside a page: the video for browsers, frames of it, a band of states."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.videos.videos import VideoAnswer
from pipeline.video import read_frames
from pipeline.video.web import encode_web_video

_STRIP_FRAMES = 10
_STRIP_HEIGHT_PIXELS = 72
_BAND_COLUMNS = 1000


@dataclass(frozen=True)
class StripFrame:
    """A small picture at a moment of the video, as a data URI."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Pictures:
    """A video as browsers play it, its media type and bytes, None if too large; frames of it."""

    video: tuple[str, bytes] | None
    strip: list[StripFrame]


def read_pictures(answer: VideoAnswer) -> Pictures:
    """The video for browsers and the frames of its strip, by one decoding."""
    wanted = np.linspace(0, answer.num_frames - 1, min(_STRIP_FRAMES, answer.num_frames))
    places = set(np.round(wanted).astype(int).tolist())
    strip: list[StripFrame] = []

    def read() -> Iterator[NDArray[np.uint8]]:
        index = 0
        for chunk in read_frames(answer.path, chunk_frames=8):
            for frame in chunk:
                if index in places:
                    strip.append(StripFrame(index / answer.fps, _encode_frame(frame)))
                yield frame
                index += 1

    frames = read()
    video = encode_web_video(frames, fps=answer.fps)
    for _ in frames:  # what is left, for the strip
        pass
    return Pictures(video, strip)


def _encode_frame(frame: NDArray[np.uint8]) -> str:
    height, width = frame.shape[:2]
    size = (max(1, round(width * _STRIP_HEIGHT_PIXELS / height)), _STRIP_HEIGHT_PIXELS)
    small = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
    return _write_image(small, "JPEG", quality=75)


def draw_band(hidden: NDArray[np.float32]) -> str:
    """A PNG with a row a unit and time to the right, "" without units."""
    if hidden.shape[1] == 0:
        return ""
    thinned = hidden[:: max(1, len(hidden) // _BAND_COLUMNS)].T
    sizes = np.abs(thinned)
    shares = sizes / np.maximum(sizes.max(axis=1, keepdims=True), 1e-9)
    return _write_image(Image.fromarray((255 * (1 - shares)).astype(np.uint8)), "PNG")


def _write_image(image: Image.Image, form: str, **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    kind = form.lower()
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
