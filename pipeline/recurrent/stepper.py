"""A trained net's steps on one sequence in plain arrays: a torch call costs more than the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recurrent.classifier import SequenceNet

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StepState:
    """What a net remembers of one sequence, as arrays; components it does not have are empty.

    The state of B sequences in tensors is the classifier's `NetState`, of the same components.
    `hidden` (H,); `cell` (H,), of an lstm; `mean` of what is read so far, (H,) or, for mean-pool,
    (D,), float64: after a day's frames float32 would no longer notice a step.
    """

    hidden: Floats
    cell: Floats
    mean: NDArray[np.float64]
    num_steps: int

    def to_dict(self) -> dict[str, Any]:
        """Plain arrays, for numpy.savez."""
        return {
            "hidden": self.hidden,
            "cell": self.cell,
            "mean": self.mean,
            "num_steps": np.array(self.num_steps),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> StepState:
        """The state of `to_dict`; KeyError where a component is missing."""
        hidden, cell = (np.array(content[name], np.float32) for name in ("hidden", "cell"))
        mean = np.array(content["mean"], np.float64)
        return cls(hidden, cell, mean, int(content["num_steps"]))


class Stepper:
    """Steps of a net's copy, one sequence, float32, on the CPU; equal to `SequenceNet.step`."""

    def __init__(self, net: SequenceNet) -> None:
        self.spec = net.spec
        weights = {
            name: tensor.detach().float().cpu().numpy() for name, tensor in net.state_dict().items()
        }
        self._readout = np.ascontiguousarray(weights["readout.weight"])
        self._readout_bias = weights["readout.bias"]
        self._reads_mean = net.recurrent is None or self.spec.readout == "mean"
        self._width = net.width
        learned = [weights[f"start.{place}"] for place in range(len(net.start))]
        zeros = [np.zeros(self.spec.hidden_size, np.float32)] * self.spec.num_states
        self._start: list[Floats] = learned or zeros
        self._advance = {
            "none": lambda features, hidden, cell: (hidden, cell),
            "simple": self._advance_simple,
            "lstm": self._advance_lstm,
            "gru": self._advance_gru,
        }[self.spec.kind.cell]
        if net.recurrent is not None:
            self._set_recurrent(weights)

    def _set_recurrent(self, weights: Mapping[str, Floats]) -> None:
        to_input, to_hidden = (
            weights[f"recurrent.weight_{product}_l0"] for product in ("ih", "hh")
        )
        input_bias, hidden_bias = (
            weights[f"recurrent.bias_{product}_l0"] for product in ("ih", "hh")
        )
        if self.spec.kind.cell == "gru":  # its gates stand between the two products
            self._to_input, self._input_bias = np.ascontiguousarray(to_input), input_bias
            self._to_hidden, self._hidden_bias = np.ascontiguousarray(to_hidden), hidden_bias
            return
        # One product with [x, h] is faster than two.
        self._to_both = np.ascontiguousarray(np.concatenate([to_input, to_hidden], axis=1))
        self._both_bias = input_bias + hidden_bias

    def initial_state(self) -> StepState:
        """The state before the first step."""
        none = np.zeros(0, np.float32)
        hidden, cell, *_ = (*self._start, none, none)
        mean = np.zeros(self._width if self._reads_mean else 0, np.float64)
        return StepState(hidden, cell, mean, 0)

    def step(self, features: NDArray[Any], state: StepState) -> tuple[Floats, StepState]:
        """Outputs (C,) after one more step, `features` (D,), and the state after it."""
        features = features.astype(np.float32, copy=False)
        hidden, cell = self._advance(features, state.hidden, state.cell)
        num_steps, mean, read = state.num_steps + 1, state.mean, hidden
        if self._reads_mean:
            new = features if self.spec.kind.cell == "none" else hidden
            mean = mean + (new - mean) / num_steps
            read = mean.astype(np.float32)
        outputs: Floats = self._readout @ read + self._readout_bias
        return outputs, StepState(hidden, cell, mean, num_steps)

    def _advance_simple(
        self, features: Floats, hidden: Floats, cell: Floats
    ) -> tuple[Floats, Floats]:
        sums: Floats = self._to_both @ np.concatenate((features, hidden)) + self._both_bias
        if self.spec.kind.nonlinearity == "tanh":
            return np.tanh(sums), cell
        # As torch's relu, NaN stays NaN.
        return np.maximum(sums, np.float32(0)), cell

    def _advance_lstm(
        self, features: Floats, hidden: Floats, cell: Floats
    ) -> tuple[Floats, Floats]:
        sums = self._to_both @ np.concatenate((features, hidden)) + self._both_bias
        let_in, keep, new, let_out = sums.reshape(4, -1)  # torch's order of gates
        cell = _sigmoid(keep) * cell + _sigmoid(let_in) * np.tanh(new)
        return _sigmoid(let_out) * np.tanh(cell), cell

    def _advance_gru(self, features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats]:
        of_input = (self._to_input @ features + self._input_bias).reshape(3, -1)
        of_hidden = (self._to_hidden @ hidden + self._hidden_bias).reshape(3, -1)
        reset, keep = _sigmoid(of_input[:2] + of_hidden[:2])
        new = np.tanh(of_input[2] + reset * of_hidden[2])
        return new + keep * (hidden - new), cell


def _sigmoid(values: Floats) -> Floats:
    half = np.float32(0.5)
    found: Floats = half + half * np.tanh(half * values)  # exp would overflow
    return found
