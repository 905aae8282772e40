"""The 8-bit step net, and what its rounding costs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from eval.export.exported import OnnxStep, read_whole
from pipeline.recurrent.classifier import SequenceNet
from pipeline.sequences import SequenceBatch

# A step has nothing that ONNX Runtime's own preparation would change; unmarked, it warns.
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}


@dataclass(frozen=True)
class Loss:
    """Answers of the 8-bit step net beside those in float32, on the same `num_clips` clips."""

    num_clips: int
    accuracy: float
    accuracy_8bit: float
    num_changed: int
    num_lost: int
    """Answers that were right and are no longer."""
    num_won: int

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f} -> {self.accuracy_8bit:.3f} on {self.num_clips} test "
            f"clips: {self.num_changed} answers changed, {self.num_lost} from right to wrong, "
            f"{self.num_won} from wrong to right"
        )


def quantise(step: onnx.ModelProto) -> onnx.ModelProto:
    """The step net with 8-bit weights, a scale for each unit, and inputs rounded as they come.

    The weights are unsigned: signed ones overflow in processors without 8-bit dot products.
    """
    model = onnx.ModelProto()
    model.CopyFrom(step)
    onnx.helper.set_model_props(model, _PREPARED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QUInt8)
        return onnx.load(path)


def measure_loss(
    whole: onnx.ModelProto,
    step_8bit: onnx.ModelProto,
    net: SequenceNet,
    batches: Sequence[SequenceBatch],
) -> Loss:
    """What 8 bits cost: the clips read whole in float32, and frame by frame in 8 bits.

    One clip at a time: a batch shares the scale that its features are rounded with.
    """
    targets = np.concatenate([batch.targets.numpy() for batch in batches])
    answers = read_whole(whole, batches).argmax(axis=1)
    stepper = OnnxStep(step_8bit, net)
    outputs = [
        stepper.read(features[:length].float().numpy())
        for batch in batches
        for features, length in zip(batch.features, batch.lengths.tolist(), strict=True)
    ]
    return count_loss(answers, np.stack(outputs).argmax(axis=1), targets)


def count_loss(
    answers: NDArray[np.int64], answers_8bit: NDArray[np.int64], targets: NDArray[np.int64]
) -> Loss:
    """The loss, from classes (N,) answered and wanted."""
    was_right, is_right = answers == targets, answers_8bit == targets
    return Loss(
        num_clips=len(targets),
        accuracy=float(was_right.mean()),
        accuracy_8bit=float(is_right.mean()),
        num_changed=int((answers != answers_8bit).sum()),
        num_lost=int((was_right & ~is_right).sum()),
        num_won=int((~was_right & is_right).sum()),
    )
