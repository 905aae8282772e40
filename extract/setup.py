"""The encoder that the options ask for, and the spec of what it will make."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.backbones import (
    Backbone,
    has_compiler,
    load_backbone,
    prepare,
    resolve_dtype,
)
from pipeline.clips import Clip
from pipeline.devices import resolve_device
from pipeline.features import SPEC, FeatureSpec, read_spec
from pipeline.versions import find_versions
from pipeline.video import DECODER, VideoError, read_header

_COMPILED = " compiled"
# Compiling takes a CPU as long as encoding some 3,400 frames (LOG.md) and halves the rest.
_STEPS_WORTH_COMPILING = 7_000
_HEADERS_READ = 20
_PACKAGES = ("torch", "torchvision", "timm", "av")


@dataclass(frozen=True)
class EncoderSetup:
    """A backbone ready to run, how it is fed, and the spec of its features."""

    backbone: Backbone
    spec: FeatureSpec
    num_workers: int

    def describe(self) -> str:
        """One line for the beginning of an extraction."""
        backbone = self.backbone
        return (
            f"{backbone.name} ({self.spec.weights} weights), {self.spec.dim} features, "
            f"{backbone.device} {self.spec.compute}, {backbone.batch_frames} frames at a time, "
            f"{self.num_workers} decoding processes"
        )


def prepare_encoder(
    name: str,
    out: Path,
    *,
    weights: str,
    features: str,
    stride: int,
    device: str,
    dtype: str,
    batch_frames: int | None,
    num_workers: int | None,
    num_steps: int = 0,
) -> EncoderSetup:
    """The backbone on its device, and its spec; `num_steps` frames are to be encoded in all.

    An extraction that was begun goes on compiled or not, and with dtype `auto` in the arithmetic,
    as it was begun: mixed, the features of one store would differ in their last bits.
    """
    device = resolve_device(device)
    begun = read_spec(out).compute if (out / SPEC).is_file() else None
    if dtype == "auto" and begun is not None:
        dtype = begun.removesuffix(_COMPILED)
    dtype = resolve_dtype(dtype, device)
    if begun is None:
        compiled = device == "cpu" and has_compiler() and num_steps >= _STEPS_WORTH_COMPILING
    else:
        compiled = begun.endswith(_COMPILED)
    backbone = prepare(
        load_backbone(name, weights=weights, features=features),
        device=device, dtype=dtype, compiled=compiled, batch_frames=batch_frames,
    )  # fmt: skip
    spec = FeatureSpec(
        backbone=name,
        dim=backbone.dim,
        features=features,
        weights=backbone.weights,
        weights_digest=backbone.weights_digest,
        preprocessing=backbone.preprocessing,
        decoder=DECODER,
        stride=stride,
        compute=dtype + (_COMPILED if compiled else ""),
        versions=find_versions(_PACKAGES),
    )
    return EncoderSetup(backbone, spec, num_workers or default_workers(device))


def estimate_steps(clips: Sequence[Clip], videos: Path, *, stride: int) -> int:
    """About how many frames these clips have to encode, from the headers of a few."""
    counts = []
    for clip in clips[:: max(1, len(clips) // _HEADERS_READ)]:
        with suppress(VideoError, OSError):
            counts.append(read_header(videos / clip.path).num_frames or 0)
    return len(clips) * sum(counts) // max(1, len(counts)) // stride


def default_workers(device: str) -> int:
    """A quarter of the cores where they also compute, else all but one."""
    cores = os.cpu_count() or 1
    return max(1, cores // 4 if device == "cpu" else cores - 1)
