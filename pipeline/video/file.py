"""What is in a video file, from its header and packets alone; nothing is decoded here.

Part of pipeline/video.py, which other modules import instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

# A not-coded packet is 7 bytes or so; FFmpeg's own limit for one is this.
_MAX_NOT_CODED_BYTES = 19


class VideoError(ValueError):
    """A file of which no frame can be had. The message is one line without the file's name."""


@dataclass(frozen=True)
class VideoHeader:
    """What a file says of its best video stream.

    `num_frames` is None, and `fps` is 0, where the file does not say. Width and height are as
    stored: the frames of a rotated phone video come out turned.
    """

    num_frames: int | None
    fps: float
    width_pixels: int
    height_pixels: int


@dataclass(frozen=True)
class PacketScan:
    """What the packets say: how many there are, and whether they are all there."""

    header: VideoHeader
    num_packets: int
    num_discarded: int  # packets that the container wants decoded but not shown
    end_seconds: float
    duration_seconds: float | None  # what the header says, where it counts no frames
    is_cut_off: bool


def read_header(path: str | Path) -> VideoHeader:
    """The header of a video file. Raises VideoError if there is none to read."""
    with open_video(Path(path)) as (_, stream):
        return _header(stream)


def scan_packets(path: Path) -> PacketScan:
    """Counts the packets of a file: some hundred times faster than decoding them."""
    with open_video(path) as (container, stream):
        header = _header(stream)
        num_packets = num_discarded = end = 0
        for packet in packets(container, stream):
            if packet is None:
                break
            num_packets += 1
            num_discarded += packet.is_discard
            end = max(end, (packet.pts or packet.dts or 0) + (packet.duration or 0))
        end_seconds = float(end * stream.time_base)
        duration, slack = _duration_seconds(container, stream, fps=header.fps)
        is_cut_off = num_packets < (header.num_frames or 0)
        is_cut_off |= duration is not None and end_seconds < duration - slack
        return PacketScan(
            header=header,
            num_packets=num_packets,
            num_discarded=num_discarded,
            end_seconds=end_seconds,
            duration_seconds=duration,
            is_cut_off=is_cut_off,
        )


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets, then None, which tells a decoder to give what it holds back."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        pass  # a reading error ends the file, and the count of packets tells
    yield None


def may_be_not_coded(stream: Any, packet: Any) -> bool:
    """Whether a packet is so small that it may only say "the frame before, again" (MPEG-4).

    With B-frames, such packets fill the place of a frame that is packed into another packet.
    """
    context = stream.codec_context
    is_small: bool = packet.size <= _MAX_NOT_CODED_BYTES
    return is_small and context.name == "mpeg4" and not context.has_b_frames


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The open container and its best video stream."""
    _check_file(path)
    try:
        # Absolute, as FFmpeg takes "a:b.avi" for a protocol; files only, as a text file may be a
        # playlist that points to the network.
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, UnicodeError):
        raise VideoError(_name_unreadable(path)) from None
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:
            raise VideoError(
                "no video stream (audio only)" if container.streams.audio else "no video stream"
            )
        if stream.codec_context is None:
            raise VideoError("a codec that the installed PyAV does not know")
        yield container, stream


def _header(stream: Any) -> VideoHeader:
    return VideoHeader(
        num_frames=stream.frames or None,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        width_pixels=stream.width,
        height_pixels=stream.height,
    )


def _duration_seconds(container: Any, stream: Any, *, fps: float) -> tuple[float | None, float]:
    """The header's duration, and by how many seconds whole files may fall short of it.

    Only for Matroska, which counts no frames. Others count them, or FFmpeg takes the duration
    from the end of the file, which a truncated file has too.
    """
    if stream.frames or "matroska" not in container.format.name:
        return None, 0.0
    tag = stream.metadata.get("DURATION", "").split(":")  # of this stream: 00:00:10.333000000
    if len(tag) == 3:
        hours, minutes, seconds = map(float, tag)
        return hours * 3600 + minutes * 60 + seconds, 1.5 / fps if fps else 0.5
    # Of the longest stream: sound often ends later than the picture.
    return (container.duration / av.time_base if container.duration else None), 0.5


def _check_file(path: Path) -> None:
    """Raises VideoError for what FFmpeg would name unclearly, or wait for without end (a pipe)."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot be opened ({error.strerror})") from None
    if path.is_dir():
        raise VideoError("a directory, not a file")
    if not path.is_file():
        raise VideoError("not a regular file")
    if size == 0:
        raise VideoError("empty file (0 bytes)")
    if not os.access(path, os.R_OK):
        raise VideoError("no permission to read it")


def _name_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp":
        return "mp4 that was cut off before its index, or whose index is damaged"
    if start[:4] == b"RIFF" and start[8:] == b"AVI ":
        return "AVI that was cut off inside its header, or whose header is damaged"
    return "not a video"
