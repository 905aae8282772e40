"""Sound files: the samples that are in them, whatever their container, rate and channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.sound import SoundError, read_sound
from tests.tiny_speech import RATE, draw_phones, make_samples, write_riff, write_sphere

SAMPLES = make_samples(draw_phones(1))


def make_tone(rate: int, *, hertz: float = 700.0, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return np.round(10_000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def test_sphere_and_riff_give_the_very_samples_that_were_written(tmp_path: Path) -> None:
    write_sphere(tmp_path / "a", SAMPLES)
    write_riff(tmp_path / "b", SAMPLES)
    for name in "ab":
        sound = read_sound(tmp_path / name, rate=RATE)
        np.testing.assert_array_equal(sound.samples, SAMPLES / np.float32(2**15))
        assert sound.num_own == sound.num_promised == len(SAMPLES)


def test_two_channels_are_mixed_to_their_mean_and_said(tmp_path: Path) -> None:
    other = make_samples(draw_phones(1), seed=9)
    write_riff(tmp_path / "a", np.stack([SAMPLES, other], axis=1))
    sound = read_sound(tmp_path / "a", rate=RATE)
    expected = (SAMPLES.astype(np.float64) + other) / 2**16
    # A mean in float32 of numbers below 1.
    np.testing.assert_allclose(sound.samples, expected, atol=1e-7)
    assert sound.about == "wav pcm_s16le 16000 Hz; 2 channels, mixed"


@pytest.mark.parametrize("own_rate", [8_000, 44_100])
def test_a_resampled_tone_is_the_tone_at_the_other_rate_in_its_place(
    tmp_path: Path, own_rate: int
) -> None:
    write_riff(tmp_path / "a", make_tone(own_rate), rate=own_rate)
    sound = read_sound(tmp_path / "a", rate=RATE)
    expected = make_tone(RATE) / 2**15
    assert abs(len(sound.samples) - len(expected)) <= 2
    # Away from the ends, where the filter reads past the sound; the filter's ripple is below 1 %.
    middle = slice(400, 7600)
    np.testing.assert_allclose(sound.samples[middle], expected[middle], atol=0.01)
    assert "resampled" in sound.about


def test_a_tone_above_half_the_new_rate_is_gone_not_folded_back(tmp_path: Path) -> None:
    write_riff(tmp_path / "a", make_tone(44_100, hertz=12_000), rate=44_100)
    sound = read_sound(tmp_path / "a", rate=RATE)
    assert np.abs(sound.samples[400:7600]).max() < 0.001


@pytest.mark.parametrize("write", [write_sphere, write_riff])
def test_a_file_that_was_cut_keeps_what_is_there_and_its_promise(
    tmp_path: Path, write: object
) -> None:
    write(tmp_path / "a", SAMPLES)  # type: ignore[operator]
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    sound = read_sound(tmp_path / "a", rate=RATE)
    assert 0 < sound.num_own < len(SAMPLES)
    assert sound.num_promised == len(SAMPLES)
    np.testing.assert_array_equal(sound.samples, SAMPLES[: sound.num_own] / np.float32(2**15))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sample_coding": "-s26 pcm,embedded-shorten-v2.00"}, "w_decode -o pcm, or sph2pipe -p"),
        ({"sample_coding": "-s4 wave"}, "expected samples in pcm, ulaw or alaw, found wave"),
        ({"sample_rate": ""}, "no sample_rate that is a number"),
        ({"sample_rate": "-i many"}, "no sample_rate that is a number"),
        ({"channel_count": "-i 0"}, "no channel_count that is a number from 1 up"),
    ],
)
def test_a_sphere_header_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, fields: dict[str, str], expected: str
) -> None:
    write_sphere(tmp_path / "a", SAMPLES, fields=fields)
    with pytest.raises(SoundError, match=expected):
        read_sound(tmp_path / "a", rate=RATE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty"),
        (b"OggS" + bytes(100), "expected NIST SPHERE or RIFF, found a file that begins"),
        (b"NIST_1A\n   1024\nsample_count -i 3\n", "end_head is missing"),
        (b"NIST_1A\nmany\n", "does not begin with NIST_1A and its size"),
        (b"NIST_1A\n 9999999\n", "says that it has 9999999 bytes"),
        (b"RIFF" + bytes(100), "cannot be decoded"),
        (b"RIFF\0\0\0\0WAVE", "cannot be decoded"),
    ],
)
def test_a_file_that_is_no_sound_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(SoundError, match=expected):
        read_sound(tmp_path / "a", rate=RATE)


def test_a_header_with_damaged_bytes_gives_sound_or_one_reason(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    write_riff(tmp_path / "a", SAMPLES)
    write_sphere(tmp_path / "b", SAMPLES)
    found = {"sound": 0, "reason": 0}
    for name, num_bytes in (("a", 44), ("b", 220)):
        whole = (tmp_path / name).read_bytes()
        for _ in range(120):
            damaged = bytearray(whole)
            for place in generator.integers(0, num_bytes, size=2):
                damaged[place] = generator.integers(256)
            (tmp_path / name).write_bytes(damaged)
            try:
                found["sound"] += len(read_sound(tmp_path / name, rate=RATE).samples) > 0
            except SoundError:
                found["reason"] += 1
    assert min(found.values()) > 20


def test_many_channels_which_crash_the_decoder_are_refused(tmp_path: Path) -> None:
    write_riff(tmp_path / "a", np.zeros((1000, 33), np.int16))
    with pytest.raises(SoundError, match="expected 1 to 8 channels of .* found 33 of 16,000 Hz"):
        read_sound(tmp_path / "a", rate=RATE)
