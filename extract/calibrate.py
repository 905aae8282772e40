"""The 8-bit encoder of a store: made once of frames of its clips, read by all that goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from extract.leases import Leases
from pipeline.backbones import Backbone, prepare
from pipeline.features import INT8_FILE
from pipeline.video import VideoError, read_frames

# The encoder's modules need an extra.
# ruff: noqa: PLC0415

NUM_FRAMES, NUM_CLIPS = 300, 100
"""The ranges of the layers are those of so many frames, of so many clips at most."""
_STRIDE = 10
LEAST_COSINE = 0.99
_NUM_COMPARED = 48


def prepare_int8(
    backbone: Backbone, out: Path, clips: Sequence[Path], *, features: str
) -> tuple[Backbone, str]:
    """The 8-bit encoder in the store `out`, and its arithmetic; made of `clips` where it has none.

    Whoever comes first makes it: what other clips or processes come later changes nothing. Raises
    ValueError where no clip can be decoded, for an encoder of another backbone, and where 8 bits
    change its features too much.
    """
    from pipeline.backbones.calibration import calibrate
    from pipeline.backbones.int8 import Int8Net, load_int8, write_int8

    path = out / INT8_FILE
    if not path.exists():
        crops, num_clips = read_crops(backbone, clips)
        out.mkdir(parents=True, exist_ok=True)
        with Leases() as leases, leases.holding(out / f"{INT8_FILE}.lock"):
            if not path.exists():
                model = calibrate(backbone, crops, features=features, num_clips=num_clips)
                check_features(Int8Net(model), backbone, crops)
                write_int8(path, model)
    fast, compute = load_int8(path)
    _refuse_other(path, fast, backbone)
    return replace(fast, batch_frames=backbone.batch_frames), compute


def check_features(encode: Callable[[Tensor], Tensor], backbone: Backbone, crops: Tensor) -> None:
    """Raise ValueError where features of `encode` point elsewhere than the backbone's in float32.

    The median cosine of frames spread over all counts: nets of depthwise convolutions, or of
    attention, may lose much in 8 bits.
    """
    some = crops[:: max(1, len(crops) // _NUM_COMPARED)]
    expected = prepare(backbone).encode_crops(some)
    cosine = float(F.cosine_similarity(encode(some), expected).median())
    if cosine < LEAST_COSINE:
        raise ValueError(
            f"8 bits change the features of {backbone.name} too much: their median cosine to "
            f"those in float32 is {cosine:.3f} on {len(some)} frames, expected {LEAST_COSINE} or "
            f"more.\nExtract with --dtype bfloat16 or float32."
        )


def read_crops(backbone: Backbone, clips: Sequence[Path]) -> tuple[Tensor, int]:
    """The encoder's crops of the first frames of clips, uint8 (N, 3, h, w), and of how many clips.

    Every tenth frame from the first on, of clips that are spread evenly over the sorted paths: of
    NUM_CLIPS as many as give NUM_FRAMES, of fewer clips more of each, as far as they go. A clip
    that cannot be decoded is left out.
    """
    chosen = _spread(sorted(clips), NUM_CLIPS)
    num_each = math.ceil(NUM_FRAMES / max(1, len(chosen)))
    crops = []
    for path in chosen:
        with suppress(VideoError, OSError):
            chunk = next(iter(read_frames(path, stride=_STRIDE, chunk_frames=num_each)))
            crops.append(backbone.crop(torch.from_numpy(chunk)))
    if not crops:
        raise ValueError(
            f"--dtype int8 finds the ranges of the encoder's layers from frames, but none of "
            f"{len(chosen)} clips can be decoded{f', such as {chosen[0]}' if chosen else ''}.\n"
            f"Look at the videos, or extract with --dtype bfloat16 or float32."
        )
    return torch.cat(crops), len(crops)


def _spread(clips: Sequence[Path], num: int) -> list[Path]:
    """`num` of the clips at even distances, or all where there are fewer."""
    num = min(num, len(clips))
    return [clips[place * len(clips) // num] for place in range(num)]


def _refuse_other(path: Path, found: Backbone, wanted: Backbone) -> None:
    differences = [
        f"{name} {getattr(found, name)}, not {getattr(wanted, name)}"
        for name in ("name", "dim", "weights_digest", "preprocessing")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differences:
        raise ValueError(
            f"{path} is the 8-bit encoder of another backbone: {'; '.join(differences)}.\n"
            f"Extract into another folder with --out, or delete that file if nothing in its store "
            f"was made with it."
        )
