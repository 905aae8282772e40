"""Every initialisation against its law, over sizes and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from pipeline.recurrent import initial
from pipeline.recurrent.initial import RECURRENT_MATRICES
from pipeline.recurrent.spec import NETS

sizes = st.integers(1, 120)
seeds = st.integers(0, 2**31)
quick = settings(max_examples=20, deadline=None)

# A float32 entry is off by 6e-8 of itself, and so an eigenvalue in [-1, 1] by less than 1e-6.
ROUNDING = 1e-6


def draw(function: Callable[[int, Generator], Tensor], hidden_size: int, seed: int = 0) -> Tensor:
    """The float32 matrix of `function`, as float64 for exact algebra."""
    matrix = function(hidden_size, torch.Generator().manual_seed(seed))
    assert matrix.dtype == torch.float32
    assert matrix.shape == (hidden_size, hidden_size)
    return matrix.double()


def eigenvalues(symmetric: Tensor) -> Tensor:
    assert torch.equal(symmetric, symmetric.T)
    values: Tensor = torch.linalg.eigvalsh(symmetric)
    return values


@quick
@given(sizes, seeds)
def test_np_rnn_is_symmetric_with_eigenvalues_up_to_exactly_one(size: int, seed: int) -> None:
    values = eigenvalues(draw(initial.normalized_positive_definite, size, seed))
    assert values[0] > -ROUNDING
    assert abs(values[-1] - 1) < ROUNDING


def test_np_rnn_follows_the_law_of_a_gram_matrix() -> None:
    # Marchenko & Pastur: RᵀR/H has mean eigenvalue 1 and largest one 4, so W's trace is H/4. The
    # largest eigenvalue strays by H^(-2/3), here 2 %.
    values = eigenvalues(draw(initial.normalized_positive_definite, 400))
    assert values.mean() == pytest.approx(1 / 4, rel=0.06)


@quick
@given(sizes, seeds)
def test_shifted_np_rnn_is_the_np_rnn_of_the_same_seed_with_the_identity_added(
    size: int, seed: int
) -> None:
    shifted = draw(initial.identity_plus_positive_definite, size, seed)
    normal = torch.randn(
        size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    expected = torch.eye(size) + normal.T @ normal / size
    torch.testing.assert_close(shifted, expected / eigenvalues((expected + expected.T) / 2)[-1])
    assert abs(eigenvalues(shifted)[-1] - 1) < ROUNDING


@quick
@given(sizes, seeds)
def test_n_rnn_has_spectral_radius_one(size: int, seed: int) -> None:
    values = torch.linalg.eigvals(draw(initial.normalized_gaussian, size, seed))
    # Eigenvalues of a matrix that is not symmetric are worse conditioned than its entries.
    assert abs(values.abs().max() - 1) < 1e-4


@quick
@given(sizes, seeds)
def test_o_rnn_is_orthogonal(size: int, seed: int) -> None:
    matrix = draw(initial.orthogonal, size, seed)
    torch.testing.assert_close(
        matrix @ matrix.T, torch.eye(size, dtype=torch.float64), atol=ROUNDING, rtol=0
    )


def test_o_rnn_is_uniform_over_the_orthogonal_group() -> None:
    # Of a Haar matrix the trace has mean 0 and variance 1 (Diaconis & Shahshahani 1994). Without
    # the sign fix the diagonal is mostly negative.
    traces = torch.stack([draw(initial.orthogonal, 6, seed).trace() for seed in range(2000)])
    assert abs(traces.mean()) < 4 / math.sqrt(2000)
    assert traces.var() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_irnn_and_scaled_irnn_are_the_identity_and_a_hundredth_of_it(size: int) -> None:
    torch.testing.assert_close(draw(initial.identity, size), torch.eye(size).double())
    torch.testing.assert_close(draw(initial.scaled_identity, size), torch.eye(size).double() / 100)


def test_g_rnn_has_variance_one_over_hidden_size() -> None:
    matrix = draw(initial.gaussian, 300)
    assert matrix.mean() == pytest.approx(0, abs=4 / 300 / math.sqrt(300))
    assert matrix.var() * 300 == pytest.approx(1, abs=0.03)  # 6 deviations of 90,000 draws
    kurtosis = (matrix**4).mean() / (matrix**2).mean() ** 2
    assert kurtosis == pytest.approx(3, abs=0.1)  # normal, not uniform (1.8)


def test_rnn_is_uniform_as_torch_draws_it() -> None:
    matrix = draw(initial.framework_default, 300) * math.sqrt(300)
    torch_own = torch.nn.RNN(3, 300).get_parameter("weight_hh_l0").detach() * math.sqrt(300)
    for quantile in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert matrix.quantile(quantile) == pytest.approx(2 * quantile - 1, abs=0.02)
        assert torch_own.quantile(quantile) == pytest.approx(2 * quantile - 1, abs=0.02)


@settings(max_examples=10, deadline=None)
@given(sizes, seeds)
def test_active_np_rnn_keeps_one_state_without_input_and_lets_none_grow(
    size: int, seed: int
) -> None:
    weight = draw(initial.active_set_normalized, size, seed)
    assert eigenvalues(weight)[0] > -ROUNDING
    states = torch.rand(size, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(2000):
        states = torch.relu(weight @ states)
        states = states / states.norm(dim=0)
    kept = torch.relu(weight @ states).norm(dim=0).argmax()
    active = (states[:, kept] > 1e-9).double()
    masked = active[:, None] * weight * active
    # Other starts than the matrix's own may end in other maxima, within some percent of the first.
    assert eigenvalues(masked)[-1] == pytest.approx(1, abs=0.05)


def test_active_np_rnn_scales_the_whole_matrix_above_one() -> None:
    # λmax(A) tends to 4 and λ₊ to (1 + √½)² = 2.914 as H grows.
    largest = eigenvalues(draw(initial.active_set_normalized, 400))[-1]
    assert largest == pytest.approx(4 / (1 + math.sqrt(0.5)) ** 2, rel=0.05)


def test_the_table_of_nets_names_the_matrices_there_are_and_leaves_none_out() -> None:
    simple = {kind.recurrent_matrix for kind in NETS.values() if kind.cell == "simple"}
    assert simple == set(RECURRENT_MATRICES)
    assert {kind.recurrent_matrix for kind in NETS.values() if kind.cell != "simple"} == {""}


@pytest.mark.parametrize(
    ("net", "function"),
    [
        ("np-rnn", initial.normalized_positive_definite),
        ("np-tanh-rnn", initial.normalized_positive_definite),
        ("irnn", initial.identity),
        ("scaled-irnn", initial.scaled_identity),
        ("n-rnn", initial.normalized_gaussian),
        ("o-rnn", initial.orthogonal),
        ("g-rnn", initial.gaussian),
        ("rnn", initial.framework_default),
        ("shifted-np-rnn", initial.identity_plus_positive_definite),
        ("active-np-rnn", initial.active_set_normalized),
        ("ind-rnn", initial.identity),
        ("orthogonal-rnn", initial.orthogonal),
    ],
)
def test_a_net_starts_from_the_matrix_of_its_paper(
    net: str, function: Callable[[int, Generator], Tensor]
) -> None:
    assert RECURRENT_MATRICES[NETS[net].recurrent_matrix] is function


@pytest.mark.parametrize("name", RECURRENT_MATRICES)
def test_a_seed_gives_the_same_matrix_and_another_seed_another_one(name: str) -> None:
    function = RECURRENT_MATRICES[name]
    assert torch.equal(draw(function, 20, 3), draw(function, 20, 3))
    drawn = name not in ("identity", "scaled-identity")
    assert torch.equal(draw(function, 20, 3), draw(function, 20, 4)) != drawn


@pytest.mark.parametrize(
    ("scale", "hidden_size", "input_size", "deviation"),
    [
        # √2 exp(1.2 / (max(N, 6) − 2.4)) / √N, worked out by hand
        ("fan-in", 400, 2, 1.41421 * 1.39561 / 1.41421),
        ("fan-in", 400, 1024, 1.41421 * 1.00118 / 32),
        ("hidden", 400, 1024, 1.41421 * 1.00302 / 20),
        ("hidden", 100, 2, 1.41421 * 1.01237 / 10),
    ],
)
def test_input_weights_have_the_deviation_of_equation_10(
    scale: str, hidden_size: int, input_size: int, deviation: float
) -> None:
    draws = [
        initial.input_weights(hidden_size, input_size, _generator(seed), scale=scale)
        for seed in range(20)
    ]
    assert draws[0].shape == (hidden_size, input_size)
    assert torch.cat(draws).std() == pytest.approx(deviation, rel=0.05)


def test_readout_weights_have_the_deviation_of_glorot() -> None:
    weights = initial.readout_weights(101, 100, _generator(0))
    assert weights.shape == (101, 100)
    assert weights.std() == pytest.approx(math.sqrt(2 / 201), rel=0.03)


def test_an_unknown_input_scale_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="expected one of fan-in, hidden, found 'fan-out'"):
        initial.input_weights(4, 4, _generator(0), scale="fan-out")


def _generator(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)
