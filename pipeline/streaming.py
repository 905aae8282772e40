"""A trained run on frames as they come: the run's own encoder, and a stream with a saveable state.

run = load_run("runs/mine")
streamer = Streamer(load_net(run), load_encoder(run.provenance))
scores = streamer.push(frame)  # (C,) after every frame (H, W, 3)
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backbones import Backbone, load_backbone, prepare, resolve_device
from pipeline.features import FeatureSpec
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.stepper import Stepper, StepState

_KNOWN_WEIGHTS = ("imagenet", "random")


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
    provenance: Mapping[str, Any], *, weights: str | Path | None = None, device: str = "auto"
) -> Encoder:
    """The very backbone, weights and preprocessing that a run was trained on.

    `weights` is where they are now: needed if they came from a file. Its numbers must be those of
    the run. Arithmetic is the run's, but never compiled: compiled features differ in last bits.
    Raises ValueError where the run was not trained on features of frames, or the weights differ.
    """
    spec = _read_spec(provenance)
    if weights is None and spec.weights not in _KNOWN_WEIGHTS:
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


def _read_spec(provenance: Mapping[str, Any]) -> FeatureSpec:
    if "features" not in provenance:
        raise ValueError(
            "The run was not trained on features of frames, so it cannot read videos.\n"
            "Choose a run of the task `clips`."
        )
    try:
        spec = FeatureSpec.from_json(json.dumps(provenance["features"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"The run's provenance.json is damaged: {error}") from error
    if not spec.weights_digest:
        raise ValueError(
            f"The run was trained on features that another program made ({spec.backbone}): how to "
            f"make them of frames is not known.\n"
            f"Make the features with `python -m extract`, or push them to a Streamer."
        )
    return spec


@dataclass
class StageSeconds:
    """Seconds spent so far in each stage, and frames encoded."""

    encode: float = 0.0
    step: float = 0.0
    num_steps: int = 0


class Streamer:
    """Scores of a stream after every frame, in memory that does not grow.

    They equal those of the stream so far read as one clip. Of a run trained on every k-th frame,
    the frames between change nothing. Without an encoder it takes features only. Streams may share
    a net's Stepper, which remembers nothing.
    """

    def __init__(self, net: SequenceNet | Stepper, encoder: Encoder | None = None) -> None:
        if encoder is not None and encoder.spec.dim != net.spec.input_size:
            raise ValueError(
                f"The net reads {net.spec.input_size} features a frame, but the encoder gives "
                f"{encoder.spec.dim}: they are of different runs."
            )
        self._stepper = net if isinstance(net, Stepper) else Stepper(net)
        self._stride = 1 if encoder is None else encoder.spec.stride
        # One frame at a time: a full batch would be filled up with black ones.
        self._encoder = encoder and replace(
            encoder, backbone=replace(encoder.backbone, batch_frames=1)
        )
        self.seconds = StageSeconds()
        self.reset()

    @property
    def state(self) -> StepState:
        """What is remembered of the stream."""
        return self._state

    @property
    def num_frames(self) -> int:
        """Frames pushed since the start or the last reset, those between strides included."""
        return self._num_frames

    def reset(self) -> None:
        """Forget the stream: the next frame is the first of another."""
        self._state = self._stepper.initial_state()
        self._num_frames = 0
        self._scores = np.full(self._stepper.spec.num_outputs, np.nan, np.float32)

    def push(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scores (C,) after one more frame, uint8 (H, W, 3) RGB."""
        if self._encoder is None:
            raise ValueError("This Streamer has no encoder: push_features, or make it with one.")
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected uint8 (H, W, 3), found {frame.dtype} {frame.shape}")
        if self._num_frames % self._stride == 0:
            start = time.perf_counter()
            (features,) = self._encoder.encode(frame[None])
            self.seconds.encode += time.perf_counter() - start
            self._step(features)
        self._num_frames += 1
        return self._scores.copy()

    def push_features(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Scores (C,) after one more step, the features (D,) of a frame."""
        if features.shape != (self._stepper.spec.input_size,):
            raise ValueError(
                f"features: expected ({self._stepper.spec.input_size},), found {features.shape}"
            )
        self._step(features)
        self._num_frames += self._stride
        return self._scores.copy()

    def _step(self, features: NDArray[Any]) -> None:
        start = time.perf_counter()
        self._scores, self._state = self._stepper.step(features, self._state)
        self.seconds.step += time.perf_counter() - start
        self.seconds.num_steps += 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The stream's memory as arrays; numpy.savez keeps it."""
        return {
            **{name: np.array(part) for name, part in self._state.to_dict().items()},
            "num_frames": np.array(self._num_frames),
            "scores": self._scores.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where the Streamer of `state_dict` was; it must be of the same kind of net."""
        expected = self.state_dict()
        found = {name: np.shape(part) for name, part in state.items()}
        if found != {name: part.shape for name, part in expected.items()}:
            raise ValueError(
                f"state: expected {_name_shapes(expected)}, found {_name_shapes(state)}: it is of "
                f"another net."
            )
        self._state = StepState.from_dict(state)
        self._num_frames = int(state["num_frames"])
        self._scores = np.array(state["scores"], np.float32)


def _name_shapes(state: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {np.shape(part)}" for name, part in sorted(state.items()))
