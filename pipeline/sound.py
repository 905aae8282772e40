"""Sound files as samples: NIST SPHERE and RIFF, of any rate and number of channels."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# The first bytes of a file, and FFmpeg's name of what begins so.
_FORMATS = {b"NIST": "nistsphere", b"RIFF": "wav"}
_CODINGS = ("pcm", "ulaw", "mu-law", "alaw")
_MOST_HEADER_BYTES = 2**16
_RATES, _MOST_CHANNELS = (1_000, 400_000), 8
_OPEN = 2**32 - 2**16  # a RIFF data chunk of so many bytes was never closed


class SoundError(ValueError):
    """A file of which no sound can be had. The message is one line without the file's name."""


@dataclass(frozen=True)
class Sound:
    """The samples (N,) float32 in [-1, 1] of a file, mixed to one channel, at `rate` a second.

    `about` says what the file holds. `num_own` samples were decoded at the file's own rate,
    `own_rate`, where its header promises `num_promised`; None: no promise.
    """

    samples: NDArray[np.float32]
    rate: int
    num_own: int
    own_rate: int
    num_promised: int | None
    about: str


def read_sound(path: Path, *, rate: int) -> Sound:
    """The sound of a file at `rate` samples a second. Raises SoundError where there is none."""
    form = _find_format(path)
    if form == "nistsphere":
        promised = _check_sphere(_read_sphere_header(path))
    else:
        promised = _read_riff_promise(path)
    try:
        with av.open(str(path), format=form, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise SoundError("it holds no sound")
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise SoundError("the coding of its samples is not known")
            own_rate, coding = int(stream.rate or 0), str(stream.codec_context.name)
            _check_stream(own_rate, int(stream.codec_context.channels))
            channels = list(_decode(container, stream))
    except av.FFmpegError as error:
        raise SoundError(f"cannot be decoded: {error.strerror}") from error
    if not channels:
        raise SoundError("it holds no samples")
    own = np.concatenate(channels, axis=1)  # (C, N)
    mixed = own.mean(axis=0, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise SoundError("it holds samples that are NaN or infinite")
    return Sound(
        samples=mixed if own_rate == rate else _resample(mixed, own_rate, rate),
        rate=rate,
        num_own=own.shape[1],
        own_rate=own_rate,
        num_promised=promised,
        about=_describe(form, coding, own_rate, len(own), rate=rate),
    )


def _check_stream(rate: int, num_channels: int) -> None:
    """Raise SoundError for numbers that no recording has: FFmpeg crashes on some of them."""
    if not _RATES[0] <= rate <= _RATES[1] or not 1 <= num_channels <= _MOST_CHANNELS:
        raise SoundError(
            f"expected 1 to {_MOST_CHANNELS} channels of {_RATES[0]:,} to {_RATES[1]:,} Hz, found "
            f"{num_channels} of {rate:,} Hz"
        )


def _describe(form: str, coding: str, own_rate: int, num_channels: int, *, rate: int) -> str:
    """`wav pcm_s16le 16000 Hz`, or `wav pcm_s16le 8000 Hz, resampled; 2 channels, mixed`."""
    told = f"{form} {coding} {own_rate} Hz" + (", resampled" if own_rate != rate else "")
    return told + (f"; {num_channels} channels, mixed" if num_channels > 1 else "")


def _find_format(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise SoundError("it is empty")
    if start not in _FORMATS:
        raise SoundError(f"expected NIST SPHERE or RIFF, found a file that begins with {start!r}")
    return _FORMATS[start]


def _decode(container: Any, stream: Any) -> Iterator[NDArray[Any]]:
    """The samples (C, n) of each frame, in [-1, 1]."""
    # Planes of floats, whatever the coding; rate and channels as they are.
    to_floats = av.AudioResampler(format="fltp", rate=stream.rate)
    for frame in container.decode(stream):
        yield from (part.to_ndarray() for part in to_floats.resample(frame))
    yield from (part.to_ndarray() for part in to_floats.resample(None))


def _resample(samples: NDArray[np.float32], own_rate: int, rate: int) -> NDArray[np.float32]:
    """The samples at another rate: FFmpeg's low-pass filter below half the smaller of the two."""
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate = own_rate
    change = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    parts = [part.to_ndarray()[0] for part in (*change.resample(frame), *change.resample(None))]
    found: NDArray[np.float32] = np.concatenate(parts)
    return found


def _read_sphere_header(path: Path) -> Mapping[str, str]:
    """The fields of a NIST SPHERE header: lines `sample_rate -i 16000` between its two marks."""
    with path.open("rb") as file:
        start = file.read(16)
        marks = start.split(b"\n")
        if marks[0] != b"NIST_1A" or len(marks) < 2 or not marks[1].strip().isdigit():
            raise SoundError("its SPHERE header does not begin with NIST_1A and its size")
        num_bytes = int(marks[1])
        if not len(start) <= num_bytes <= _MOST_HEADER_BYTES:
            raise SoundError(f"its SPHERE header says that it has {num_bytes} bytes")
        text = (start + file.read(num_bytes - len(start))).decode("latin-1")
    body, mark, _ = text.partition("\nend_head")
    if not mark:
        raise SoundError("its SPHERE header has no end: end_head is missing")
    lines = (line.split(None, 2) for line in body.splitlines()[2:])
    return {parts[0]: parts[2].strip() for parts in lines if len(parts) == 3}


def _check_sphere(fields: Mapping[str, str]) -> int | None:
    """The number of samples that a header promises, None where it promises none.

    Raises SoundError for a coding that is not read, or numbers that are none.
    """
    coding = fields.get("sample_coding", "pcm")
    if "shorten" in coding:
        raise SoundError(
            f"its samples are compressed ({coding}): unpack them with NIST's w_decode -o pcm, or "
            f"sph2pipe -p"
        )
    if coding not in _CODINGS:
        raise SoundError(f"expected samples in pcm, ulaw or alaw, found {coding}")
    for name in ("sample_rate", "channel_count"):
        if not fields.get(name, "").isdigit() or int(fields[name]) < 1:
            raise SoundError(f"its SPHERE header has no {name} that is a number from 1 up")
    count = fields.get("sample_count", "")
    return int(count) if count.isdigit() else None


def _read_riff_promise(path: Path) -> int | None:
    """The number of samples of each channel that a RIFF header promises, None where it does not.

    FFmpeg tells how many there are. A file that was written to a pipe has no number, or the most.
    """
    with path.open("rb") as file:
        file.seek(12)
        block_bytes = 0
        while len(head := file.read(8)) == 8:
            name, num_bytes = struct.unpack("<4sI", head)
            if name == b"data":
                return num_bytes // block_bytes if block_bytes and 0 < num_bytes < _OPEN else None
            content = file.read(min(num_bytes, 16)) if name == b"fmt " else b""
            if len(content) == 16:
                (block_bytes,) = struct.unpack("<H", content[12:14])
            file.seek(num_bytes + num_bytes % 2 - len(content), 1)
    return None
