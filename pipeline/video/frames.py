"""Decode a video file to frames, and say what is wrong with it. The only home of decord and PyAV.

A frame is what the viewer sees at one tick of the clip's clock. An MPEG-4 packet that is "not
coded" (ISO/IEC 14496-2, vop_coded = 0) shows the frame before it again, so it counts as a frame:
otherwise all later frames would move forward in time. Neither decoder does this by itself: PyAV
leaves the frame out; decord leaves it out too, and fills the end with the last frame.
"""

from __future__ import annotations

import importlib
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
    "DECODERS",
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

DECODERS = ("auto", "decord", "pyav")

_MAX_CHUNK_BYTES = 16 * 2**20
# decord must stop where it would repeat a frame in silence; 0 would switch that check off.
_DECORD_FAULT_TOLERANCE = 1e-9
# From 1, the best, to 31: MPEG-4's quantiser scale, in FFmpeg's unit for it.
_WRITTEN_QUALITY = 2 * 118


@dataclass(frozen=True)
class DecodeSummary:
    """How the decoding of a whole file went.

    `decoder` is "decord", "pyav" or "decord then pyav from frame 37". `num_decoded` counts all
    frames, also those that the stride left out. `problem` is None, or one line that starts with
    "truncated", "damaged" or "incomplete". The features' condition of a clip rests on these words.
    """

    decoder: str
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


def read_frames(
    path: str | Path, *, stride: int = 1, chunk_frames: int = 64, decoder: str = "auto"
) -> FrameReader:
    """Frames 0, stride, 2 * stride, ... of a clip, in chunks of (chunk_frames, H, W, 3) RGB uint8.

    The last chunk may be shorter, and chunks of large frames are: 16 MiB, or one frame.

    "auto" takes decord where it is installed, the file's packets raise no doubt and all its frames
    take 512 MiB at most, and PyAV otherwise, or from the frame at which decord gives up. Both turn
    the frames of a rotated video upright. Frames of another size than the first are scaled to it.
    Bit errors that a decoder conceals are seen by PyAV only. Raises VideoError, on iteration, if no
    frame can be had.

        frames = read_frames("v_Punch_g08_c01.avi", stride=5)
        chunks = list(frames)
        print(frames.summary.problem)
    """
    for name, value in (("stride", stride), ("chunk_frames", chunk_frames)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more.")
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}; it must be one of {', '.join(DECODERS)}.")
    if decoder == "decord" and _import_decord() is None:
        raise ValueError("decord is not installed here; pass decoder='auto' or 'pyav'.")
    frames = _decode(Path(path), stride=stride, decoder=decoder)
    return FrameReader(frames, chunk_frames=chunk_frames)


def write_video(path: str | Path, frames: Iterable[Frame], *, fps: float = 25.0) -> None:
    """Writes (H, W, 3) RGB uint8 frames as UCF-101 has them: AVI, MPEG-4 Part 2 with B-frames.

    Equal frames give equal bytes under one version of PyAV. The file appears when it is complete.
    Raises ValueError if there is no frame, or one has another type or size than the first.
    """
    with replacing(Path(path)) as unfinished:
        _encode(unfinished, frames, fps=fps)


def _decode(path: Path, *, stride: int, decoder: str) -> Generator[Frame, None, DecodeSummary]:
    scan = scan_packets(path)
    used = "decord"
    num_decoded = num_damaged = num_decord = 0
    if decoder == "decord" or (decoder == "auto" and scan.suits_decord):
        num_decord = num_decoded = yield from _decode_with_decord(path, stride=stride)
    if decoder == "pyav" or (decoder == "auto" and num_decord < max(scan.num_packets, 1)):
        used = f"decord then pyav from frame {num_decord}" if num_decord else "pyav"
        counts = yield from _decode_with_pyav(path, stride=stride, first=num_decord)
        num_decoded, num_damaged = counts
    if num_decoded == 0:
        expected = scan.header.num_frames
        promised = "" if expected is None else f" of the {expected} that its header promises"
        raise VideoError(f"no frame decodes{promised}")
    return DecodeSummary(
        decoder=used,
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


def _decode_with_decord(path: Path, *, stride: int) -> Generator[Frame, None, int]:
    """Yields every stride-th frame; returns how many decoded until the end or decord's failure."""
    decord = _import_decord()
    if decord is None:
        return 0
    errors = (decord.DECORDError, decord.DECORDLimitReachedError)
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(
            str(path.absolute()), num_threads=1, fault_tol=_DECORD_FAULT_TOLERANCE
        )
    except (*errors, RuntimeError, UnicodeError, AssertionError):
        return 0
    # No skip_frames(): it passes over repeated frames in silence, and saves next to nothing.
    for index in range(len(reader)):
        try:
            frame = reader.next()
        except (*errors, StopIteration):
            return index
        if frame.shape[2] != 3:  # of some narrow videos decord counts a row's padding as channels
            return index
        if index % stride == 0:
            yield frame.asnumpy()
    return len(reader)


def _import_decord() -> Any:
    try:
        return importlib.import_module("decord")
    except (ImportError, OSError):  # OSError: its library is there but does not load
        return None


def _decode_with_pyav(
    path: Path, *, stride: int, first: int
) -> Generator[Frame, None, tuple[int, int]]:
    """Yields every stride-th frame from `first` on; returns (frames, damaged packets) of it all."""
    index = num_damaged = 0
    with open_video(path) as (container, stream):
        to_rgb = _RgbConverter()
        for frame, is_damaged in _shown_frames(container, stream):
            num_damaged += is_damaged
            if frame is None:
                continue
            if index >= first and index % stride == 0:
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
