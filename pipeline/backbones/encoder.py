"""What encodes the frames of a stream: the very backbone that a run was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backbones.backbone import Backbone, load_backbone, prepare
from pipeline.backbones.int8 import check_int8, load_int8
from pipeline.backbones.weights import NO_FILES
from pipeline.devices import resolve_device
from pipeline.features import INT8_FILE, FeatureSpec


@dataclass(frozen=True)
class Encoder:
    """The backbone that a run's features came from, and the spec that says how."""

    backbone: Backbone
    spec: FeatureSpec

    def __post_init__(self) -> None:
        found = {
            "dim": self.backbone.dim,
            "weights_digest": self.backbone.weights_digest,
            "preprocessing": self.backbone.preprocessing,
        }
        wrong = [
            f"{key} {value or 'none'}, not {getattr(self.spec, key) or 'none'}"
            for key, value in found.items()
            if value != getattr(self.spec, key)
        ]
        if wrong:
            raise ValueError(
                f"The encoder is not the one that the run was trained on: {self.backbone.name} "
                f"has {'; '.join(wrong)}.\n"
                f"Pass --weights with the very file that the features were made with "
                f"({self.spec.weights or 'unknown'})."
            )

    def crop(self, frames: NDArray[np.uint8]) -> Tensor:
        """The net's uint8 crops of frames (N, H, W, 3)."""
        return self.backbone.crop(torch.from_numpy(np.ascontiguousarray(frames)))

    def encode_crops(self, crops: Tensor) -> NDArray[Any]:
        """Features (N, D) of crops, rounded as a feature store keeps them."""
        features = self.backbone.encode_crops(crops).cpu().numpy()
        with np.errstate(over="ignore"):
            return features.astype(self.spec.dtype)

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[Any]:
        """Features (N, D) of frames (N, H, W, 3), rounded as a feature store keeps them."""
        return self.encode_crops(self.crop(frames))


def load_encoder(
    spec: FeatureSpec | None, *, weights: str | Path | None = None, device: str = "auto"
) -> Encoder:
    """The very backbone, weights and preprocessing of the features that a run was trained on.

    `spec` is `run.features`; None, as of a run of another task, is refused.
    `weights` is where they are now: needed if they came from a file, which `find_encoder_weights`
    of pipeline.runs finds. Its numbers must be those of the run. Arithmetic is the run's, but never
    compiled: compiled features differ in last bits. In 8 bits the encoder is a file of the store,
    which is passed as `weights`.
    Raises ValueError where the run was not trained on features of frames, or the weights differ.
    """
    spec = _check_spec(spec)
    if spec.is_int8:
        return _load_int8(spec, weights, device="cpu" if device == "auto" else device)
    if weights is None and spec.weights not in NO_FILES:
        raise ValueError(
            f"The run was trained on features of {spec.backbone} with the weights of a file, "
            f"{spec.weights or 'whose name is not known'}.\nPass it: --weights FILE"
        )
    dtype = spec.compute.split(" ")[0] or "float32"
    backbone = load_backbone(
        spec.backbone, weights=spec.weights if weights is None else weights, features=spec.features
    )
    Encoder(backbone, spec)  # refuses other weights before they are moved and converted
    return Encoder(prepare(backbone, device=resolve_device(device), dtype=dtype), spec)


def _load_int8(spec: FeatureSpec, weights: str | Path | None, *, device: str) -> Encoder:
    check_int8(resolve_device(device))
    if weights is None:
        raise ValueError(
            f"The run was trained on features of {spec.backbone} in 8 bits, whose encoder is a "
            f"file of their store.\nPass it: --weights {INT8_FILE}"
        )
    backbone, compute = load_int8(Path(weights))
    if compute != spec.compute:
        raise ValueError(
            f"The encoder is not the one that the run was trained on: {weights} computes in "
            f"{compute}, not {spec.compute}.\n"
            f"Pass --weights with the {INT8_FILE} of the store of the run's features."
        )
    return Encoder(backbone, spec)


def _check_spec(spec: FeatureSpec | None) -> FeatureSpec:
    if spec is None:
        raise ValueError(
            "The run was not trained on features of frames, so it cannot read videos.\n"
            "Choose a run of the task `clips`."
        )
    if not isinstance(spec, FeatureSpec):
        raise ValueError(
            f"load_encoder: expected the spec of a run's features, found {type(spec).__name__}.\n"
            f"Write load_encoder(run.features)."
        )
    if spec.is_of_speech:
        raise ValueError(
            "The run was trained on features of sound, so it cannot read videos.\n"
            "Choose a run of the task `clips`."
        )
    if not spec.weights_digest:
        raise ValueError(
            f"The run was trained on features that another program made ({spec.backbone}): how to "
            f"make them of frames is not known.\n"
            f"Make the features with `python -m extract`, or push them to a Streamer."
        )
    return spec
