"""The encoder that the options ask for, and the spec of what it will make."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from extract.calibrate import prepare_int8
from pipeline.backbones import (
    Backbone,
    has_compiler,
    load_backbone,
    prepare,
    resolve_dtype,
)
from pipeline.backbones.int8 import check_int8
from pipeline.clips import Clip
from pipeline.devices import resolve_device
from pipeline.features import INT8, SPEC, FeatureSpec, check_encoder, claim_store, read_spec
from pipeline.versions import find_versions
from pipeline.video import DECODER, VideoError, read_header

_COMPILED = " compiled"
# Compiling spares an eighth to a seventh of a CPU's time, and pays from 5,000 to 9,000 frames, from
# 1,000 where its code is kept (LOG.md). That must not count: the features of the same videos would
# hang on what ran here before.
_STEPS_WORTH_COMPILING = 7_000
_HEADERS_READ = 20
_PACKAGES = ("torch", "torchvision", "timm", "av")
_INT8_PACKAGES = ("openvino", "nncf")


@dataclass(frozen=True)
class Workload:
    """What is to be encoded in all: about `num_steps` frames, of these files."""

    num_steps: int = 0
    videos: Sequence[Path] = ()


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
    workload: Workload = Workload(),
) -> EncoderSetup:
    """The backbone on its device, and its spec, for this workload.

    An extraction that was begun goes on compiled or not, and with dtype `auto` in the arithmetic,
    as it was begun: mixed, the features of one store would differ in their last bits. In 8 bits the
    encoder is that of the store, made of frames of the workload where there is none.
    """
    device = resolve_device(device)
    begun = read_spec(out) if (out / SPEC).is_file() else None
    if dtype == "auto" and begun is not None:
        dtype = begun.compute.split(" ")[0]
    is_int8 = dtype == INT8
    if is_int8:
        check_int8(device)
    dtype = INT8 if is_int8 else resolve_dtype(dtype, device)
    backbone = load_backbone(name, weights=weights, features=features)
    spec = _make_spec(backbone, features=features, stride=stride, compute=dtype)
    if is_int8:
        if begun is not None and not begun.is_int8:
            claim_store(out, spec)  # refuses, before ranges are looked for
        if begun is not None:
            check_encoder(out, begun)
        backbone, compute = prepare_int8(backbone, out, workload.videos, features=features)
        backbone = replace(backbone, batch_frames=batch_frames or backbone.batch_frames)
        spec = replace(spec, compute=compute)
    else:
        compiled = _is_to_compile(device, begun, workload.num_steps)
        spec = replace(spec, compute=dtype + (_COMPILED if compiled else ""))
        backbone = prepare(
            backbone, device=device, dtype=dtype, compiled=compiled, batch_frames=batch_frames
        )
    return EncoderSetup(backbone, spec, num_workers or default_workers(device))


def _is_to_compile(device: str, begun: FeatureSpec | None, num_steps: int) -> bool:
    if begun is not None:
        return begun.compute.endswith(_COMPILED)
    return device == "cpu" and has_compiler() and num_steps >= _STEPS_WORTH_COMPILING


def _make_spec(backbone: Backbone, *, features: str, stride: int, compute: str) -> FeatureSpec:
    packages = (*_PACKAGES, *_INT8_PACKAGES) if compute == INT8 else _PACKAGES
    return FeatureSpec(
        backbone=backbone.name,
        dim=backbone.dim,
        features=features,
        weights=backbone.weights,
        weights_digest=backbone.weights_digest,
        preprocessing=backbone.preprocessing,
        decoder=DECODER,
        stride=stride,
        compute=compute,
        versions=find_versions(packages),
    )


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
