"""A trained run on frames as they come: the run's own encoder, and a stream with a saveable state.

run = load_run("runs/mine")
encoder = load_encoder(run.features, weights=find_encoder_weights(run))
streamer = Streamer(load_net(run), encoder)
outputs = streamer.push(frame)  # (C,) after every frame (H, W, 3)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.backbones.encoder import Encoder, load_encoder
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.stepper import Stepper, StepState

__all__ = ["Encoder", "StageSeconds", "Streamer", "load_encoder"]


@dataclass
class StageSeconds:
    """Seconds spent so far in each stage, and frames encoded."""

    encode: float = 0.0
    step: float = 0.0
    num_steps: int = 0


class Streamer:
    """Outputs of a stream after every frame, in memory that does not grow.

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

    def warm_up(self) -> None:
        """Encode a black frame that leaves no trace, so that the first real one does not wait.

        A net lays out its weights at its first frame, and one in 8 bits is compiled there.
        """
        if self._encoder is not None:
            black = torch.zeros(1, 3, *self._encoder.backbone.steps.size, dtype=torch.uint8)
            self._encoder.encode_crops(black.to(self._encoder.backbone.device))

    def reset(self) -> None:
        """Forget the stream: the next frame is the first of another."""
        self._state = self._stepper.initial_state()
        self._num_frames = 0
        self._outputs = np.full(self._stepper.spec.num_outputs, np.nan, np.float32)

    def push(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Outputs (C,) after one more frame, uint8 (H, W, 3) RGB."""
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
        return self._outputs.copy()

    def push_features(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Outputs (C,) after one more step, the features (D,) of a frame."""
        if features.shape != (self._stepper.spec.input_size,):
            raise ValueError(
                f"features: expected ({self._stepper.spec.input_size},), found {features.shape}"
            )
        self._step(features)
        self._num_frames += self._stride
        return self._outputs.copy()

    def _step(self, features: NDArray[Any]) -> None:
        start = time.perf_counter()
        self._outputs, self._state = self._stepper.step(features, self._state)
        self.seconds.step += time.perf_counter() - start
        self.seconds.num_steps += 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The stream's memory as arrays; numpy.savez keeps it."""
        return {
            **{name: np.array(array) for name, array in self._state.to_dict().items()},
            "num_frames": np.array(self._num_frames),
            "outputs": self._outputs.copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where the Streamer of `state_dict` was; it must be of the same kind of net."""
        expected = self.state_dict()
        found = {name: np.shape(array) for name, array in state.items()}
        if found != {name: array.shape for name, array in expected.items()}:
            raise ValueError(
                f"state: expected {_name_shapes(expected)}, found {_name_shapes(state)}: it is "
                f"of another net, or was saved by an older version."
            )
        self._state = StepState.from_dict(state)
        self._num_frames = int(state["num_frames"])
        self._outputs = np.array(state["outputs"], np.float32)


def _name_shapes(state: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {np.shape(array)}" for name, array in sorted(state.items()))
