"""Simple nets whose recurrent matrix is kept of one kind while it is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import orthogonal

from pipeline.recurrent.cells import take_last
from pipeline.recurrent.spec import NetKind

_MATRIX = "weight_hh_l0"
_TRAINED = f"parametrizations.{_MATRIX}"


class KeptRnn(nn.Module):
    """A simple net's layer by nn.RNN's names; `weight_hh_l0` is computed from what is trained.

    In an nn.RNN the matrix of its making would stay in use: it holds its weights in a list too.
    """

    def __init__(self, input_size: int, hidden_size: int, *, kind: NetKind) -> None:
        super().__init__()
        self.nonlinearity = kind.nonlinearity
        for name, weights in nn.RNN(input_size, hidden_size).named_parameters():
            self.register_parameter(name, weights)
        with torch.device("cpu"):  # torch's parametrizations look at the numbers
            self.weight_hh_l0 = nn.Parameter(torch.eye(hidden_size))
        _KEEP[kind.kept](self)

    def forward(
        self, features: Tensor, states: tuple[Tensor, ...], lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """States (B, T, H), and the one after each sequence's last real step."""
        run = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        names = ("weight_ih_l0", _MATRIX, "bias_ih_l0", "bias_hh_l0")
        weights = [getattr(self, name) for name in names]
        outputs, _ = run(
            features, states[0][None], weights, True, 1, 0.0, self.training, False, True
        )  # with biases, one layer, no dropout, one direction, batch first
        return outputs, (take_last(outputs, lengths),)


class _Diagonal(nn.Module):
    def forward(self, diagonal: Tensor) -> Tensor:
        return diagonal.diag()

    def right_inverse(self, matrix: Tensor) -> Tensor:
        return matrix.diagonal().clone()


# Each update moves along the Cayley map of a skew matrix from the orthogonal one of the start
# (Lezcano-Casado & Martínez-Rubio 2019, who take the exponential; its gradient costs five times as
# much at H = 100). H² numbers are trained, of which the H (H - 1) / 2 below the diagonal act.
_KEEP: dict[str, Callable[[nn.Module], nn.Module]] = {
    "diagonal": lambda layer: parametrize.register_parametrization(layer, _MATRIX, _Diagonal()),
    "orthogonal": lambda layer: orthogonal(layer, _MATRIX, orthogonal_map="cayley"),
}
_START: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {
    "": lambda matrix: {_MATRIX: matrix},
    "diagonal": lambda matrix: {f"{_TRAINED}.original": matrix.diagonal()},
    "orthogonal": lambda matrix: {f"{_TRAINED}.0.base": matrix},
}


def start_weights(kind: NetKind, matrix: Tensor) -> dict[str, Tensor]:
    """What a layer's state dict holds where its recurrent matrix is `matrix`, but for zeros."""
    return _START[kind.kept](matrix)


def recurrent_matrix(layer: nn.RNNBase | KeptRnn) -> Tensor:
    """W_hh (H, H), (S, H) of S / H gates, as the layer computes with it, on autograd's tape."""
    matrix: Tensor = getattr(layer, _MATRIX)
    return matrix


def plain_weights(net: nn.Module) -> dict[str, Tensor]:
    """The state dict of a net with the matrices that it computes with, by nn.RNN's names."""
    weights = {name: w for name, w in net.state_dict().items() if "parametrizations." not in name}
    for place, module in net.named_modules():
        if parametrize.is_parametrized(module, _MATRIX):
            weights[f"{place}.{_MATRIX}"] = getattr(module, _MATRIX).detach()
    return weights
