"""The fused recurrent kernel beside torch's layers: `python -m benchmarks.kernel [--quick]`.

One thread, but for the rows that say otherwise. The two sides take turns within a run, so that a
busy machine slows both; the ratio is that of the fastest rounds, and the median round stands beside
it. The torch side runs with subnormals as they come and flushed (`torch.set_flush_denormal`): that
of gated cells, which hardly have any, flushed alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.report import Comparison, Side, describe_machine, make_parser, write_report
from pipeline.recurrent import fused, updates
from pipeline.recurrent.initial import normalized_positive_definite
from pipeline.recurrent.updated import NetWeights, Optimizer
from pipeline.recurrent.updates import Batches

HIDDEN = 100


@dataclass(frozen=True)
class Case:
    """Forward and backward of one batch, the last state read out, features without gradient."""

    name: str
    batch: int
    steps: int
    inputs: int
    target: float  # times torch's speed with subnormals flushed
    rounds: int
    calls: int = 1  # in one turn of a side, as in training: short ones find their caches warm
    has_lengths: bool = False  # spread evenly over 30 to 330 frames, mean 180
    cell: str = "simple"


CASES = [
    Case("T=150, batch 1, D=2", 1, 150, 2, 20, rounds=30, calls=10),
    Case("T=784, batch 1, D=1", 1, 784, 1, 20, rounds=15, calls=4),
    Case("T=784, batch 16, D=1", 16, 784, 1, 5, rounds=12, calls=2),
    Case("T=784, batch 256, D=1", 256, 784, 1, 3, rounds=7),
    Case("clips, batch 64, D=1024", 64, 330, 1024, 3, rounds=9, has_lengths=True),
    *(
        Case(f"{cell}, {name}", batch, steps, inputs, target, rounds, cell=cell, **more)
        for cell in ("lstm", "gru")
        for name, batch, steps, inputs, target, rounds, more in (
            ("T=784, batch 1, D=1", 1, 784, 1, 3, 9, {"calls": 2}),
            ("T=784, batch 16, D=1", 16, 784, 1, 3, 7, {}),
            ("clips, batch 64, D=1024", 64, 330, 1024, 2, 5, {"has_lengths": True}),
        )
    ),
]


def weights_of(net: torch.nn.RNNBase) -> tuple[Tensor, Tensor, Tensor]:
    parameters = dict(net.named_parameters())
    return tuple(parameters[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih"))  # type: ignore[return-value]


def run_fused(net: torch.nn.RNNBase, features: Tensor, lengths: Tensor | None) -> Tensor:
    """The last states by the kernel."""
    weights = weights_of(net)
    if isinstance(net, torch.nn.LSTM):
        return fused.lstm(features, lengths, *weights)[0]
    if isinstance(net, torch.nn.GRU):
        return fused.gru(features, lengths, *weights, net.get_parameter("bias_hh_l0"))
    return fused.simple_rnn(features, lengths, *weights)


def make_layer(cell: str, inputs: int, seed: int) -> torch.nn.RNNBase:
    """An np-rnn, or torch's own lstm or gru, at the start of its training."""
    if cell == "simple":
        return make_net(inputs, seed)
    torch.manual_seed(seed)
    kind = torch.nn.LSTM if cell == "lstm" else torch.nn.GRU
    layer = kind(inputs, HIDDEN, batch_first=True)
    layer.get_parameter("bias_hh_l0").requires_grad_(False)
    return layer


def make_net(inputs: int, seed: int) -> torch.nn.RNN:
    """An np-rnn at the start of its training."""
    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.RNN(inputs, HIDDEN, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        weight_ih, weight_hh, bias = weights_of(net)
        weight_ih.normal_(0, inputs**-0.5, generator=generator)
        weight_hh.copy_(normalized_positive_definite(HIDDEN, generator))
        bias.zero_()
        net.get_parameter("bias_hh_l0").zero_().requires_grad_(False)
    return net


def make_sides(case: Case) -> dict[str, Callable[[], Tensor]]:
    """Functions that give the last states, by name; the first is ours."""
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(case.batch, case.steps, case.inputs, generator=generator)
    lengths = None
    if case.has_lengths:
        places = torch.randperm(case.batch, generator=generator)
        lengths = torch.linspace(30, case.steps, case.batch).round().long()[places]
    net = make_layer(case.cell, case.inputs, seed=2)

    def ours() -> Tensor:
        return run_fused(net, features, lengths)

    def padded() -> Tensor:
        outputs = net(features)[0]
        last = torch.full((case.batch,), case.steps) if lengths is None else lengths
        return cast(Tensor, outputs[torch.arange(case.batch), last - 1])

    def packed() -> Tensor:
        batch = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)  # type: ignore[arg-type]
        last = net(batch)[1]
        return cast(Tensor, (last[0] if case.cell == "lstm" else last)[0])

    sides = {"fused": ours, "torch": padded}
    return sides | ({"torch packed": packed} if case.has_lengths else {})


def milliseconds(side: Callable[[], Tensor], grad: Tensor, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        torch.autograd.backward(side(), grad)
    return (time.perf_counter() - begin) * 1e3 / calls


def time_sides(
    sides: dict[str, Callable[[], Tensor]], grad: Tensor, rounds: int, calls: int
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of each side in every round but the first, the sides by turns."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            seen[name].append(milliseconds(side, grad, calls))
    return {name: tuple(times[1:]) for name, times in seen.items()}


def draw_grad(case: Case) -> Tensor:
    return torch.randn(case.batch, HIDDEN, generator=torch.Generator().manual_seed(3))


def time_case(case: Case, rounds: int, flushes: bool) -> list[Comparison]:
    torch.set_flush_denormal(flushes)
    times = time_sides(make_sides(case), draw_grad(case), rounds, case.calls)
    torch.set_flush_denormal(False)
    note = ", subnormals flushed" if flushes else ""
    ours = Side("fused", times.pop("fused"))
    return [
        Comparison(case.name, "ms", "time", ours, Side(name + note, values), case.target)
        for name, values in times.items()
    ]


def time_threads(case: Case, rounds: int, threads: int) -> Comparison:
    """The kernel on several threads against one."""
    ours = make_sides(case)["fused"]

    def on_threads(num: int) -> Callable[[], Tensor]:
        def run() -> Tensor:
            torch.set_num_threads(num)
            return ours()

        return run

    sides = {"one": on_threads(1), "many": on_threads(threads)}
    times = time_sides(sides, draw_grad(case), rounds, case.calls)
    torch.set_num_threads(1)
    many, one = Side(f"fused on {threads} threads", times["many"]), Side("on one", times["one"])
    return Comparison(case.name, "ms", "time", many, one)


def updates_with_torch(features: Tensor, targets: Tensor) -> None:
    """One at a time: forward, squared error, backward, clip, SGD."""
    net, readout = make_net(features.shape[-1], seed=2), torch.nn.Linear(HIDDEN, 1)
    parameters = [p for p in (*net.parameters(), *readout.parameters()) if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    for sequences, target in zip(features, targets, strict=True):
        loss = (readout(net(sequences)[1][0]) - target).square().sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 10)
        optimizer.step()


def updates_with_fused(features: Tensor, targets: Tensor) -> None:
    net, readout = make_net(features.shape[-1], seed=2), torch.nn.Linear(HIDDEN, 1)
    parameters = (*weights_of(net), readout.weight, readout.bias)
    weights = NetWeights(*(parameter.detach() for parameter in parameters))
    sgd = Optimizer("sgd", 1e-3)
    updates.run_updates(Batches(features, targets), weights=weights, optimizer=sgd, clip=10)


def time_updates(num_updates: int, rounds: int) -> Comparison:
    """Milliseconds of one whole SGD update of batch 1, T = 150, as on the addition task."""
    generator = torch.Generator().manual_seed(4)
    features = torch.rand(num_updates, 1, 150, 2, generator=generator)
    targets = torch.rand(num_updates, 1, 1, generator=generator)
    seen: dict[str, list[float]] = {"fused": [], "torch": []}
    torch.set_flush_denormal(True)
    for _ in range(rounds):
        for name, update in (("fused", updates_with_fused), ("torch", updates_with_torch)):
            begin = time.perf_counter()
            update(features, targets)
            seen[name].append((time.perf_counter() - begin) * 1e3 / num_updates)
    torch.set_flush_denormal(False)
    ours = Side("fused", tuple(seen["fused"]))
    theirs = Side("torch, subnormals flushed", tuple(seen["torch"]))
    return Comparison("whole updates, T=150, batch 1", "ms", "time", ours, theirs, target=15)


def main() -> None:
    options = make_parser(__doc__).parse_args()
    if (reason := fused.unavailable_reason()) is not None:
        raise SystemExit(reason)
    machine, threads = describe_machine(), torch.get_num_threads()
    torch.set_num_threads(1)
    comparisons = [
        comparison
        for case in CASES
        for flushes in ((False, True) if case.cell == "simple" else (True,))
        for comparison in time_case(case, 1 if options.quick else case.rounds, flushes)
    ]
    comparisons.append(time_updates(*((20, 1) if options.quick else (500, 5))))
    if threads > 1:
        comparisons += [
            time_threads(case, 1 if options.quick else case.rounds, threads)
            for case in CASES
            if case.batch > 1 and case.cell == "simple"
        ]
    write_report("kernel", comparisons, options, machine=machine)


if __name__ == "__main__":
    main()
