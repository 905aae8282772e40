"""The fused recurrent kernel beside torch.nn.RNN: `python -m benchmarks.kernel [--quick]`.

One thread. The two sides take turns within a run, so that a busy machine slows both; the ratio is
that of the fastest rounds, and the median round stands beside it. The torch side runs with
subnormals as they come and flushed (`torch.set_flush_denormal`).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from pipeline.recurrent import fused
from pipeline.recurrent.initial import normalized_positive_definite

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


@dataclass(frozen=True)
class Timing:
    """Both sides of one ratio, in milliseconds."""

    case: str
    against: str
    target: float
    fused_best: float
    fused_median: float
    torch_best: float
    torch_median: float

    @property
    def ratio(self) -> float:
        return self.torch_best / self.fused_best

    @property
    def ratio_of_medians(self) -> float:
        return self.torch_median / self.fused_median


CASES = [
    Case("T=150, batch 1, D=2", 1, 150, 2, 20, rounds=30, calls=10),
    Case("T=784, batch 1, D=1", 1, 784, 1, 20, rounds=15, calls=4),
    Case("T=784, batch 16, D=1", 16, 784, 1, 5, rounds=12, calls=2),
    Case("T=784, batch 256, D=1", 256, 784, 1, 3, rounds=7),
    Case("clips, batch 64, D=1024", 64, 330, 1024, 3, rounds=9, has_lengths=True),
]


def weights_of(net: torch.nn.RNN) -> tuple[Tensor, Tensor, Tensor]:
    parameters = dict(net.named_parameters())
    return tuple(parameters[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih"))  # type: ignore[return-value]


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
    net = make_net(case.inputs, seed=2)

    def ours() -> Tensor:
        return fused.simple_rnn(features, lengths, *weights_of(net))

    def padded() -> Tensor:
        outputs = net(features)[0]
        last = torch.full((case.batch,), case.steps) if lengths is None else lengths
        return cast(Tensor, outputs[torch.arange(case.batch), last - 1])

    def packed() -> Tensor:
        batch = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)  # type: ignore[arg-type]
        return cast(Tensor, net(batch)[1][0])

    sides = {"fused": ours, "torch": padded}
    return sides | ({"torch packed": packed} if case.has_lengths else {})


def milliseconds(side: Callable[[], Tensor], grad: Tensor, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        torch.autograd.backward(side(), grad)
    return (time.perf_counter() - begin) * 1e3 / calls


def time_case(case: Case, rounds: int, flushes: bool) -> list[Timing]:
    sides = make_sides(case)
    grad = torch.randn(case.batch, HIDDEN, generator=torch.Generator().manual_seed(3))
    seen: dict[str, list[float]] = {name: [] for name in sides}
    torch.set_flush_denormal(flushes)
    for _ in range(rounds + 1):
        for name, side in sides.items():
            seen[name].append(milliseconds(side, grad, case.calls))
    torch.set_flush_denormal(False)
    best = {name: min(times[1:]) for name, times in seen.items()}
    median = {name: statistics.median(times[1:]) for name, times in seen.items()}
    note = ", subnormals flushed" if flushes else ""
    return [
        Timing(
            case=case.name,
            against=name + note,
            target=case.target,
            fused_best=best["fused"],
            fused_median=median["fused"],
            torch_best=best[name],
            torch_median=median[name],
        )
        for name in sides
        if name != "fused"
    ]


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
    weights = fused.NetWeights(*(parameter.detach() for parameter in parameters))
    fused.sgd_updates(features, targets, weights=weights, learning_rate=1e-3, clip=10)


def time_updates(num_updates: int, rounds: int) -> Timing:
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
    return Timing(
        case="whole updates, T=150, batch 1",
        against="torch, subnormals flushed",
        target=15,
        fused_best=min(seen["fused"]),
        fused_median=statistics.median(seen["fused"]),
        torch_best=min(seen["torch"]),
        torch_median=statistics.median(seen["torch"]),
    )


def processor() -> str:
    """Its name, or what the platform knows where Linux does not say."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def print_table(timings: list[Timing]) -> None:
    print(f"{'forward + backward, ms: best (median)':62}{'fused':>16}{'torch':>18}  ratio  target")
    for t in timings:
        ours = f"{t.fused_best:.3f} ({t.fused_median:.3f})"
        theirs = f"{t.torch_best:.2f} ({t.torch_median:.2f})"
        met = "met" if t.ratio >= t.target else "MISSED"
        print(
            f"{t.case + ' / ' + t.against:62}{ours:>16}{theirs:>18} {t.ratio:5.1f}x"
            f" ({t.ratio_of_medians:.1f}x)  {t.target:g}x {met}"
        )


def draw(timings: list[Timing], path: Path) -> None:
    """Times torch's speed, one bar a row, with the target as a mark."""
    from matplotlib.figure import Figure  # noqa: PLC0415  only the picture needs it

    figure = Figure(figsize=(9, 0.5 * len(timings) + 1.5), layout="constrained")
    axes = figure.subplots()
    rows = range(len(timings))
    axes.barh(rows, [t.ratio for t in timings], color="#4477aa")
    axes.plot([t.target for t in timings], rows, "k|", markersize=16, label="target")
    axes.set_yticks(rows, [f"{t.case}\n{t.against}" for t in timings], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("times the speed of torch, one thread")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds of each: seconds")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder of the results")
    choices = parser.parse_args()
    if (reason := fused.unavailable_reason()) is not None:
        raise SystemExit(reason)
    torch.set_num_threads(1)
    machine = {"processor": processor(), "isa": fused.isa(), "torch": torch.__version__}
    machine |= {"python": platform.python_version(), "system": platform.platform()}
    print(*(f"{key}: {value}" for key, value in machine.items()), sep="\n")
    timings = [
        timing
        for case in CASES
        for flushes in (False, True)
        for timing in time_case(case, 3 if choices.quick else case.rounds, flushes)
    ]
    timings.append(time_updates(*((50, 2) if choices.quick else (500, 5))))
    print_table(timings)
    choices.out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(t) | {"ratio": t.ratio} for t in timings]
    report = json.dumps({"machine": machine, "timings": rows}, indent=2)
    (choices.out / "kernel.json").write_text(report + "\n")
    draw(timings, choices.out / "kernel.png")


if __name__ == "__main__":
    main()
