"""The figures and tables of a paper with ours beside them: a picture and the numbers below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval.dynamics.dynamics import draw_portraits
from eval.dynamics.pictures import draw_portraits as draw_portrait_picture
from eval.pages.charts import draw_bars, draw_losses
from papers.book import Experiment, Printed, Reading, Trial
from papers.reproduction.judge import Found, FoundScores
from papers.reproduction.lines import DIVERGED, Line
from pipeline.recurrent.classifier import build_net, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.recurrent.spec import NetSpec
from train.experiments import PROTOCOLS

NO_RUN = "not run yet"
_COOLED_AFTER = (33, 66)
# What the best constant answer gets: for sums 1, which is 1 - 0.96² of them; for products 0.04; for
# digits the class with the most test images.
FLOORS = {"addition": 0.0784, "multiplication": 0.282, "mnist": 0.1135, "permuted-mnist": 0.1135}
_FEATURES, _CLASSES = 1024, 101


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

    @property
    def heading(self) -> str:
        """`Figure 3: <title>`; of what is no figure or table of the paper the title."""
        is_papers = self.name.startswith(("figure-", "table-"))
        number = f"{self.name.replace('-', ' ').capitalize()}: " if is_papers else ""
        return number + self.title


def write_seeds(lines: Sequence[Line]) -> str:
    """`0.643 (0.57 to 0.70, 3 seeds)`: the mean of the test scores, and the range."""
    if not lines:
        return NO_RUN
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
    trials = {net: [t for t in experiment.trials if t.net == net] for net in nets}
    scores = FoundScores(found)
    bars = {
        net: {f"T = {t.number}": tuple(scores.test(t).values()) for t in trials[net]}
        for net in nets
    }
    floor = FLOORS[experiment.trials[0].protocol]
    picture = partial(draw_bars, bars, name, floor=floor, axes_name="share within 0.04")
    rows = [(net, *(write_seeds(found.of(t)) for t in trials[net])) for net in nets]
    for reading in readings.values():
        rows += [
            (f"{net}, {reading.name}", *(write_seeds(found.of(t)) for t in changed))
            for net in nets
            if (changed := _change(trials[net], reading)) and any(map(found.of, changed))
        ]
    headers = ("net", *(f"T = {T}" for T in lengths))
    note = (
        f"The dashed line is the floor, the best constant answer: {floor:.3f}. The paper draws "
        f"bars and prints no numbers."
    )
    return Section(name, experiment.title, (picture,), (Table(headers, tuple(rows)),), (note,))


def _change(trials: Sequence[Trial], reading: Reading) -> list[Trial]:
    """The trials under the reading, [] if it changes none of them."""
    changed = [reading.apply(trial) for trial in trials]
    return [] if changed == list(trials) else changed


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
    name: str,
    experiment: Experiment,
    found: Found,
    *,
    readings: Mapping[str, Reading],
    printed: Mapping[Trial, Printed],
) -> Section:
    """Table 2: a row a net and way of training, with what the paper prints after so many epochs."""
    numbers = list(dict.fromkeys(trial.number for trial in experiment.trials))
    rows: dict[tuple[str, ...], dict[int | None, Trial]] = {}
    for trial in experiment.trials:
        rows.setdefault((trial.net, _name_method(trial)), {})[trial.number] = trial
    cells = [
        (*title, *_fill(trials, numbers, found, printed=printed))
        for title, trials in _read_rows(rows, found, readings)
    ]
    headers = [f"{whose}, {n} epochs" if n else whose for n in numbers for whose in _WHOSE]
    table = Table(("RNN type", "training method", *headers), tuple(cells))
    return Section(name, experiment.title, (), (table,), (f"Floor: {FLOORS['mnist']}.",))


_WHOSE = ("paper", "ours")
_Row = tuple[tuple[str, ...], Mapping[int | None, Trial]]


def _read_rows(
    rows: Mapping[tuple[str, ...], Mapping[int | None, Trial]],
    found: Found,
    readings: Mapping[str, Reading],
) -> Iterator[_Row]:
    """Each row, then the same under every reading that changes it and has a run."""
    for (net, method), trials in rows.items():
        yield (net, method), trials
        for reading in readings.values():
            changed = _change(tuple(trials.values()), reading)
            if any(map(found.of, changed)):
                of_number = dict(zip(trials, changed, strict=True))
                yield (f"{net}, {reading.name}", method), of_number


def _fill(
    trials: Mapping[int | None, Trial],
    numbers: Sequence[int | None],
    found: Found,
    *,
    printed: Mapping[Trial, Printed],
) -> Iterator[str]:
    """For each number of epochs what the paper prints, and ours."""
    for number in numbers:
        trial = trials.get(number)
        if trial is None:
            yield from ("", "")
            continue
        accuracy = printed[trial].accuracy if trial in printed else None
        yield "" if accuracy is None else f"{accuracy:.3f}"
        yield write_seeds(found.of(trial))


def _name_method(trial: Trial) -> str:
    """`sgd, lr 0.0001`, or what the trial sets in its place."""
    told = [s.removeprefix("optimizer") for s in trial.settings if s.startswith("optimizer")]
    own = [s.removeprefix("=").removeprefix(".").replace("=", " ") for s in told]
    protocol = PROTOCOLS[trial.protocol]
    return ", ".join(own) or f"{protocol.optimizer}, lr {protocol.lr:g}"


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
    share = f"at {experiment.budget:g} of the training, cooled in the same proportions"
    how = "in full" if experiment.budget == 1 else share
    note = f"{len(rows)} of {len(experiment.trials)} settings were run, {how}."
    table = Table(("settings", "validation", "test"), rows)
    return Section(name, experiment.title, (), (table,), (note,))


def count_complexity() -> dict[str, tuple[int, int]]:
    """Parameters, and multiply-adds a step, of each net with the paper's sizes."""
    specs = {net: NetSpec(net, _FEATURES, _CLASSES) for net in ("np-rnn", "lstm")}
    return {
        net: (num_parameters(build_net(spec, seed=0)), multiply_adds_per_step(spec))
        for net, spec in specs.items()
    }


def make_complexity() -> Section:
    """The complexity claim: exact numbers of each net with the paper's sizes."""
    rows = []
    counts = count_complexity()
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
