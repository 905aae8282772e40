"""What a block of updates changes in place: a net's parameters, and what their optimizer keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pipeline.choices import check_choice
from pipeline.recurrent.fused import check
from pipeline.recurrent.library import OPTIMIZERS


@dataclass(frozen=True)
class NetWeights:
    """The parameters of a recurrent net with a linear readout of its last state.

    S is H for a simple net, 4H for an lstm. Or one number beside each value of them.
    """

    weight_ih: Tensor  # (S, D)
    weight_hh: Tensor  # (S, H)
    bias: Tensor  # (S,)
    weight_out: Tensor  # (C, H)
    bias_out: Tensor  # (C,)

    def __post_init__(self) -> None:
        sums, outputs, dtype = len(self.bias), len(self.bias_out), self.bias.dtype
        inputs, hidden = self.weight_ih.shape[-1], self.weight_hh.shape[-1]
        check("weight_ih", self.weight_ih, (sums, inputs), dtype)
        check("weight_hh", self.weight_hh, (sums, hidden), dtype)
        check("bias", self.bias, (sums,), dtype)
        check("weight_out", self.weight_out, (outputs, hidden), dtype)
        check("bias_out", self.bias_out, (outputs,), dtype)
        for name, tensor in vars(self).items():
            if not tensor.is_contiguous():
                raise ValueError(f"{name} is not contiguous, so it cannot be updated in place")


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of torch's, with what it has kept: its steps are those of torch.optim.

    `decay` is RMSprop's alpha or Adam's second beta, `mean_decay` Adam's first one, `epsilon`
    stands beside the root of the squares. `squares` and `means` are the running means of squared
    gradients and, of Adam, of gradients, after `num_before` steps.
    """

    name: Literal["sgd", "rmsprop", "adam"]
    learning_rate: float
    decay: float = 0.0
    mean_decay: float = 0.0
    epsilon: float = 0.0
    num_before: int = 0
    squares: NetWeights | None = None
    means: NetWeights | None = None

    def __post_init__(self) -> None:
        check_choice("optimizer", self.name, OPTIMIZERS)
        for kept, is_needed in (("squares", self.name != "sgd"), ("means", self.name == "adam")):
            if (getattr(self, kept) is not None) != is_needed:
                needs = "needs" if is_needed else "has no"
                raise ValueError(f"optimizer {self.name} {needs} running means: {kept}")

    def check_fits(self, weights: NetWeights) -> None:
        """Raise ValueError unless what is kept stands beside these weights."""
        for kept in ("squares", "means"):
            if (beside := getattr(self, kept)) is not None:
                for name, tensor in vars(weights).items():
                    found = getattr(beside, name)
                    check(f"{kept}.{name}", found, tuple(tensor.shape), tensor.dtype)
