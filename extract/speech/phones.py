"""The phones of an utterance, from its .PHN file, and the phone of each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.files import name_special
from pipeline.sound import Sound

RATE = 16_000
"""Samples a second that features are computed at: TIMIT's."""
FRAME_SAMPLES, SHIFT_SAMPLES = 400, 160
"""25 ms every 10 ms."""
_COMMON_RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)
_LIKE = 0.01


class LabelError(ValueError):
    """Labels that cannot be those of the sound. One line, without the file's name."""


@dataclass(frozen=True)
class Phone:
    """A phone and its samples [start, end)."""

    start: int
    end: int
    name: str


def read_phones(path: Path) -> tuple[Phone, ...]:
    """The phones of a file of lines `start end phone`, in their order; LabelError for another."""
    if kind := name_special(path):
        raise LabelError(f"it is {kind}, no regular file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError("expected text in UTF-8, found other bytes") from error
    phones = tuple(_parse(text))
    if not phones:
        raise LabelError("it is empty")
    for before, after in pairwise(phones):
        if after.start < before.end:
            raise LabelError(
                f"{after.name} begins at sample {after.start}, within {before.name}, which ends at "
                f"{before.end}"
            )
    return phones


def _parse(text: str) -> Iterator[Phone]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not (words := line.split()):
            continue
        if len(words) != 3 or not words[0].isdecimal() or not words[1].isdecimal():
            raise LabelError(f"line {number}: expected `start end phone`, found {line.strip()!r}")
        if (start := int(words[0])) > (end := int(words[1])):
            raise LabelError(f"line {number}: {words[2]} ends at {end}, before it begins")
        if start < end:
            yield Phone(start, end, words[2])


def check_fit(phones: Sequence[Phone], sound: Sound, *, rate: int) -> None:
    """Raise LabelError where the phones, whose times are at `rate`, are not of this sound.

    They may end a frame's shift after it, which no frame's label depends on, and any time before.
    """
    end = phones[-1].end
    num = max(sound.num_own, sound.num_promised or 0)
    seconds = num / sound.own_rate
    told = f"its last phone ends at sample {end:,}, and the sound has {num:,} at {sound.own_rate}"
    if other := _find_other_rate(end / seconds, rate):
        raise LabelError(
            f"{told} Hz: these look like times at {other} Hz. Pass --label-rate {other}"
        )
    if end / rate > seconds + SHIFT_SAMPLES / RATE:
        raise LabelError(f"{told} Hz: it runs past the sound")


def _find_other_rate(found: float, rate: int) -> int | None:
    """The common rate that the sound's length makes of the last phone's end, where that is not
    the one it should have."""
    near = [r for r in (rate, *_COMMON_RATES) if abs(found / r - 1) < _LIKE]
    return None if not near or rate in near else near[0]


def label_frames(phones: Sequence[Phone], num_frames: int, *, rate: int) -> list[str]:
    """The phone at the middle of each frame, "" where there is none; their times are at `rate`."""
    middles = (np.arange(num_frames) * SHIFT_SAMPLES + FRAME_SAMPLES // 2) * (rate / RATE)
    places = np.searchsorted([phone.end for phone in phones], middles, side="right")
    return [
        phones[place].name if place < len(phones) and phones[place].start <= middle else ""
        for place, middle in zip(places, middles, strict=True)
    ]
