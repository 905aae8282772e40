"""The fused LSTM and GRU do what torch's do, on every path through the kernel."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.recurrent import fused
from tests.test_fused import TOLERANCES, worst_error

GATES = {"lstm": 4, "gru": 3}
needs_library = pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")


class Problem(NamedTuple):
    """A gated net, its start and its input; `c0` and the bias that is not there are zeros."""

    features: Tensor
    lengths: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor
    h0: Tensor
    c0: Tensor

    def cast(self, dtype: torch.dtype) -> Problem:
        return Problem(
            *(
                tensor if name == "lengths" else tensor.to(dtype, copy=True).requires_grad_()
                for name, tensor in self._asdict().items()
            )
        )

    @property
    def learned(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._asdict().items() if name != "lengths"}


def make_problem(cell: str, shape: tuple[int, int, int, int], seed: int) -> Problem:
    batch, steps, inputs, hidden = shape
    generator = torch.Generator().manual_seed(seed)
    sums = GATES[cell] * hidden

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Problem(
        features=normal(batch, steps, inputs),
        lengths=torch.randint(1, steps + 1, (batch,), generator=generator),
        weight_ih=normal(sums, inputs) / math.sqrt(inputs),
        weight_hh=normal(sums, hidden) / math.sqrt(hidden),
        bias_ih=normal(sums),
        bias_hh=normal(sums) * (cell == "gru"),  # an lstm adds the two
        h0=normal(batch, hidden),
        c0=normal(batch, hidden),
    )


def run(cell: str, problem: Problem, readout: Any = "last") -> list[Tensor]:
    """Output, and the last c of an lstm."""
    features, lengths, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0 = problem
    weights = (weight_ih, weight_hh, bias_ih)
    if cell == "lstm":
        return list(fused.lstm(features, lengths, *weights, h0, c0, readout=readout))
    return [fused.gru(features, lengths, *weights, bias_hh, h0, readout=readout)]


def reference(cell: str, problem: Problem, readout: str = "last") -> list[Tensor]:
    """The same through torch's own layer on a packed batch."""
    _, steps, inputs = problem.features.shape
    make = torch.nn.LSTM if cell == "lstm" else torch.nn.GRU
    net = make(inputs, problem.weight_hh.shape[1], batch_first=True).double()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = {f"{name}_l0": getattr(problem, name) for name in names}
    packed = pack_padded_sequence(
        problem.features, problem.lengths, batch_first=True, enforce_sorted=False
    )
    start = (problem.h0[None], problem.c0[None]) if cell == "lstm" else problem.h0[None]
    outputs, last = torch.func.functional_call(net, weights, (packed, start))
    states = list(last) if cell == "lstm" else [last]
    output = states[0][0]
    if readout == "all":
        output = pad_packed_sequence(outputs, batch_first=True, total_length=steps)[0]
    return [output, *(state[0] for state in states[1:])]


def gradients(outputs: list[Tensor], problem: Problem) -> dict[str, Tensor]:
    """Of a weighted sum of all outputs, in everything that it depends on."""
    numbers = torch.cat([output.flatten() for output in outputs])
    total = (numbers * torch.linspace(-1, 1, len(numbers), dtype=numbers.dtype)).sum()
    found = torch.autograd.grad(total, list(problem.learned.values()), allow_unused=True)
    return {
        name: gradient
        for name, gradient in zip(problem.learned, found, strict=True)
        if gradient is not None
    }


@needs_library
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 45), st.integers(1, 12), st.integers(1, 40), st.integers(1, 70)),
    seed=st.integers(0, 2**31),
    readout=st.sampled_from(["last", "all"]),
)
def test_values_and_gradients_are_those_of_torch(
    cell: str, dtype: torch.dtype, shape: Any, seed: int, readout: str
) -> None:
    problem = make_problem(cell, shape, seed)
    exact, ours = problem.cast(torch.float64), problem.cast(dtype)
    expected = reference(cell, exact, readout)
    of_expected = gradients(expected, exact)
    of_expected.pop("bias_hh" if cell == "lstm" else "c0", None)
    for name in fused.available_isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NPRNN_ISA", name)
            found = run(cell, ours, readout)
            of_found = gradients(found, ours)
        assert of_found.keys() == of_expected.keys()
        pairs = [*zip(found, expected, strict=True)]
        pairs += [(of_found[key], of_expected[key]) for key in of_expected]
        assert max(worst_error(*pair) for pair in pairs) < TOLERANCES[dtype], name


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("shape", [(1, 784, 1, 100), (18, 60, 2, 100), (5, 30, 1024, 100)])
def test_the_shapes_of_the_tasks_are_exact_too(
    isa: str, cell: str, shape: tuple[int, int, int, int]
) -> None:
    problem = make_problem(cell, shape, seed=1)
    exact, ours = problem.cast(torch.float64), problem.cast(torch.float32)
    expected, found = reference(cell, exact), run(cell, ours)
    of_expected, of_found = gradients(expected, exact), gradients(found, ours)
    pairs = [*zip(found, expected, strict=True)]
    pairs += [(of_found[key], of_expected[key]) for key in of_found]
    assert max(worst_error(*pair) for pair in pairs) < 1e-4  # hundreds of steps


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("readout", ["last", "all"])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_are_finite_differences(isa: str, cell: str, readout: str, batch: int) -> None:
    problem = make_problem(cell, (batch, 4, 3, 5), seed=2).cast(torch.float64)

    def from_tensors(features: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        return tuple(run(cell, Problem(features, problem.lengths, *others), readout))

    assert torch.autograd.gradcheck(from_tensors, tuple(problem.learned.values()))


@pytest.mark.parametrize("cell", GATES)
def test_what_stands_past_a_length_is_never_read(isa: str, cell: str) -> None:
    problem = make_problem(cell, (23, 9, 3, 10), seed=3)
    hidden = torch.arange(9)[None, :, None] >= problem.lengths[:, None, None]
    spoiled = problem._replace(features=problem.features.masked_fill(hidden, math.nan))
    found = []
    for one in (problem.cast(torch.float32), spoiled.cast(torch.float32)):
        outputs = run(cell, one, "all")
        found.append([*outputs, *gradients(outputs, one).values()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("cell", GATES)
def test_any_number_of_threads_gives_equal_bits(isa: str, cell: str) -> None:
    problem = make_problem(cell, (60, 20, 20, 64), seed=4).cast(torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            outputs = run(cell, problem)
            results.append([*outputs, *gradients(outputs, problem).values()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("cell", GATES)
def test_a_cut_sequence_goes_on_from_its_states(isa: str, cell: str) -> None:
    problem = make_problem(cell, (4, 10, 3, 20), seed=5).cast(torch.float32)
    whole = problem._replace(lengths=torch.full((4,), 10))
    first = whole._replace(features=problem.features[:, :6], lengths=torch.full((4,), 6))
    h, *c = run(cell, first)
    rest = whole._replace(
        features=problem.features[:, 6:], lengths=torch.full((4,), 4), h0=h, c0=(*c, problem.c0)[0]
    )
    assert all(map(torch.equal, run(cell, rest), run(cell, whole)))


@pytest.mark.parametrize("cell", GATES)
def test_gates_that_are_wide_open_or_shut_stay_finite(isa: str, cell: str) -> None:
    problem = make_problem(cell, (3, 6, 2, 8), seed=6)
    problem = problem._replace(features=1e6 * problem.features).cast(torch.float32)
    expected = reference(cell, Problem(*(t.double() if t.is_floating_point() else t
                                         for t in problem)))  # fmt: skip
    outputs = run(cell, problem)
    assert max(map(worst_error, outputs, expected)) < 1e-5
    assert all(gradient.isfinite().all() for gradient in gradients(outputs, problem).values())


@pytest.mark.parametrize("cell", GATES)
def test_not_a_number_is_never_hidden(isa: str, cell: str) -> None:
    problem = make_problem(cell, (2, 4, 2, 8), seed=7)
    features = problem.features.clone()
    features[0, 0, 0] = math.nan
    output = run(cell, problem._replace(features=features, lengths=torch.tensor([4, 4])))[0]
    assert output[0].isnan().all()
    assert output[1].isfinite().all()


@needs_library
def test_what_does_not_fit_is_refused() -> None:
    lstm, gru = (make_problem(cell, (2, 3, 2, 4), seed=8) for cell in ("lstm", "gru"))
    with pytest.raises(ValueError, match=r"weight_hh is \(12, 4\)"):
        run("lstm", lstm._replace(weight_hh=gru.weight_hh))
    with pytest.raises(ValueError, match=r"weight_ih is \(16, 2\)"):
        run("gru", gru._replace(weight_ih=lstm.weight_ih))
    with pytest.raises(ValueError, match=r"c0 is \(4,\)"):
        run("lstm", lstm._replace(c0=lstm.c0[0]))
