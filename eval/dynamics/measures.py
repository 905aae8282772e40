"""How a net's state and gradient move through time: numbers for Talathi & Vartak 2015, section 2.

Everything is computed in float64, where a gradient that vanishes does not underflow, without
dropout, on a copy of the net on the CPU, where features and lengths must be. Sequences end at their
last real step, called T here. `features` are (B, T, D), `lengths` (B,); a mean at a step is over
the sequences that have this step.

Of a deep net the numbers are those of the layer at `place`, of `list_layers`; what the layers above
make of its states counts in the gradient alone. A backward layer's steps are counted as it reads
them: its last is the sequence's first.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn

from eval.dynamics.unrolling import is_backward, unroll
from pipeline.recurrent.cells import take_last
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.kept import KeptRnn, recurrent_matrix
from pipeline.recurrent.layers import SIMPLE, list_layers, real_steps, reverse_real_steps

# Eigenvalues of a 2-unit net, Talathi & Vartak 2015, figure 2; its schematic has no numbers, so all
# but the 1s are ours.
PHASE_CASES: dict[str, tuple[float, float]] = {
    "neutral fixed points": (1.0, 1.0),
    "stable origin": (0.8, 0.6),
    "line attractor": (1.0, 0.6),
    "divergence": (1.2, 0.6),
}


def spectrum(weight_hh: Tensor) -> Tensor:
    """(H,) complex128 eigenvalues of `weight_hh` (H, H), the largest modulus first."""
    eigenvalues: Tensor = torch.linalg.eigvals(weight_hh.detach().double())
    return eigenvalues[eigenvalues.abs().argsort(descending=True)]


def gradient_norms(
    net: SequenceNet, features: Tensor, *, lengths: Tensor, steps_back: int, place: int = 0
) -> Tensor:
    """(steps_back + 1,) mean norm of the gradient k steps before the end, over that at the end.

    Entry k is |∂L/∂h_{T-k}| / |∂L/∂h_T|, L the sum of the outputs read from h_T; for one output it
    is the same for every loss of the last score. For an lstm the norm is over (h, c) together,
    since c carries its memory. Raises ValueError for mean-pool.
    """
    _check_steps_back(steps_back, lengths)
    net = _prepare(net).requires_grad_()
    with torch.enable_grad():
        layers = unroll(net, features.double(), lengths)
        top = layers[-net.spec.num_directions :]
        read = torch.cat([take_last(layer.steps, lengths) for layer in top], dim=1)  # (B, R)
        # With readout last-and-mean the linear layer reads features too, after the state.
        of_states = net.readout_weight[:, : net.spec.step_size]
        loss = (read @ of_states.T).sum()
    states = layers[place].states
    tensors = [tensor for state in states for tensor in state]
    gradients = torch.autograd.grad(loss, tensors, materialize_grads=True)
    by_step = torch.stack(gradients, dim=1).reshape(len(lengths), len(states), -1)
    norms = _vector_norm(by_step)  # (B, T)
    back = _back_from_the_end(norms, lengths, steps_back=steps_back)
    return (back / back[:, :1]).nanmean(dim=0)


def jacobian_norms(
    net: SequenceNet,
    features: Tensor,
    *,
    lengths: Tensor,
    steps_back: int,
    norm: Literal["spectral", "frobenius"] = "spectral",
    place: int = 0,
) -> Tensor:
    """(steps_back + 1,) mean norm of ∂h_T/∂h_{T-k}, entry k; the first is that of I.

    The product of diag(f'(s_t)) W_hh over the k last steps (eq. 7); with ReLU, f' is the mask of
    the active units. The spectral norm is the most that any gradient grows, and costs a singular
    value decomposition a sequence and step. Raises ValueError for nets that are not simple.
    """
    _check_steps_back(steps_back, lengths)
    net, layer = _prepare_simple(net, place)
    weight = recurrent_matrix(layer).detach()
    slopes = _slopes(layer, hidden_states(net, features, lengths=lengths, place=place))
    product = torch.eye(len(weight), dtype=weight.dtype).expand(len(lengths), -1, -1)
    norms = []
    for k in range(steps_back + 1):
        long_enough = lengths > k
        norms.append(_matrix_norm(product[long_enough], norm=norm).mean())
        last = (lengths - 1 - k).clamp(min=0)
        product = (product * slopes[torch.arange(len(lengths)), last][:, None, :]) @ weight
    return torch.stack(norms)


def jacobian_radii(
    net: SequenceNet, features: Tensor, *, lengths: Tensor, place: int = 0
) -> Tensor:
    """(B,) spectral radius of the last step's Jacobian, ∂h_T/∂h_{T-1} = diag(f'(s_T)) W_hh.

    With ReLU, what is left of the recurrent matrix's radius once the units that are off are masked.
    Raises ValueError for nets that are not simple.
    """
    net, layer = _prepare_simple(net, place)
    weight = recurrent_matrix(layer).detach()
    slopes = _slopes(layer, hidden_states(net, features, lengths=lengths, place=place))
    jacobians = slopes[torch.arange(len(lengths)), lengths - 1][:, :, None] * weight  # (B, H, H)
    radii: Tensor = torch.linalg.eigvals(jacobians).abs().amax(dim=1)
    return radii


def active_share(net: SequenceNet, features: Tensor, *, lengths: Tensor, place: int = 0) -> Tensor:
    """(T,) mean share of units above zero at each step. Raises ValueError for other than ReLU."""
    net, layer = _prepare_simple(net, place)
    if layer.nonlinearity != "relu":
        raise ValueError(
            f"{net.spec.name} has no ReLU, so none of its units is off; use a ReLU net"
        )
    hidden = hidden_states(net, features, lengths=lengths, place=place)
    active = (hidden > 0).double().mean(dim=2)
    return _mean_over_running(active, lengths)


def sensitivity(
    net: SequenceNet,
    features: Tensor,
    *,
    lengths: Tensor,
    size: float = 1e-3,
    seed: int = 0,
    place: int = 0,
) -> Tensor:
    """(T,) mean |h_t(x + e) − h_t(x)| / |e|, where e is added to the first step only.

    The first as the layer reads them: the last real one for a backward layer.
    e has norm `size` and a direction that `seed` draws for each sequence. Values below about
    1e-16 |h| / size are rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    push = torch.randn(features[:, 0].shape, generator=generator, dtype=torch.float64)
    push = size * push / push.norm(dim=1, keepdim=True)
    pushes = torch.cat([push[:, None], torch.zeros_like(features[:, 1:]).double()], dim=1)
    if is_backward(net, place):
        pushes = reverse_real_steps(pushes, lengths)
    states, moved = (
        hidden_states(net, read, lengths=lengths, place=place)
        for read in (features, features.double() + pushes)
    )
    distance = (moved - states).norm(dim=2)
    return _mean_over_running(distance / size, lengths)


def phase_portrait(weight: Tensor, starts: Tensor, *, num_steps: int) -> Tensor:
    """(num_steps + 1, n, 2) trajectories from `starts` (n, 2) of a 2-unit ReLU net without input.

    h_{t+1} = relu(W h_t) (eq. 8); `starts` are states, so none is negative.
    """
    assert weight.shape == (2, 2)
    assert starts.shape[1:] == (2,)
    assert bool((starts >= 0).all())
    states = [starts.double()]
    for _ in range(num_steps):
        states.append(torch.relu(states[-1] @ weight.double().T))
    return torch.stack(states)


def matrix_with_eigenvalues(eigenvalues: tuple[float, float], *, angle: float = 0.0) -> Tensor:
    """(2, 2) symmetric float64, its first principal axis at `angle` radians from the first unit's.

    At 0 the principal axes are the units', as figure 2 draws them.
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    axes = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    return axes @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ axes.T


def hidden_states(net: SequenceNet, features: Tensor, *, lengths: Tensor, place: int = 0) -> Tensor:
    """(B, T, H) float64 h_t at every step, padding included. Raises ValueError for mean-pool."""
    net = _prepare(net)
    with torch.no_grad():
        return unroll(net, features.double(), lengths)[place].hidden


def _prepare(net: SequenceNet) -> SequenceNet:
    """A copy of a net with a recurrent layer, in float64 on the CPU."""
    if net.recurrent is None:
        raise ValueError(f"{net.spec.name} has no recurrent layer, so no dynamics; use another net")
    return copy.deepcopy(net).double().cpu()


def _prepare_simple(net: SequenceNet, place: int) -> tuple[SequenceNet, nn.RNN | KeptRnn]:
    net = _prepare(net)
    layer = list_layers(net.recurrent)[place]
    if not isinstance(layer, SIMPLE):
        raise ValueError(
            f"{net.spec.name} is no simple net, h = f(W x + W h + b), for which alone this is "
            f"defined; use gradient_norms"
        )
    return net, layer


def _slopes(layer: nn.RNN | KeptRnn, hidden: Tensor) -> Tensor:
    """f'(s_t) from h_t = f(s_t)."""
    return (hidden > 0).double() if layer.nonlinearity == "relu" else 1 - hidden**2


def _back_from_the_end(values: Tensor, lengths: Tensor, *, steps_back: int) -> Tensor:
    """(B, steps_back + 1): `values` (B, T) k steps before each last one; NaN before the first."""
    places = lengths[:, None] - 1 - torch.arange(steps_back + 1)
    return values.gather(1, places.clamp(min=0)).masked_fill(places < 0, torch.nan)


def _mean_over_running(values: Tensor, lengths: Tensor) -> Tensor:
    """(T,) mean of `values` (B, T) over the sequences that have a step; T is the longest's."""
    values = values[:, : int(lengths.max())]
    return values.masked_fill(~real_steps(lengths, values.shape[1]), torch.nan).nanmean(dim=0)


def _matrix_norm(matrices: Tensor, *, norm: str) -> Tensor:
    if norm == "frobenius":
        return _vector_norm(matrices.flatten(1))
    norms: Tensor = torch.linalg.matrix_norm(matrices, ord=2)
    return norms


def _vector_norm(vectors: Tensor) -> Tensor:
    """Euclidean norm over the last axis, also where the squares underflow (below 1e-154)."""
    largest = vectors.abs().amax(dim=-1, keepdim=True)
    scaled = vectors / largest.where(largest > 0, 1)
    norms: Tensor = largest.squeeze(-1) * scaled.norm(dim=-1)
    return norms


def _check_steps_back(steps_back: int, lengths: Tensor) -> None:
    longest = int(lengths.max())
    if not 0 <= steps_back < longest:
        raise ValueError(
            f"steps_back is {steps_back}; expected 0 to {longest - 1}, since the longest sequence "
            f"has {longest} steps"
        )
