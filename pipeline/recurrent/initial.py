"""Weights of a net at the start of training: plain functions of sizes and a generator.

To add an initialisation, write a function `(hidden_size, generator) -> (H, H)` and give it a row in
RECURRENT_MATRICES; a row in NETS of `spec.py` then makes a net of it. Every matrix is computed in
float64 and returned in float32, so that its law holds to float32 rounding.

Talathi & Vartak 2015 is "Improving performance of recurrent neural network with ReLU nonlinearity".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pipeline.choices import check_choice

RecurrentMatrix = Callable[[int, Generator], Tensor]


def normalized_positive_definite(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) symmetric, eigenvalues in (0, 1], the largest exactly 1.

    A = RᵀR / H, R iid N(0, 1); W = A / λmax(A). Talathi & Vartak 2015, eq. 9 (np-RNN).
    """
    gram = _gram(hidden_size, generator)
    return (gram / _largest_eigenvalue(gram)).float()


def identity(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) identity: W = I. Le, Jaitly & Hinton 2015 (IRNN). Draws nothing."""
    return torch.eye(hidden_size)


def scaled_identity(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) scaled identity: W = 0.01 I. Le, Jaitly & Hinton 2015 (iRNN). Draws nothing."""
    return 0.01 * torch.eye(hidden_size)


def normalized_gaussian(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) of spectral radius 1, with complex eigenvalues.

    W = R / max|λ(R)|, R iid N(0, 1). Talathi & Vartak 2015 (nRNN).
    """
    normal = _normal(hidden_size, generator)
    radius: Tensor = torch.linalg.eigvals(normal).abs().max()
    return (normal / radius).float()


def orthogonal(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) orthogonal, uniform (Haar) over the orthogonal group.

    R = QU, R iid N(0, 1); W = Q diag(sign(diag U)). Without the signs Q follows the convention of
    the QR routine and is not uniform (Mezzadri 2007). Talathi & Vartak 2015 (oRNN).
    """
    q, upper = torch.linalg.qr(_normal(hidden_size, generator))
    signs = torch.where(upper.diagonal() < 0, -1.0, 1.0)
    return torch.mul(q, signs).float()


def gaussian(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) iid N(0, 1/H), spectral radius about 1.

    Talathi & Vartak 2015 (gRNN) give no variance; 1/H is ours.
    """
    return (_normal(hidden_size, generator) / math.sqrt(hidden_size)).float()


def framework_default(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) iid uniform in [-1/√H, 1/√H): torch.nn.RNN's own. The plain control (sRNN)."""
    return uniform_weights(hidden_size, hidden_size, width=hidden_size, generator=generator)


def identity_plus_positive_definite(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) symmetric, eigenvalues in about [0.2, 1], the largest exactly 1.

    W = (I + A) / λmax(I + A), A = RᵀR / H, R iid N(0, 1). The start of dendPLRNN (Brenner et al.
    2022, "Tractable dendritic RNNs") and its followers, whose code names Talathi & Vartak as the
    source; the np-RNN itself has no I. Eigenvectors are np-RNN's, the spectrum is shifted up.
    """
    shifted = torch.eye(hidden_size, dtype=torch.float64) + _gram(hidden_size, generator)
    return (shifted / _largest_eigenvalue(shifted)).float()


def active_set_normalized(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) symmetric positive definite, 1 the largest growth of a state of the ReLU net.

    W = A / λ₊, A = RᵀR / H, R iid N(0, 1); λ₊ = max hᵀAh over h >= 0, |h| = 1 (non-negative PCA,
    Montanari & Richard 2014). With D the 0/1 mask of the units that are active at the maximum,
    λmax(DAD) = λ₊: the *masked* matrix's largest eigenvalue is 1, where np-RNN sets that of the
    whole matrix, which ReLU never sees. Without input no state grows, |relu(Wh)| <= |h|, and one
    direction stays as it is.

    For large H, λ₊ tends to (1 + √½)² ≈ 2.91, the value of λmax(DAD) under a random mask of half
    the units. The mean over such masks is not taken instead: at H = 100 it was up to 9 % below λ₊
    (10 seeds), and 150 steps of addition then gave states up to 100,000 times as large.

    Driven by input a net has other masks: the gradient 100 steps back on addition was 1e-10 to 0.2
    of that at the end (5 seeds), np-RNN's 2e-18 to 1e-14.

    λ₊ is found by power iteration from 16 states drawn by the generator; the largest counts.
    """
    gram = _gram(hidden_size, generator)
    starts = torch.rand(hidden_size, _STARTS, generator=generator, dtype=torch.float64)
    return (gram / _largest_growth(gram, starts)).float()


RECURRENT_MATRICES: dict[str, RecurrentMatrix] = {
    "normalized-positive-definite": normalized_positive_definite,
    "identity": identity,
    "scaled-identity": scaled_identity,
    "normalized-gaussian": normalized_gaussian,
    "orthogonal": orthogonal,
    "gaussian": gaussian,
    "framework-default": framework_default,
    "identity-plus-positive-definite": identity_plus_positive_definite,
    "active-set-normalized": active_set_normalized,
}


def input_weights(
    hidden_size: int, input_size: int, generator: Generator, *, scale: str = "fan-in"
) -> Tensor:
    """(H, D) iid α N(0, 1/N), α = √2 exp(1.2 / (max(N, 6) − 2.4)).

    Talathi & Vartak 2015, eq. 10, after Sussillo & Abbott 2014. N is the input size for `fan-in`
    (their section 2), the hidden size for `hidden` (their eq. 9).
    """
    sizes = {"fan-in": input_size, "hidden": hidden_size}
    check_choice("model.input_scale", scale, sizes)
    width = sizes[scale]
    gain = math.sqrt(2) * math.exp(1.2 / (max(width, 6) - 2.4))
    normal = torch.randn(hidden_size, input_size, generator=generator, dtype=torch.float64)
    return (gain / math.sqrt(width) * normal).float()


def embedding_weights(num_tokens: int, size: int, generator: Generator) -> Tensor:
    """(V, E) iid uniform in [-0.1, 0.1), as Zaremba et al. 2014 start their small net."""
    unit = torch.rand(num_tokens, size, generator=generator, dtype=torch.float64)
    return (0.2 * unit - 0.1).float()


def readout_weights(num_outputs: int, hidden_size: int, generator: Generator) -> Tensor:
    """(C, H) iid N(0, 2/(H + C)). Glorot & Bengio 2010, as Talathi & Vartak 2015 use it."""
    normal = torch.randn(num_outputs, hidden_size, generator=generator, dtype=torch.float64)
    return (math.sqrt(2 / (hidden_size + num_outputs)) * normal).float()


def uniform_weights(rows: int, columns: int, *, width: int, generator: Generator) -> Tensor:
    """(rows, columns) iid uniform in [-1/√N, 1/√N), N the `width`.

    torch's own: N is H in its recurrent layers, the number of inputs in its linear ones.
    """
    unit = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    return ((2 * unit - 1) / math.sqrt(width)).float()


_STARTS = 16
_MOST_ITERATIONS = 10_000


def _normal(hidden_size: int, generator: Generator) -> Tensor:
    return torch.randn(hidden_size, hidden_size, generator=generator, dtype=torch.float64)


def _gram(hidden_size: int, generator: Generator) -> Tensor:
    """(H, H) A = RᵀR / H in float64, R iid N(0, 1); positive definite with probability 1."""
    normal = _normal(hidden_size, generator)
    gram = normal.T @ normal / hidden_size
    return (gram + gram.T) / 2  # a matrix product is symmetric only up to rounding


def _largest_eigenvalue(symmetric: Tensor) -> Tensor:
    largest: Tensor = torch.linalg.eigvalsh(symmetric)[-1]
    return largest


def _largest_growth(gram: Tensor, starts: Tensor) -> Tensor:
    """The largest local maximum of hᵀAh over h >= 0, |h| = 1 that `starts` (H, n) lead to.

    h ← relu(Ah) / |relu(Ah)| never lowers hᵀAh when A is positive definite.
    """
    states, growth = starts, torch.zeros(starts.shape[1], dtype=starts.dtype)
    for _ in range(_MOST_ITERATIONS):
        states = torch.relu(gram @ states)
        states = states / states.norm(dim=0)
        previous, growth = growth, (states * (gram @ states)).sum(dim=0)
        if bool(((growth - previous) <= 1e-13 * growth).all()):
            break
    return growth.max()
