"""Decode a video file to frames, and say what is wrong with it. With file.py the home of PyAV.

A frame is what the viewer sees at one tick of the clip's clock. An MPEG-4 packet that is "not
coded" (ISO/IEC 14496-2, vop_coded = 0) shows the frame before it again, so it counts as a frame:
otherwise all later frames would move forward in time. FFmpeg by itself leaves it out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.files import replacing
from pipeline.video.file import (
    PacketScan,
    VideoError,
    VideoHeader,
    may_be_not_coded,
    open_video,
    packets,
    read_header,
    scan_packets,
)

__all__ = [
    "DECODER",
    "Chunk",
    "DecodeSummary",
    "Frame",
    "FrameReader",
    "VideoError",
    "VideoHeader",
    "read_frames",
    "read_header",
    "write_video",
]

Frame = NDArray[np.uint8]  # (H, W, 3)
Chunk = NDArray[np.uint8]  # (N, H, W, 3)

DECODER = "pyav"
"""What a store says that its frames were decoded with."""

_MAX_CHUNK_BYTES = 16 * 2**20
# From 1, the best, to 31: MPEG-4's quantiser scale, in FFmpeg's unit for it.
_WRITTEN_QUALITY = 2 * 118


@dataclass(frozen=True)
class DecodeSummary:
    """How the decoding of a whole file went.

    `num_decoded` counts all frames, also those that the stride left out. `problem` is None, or one
    line that starts with "truncated", "damaged" or "incomplete". The features' condition of a clip
    rests on these words.
    """

    num_decoded: int
    num_header: int | None
    fps: float
    problem: str | None


class FrameReader:
    """Iterator over the chunks of one clip; `summary` is there once it has ended."""

    def __init__(self, frames: Generator[Frame, None, DecodeSummary], *, chunk_frames: int) -> None:
        self._frames = self._keep_summary(frames)
        self._chunk_frames = chunk_frames
        self._summary: DecodeSummary | None = None

    def __iter__(self) -> FrameReader:
        return self

    def __next__(self) -> Chunk:
        first = next(self._frames)
        num = min(self._chunk_frames, max(1, _MAX_CHUNK_BYTES // first.nbytes))
        return np.stack([first, *islice(self._frames, num - 1)])

    @property
    def summary(self) -> DecodeSummary:
        assert self._summary is not None, "the summary is known only after the last chunk"
        return self._summary

    def _keep_summary(self, frames: Generator[Frame, None, DecodeSummary]) -> Iterator[Frame]:
        self._summary = yield from frames


def read_frames(path: str | Path, *, stride: int = 1, chunk_frames: int = 64) -> FrameReader:
    """Frames 0, stride, 2 * stride, ... of a clip, in chunks of (chunk_frames, H, W, 3) RGB uint8.

    The last chunk may be shorter, and chunks of large frames are: 16 MiB, or one frame.

    The frames of a rotated video are turned upright, frames of another size than the first scaled
    to it. Raises VideoError, on iteration, if no frame can be had.

        frames = read_frames("v_Punch_g08_c01.avi", stride=5)
        chunks = list(frames)
        print(frames.summary.problem)
    """
    for name, value in (("stride", stride), ("chunk_frames", chunk_frames)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more.")
    return FrameReader(_decode(Path(path), stride=stride), chunk_frames=chunk_frames)


def write_video(path: str | Path, frames: Iterable[Frame], *, fps: float = 25.0) -> None:
    """Writes (H, W, 3) RGB uint8 frames as UCF-101 has them: AVI, MPEG-4 Part 2 with B-frames.

    Equal frames give equal bytes under one version of PyAV. The file appears when it is complete.
    Raises ValueError if there is no frame, or one has another type or size than the first.
    """
    with replacing(Path(path)) as unfinished:
        _encode(unfinished, frames, fps=fps)


def _decode(path: Path, *, stride: int) -> Generator[Frame, None, DecodeSummary]:
    scan = scan_packets(path)
    num_decoded, num_damaged = yield from _decode_frames(path, stride=stride)
    if num_decoded == 0:
        expected = scan.header.num_frames
        promised = "" if expected is None else f" of the {expected} that its header promises"
        raise VideoError(f"no frame decodes{promised}")
    return DecodeSummary(
        num_decoded=num_decoded,
        num_header=scan.header.num_frames,
        fps=scan.header.fps,
        problem=_find_problem(scan, num_decoded=num_decoded, num_damaged=num_damaged),
    )


def _find_problem(scan: PacketScan, *, num_decoded: int, num_damaged: int) -> str | None:
    expected = scan.header.num_frames
    if scan.is_cut_off and expected is None:
        return (
            f"truncated: {num_decoded} frames decoded, "
            f"which end at {scan.end_seconds:.2f} of {scan.duration_seconds:.2f} seconds"
        )
    if scan.is_cut_off:
        return f"truncated: {num_decoded} of {expected} frames decoded"
    if num_damaged:
        return f"damaged: {num_damaged} of {scan.num_packets} packets did not decode cleanly"
    if expected is not None and num_decoded + scan.num_discarded < expected:
        return f"incomplete: {num_decoded} of {expected} frames decoded"
    return None


def _decode_frames(path: Path, *, stride: int) -> Generator[Frame, None, tuple[int, int]]:
    """Yields every stride-th frame; returns the numbers of frames and of damaged packets."""
    index = num_damaged = 0
    with open_video(path) as (container, stream):
        to_rgb = _RgbConverter()
        for frame, is_damaged in _shown_frames(container, stream):
            num_damaged += is_damaged
            if frame is None:
                continue
            if index % stride == 0:
                yield to_rgb(frame)
            index += 1
    return index, num_damaged


def _shown_frames(container: Any, stream: Any) -> Iterator[tuple[av.VideoFrame | None, bool]]:
    """Pairs (frame, is damaged) in the order of showing; the frame is None where it is lost."""
    stream.codec_context.thread_count = 1
    last: av.VideoFrame | None = None
    is_repeated = False
    for packet in packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            yield None, True
            continue
        if packet is None and is_repeated:
            return  # FFmpeg itself gives the last frame again, if that was not coded
        is_repeated = not frames and packet is not None and may_be_not_coded(stream, packet)
        if is_repeated and last is not None:
            frames = [last]
        for frame in frames:
            yield frame, frame.is_corrupt
            last = frame


class _RgbConverter:
    """Turns frames into upright (H, W, 3) RGB arrays of the first one's size.

    It keeps one swscale context: one for each frame, as in frame.to_ndarray(format=...), takes
    five times as long. One thread, as the worker processes are the parallelism.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> Frame:
        self._size = self._size or (frame.width, frame.height)
        width, height = self._size
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", threads=1
        )
        upright: Frame = np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))
        return upright


def _encode(path: Path, frames: Iterable[Frame], *, fps: float) -> None:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("write_video was given no frame; it needs at least one.")
    expected = f"uint8 {(*first.shape[:2], 3)}"
    with av.open(str(path.absolute()), "w", format="avi", options={"fflags": "+bitexact"}) as file:
        options = {"flags": "+qscale+bitexact", "global_quality": str(_WRITTEN_QUALITY)}
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = file.add_stream("mpeg4", rate=rate, options=options)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames = 2
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(chain([first], frames)):
            if (found := f"{frame.dtype} {frame.shape}") != expected:
                raise ValueError(f"frame {index} is {found}; expected {expected}, as frame 0.")
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
