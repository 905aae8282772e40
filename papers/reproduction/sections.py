"""The figures and tables of a paper with ours beside them: a picture and the numbers below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval.dynamics.dynamics import draw_portraits
from eval.dynamics.pictures import draw_portraits as draw_portrait_picture
from eval.pages.charts import draw_bars, draw_losses
from eval.report.pictures import draw_heat_map
from papers.book import Experiment, Reading, Trial
from papers.np_rnn.claims import NEAR_BEST, find_best, find_tested, measure_breadth
from papers.np_rnn.protocols import PRINTED, TABLE_3
from papers.np_rnn.trials import DROPOUTS, LEARNING_RATES, grid_trial, grid_trials
from papers.reproduction.judge import Found, FoundScores
from papers.reproduction.lines import DIVERGED, Line
from pipeline.recurrent.classifier import build_net, num_parameters
from pipeline.recurrent.spec import NetSpec, multiply_adds_per_step

_NO_RUN = "not run yet"
_COOLED_AFTER = (33, 66)
# What the best constant answer gets: for sums 1, which is 1 - 0.96² of them; for products 0.04; for
# digits the class with the most test images.
FLOORS = {"addition": 0.0784, "multiplication": 0.282, "mnist": 0.1135, "permuted-mnist": 0.1135}
_FEATURES, _CLASSES = 1024, 101
_ORDERS = ("shuffled", "reversed", "first-half")


@dataclass(frozen=True)
class Table:
    """Cells as they are printed; the first column names the rows."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A figure or table: what it is, what draws its pictures as SVG, the numbers, remarks."""

    name: str
    title: str
    pictures: tuple[Callable[[], str], ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def write_seeds(lines: Sequence[Line]) -> str:
    """`0.643 (0.57 to 0.70, 3 seeds)`: the mean of the test scores, and the range."""
    if not lines:
        return _NO_RUN
    scores = [line.test or 0.0 for line in lines]
    diverged = sum(line.state == DIVERGED for line in lines)
    lost = f", {diverged} diverged" if diverged else ""
    if len(lines) == 1:
        return f"{scores[0]:.3f} (1 seed{lost})"
    spread = f"{min(scores):.3f} to {max(scores):.3f}"
    return f"{np.mean(scores):.3f} ({spread}, {len(lines)} seeds{lost})"


def make_bars(
    name: str, experiment: Experiment, found: Found, readings: Mapping[str, Reading]
) -> Section:
    """Bars of nets over lengths, under the default reading and every other that has a line."""
    nets = list(dict.fromkeys(trial.net for trial in experiment.trials))
    lengths = list(dict.fromkeys(trial.number for trial in experiment.trials))
    by_place = {(trial.net, trial.number): trial for trial in experiment.trials}
    scores = FoundScores(found)
    bars = {
        net: {
            f"T = {T}": tuple(scores.test(by_place[net, T]).values())
            for T in lengths
            if (net, T) in by_place
        }
        for net in nets
    }
    task = experiment.trials[0].protocol
    floor = FLOORS[task]
    picture = partial(draw_bars, bars, name, floor=floor, axes_name="share within 0.04")
    rows = []
    for reading in (None, *readings.values()):
        for net in nets:
            cells = [
                found.of(trial if reading is None else reading.apply(trial))
                if (trial := by_place.get((net, T)))
                else ()
                for T in lengths
            ]
            is_other = reading is not None and any(
                reading.apply(by_place[net, T]) != by_place[net, T]
                for T in lengths
                if (net, T) in by_place
            )
            if reading is None or (is_other and any(cells)):
                title = net if reading is None else f"{net}, if {reading.title}"
                rows.append((title, *(write_seeds(lines) for lines in cells)))
    headers = ("net", *(f"T = {T}" for T in lengths))
    note = (
        f"The dashed line is the floor, the best constant answer: {floor:.3f}. The paper draws "
        f"bars and prints no numbers."
    )
    return Section(name, experiment.title, (picture,), (Table(headers, tuple(rows)),), (note,))


def make_portraits() -> Section:
    """Figure 2: two units under each kind of eigenvalues."""
    note = (
        "Computed, not drawn: 40 steps of h = max(0, W h) from 25 starts for each pair of "
        "eigenvalues. What `eval dynamics` says of a run shows its spectrum, gradients and "
        "sensitivity."
    )
    return Section(
        "figure-2",
        "Phase portraits of two ReLU units by their eigenvalues",
        (lambda: draw_portrait_picture(draw_portraits(), "figure-2"),),
        (),
        (note,),
    )


def make_losses(name: str, experiment: Experiment, found: Found) -> Section:
    """Figure 5: the validation loss by epoch of each seed."""
    losses = {
        trial.net: [line.losses for line in found.of(trial) if line.losses]
        for trial in experiment.trials
    }
    picture = partial(draw_losses, losses, name, marks=_COOLED_AFTER, axes_name="validation loss")
    note = (
        "Dotted: np-RNN's learning rate is cooled. The paper draws the loss on test data; ours is "
        "that of 5,000 training images held out for validation."
    )
    return Section(name, experiment.title, (picture,), (), (note,))


def make_mnist_table(
    name: str, experiment: Experiment, found: Found, readings: Mapping[str, Reading]
) -> Section:
    """Table 2, with a column for what the paper prints."""
    rows = []
    for trial in experiment.trials:
        printed = PRINTED.get(trial.name) if not trial.settings else None
        told = "" if printed is None or printed.test is None else f"{printed.test:.3f}"
        rows.append((_describe(trial), told, write_seeds(found.of(trial))))
        for reading in readings.values():
            other = reading.apply(trial)
            if other != trial and (lines := found.of(other)):
                rows.append((f"{_describe(trial)}, if {reading.title}", "", write_seeds(lines)))
    table = Table(("net, epochs", "paper", "ours, test accuracy"), tuple(rows))
    return Section(name, experiment.title, (), (table,), (f"Floor: {FLOORS['mnist']}.",))


def _describe(trial: Trial) -> str:
    settings = [s for s in trial.settings if not s.startswith("model=")]
    return ", ".join([trial.net, *([f"{trial.number} epochs"] if trial.number else []), *settings])


def make_search(name: str, experiment: Experiment, found: Found) -> Section:
    """Every setting of a search that was run, the best on validation first."""
    scores = FoundScores(found)
    means = {
        trial: float(np.mean(list(known.values())))
        for trial in experiment.trials
        if (known := scores.validation(trial))
    }
    rows = tuple(
        (
            " ".join(trial.settings) or "as in the protocol",
            f"{means[trial]:.3f}",
            write_seeds(found.of(trial)),
        )
        for trial in sorted(means, key=lambda trial: -means[trial])
    )
    note = (
        f"{len(rows)} of {len(experiment.trials)} settings were run, at {experiment.budget:g} of "
        f"the training, cooled in the same proportions."
    )
    table = Table(("settings", "validation", "test"), rows)
    return Section(name, experiment.title, (), (table,), (note,))


def make_order(name: str, experiment: Experiment, found: Found) -> Section:
    """A row a net: its test score, and those on frames out of order."""
    rows = []
    for trial in experiment.trials:
        lines = found.of(trial)
        bounds = [(line.low, line.high) for line in lines if line.low is not None]
        interval = (
            f"{min(low for low, _ in bounds):.3f} to {max(high or 0 for _, high in bounds):.3f}"
            if bounds
            else ""
        )
        orders = {name: [dict(line.frames).get(name) for line in lines] for name in _ORDERS}
        known = {name: [s for s in scores if s is not None] for name, scores in orders.items()}
        means = (f"{np.mean(scores):.3f}" if scores else "" for scores in known.values())
        note = "" if trial.net in TABLE_3 else "not in the paper"
        rows.append((trial.net, write_seeds(lines), interval, *means, note))
    headers = ("net", "test accuracy", "interval over groups", *_ORDERS, "")
    notes = (
        "The interval reaches from the lowest to the highest end of the seeds' 95 % intervals over "
        "groups of clips. A net that does not use the order loses nothing on shuffled frames; to "
        "tell clips forwards from backwards without it is to guess: one half.",
        *_say_clips(found),
    )
    return Section(name, experiment.title, (), (Table(headers, tuple(rows)),), notes)


def make_ucf101_table(name: str, experiment: Experiment, found: Found) -> Section:
    """Table 3: the setting that is best on validation, and its scores."""
    scores = FoundScores(found)
    rows = []
    for net, printed in TABLE_3.items():
        tested = find_tested(scores, net)
        best = {seed: find_best(scores, net, seed) for seed in tested}
        chosen = [", ".join(t.settings) for t in best.values() if t is not None]
        val = [scores.validation(t)[seed] for seed, t in best.items() if t is not None]
        rows.append(
            (
                net,
                "; ".join(dict.fromkeys(chosen)) or _NO_RUN,
                f"{np.mean(val):.3f}" if val else "",
                f"{np.mean(list(tested.values())):.3f}" if tested else "",
                str(len(tested)),
                f"lr {printed.learning_rate:g}, dropout {printed.dropout:g}",
                f"{printed.validation:.3f}",
                f"{printed.test:.3f}",
            )
        )
    headers = (
        "net", "best setting", "validation", "test", "seeds", "paper's setting",
        "paper, validation", "paper, test",
    )  # fmt: skip
    return Section(name, experiment.title, (), (Table(headers, tuple(rows)),), _say_clips(found))


def _say_clips(found: Found) -> tuple[str, ...]:
    if not found.clips:
        return ("No features of UCF-101 were at hand.",)
    floors = {line.floor for line in found.lines if line.data == found.clips and line.floor}
    floor = f"; floor {min(floors):.3f}" if floors else ""
    if found.num_classes == _CLASSES:
        return (f"Ours: {found.clips}{floor}.",)
    return (
        f"Ours is about other data than the paper's, whose columns stand here only to be looked "
        f"at: {found.clips}, batches of 16 clips{floor}.",
    )


def make_grids(name: str, experiment: Experiment, found: Found) -> Section:
    """Figure 6: a heat map of each net, and how wide its good region is."""
    scores = FoundScores(found)
    values = {net: _mean_grid(scores, net) for net in TABLE_3}
    finite = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    limits = (0.0, float(finite.max()) if len(finite) else 1.0)
    pictures = tuple(
        partial(
            draw_heat_map, grid, DROPOUTS, LEARNING_RATES, name=f"{name}-{net}",
            title=f"{net}, validation", axes_names=("dropout", "learning rate"), limits=limits,
            chosen=divmod(int(np.nanargmax(grid)), len(LEARNING_RATES)),
        )
        for net, grid in values.items()
        if np.isfinite(grid).any()
    )  # fmt: skip
    rows = []
    for net in TABLE_3:
        breadth = measure_breadth(scores, net)
        known = " ".join(f"{share:.2f}" for share in breadth.values())
        mean = f"{np.mean(list(breadth.values())):.2f}" if breadth else _NO_RUN
        rows.append((net, mean, known))
    table = Table(("net", "good share of the grid", "of each seed"), tuple(rows))
    note = f"Good: validation accuracy within {NEAR_BEST:g} of the net's best."
    return Section(name, experiment.title, pictures, (table,), (note, *_say_clips(found)))


def _mean_grid(scores: FoundScores, net: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(dropouts, learning rates) mean validation scores over seeds, NaN without any."""
    return np.array(
        [
            [
                float(np.mean(list(known.values())))
                if (known := scores.validation(grid_trial(net, lr, dropout)))
                else np.nan
                for lr in LEARNING_RATES
            ]
            for dropout in DROPOUTS
        ]
    )


def make_complexity() -> Section:
    """The complexity claim: exact numbers of each net with the paper's sizes."""
    rows = []
    specs = {net: NetSpec(net, _FEATURES, _CLASSES) for net in ("np-rnn", "lstm")}
    counts = {
        net: (num_parameters(build_net(spec, seed=0)), multiply_adds_per_step(spec))
        for net, spec in specs.items()
    }
    base = counts["np-rnn"]
    for net, (parameters, adds) in counts.items():
        rows.append(
            (
                net,
                f"{parameters:,}",
                f"{parameters / base[0]:.2f}",
                f"{adds:,}",
                f"{adds / base[1]:.2f}",
                f"{4 * parameters / 1e6:.2f} MB",
            )
        )
    headers = (
        "net", "parameters", "over np-rnn's", "multiply-adds a step", "over np-rnn's",
        "float32 weights",
    )  # fmt: skip
    return Section(
        "complexity",
        "The LSTM is four times as complex",
        (),
        (Table(headers, tuple(rows)),),
        (f"{_FEATURES} features, 100 hidden units, {_CLASSES} classes.",),
    )


__all__ = ["Section", "Table", "grid_trials"]
