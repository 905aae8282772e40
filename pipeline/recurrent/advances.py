"""One step of each cell on one sequence in plain arrays, by the numbers of a trained net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.recurrent.cells import DT, EPSILON, GAMMA
from pipeline.recurrent.spec import Cell, NetKind

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]
Advance = Callable[[Floats, Floats, Floats], tuple[Floats, Floats, Floats]]
"""(features (D,), hidden, cell) -> what is read of the step, and hidden and cell after it."""


def make_advance(kind: NetKind, weights: Weights) -> Advance:
    """The step of a net of this kind; `weights` are its layer's, by their names there."""
    return _MAKERS[kind.cell](kind, weights)


def stack_advances(advances: Sequence[Advance]) -> Advance:
    """The step of layers one above another, whose states lie side by side, the lowest first."""
    if len(advances) == 1:
        return advances[0]

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        hiddens, cells = (np.split(state, len(advances)) for state in (hidden, cell))
        read = features
        for place, of_layer in enumerate(advances):
            read, hiddens[place], cells[place] = of_layer(read, hiddens[place], cells[place])
        return read, np.concatenate(hiddens), np.concatenate(cells)

    return advance


def _make_none(kind: NetKind, weights: Weights) -> Advance:
    return lambda features, hidden, cell: (features, hidden, cell)


def _make_simple(kind: NetKind, weights: Weights) -> Advance:
    to_both, bias = _join(weights)

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        sums: Floats = to_both @ np.concatenate((features, hidden)) + bias
        hidden = np.tanh(sums) if kind.nonlinearity == "tanh" else _relu(sums)
        return hidden, hidden, cell

    return advance


def _make_lstm(kind: NetKind, weights: Weights) -> Advance:
    to_both, bias = _join(weights)

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        sums = to_both @ np.concatenate((features, hidden)) + bias
        let_in, keep, new, let_out = sums.reshape(4, -1)  # torch's order of gates
        cell = _sigmoid(keep) * cell + _sigmoid(let_in) * np.tanh(new)
        hidden = _sigmoid(let_out) * np.tanh(cell)
        return hidden, hidden, cell

    return advance


def _make_gru(kind: NetKind, weights: Weights) -> Advance:
    # Its gates stand between the two products.
    to_input, to_hidden = (np.ascontiguousarray(weights[f"weight_{p}_l0"]) for p in ("ih", "hh"))
    input_bias, hidden_bias = (weights[f"bias_{p}_l0"] for p in ("ih", "hh"))

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        of_input = (to_input @ features + input_bias).reshape(3, -1)
        of_hidden = (to_hidden @ hidden + hidden_bias).reshape(3, -1)
        reset, keep = _sigmoid(of_input[:2] + of_hidden[:2])
        new = np.tanh(of_input[2] + reset * of_hidden[2])
        hidden = new + keep * (hidden - new)
        return hidden, hidden, cell

    return advance


def _make_min_gru(kind: NetKind, weights: Weights) -> Advance:
    to_input, bias = np.ascontiguousarray(weights["weight_ih_l0"]), weights["bias_ih_l0"]

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        update, new = (to_input @ features + bias).reshape(2, -1)
        hidden = hidden + _sigmoid(update) * (new - hidden)
        return hidden, hidden, cell

    return advance


def _make_co_rnn(kind: NetKind, weights: Weights) -> Advance:
    to_both, bias = _join(weights)
    step, pull, kept = (np.float32(number) for number in (DT, GAMMA, 1 - DT * EPSILON))

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        force = np.tanh(to_both @ np.concatenate((features, hidden, cell)) + bias)
        cell = kept * cell + step * (force - pull * hidden)
        hidden = hidden + step * cell
        return hidden, hidden, cell

    return advance


def _make_lru(kind: NetKind, weights: Weights) -> Advance:
    turned, to_memory = scale_memory(weights)
    to_both = np.ascontiguousarray(np.concatenate((to_memory, weights["weight_ih_l0"])))
    of_memory, bias = np.ascontiguousarray(weights["of_memory"]), weights["bias_ih_l0"]
    size = len(to_memory)

    def advance(features: Floats, hidden: Floats, cell: Floats) -> tuple[Floats, Floats, Floats]:
        of_input = to_both @ features
        real, imaginary = hidden.reshape(2, -1)
        hidden = of_input[:size] + np.concatenate(
            (turned.real * real - turned.imag * imaginary,
             turned.imag * real + turned.real * imaginary)
        )  # fmt: skip
        return _relu(of_input[size:] + of_memory @ hidden + bias), hidden, cell

    return advance


def scale_memory(weights: Weights) -> tuple[NDArray[np.complex64], Floats]:
    """What an lru's state is multiplied with, λ (H,), and the features, γ B (2H, D)."""
    exponents = -np.exp(weights["log_decay"]) + 1j * np.exp(weights["log_phase"])
    gain = np.tile(np.exp(weights["log_gain"]), 2)
    return np.exp(exponents).astype(np.complex64), gain[:, None] * weights["to_memory"]


_MAKERS: dict[Cell, Callable[[NetKind, Weights], Advance]] = {
    "none": _make_none,
    "simple": _make_simple,
    "lstm": _make_lstm,
    "gru": _make_gru,
    "min-gru": _make_min_gru,
    "co-rnn": _make_co_rnn,
    "lru": _make_lru,
}


def _join(weights: Weights) -> tuple[Floats, Floats]:
    """The matrix of [x, h], or [x, y, z], and its bias: one product is faster than two."""
    matrices = (weights["weight_ih_l0"], weights["weight_hh_l0"])
    to_both: Floats = np.ascontiguousarray(np.concatenate(matrices, axis=1))
    bias: Floats = weights["bias_ih_l0"] + weights.get("bias_hh_l0", np.float32(0))
    return to_both, bias


def _relu(sums: Floats) -> Floats:
    rectified: Floats = np.maximum(sums, np.float32(0))  # as torch's relu, NaN stays NaN
    return rectified


def _sigmoid(values: Floats) -> Floats:
    half = np.float32(0.5)
    found: Floats = half + half * np.tanh(half * values)  # exp would overflow
    return found
