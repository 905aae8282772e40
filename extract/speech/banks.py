"""The features of speech: 40 mel filter banks and the energy, with their differences in time.

By kaldi-native-fbank, which computes what Kaldi's compute-fbank-feats does. Graves, Mohamed &
Hinton 2013, "Speech recognition with deep recurrent neural networks", section 4, says 123 numbers:
40 banks and the energy, and their first and second differences; 120 are the banks alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extract.speech.phones import FRAME_SAMPLES, RATE, SHIFT_SAMPLES
from pipeline.features import SPEECH, FeatureSpec
from pipeline.versions import find_versions

if TYPE_CHECKING:
    from kaldi_native_fbank import FbankOptions

NUM_BANKS = 40
_SPAN = 2  # frames before and after, which a difference in time is fitted to
_PACKAGES = ("av", "kaldi-native-fbank", "numpy")


def make_spec(*, has_energy: bool) -> FeatureSpec:
    """What the features are: 123 numbers a frame, or 120 without the energy."""
    return FeatureSpec(
        backbone=SPEECH,
        dim=3 * (NUM_BANKS + has_energy),
        features="banks, energy and differences" if has_energy else "banks and differences",
        preprocessing=(
            f"{RATE} Hz, one channel; {FRAME_SAMPLES} samples every {SHIFT_SAMPLES}, hamming, "
            f"without their mean, pre-emphasis 0.97; logarithm of the power in {NUM_BANKS} mel "
            f"bands from 20 to {RATE // 2} Hz; first and second differences over {_SPAN} frames "
            f"to each side"
        ),
        decoder="pyav",
        compute="float32",
        versions=find_versions(_PACKAGES),
    )


def compute_banks(samples: NDArray[np.float32], *, has_energy: bool) -> NDArray[np.float32]:
    """Features (T, 123), or (T, 120) without the energy, of samples (N,) in [-1, 1].

    The banks, the energy after them, then the first differences of all these and the second.
    Frame t is of the samples from 160 t up to 160 t + 400: no frame of fewer than 400 samples.
    """
    from kaldi_native_fbank import OnlineFbank  # noqa: PLC0415 - for speech only

    computer = OnlineFbank(_make_options(has_energy=has_energy))
    computer.accept_waveform(RATE, samples)
    computer.input_finished()
    frames = [computer.get_frame(place).copy() for place in range(computer.num_frames_ready)]
    banks = np.array(frames, np.float32).reshape(-1, NUM_BANKS + has_energy)
    if not len(banks):
        return np.empty((0, 3 * banks.shape[1]), np.float32)
    first = find_differences(banks)
    return np.concatenate([banks, first, find_differences(first)], axis=1)


def _make_options(*, has_energy: bool) -> FbankOptions:
    from kaldi_native_fbank import FbankOptions  # noqa: PLC0415

    options = FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.frame_length_ms = 1000 * FRAME_SAMPLES / RATE
    options.frame_opts.frame_shift_ms = 1000 * SHIFT_SAMPLES / RATE
    options.frame_opts.window_type = "hamming"
    options.frame_opts.dither = 0.0  # else each extraction would be another
    options.mel_opts.num_bins = NUM_BANKS
    options.use_energy = has_energy
    options.htk_compat = True  # the energy last
    return options


def find_differences(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The slopes (T, D) of lines fitted to each frame and two to each side; ends are repeated."""
    padded = np.pad(frames, ((_SPAN, _SPAN), (0, 0)), mode="edge")
    shifts, num = range(-_SPAN, _SPAN + 1), len(frames)
    total = sum(n * padded[_SPAN + n : _SPAN + n + num] for n in shifts)
    return np.asarray(total / sum(n * n for n in shifts), np.float32)
