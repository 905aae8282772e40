"""Cells that torch has no layer for: their equations over whole sequences, and how they start.

Each takes features (B, T, D), its states (B, ...) before the first step and, where the steps past
them are padding, `lengths` (B,); it gives its first state after each step (B, T, ...), and all its
states after each sequence's last real step.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from pipeline.recurrent.initial import uniform_weights

States = tuple[Tensor, ...]

DT, GAMMA, EPSILON = 0.042, 2.7, 4.7  # of co-rnn
# Of lru; ours: it forgets within 10 to 1000 steps, where their code's 0 and 1 allow any number.
R_MIN, R_MAX = 0.9, 0.999


class MinGru(nn.Module):
    """z = σ(W_z x + b_z), ĥ = W_h x + b_h, h = (1 - z) h' + z ĥ, h' the state before.

    Feng et al. 2024, section 3.1; without the g(ĥ) of their form in logarithms, where h must be
    positive. Starts as their linear layers, torch's own, but with biases at 0. Rows: z, ĥ.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(2 * hidden_size))

    def draw(self, generator: Generator) -> dict[str, Tensor]:
        """The weights that do not start at 0."""
        rows, columns = self.weight_ih_l0.shape
        return {"weight_ih_l0": uniform_weights(rows, columns, width=columns, generator=generator)}

    def forward(
        self, features: Tensor, states: States, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        update, new = F.linear(features, self.weight_ih_l0, self.bias_ih_l0).chunk(2, dim=-1)
        update = update.sigmoid()
        hidden = recur(1 - update, update * new, states[0])
        return hidden, (take_last(hidden, lengths),)


class CoRnn(nn.Module):
    """z = z' + Δt (tanh(W y' + V z' + U x + b) - γ y' - ε z'), y = y' + Δt z; y is read.

    Rusch & Mishra 2021, eq. 3, with the old z' in the damping, as in their code; driven and damped
    oscillators, of their positions y and speeds z. Δt, γ and ε are those of their code for MNIST by
    pixels, and do not train. W and V lie side by side. Starts as their linear layer of [x, z, y],
    torch's own, but with biases at 0. A loop over the steps, of some nine nodes each on the tape.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(hidden_size, 2 * hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(hidden_size))

    def draw(self, generator: Generator) -> dict[str, Tensor]:
        """The weights that do not start at 0."""
        width = self.weight_ih_l0.shape[1] + self.weight_hh_l0.shape[1]
        return {
            name: uniform_weights(*weights.shape, width=width, generator=generator)
            for name, weights in self.named_parameters()
            if weights.ndim == 2
        }

    def forward(
        self, features: Tensor, states: States, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        place, speed = states
        places, speeds = [], []
        of_states = self.weight_hh_l0.T
        for drive in F.linear(features, self.weight_ih_l0, self.bias_ih_l0).unbind(1):
            force = torch.addmm(drive, torch.cat((place, speed), dim=1), of_states).tanh()
            speed = (1 - DT * EPSILON) * speed + DT * (force - GAMMA * place)
            place = place + DT * speed
            places.append(place)
            speeds.append(speed)
        steps = torch.stack(places, dim=1)
        if lengths is None:
            return steps, (place, speed)
        return steps, (take_last(steps, lengths), take_last(torch.stack(speeds, dim=1), lengths))


class Lru(nn.Module):
    """m = λ m' + γ (B x), m complex; what is read is relu(W x + Re(C m) + b).

    Orvieto et al. 2023, section 3: λ = exp(-exp(ν) + i exp(θ)), |λ| < 1 whatever is
    learned, on a ring of radii at the start; γ, also learned, sets each unit's power to that of the
    input. One layer: their block's gated linear unit, its norm and the layers below are left out,
    ReLU stands for them, and W, (H, D) with a bias, for their D, which has a number a unit.

    The state m is 2H numbers: the real parts, then the imaginary ones, and so are the rows of B;
    the columns of C are its real part and its negated imaginary one.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))  # W
        self.bias_ih_l0 = nn.Parameter(torch.empty(hidden_size))
        self.to_memory = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # B
        self.of_memory = nn.Parameter(torch.empty(hidden_size, 2 * hidden_size))  # C
        self.log_decay = nn.Parameter(torch.empty(hidden_size))  # ν
        self.log_phase = nn.Parameter(torch.empty(hidden_size))  # θ
        self.log_gain = nn.Parameter(torch.empty(hidden_size))  # log γ

    def draw(self, generator: Generator) -> dict[str, Tensor]:
        """The weights that do not start at 0: λ uniform over the ring's area, the others normal."""
        hidden, inputs = self.weight_ih_l0.shape

        def normal(weights: Tensor, deviation: float) -> Tensor:
            drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
            return (deviation * drawn).float()

        within, turn = 1 - torch.rand(2, hidden, generator=generator, dtype=torch.float64)
        squares = within * (R_MAX**2 - R_MIN**2) + R_MIN**2  # |λ|²
        return {
            "log_decay": (-squares.log() / 2).log().float(),
            "log_phase": (2 * math.pi * turn).log().float(),
            "log_gain": ((1 - squares).log() / 2).float(),
            "to_memory": normal(self.to_memory, (2 * inputs) ** -0.5),
            "of_memory": normal(self.of_memory, hidden**-0.5),
            "weight_ih_l0": normal(self.weight_ih_l0, inputs**-0.5),
        }

    def forward(
        self, features: Tensor, states: States, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        given = to_complex(self.log_gain.exp().repeat(2) * F.linear(features, self.to_memory))
        turned = torch.polar(self.log_decay.exp().neg().exp(), self.log_phase.exp())
        memory = recur(turned.expand_as(given), given, to_complex(states[0]))
        memory = torch.cat((memory.real, memory.imag), dim=-1)  # (B, T, 2H)
        return memory, (take_last(memory, lengths),)

    def read(self, features: Tensor, memory: Tensor) -> Tensor:
        """(..., H) from features (..., D) and the states (..., 2H) after them."""
        sums = F.linear(features, self.weight_ih_l0, self.bias_ih_l0)
        return torch.relu(sums + F.linear(memory, self.of_memory))


def take_last(states: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, ...) of states (B, T, ...): those after the last step, or after `lengths` (B,) steps."""
    if lengths is None:
        return states[:, -1]
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def to_complex(parts: Tensor) -> Tensor:
    """(..., H) of the real and the imaginary parts (..., 2H)."""
    return torch.complex(*parts.chunk(2, dim=-1))


def recur(weights: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    """States (B, T, H) of h_t = a_t h_{t-1} + b_t, element by element, real or complex.

    `weights` a and `inputs` b are (B, T, H), `start` (B, H). Differentiable once.

    One node on autograd's tape: its backward is the same recurrence from the end. Doubling, log₂ T
    sums of whole sequences, took 6 to 9 times as long on one core (B, T = 16, 784 and 64, 200).
    """
    return cast(Tensor, _Recurrence.apply(weights, inputs, start))


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
        states = torch.empty_like(inputs)
        steps = zip(weights.unbind(1), inputs.unbind(1), states.unbind(1), strict=True)
        state = start
        for weight, given, after in steps:
            state = torch.addcmul(given, weight, state, out=after)
        ctx.save_for_backward(weights, start, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, start, states = ctx.saved_tensors
        weights = weights.conj().resolve_conj()
        grads = torch.empty_like(states)
        later = torch.zeros_like(start)  # what the steps after this one send back
        steps = zip(weights.unbind(1), grad.unbind(1), grads.unbind(1), strict=True)
        for weight, given, whole in reversed(list(steps)):
            torch.add(given, later, out=whole)
            later = weight * whole
        before = torch.cat([start[:, None], states[:, :-1]], dim=1)
        return grads * before.conj(), grads, later
