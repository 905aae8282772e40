"""A trained net's steps on one sequence in plain arrays: a torch call costs more than the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.recurrent.advances import Floats, make_advance, stack_advances
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.kept import plain_weights
from pipeline.recurrent.layers import name_layers


@dataclass(frozen=True, eq=False)
class StepState:
    """What a net remembers of one sequence, as arrays; components it does not have are empty.

    The state of B sequences in tensors is the classifier's `NetState`, of the same components.
    `hidden` (H,), or (2H,) for lru; `cell` (H,), an lstm's c or co-rnn's speeds; those of L layers
    side by side, (L H,), the first one's first; `mean` so far of
    what is read of steps, (H,), or of the features, (D,), for mean-pool and readout
    `last-and-mean`, float64: after a day's frames float32 would no longer notice a step.
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
    """Steps of a net's copy, one sequence, float32, on the CPU; equal to `SequenceNet.step`.

    ValueError for a bidirectional net.
    """

    def __init__(self, net: SequenceNet) -> None:
        self.spec = net.spec
        self.spec.check_advances()
        if self.spec.reads_tokens:
            raise ValueError(
                f"This {self.spec.name} reads token numbers, and steps here are of features: go on "
                f"from step to step with its `advance_all`."
            )
        weights = {
            name: tensor.float().cpu().numpy() for name, tensor in plain_weights(net).items()
        }
        self._readout = np.ascontiguousarray(weights["readout.weight"])
        self._readout_bias = weights["readout.bias"]
        learned = [weights[f"start.{place}"] for place in range(len(net.start))]
        zeros = [np.zeros(size, np.float32) for size in self.spec.state_sizes]
        self._start: list[Floats] = learned or zeros
        places = [f"recurrent.{name}" for name in name_layers(net.recurrent)] or ["recurrent."]
        self._advance = stack_advances(
            [make_advance(self.spec.kind, _take_layer(weights, place)) for place in places]
        )

    def initial_state(self) -> StepState:
        """The state before the first step."""
        none = np.zeros(0, np.float32)
        hidden, cell, *_ = (*self._start, none, none)
        mean = np.zeros(self.spec.mean_size, np.float64)
        return StepState(hidden, cell, mean, 0)

    def step(self, features: NDArray[Any], state: StepState) -> tuple[Floats, StepState]:
        """Outputs (C,) after one more step, `features` (D,), and the state after it."""
        features = features.astype(np.float32, copy=False)
        last, hidden, cell = self._advance(features, state.hidden, state.cell)
        num_steps, mean, read = state.num_steps + 1, state.mean, last
        if self.spec.mean_size:
            new = features if self.spec.reads_mean_features else last
            mean = mean + (new - mean) / num_steps
            read = mean.astype(np.float32)
        if self.spec.readout == "last-and-mean":
            read = np.concatenate((last, read))
        outputs: Floats = self._readout @ read + self._readout_bias
        return outputs, StepState(hidden, cell, mean, num_steps)


def _take_layer(weights: Mapping[str, Floats], place: str) -> dict[str, Floats]:
    """A layer's weights by their names there."""
    return {n.removeprefix(place): w for n, w in weights.items() if n.startswith(place)}
