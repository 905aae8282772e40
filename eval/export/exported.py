"""Exported nets in ONNX Runtime: how they are opened, read and compared with the net in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from eval.export.graphs import state_names
from eval.export.layers import next_name
from pipeline.recurrent.classifier import SequenceNet
from pipeline.sequences import SequenceBatch

TOLERANCE = 1e-5
"""Of the largest output, or of 1 where that is smaller: float32 has no more digits."""
_STEPPED_CLIPS = 4

Floats = NDArray[np.float32]
States = Mapping[str, NDArray[Any]]


def open_session(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class OnnxStep:
    """The step net in ONNX Runtime, with the names of its state."""

    def __init__(self, model: onnx.ModelProto, net: SequenceNet) -> None:
        self._session = open_session(model)
        self._names = state_names(net.spec)
        self._wanted = ["outputs", *map(next_name, self._names)]
        start = net.initial_state(1)
        self._start = {name: getattr(start, name).detach().numpy() for name in self._names}

    def start(self, batch_size: int) -> States:
        """The state before the first step of `batch_size` sequences."""
        return {name: np.repeat(value, batch_size, axis=0) for name, value in self._start.items()}

    def step(self, features_t: Floats, state: States) -> tuple[Floats, States]:
        """Outputs (B, C) after one more step, `features_t` (B, D), and the state after it."""
        outputs, *after = self._session.run(self._wanted, {"features": features_t, **state})
        return outputs, dict(zip(self._names, after, strict=True))

    def read(self, features: Floats) -> Floats:
        """Outputs (C,) after the last step of one sequence (T, D)."""
        state = self.start(1)
        for features_t in features:
            outputs, state = self.step(features_t[None], state)
        return np.asarray(outputs[0], np.float32)


def read_whole(model: onnx.ModelProto, batches: Sequence[SequenceBatch]) -> Floats:
    """Outputs (N, C) of all sequences of these batches, by the whole-clip net."""
    session = open_session(model)
    feeds = (
        {"features": b.features.float().numpy(), "lengths": b.lengths.numpy()} for b in batches
    )
    return np.concatenate([session.run(["outputs"], feed)[0] for feed in feeds])


@torch.inference_mode()
def compare_whole(model: onnx.ModelProto, net: SequenceNet, batch: SequenceBatch) -> float:
    """The largest difference from torch, over the allowed one: a batch, and its first alone."""
    first = int(batch.lengths[0])
    alone = SequenceBatch(
        batch.features[:1, :first], batch.lengths[:1], batch.targets[:1], batch.indices[:1]
    )
    found = read_whole(model, [batch, alone])
    wanted = [net(b.features.float(), b.lengths).numpy() for b in (batch, alone)]
    return excess(found, np.concatenate(wanted))


@torch.inference_mode()
def compare_steps(model: onnx.ModelProto, net: SequenceNet, batch: SequenceBatch) -> float:
    """As `compare_whole`, after each frame of some clips, read side by side by the step net."""
    features = batch.features[:_STEPPED_CLIPS, : int(batch.lengths[:_STEPPED_CLIPS].min())].float()
    stepper = OnnxStep(model, net)
    state, wanted_state = stepper.start(len(features)), net.initial_state(len(features))
    worst = 0.0
    for features_t in features.unbind(1):
        outputs, state = stepper.step(features_t.numpy(), state)
        wanted, wanted_state = net.step(features_t, wanted_state)
        worst = max(worst, excess(outputs, wanted.numpy()))
    return worst


def excess(found: Floats, wanted: Floats) -> float:
    """The largest difference over TOLERANCE of the largest `wanted`; infinite for what is NaN."""
    allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    difference = float(np.abs(found - wanted).max()) / allowed
    return difference if np.isfinite(difference) else float("inf")
