"""Every net's equations, one step and one sequence at a time, in numpy's float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.recurrent.classifier import SequenceNet

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
States = list[Array]
Step = Callable[[Weights, Array, States], tuple[Array, States]]
"""(the layer's weights, x_t, states) -> what is read of the step, and the states after it."""


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sum_inputs(w: Weights, x_t: Array) -> Array:
    return np.asarray(w["weight_ih_l0"] @ x_t + w["bias_ih_l0"])


def step_relu(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    h = relu(sum_inputs(w, x_t) + w["weight_hh_l0"] @ states[0])
    return h, [h]


def step_tanh(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    h = np.tanh(sum_inputs(w, x_t) + w["weight_hh_l0"] @ states[0])
    return h, [h]


def step_ind_rnn(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    """Li et al. 2018: h = relu(W x + u ⊙ h + b)."""
    h = relu(sum_inputs(w, x_t) + w["parametrizations.weight_hh_l0.original"] * states[0])
    return h, [h]


def step_orthogonal_rnn(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    """W = W_0 (I - A/2)⁻¹ (I + A/2), A skew: the Cayley map."""
    below = np.tril(w["parametrizations.weight_hh_l0.original"])
    half, one = (below - below.T) / 2, np.eye(len(below))
    cayley = np.linalg.inv(one - half) @ (one + half)
    h = relu(sum_inputs(w, x_t) + w["parametrizations.weight_hh_l0.0.base"] @ cayley @ states[0])
    return h, [h]


def step_lstm(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    h, c = states
    i, f, g, o = np.split(sum_inputs(w, x_t) + w["weight_hh_l0"] @ h, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, [h, c]


def step_gru(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    (h,) = states
    (r, z, n), (r_h, z_h, n_h) = np.split(sum_inputs(w, x_t), 3), np.split(w["weight_hh_l0"] @ h, 3)
    z = sigmoid(z + z_h)
    h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * h
    return h, [h]


def step_min_gru(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    """Feng et al. 2024, section 3.1."""
    z, new = np.split(sum_inputs(w, x_t), 2)
    h = (1 - sigmoid(z)) * states[0] + sigmoid(z) * new
    return h, [h]


def step_co_rnn(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    """Rusch & Mishra 2021, eq. 3, with n̄ = n - 1 and their numbers for MNIST by pixels."""
    y, z = states
    dt, gamma, epsilon = 0.042, 2.7, 4.7
    of_y, of_z = np.split(w["weight_hh_l0"], 2, axis=1)
    force = np.tanh(of_y @ y + of_z @ z + sum_inputs(w, x_t))
    z = z + dt * force - dt * gamma * y - dt * epsilon * z
    y = y + dt * z
    return y, [y, z]


def step_lru(w: Weights, x_t: Array, states: States) -> tuple[Array, States]:
    """Orvieto et al. 2023, section 3: y = Re(C m) + D x, here with ReLU and a bias."""
    half = len(states[0]) // 2
    turned = np.exp(-np.exp(w["log_decay"]) + 1j * np.exp(w["log_phase"]))
    b = w["to_memory"][:half] + 1j * w["to_memory"][half:]
    c = w["of_memory"][:, :half] - 1j * w["of_memory"][:, half:]
    m = turned * (states[0][:half] + 1j * states[0][half:]) + np.exp(w["log_gain"]) * (b @ x_t)
    return relu((c @ m).real + sum_inputs(w, x_t)), [np.concatenate([m.real, m.imag])]


STEPS: dict[str, Step] = {
    "tanh-rnn": step_tanh,
    "np-tanh-rnn": step_tanh,
    "ind-rnn": step_ind_rnn,
    "orthogonal-rnn": step_orthogonal_rnn,
    "lstm": step_lstm,
    "gru": step_gru,
    "min-gru": step_min_gru,
    "co-rnn": step_co_rnn,
    "lru": step_lru,
    "mean-pool": lambda w, x_t, states: (x_t, states),
}
"""By the net's name; the others are ReLU nets."""


def outputs_by_hand(net: SequenceNet, x: Array) -> Array:
    """Outputs (C,), or (T, C) for readout `all`, of one sequence (T, D)."""
    weights = {name: w.detach().numpy().astype(np.float64) for name, w in net.state_dict().items()}
    steps, ends = _run_by_hand(net, weights, x)
    if net.spec.name == "mean-pool" or net.spec.readout == "mean":
        steps = steps.mean(axis=0)
    elif net.spec.readout == "last-and-mean":
        steps = np.concatenate([ends, x.mean(axis=0)])
    elif net.spec.readout == "last":
        steps = ends
    return np.asarray(steps @ weights["readout.weight"].T + weights["readout.bias"])


def _run_by_hand(net: SequenceNet, weights: Weights, x: Array) -> tuple[Array, Array]:
    """What is read of steps above all layers, (T, R), and of each direction's last one, (R,)."""
    spec, read = net.spec, x
    ends, directions = x[-1:], 2 if spec.bidirectional else 1
    num_layers = spec.layers * directions
    for level in range(spec.layers):
        reads = []
        for direction in range(directions):
            place = level * directions + direction
            prefix = f"recurrent.{place}." if num_layers > 1 else "recurrent."
            layer = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
            starts = [
                np.split(weights.get(f"start.{i}", np.zeros(size)), num_layers)[place]
                for i, size in enumerate(spec.state_sizes)
            ]
            in_order = read[::-1] if direction else read
            reads.append(
                _run_layer_by_hand(STEPS.get(spec.name, step_relu), layer, in_order, starts)
            )
        ends = np.concatenate([steps[-1] for steps in reads])
        read = np.concatenate([reads[0], *(steps[::-1] for steps in reads[1:])], axis=1)
    return read, ends


def _run_layer_by_hand(step: Step, layer: Weights, x: Array, states: States) -> Array:
    read = []
    for x_t in x:
        read_t, states = step(layer, x_t, states)
        read.append(read_t)
    return np.stack(read)
