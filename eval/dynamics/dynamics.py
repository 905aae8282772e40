"""How a run's net moves through time, at the start and at the end of its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.dynamics import measures as dyn
from eval.dynamics.unrolling import name_layer
from eval.predictions.predict import PartReader, find_state
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.kept import plain_weights
from pipeline.recurrent.layers import name_layers
from pipeline.runs import Run, load_net
from pipeline.sequences import SequenceBatch

NUM_SEQUENCES = 32
NUM_JACOBIANS = 8
"""Sequences whose Jacobians are decomposed at each step: these cost the most."""
LOOK_BACK = 100
"""Steps back, or on, at which the sentences quote a number, where the sequences are so long."""
START, END = "start", "end"


@dataclass(frozen=True)
class Moment:
    """The dynamics of a layer: `name` is START or END of training, `layer` its name, "" if alone.

    None stands for what is not defined for the net. Norms are those of `pipeline.recurrent.
    dynamics`: of the gradient (K + 1,) and the Jacobian (K + 1,) k steps back, of the state's move
    after a small push at the first step (T,).
    """

    name: str
    eigenvalues: NDArray[np.complex128] | None
    gradient_norms: NDArray[np.float64] | None
    jacobian_norms: NDArray[np.float64] | None
    masked_radius: float | None
    """The mean over sequences of the last step's Jacobian's spectral radius."""
    active_share: NDArray[np.float64] | None
    sensitivity: NDArray[np.float64] | None
    layer: str = ""

    @property
    def title(self) -> str:
        """`start`, or `start, layer 2`."""
        return f"{self.name}, {self.layer}" if self.layer else self.name

    @property
    def when(self) -> str:
        """`start of training`, or `start of training in layer 2`."""
        return f"{self.name} of training" + (f" in {self.layer}" if self.layer else "")


@dataclass(frozen=True)
class Dynamics:
    """The start of a run and, where it has a net, its end: of each layer, one after another."""

    run: Run
    num_sequences: int
    lengths: tuple[int, int]
    """The shortest and the longest sequence."""
    moments: tuple[Moment, ...]
    without_end: str
    """Why there is no end, or ""."""
    undefined: Mapping[str, str]
    """For each number of a Moment that is None, why."""

    @property
    def start(self) -> Moment:
        return self.moments[0]

    @property
    def by_layer(self) -> dict[str, list[Moment]]:
        """The moments of each layer, by its name."""
        found: dict[str, list[Moment]] = {}
        for moment in self.moments:
            found.setdefault(moment.layer, []).append(moment)
        return found


def compute_dynamics(run: Run, *, features: str | None = None) -> Dynamics:
    """The dynamics of a run's net on NUM_SEQUENCES sequences of its validation part.

    The start is built from the run's spec and seed: the weights that training began with. Steps
    back reach as far as half of the sequences do.
    """
    if run.config.net.reads_tokens:
        raise ValueError(
            f"{run.folder}: expected a net that reads numbers, found one that reads numbers of "
            f"tokens (task {run.config.task.name}), of which none lies near another.\n"
            f"Choose another run."
        )
    batch = _read_batch(run, features)
    steps_back = int(batch.lengths.median()) - 1
    state = find_state(run)
    nets = {START: build_net(run.config.net, seed=run.config.seed)}
    if not state:
        nets[END] = load_net(run)
        if not all(torch.isfinite(weights).all() for weights in nets[END].parameters()):
            state = "diverged: its weights are NaN or infinite"
            del nets[END]
    undefined: dict[str, str] = {}
    num_layers = max(1, len(name_layers(nets[START].recurrent)))
    moments = tuple(
        _compute_moment(name, net, batch, place=place, steps_back=steps_back, undefined=undefined)
        for place in range(num_layers)
        for name, net in nets.items()
    )
    lengths = (int(batch.lengths.min()), int(batch.lengths.max()))
    return Dynamics(run, len(batch.lengths), lengths, moments, state, undefined)


def _read_batch(run: Run, features: str | None) -> SequenceBatch:
    """Sequences evenly spaced over the validation part, so that each class has its share."""
    _, sequences = PartReader("val", features).read(run)
    return sequences[spread(len(sequences), NUM_SEQUENCES)]


def spread(total: int, most: int) -> list[int]:
    """At most `most` places in [0, total), evenly spaced from the first to the last."""
    places = np.linspace(0, total - 1, min(most, total)).round()
    return [int(place) for place in places]


def _compute_moment(
    name: str,
    net: SequenceNet,
    batch: SequenceBatch,
    *,
    place: int,
    steps_back: int,
    undefined: dict[str, str],
) -> Moment:
    x, lengths = batch.features, batch.lengths
    some = spread(len(x), NUM_JACOBIANS)
    longest = int(lengths[some].max())

    def compute(what: str, function: Callable[[], Tensor]) -> NDArray[np.float64] | None:
        try:
            found: NDArray[np.float64] = function().detach().numpy()
        except ValueError as error:  # the net has no such thing, and says why
            undefined[what] = str(error)
            return None
        return found

    gradient = compute(
        "gradient_norms",
        lambda: dyn.gradient_norms(net, x, lengths=lengths, steps_back=steps_back, place=place),
    )
    jacobian = compute(
        "jacobian_norms",
        lambda: dyn.jacobian_norms(
            net, x[some], lengths=lengths[some], steps_back=min(steps_back, longest - 1),
            place=place,
        ),
    )  # fmt: skip
    radii = compute(
        "masked_radius", lambda: dyn.jacobian_radii(net, x, lengths=lengths, place=place)
    )
    return Moment(
        name=name,
        eigenvalues=_eigenvalues(net, undefined, place=place),
        gradient_norms=gradient,
        jacobian_norms=jacobian,
        masked_radius=None if radii is None else float(radii.mean()),
        active_share=compute(
            "active_share", lambda: dyn.active_share(net, x, lengths=lengths, place=place)
        ),
        sensitivity=compute(
            "sensitivity", lambda: dyn.sensitivity(net, x, lengths=lengths, place=place)
        ),
        layer=name_layer(net, place),
    )


def _eigenvalues(
    net: SequenceNet, undefined: dict[str, str], *, place: int
) -> NDArray[np.complex128] | None:
    if net.spec.kind.cell != "simple":
        undefined["eigenvalues"] = (
            f"{net.spec.name} has no recurrent layer, so no recurrent matrix"
            if net.recurrent is None
            else f"{net.spec.name} is no simple net: no one matrix carries its state from step to "
            f"step"
        )
        return None
    name = list(name_layers(net.recurrent))[place]
    weight = plain_weights(net)[f"recurrent.{name}weight_hh_l0"]
    found: NDArray[np.complex128] = dyn.spectrum(weight).numpy()
    return found


def draw_portraits(num_steps: int = 40) -> Mapping[str, NDArray[np.float64]]:
    """(num_steps + 1, n, 2) trajectories of a 2-unit ReLU net for each case of figure 2."""
    axis = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    starts = torch.cartesian_prod(axis, axis)
    return {
        case: dyn.phase_portrait(
            dyn.matrix_with_eigenvalues(eigenvalues), starts, num_steps=num_steps
        ).numpy()
        for case, eigenvalues in dyn.PHASE_CASES.items()
    }


def at(values: NDArray[np.float64], place: int) -> float:
    """The value at a place, or the last one where there are fewer; NaN for what is infinite."""
    value = float(values[min(place, len(values) - 1)])
    return value if math.isfinite(value) else math.nan
