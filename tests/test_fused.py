"""The fused kernel does what torch.nn.RNN does, on every path through it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.recurrent import fused

# Largest error relative to the largest true value or, as sums may cancel, to 1. Rounding is 6e-8
# (float32) and 1e-16, times some tens of sums and steps; a net that grows loses another digit.
TOLERANCES = {torch.float32: 3e-5, torch.float64: 1e-12}


@pytest.fixture
def _library() -> None:
    if not fused.is_available():
        pytest.skip(str(fused.unavailable_reason()))


needs_library = pytest.mark.usefixtures("_library")


@pytest.fixture
def _torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


NAMES = ("features", "weight_ih", "weight_hh", "bias", "h0")


class Problem(NamedTuple):
    """A net and its input, float64."""

    features: Tensor
    lengths: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    h0: Tensor


def make_problem(shape: tuple[int, int, int, int], seed: int) -> Problem:
    batch, steps, inputs, hidden = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Problem(
        features=normal(batch, steps, inputs),
        lengths=torch.randint(1, steps + 1, (batch,), generator=generator),
        weight_ih=normal(hidden, inputs) / math.sqrt(inputs),
        weight_hh=normal(hidden, hidden) / math.sqrt(hidden),
        bias=normal(hidden) / 10,
        h0=normal(batch, hidden),
    )


def cast_problem(problem: Problem, dtype: torch.dtype) -> Problem:
    casts = {k: t.to(dtype, copy=True) for k, t in problem._asdict().items() if k != "lengths"}
    for tensor in casts.values():
        tensor.requires_grad_()
    return problem._replace(**casts)


def reference(problem: Problem, nonlinearity: str, readout: str) -> Tensor:
    """The same through torch.nn.RNN on a packed batch."""
    batch, steps, inputs = problem.features.shape
    hidden = len(problem.bias)
    net = torch.nn.RNN(inputs, hidden, nonlinearity=nonlinearity, batch_first=True).double()
    weights = {
        "weight_ih_l0": problem.weight_ih,
        "weight_hh_l0": problem.weight_hh,
        "bias_ih_l0": problem.bias,
        "bias_hh_l0": torch.zeros_like(problem.bias),
    }
    packed = pack_padded_sequence(
        problem.features, problem.lengths, batch_first=True, enforce_sorted=False
    )
    h0 = problem.h0.expand(1, batch, hidden)
    outputs, last = torch.func.functional_call(net, weights, (packed, h0))
    if readout == "last":
        return torch.as_tensor(last[0])
    return pad_packed_sequence(outputs, batch_first=True, total_length=steps)[0]


def run(problem: Problem, nonlinearity: str = "relu", readout: str = "last") -> Tensor:
    return fused.simple_rnn(*problem, nonlinearity=nonlinearity, readout=readout)  # type: ignore[arg-type]


def worst_error(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    difference = (found - expected).abs().max()
    return float(difference / expected.abs().max().clamp_min(1))


def gradients(output: Tensor, problem: Problem) -> list[Tensor]:
    weight = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    inputs = [tensor for tensor in problem if tensor.requires_grad]
    return list(torch.autograd.grad((output * weight).sum(), inputs))


def test_worst_error_sees_one_wrong_value() -> None:
    right = torch.linspace(1, 2, 10)
    wrong = right.clone()
    wrong[3] += 0.01
    assert worst_error(right, right) == 0
    assert worst_error(wrong, right) == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 45), st.integers(1, 12), st.integers(1, 40), st.integers(1, 90)),
    seed=st.integers(0, 2**31),
    nonlinearity=st.sampled_from(["relu", "tanh"]),
    readout=st.sampled_from(["last", "all"]),
    has_shared_h0=st.booleans(),
)
def test_values_and_gradients_are_those_of_torch(
    dtype: torch.dtype, shape: Any, seed: int, nonlinearity: str, readout: str, has_shared_h0: bool
) -> None:
    if not fused.is_available():
        pytest.skip(str(fused.unavailable_reason()))
    problem = make_problem(shape, seed)
    if has_shared_h0:
        problem = problem._replace(h0=problem.h0[0])
    exact, ours = cast_problem(problem, torch.float64), cast_problem(problem, dtype)
    expected = reference(exact, nonlinearity, readout)
    expected_all = [expected, *gradients(expected, exact)]
    for name in fused.available_isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NPRNN_ISA", name)
            found = run(ours, nonlinearity, readout)
            found_all = [found, *gradients(found, ours)]
        for one, other in zip(found_all, expected_all, strict=True):
            assert worst_error(one, other) < TOLERANCES[dtype], name


@pytest.mark.parametrize("shape", [(1, 784, 1, 100), (20, 150, 2, 100), (5, 30, 1024, 100)])
def test_the_shapes_of_the_tasks_are_exact_too(isa: str, shape: tuple[int, int, int, int]) -> None:
    problem = make_problem(shape, seed=1)
    problem = problem._replace(weight_hh=problem.weight_hh * 0.9)
    exact, ours = cast_problem(problem, torch.float64), cast_problem(problem, torch.float32)
    expected, found = reference(exact, "relu", "last"), run(ours)
    pairs = zip(
        [found, *gradients(found, ours)], [expected, *gradients(expected, exact)], strict=True
    )
    assert max(worst_error(*pair) for pair in pairs) < 1e-4  # hundreds of steps


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("readout", ["last", "all"])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_are_finite_differences(
    isa: str, nonlinearity: str, readout: str, batch: int
) -> None:
    problem = cast_problem(make_problem((batch, 4, 3, 5), seed=2), torch.float64)
    lengths, others = problem.lengths, [t for t in problem if t.requires_grad]

    def from_tensors(features: Tensor, *weights: Tensor) -> Tensor:
        return run(Problem(features, lengths, *weights), nonlinearity, readout)

    assert torch.autograd.gradcheck(from_tensors, others)


def test_tanh_is_right_to_the_last_bits(isa: str) -> None:
    x = torch.linspace(-12, 12, 100_001)[:, None, None]
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    found = fused.simple_rnn(x, None, one, zero, zero[0], nonlinearity="tanh")[:, 0].double()
    expected = torch.tanh(x[:, 0, 0].double())
    assert ((found - expected).abs() <= 5e-7 * expected.abs()).all()


def test_what_stands_past_a_length_is_never_read(isa: str) -> None:
    problem = make_problem((23, 9, 3, 10), seed=3)
    hidden = torch.arange(9)[None, :, None] >= problem.lengths[:, None, None]
    spoiled = problem._replace(features=problem.features.masked_fill(hidden, math.nan))
    clean, spoiled = (cast_problem(p, torch.float32) for p in (problem, spoiled))
    outputs = run(clean, readout="all"), run(spoiled, readout="all")
    assert torch.equal(*outputs)
    for one, other in zip(
        gradients(outputs[0], clean), gradients(outputs[1], spoiled), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("_torch_threads")
def test_any_number_of_threads_gives_equal_bits(isa: str) -> None:
    problem = cast_problem(make_problem((90, 30, 20, 64), seed=4), torch.float32)
    results = []
    for num_threads in (1, 2, 5):
        torch.set_num_threads(num_threads)
        output = run(problem)
        results.append([output, *gradients(output, problem)])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@needs_library
def test_calls_from_several_python_threads_do_not_disturb_each_other() -> None:
    problems = [cast_problem(make_problem((40, 20, 3, 50), seed), torch.float32) for seed in (5, 6)]
    expected = [run(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, problems * 20))
    assert all(map(torch.equal, found, expected * 20))


@needs_library
@pytest.mark.usefixtures("_torch_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_after_its_parent_did() -> None:
    torch.set_num_threads(2)
    problem = cast_problem(make_problem((90, 30, 20, 64), seed=7), torch.float32)
    with torch.no_grad():
        expected = run(problem)
        (torch.ones(600, 600) @ torch.ones(600, 600)).sum()  # torch's own threads are up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on fork and threads
        child = os.fork()
    if child == 0:
        with torch.no_grad():
            os._exit(0 if torch.equal(run(problem), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_library
@pytest.mark.usefixtures("_torch_threads")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_stays_flat_over_many_calls() -> None:
    torch.set_num_threads(2)
    problem = cast_problem(make_problem((90, 30, 20, 64), seed=8), torch.float32)

    def resident_pages() -> int:
        for _ in range(60):
            gradients(run(problem), problem)
        return int(Path("/proc/self/statm").read_text().split()[1])

    first = resident_pages()
    assert resident_pages() - first < 500  # 2 MB; one lost set of states is 0.4 MB a call


@needs_library
def test_the_callers_subnormals_stay_as_they_were() -> None:
    run(make_problem((2, 3, 2, 4), seed=9))
    assert float(np.float32(1e-39) * np.float32(0.5)) > 0


def test_not_a_number_is_never_hidden(isa: str) -> None:
    for batch in (1, 3):
        problem = make_problem((batch, 4, 2, 8), seed=10)
        features = problem.features.clone()
        features[0, 0, 0] = math.nan
        assert run(problem._replace(features=features))[0].isnan().any()
        weight_hh = torch.full_like(problem.weight_hh, math.nan)
        zeros = torch.zeros_like(problem.h0)
        assert run(problem._replace(weight_hh=weight_hh, h0=zeros)).isnan().all()


def test_zeros_of_relu_hide_no_infinite_state(isa: str) -> None:
    # h_0 is infinite, s_1 minus infinity, so that h_1 and the gradient of s_1 are 0.
    one = torch.ones(1, 1)
    for batch in (1, 3):
        weight_hh = (-one).requires_grad_()
        features = torch.tensor([3e38, 0.0]).expand(batch, 2)[:, :, None]
        output = fused.simple_rnn(features, None, 2 * one, weight_hh, one[0] * 0, one[0] * 0)
        assert torch.equal(output, torch.zeros(batch, 1))
        (gradient,) = torch.autograd.grad(output.sum(), weight_hh)
        assert gradient.isnan().all()  # zero times infinity, as in torch


def place_among_units_that_are_off(problem: Problem, places: Tensor, num_units: int) -> Problem:
    """The same net with its units at `places` of `num_units`; the others never leave 0."""

    def spread(tensor: Tensor, fill: float = 0.0) -> Tensor:
        wide = tensor.new_full((*tensor.shape[:-1], num_units), fill)
        wide[..., places] = tensor
        return wide

    return problem._replace(
        weight_ih=spread(problem.weight_ih.T).T.contiguous(),
        weight_hh=spread(spread(problem.weight_hh).T).T.contiguous(),
        bias=spread(problem.bias, fill=-1.0),
        h0=spread(problem.h0),
    )


@pytest.mark.parametrize("batch", [1, 7, 20])
@pytest.mark.parametrize("inputs", [2, 40])
def test_units_that_are_off_change_no_bit_of_the_others(isa: str, batch: int, inputs: int) -> None:
    small = make_problem((batch, 30, inputs, 70), seed=11)
    places = torch.randperm(180, generator=torch.Generator().manual_seed(0))[:70].sort().values
    large = place_among_units_that_are_off(small, places, num_units=180)
    small, large = (cast_problem(problem, torch.float32) for problem in (small, large))
    outputs = run(small, readout="all"), run(large, readout="all")
    assert torch.equal(outputs[0], outputs[1][..., places])
    weights = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(1))
    wide = torch.zeros_like(outputs[1])
    wide[..., places] = weights
    of_small, of_large = (
        dict(zip(NAMES, torch.autograd.grad((output * weight).sum(), tensors), strict=True))
        for output, weight, tensors in (
            (outputs[0], weights, [getattr(small, name) for name in NAMES]),
            (outputs[1], wide, [getattr(large, name) for name in NAMES]),
        )
    )
    assert torch.equal(of_small["features"], of_large["features"])
    assert torch.equal(of_small["weight_ih"], of_large["weight_ih"][places])
    assert torch.equal(of_small["weight_hh"], of_large["weight_hh"][places][:, places])
    assert torch.equal(of_small["bias"], of_large["bias"][places])
    assert torch.equal(of_small["h0"], of_large["h0"][:, places])


@needs_library
@pytest.mark.parametrize("inputs", [1, 19])
def test_every_number_of_half_precision_is_read_exactly(isa: str, inputs: int) -> None:
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    halves = torch.cat([bits, bits[: -len(bits) % inputs]]).view(torch.float16)
    features = halves.view(-1, 1, inputs)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in ((3, inputs), (3, 3), (3,))]
    if inputs == 1:  # each number alone, whatever stands around an infinite one
        weights = [torch.tensor([[1.0], [-1.0], [2.0**30]]), torch.zeros(3, 3), torch.zeros(3)]
    found = fused.simple_rnn(features, None, *weights)
    torch.testing.assert_close(
        found, fused.simple_rnn(features.float(), None, *weights), rtol=0, atol=0, equal_nan=True
    )


@needs_library
@pytest.mark.parametrize("readout", ["last", "all"])
def test_half_precision_changes_no_bit_of_states_and_gradients(readout: fused.Readout) -> None:
    problem = cast_problem(make_problem((5, 7, 33, 21), seed=3), torch.float32)
    halves = problem.features.detach().half()
    results = []
    for features in (halves, halves.float()):
        weights = [t.detach().clone().requires_grad_() for t in problem[2:]]
        states = fused.simple_rnn(features, problem.lengths, *weights, readout=readout)
        torch.autograd.backward(states.square().sum())
        results.append([states, *(weight.grad for weight in weights)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_library
def test_what_does_not_fit_is_refused() -> None:
    good = make_problem((2, 3, 2, 4), seed=14)
    refused = {
        "weight_ih is": good._replace(weight_ih=good.weight_ih[:, :1]),
        "weight_hh is": good._replace(weight_hh=good.weight_hh.float()),
        "bias is": good._replace(bias=good.bias[:3]),
        "h0 is": good._replace(h0=good.h0[:1]),
        r"in \[0, 3\], but must be in \[1, 3\]": good._replace(lengths=torch.tensor([0, 3])),
        "non-empty": good._replace(features=good.features[:0]),
    }
    for message, problem in refused.items():
        with pytest.raises(ValueError, match=message):
            run(problem)
    halves = good.features.half()
    with pytest.raises(ValueError, match="or float16 without a gradient, are needed"):
        run(good._replace(features=halves.requires_grad_()))
    with pytest.raises(ValueError, match="weight_ih is .*float16 on cpu, but .*float32"):
        run(Problem(halves.detach(), good.lengths, *(t.half() for t in good[2:])))
    with pytest.raises(ValueError, match="readout: expected one of last, all, found 'mean'"):
        run(good, readout="mean")
