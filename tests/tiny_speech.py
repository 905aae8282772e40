"""A small corpus in TIMIT's layout, whose phones are tones: generated, with exact times."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
TONES = {"h#": 0.0, "aa": 500.0, "iy": 1500.0, "s": 4000.0}
"""Phones and what is heard of them, in Hz."""
SPEAKERS: Mapping[str, Sequence[str]] = {
    "TRAIN": ("FAAA0", "MBBB0", "MCCC0"), "TEST": ("FDDD0", "MEEE0"),
}  # fmt: skip


def draw_phones(seed: int, *, num: int = 5) -> list[tuple[int, int, str]]:
    """Start, end and name of some phones between two silences, each of 80 to 200 ms."""
    generator = np.random.default_rng(seed)
    names = ["h#", *generator.choice(list(TONES)[1:], size=num), "h#"]
    ends = np.cumsum(generator.integers(1280, 3200, size=len(names))).tolist()
    return list(zip([0, *ends[:-1]], ends, map(str, names), strict=True))


def make_samples(
    phones: Sequence[tuple[int, int, str]], *, rate: int = RATE, seed: int = 0
) -> NDArray[np.int16]:
    """The tones of these phones, whose times are at RATE, in a little noise."""
    num = phones[-1][1] * rate // RATE
    seconds = np.arange(num) / rate
    sound = 30.0 * np.random.default_rng(seed).standard_normal(num)
    for start, end, name in phones:
        here = (seconds >= start / RATE) & (seconds < end / RATE)
        sound += here * (TONES[name] > 0) * 8000.0 * np.sin(2 * np.pi * TONES[name] * seconds)
    return sound.round().astype(np.int16)


def write_sphere(
    path: Path,
    samples: NDArray[np.int16],
    *,
    rate: int = RATE,
    fields: Mapping[str, str] | None = None,
) -> None:
    """A NIST SPHERE file; `fields` change lines of its header: {"sample_coding": "-s4 ulaw"}."""
    lines = {
        "sample_count": f"-i {len(samples)}", "sample_n_bytes": "-i 2", "channel_count": "-i 1",
        "sample_byte_format": "-s2 01", "sample_rate": f"-i {rate}", "sample_coding": "-s3 pcm",
        **(fields or {}),
    }  # fmt: skip
    body = "".join(f"{name} {value}\n" for name, value in lines.items() if value)
    header = f"NIST_1A\n   1024\n{body}end_head\n".encode().ljust(1024, b"\n")
    path.write_bytes(header + samples.astype("<i2").tobytes())


def write_riff(path: Path, samples: NDArray[np.int16], *, rate: int = RATE) -> None:
    """A RIFF file of samples (N,), or (N, C) of C channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def write_phones(path: Path, phones: Sequence[tuple[int, int, str]]) -> None:
    path.write_text("".join(f"{start} {end} {name}\n" for start, end, name in phones))


def write_corpus(root: Path, *, num: int = 3) -> Path:
    """`num` utterances, and an SA sentence, of each of SPEAKERS; the folder."""
    seed = 0
    for part, speakers in SPEAKERS.items():
        for speaker in speakers:
            folder = root / part / "DR1" / speaker
            folder.mkdir(parents=True)
            for name in ("SA1", *(f"SX{n}" for n in range(num))):
                seed += 1
                phones = draw_phones(seed)
                write_sphere(folder / f"{name}.WAV", make_samples(phones, seed=seed))
                write_phones(folder / f"{name}.PHN", phones)
    return root
