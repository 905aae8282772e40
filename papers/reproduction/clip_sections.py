"""The tables and figures of clips: UCF-101's settings, and whether the order of frames is used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eval.report.pictures import draw_heat_map
from papers.book import Experiment, Trial
from papers.np_rnn.claims import NEAR_BEST, find_best, find_tested, measure_breadth
from papers.np_rnn.protocols import TABLE_3
from papers.np_rnn.trials import DROPOUTS, LEARNING_RATES, grid_trial
from papers.reproduction.cells import NUM_CLASSES
from papers.reproduction.judge import Found, FoundScores
from papers.reproduction.lines import Line
from papers.reproduction.sections import NO_RUN, Section, Table, write_seeds

_ORDERS = ("shuffled", "reversed", "first-half")


def make_ucf101_table(name: str, experiment: Experiment, found: Found) -> Section:
    """Table 3: the setting that is best on validation, and its scores."""
    scores = FoundScores(found)
    rows = []
    for net, printed in TABLE_3.items():
        tested = find_tested(scores, net)
        best = {seed: find_best(scores, net, seed) for seed in tested}
        chosen = [_describe(trial) for trial in best.values() if trial is not None]
        val = [scores.validation(t)[seed] for seed, t in best.items() if t is not None]
        rows.append(
            (
                net,
                "; ".join(dict.fromkeys(chosen)) or NO_RUN,
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


def _describe(trial: Trial) -> str:
    """`lr 1e-3, dropout 0.5`."""
    return ", ".join(s.split(".", 1)[1].replace("=", " ") for s in trial.settings)


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
        mean = f"{np.mean(list(breadth.values())):.2f}" if breadth else NO_RUN
        rows.append((net, mean, known))
    table = Table(("net", "good share of the grid", "of each seed"), tuple(rows))
    note = f"Good: validation accuracy within {NEAR_BEST:g} of the net's best."
    return Section(name, experiment.title, pictures, (table,), (note, *_say_clips(found)))


def _mean_grid(scores: FoundScores, net: str) -> NDArray[np.float64]:
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


def make_order(name: str, experiment: Experiment, found: Found) -> Section:
    """A row a trial: its test score, and those on frames out of order."""
    rows = tuple(_describe_order(trial, found.of(trial)) for trial in experiment.trials)
    headers = ("net", "test accuracy", "interval over groups", *_ORDERS, "")
    notes = (
        "The interval reaches from the lowest to the highest end of the seeds' 95 % intervals over "
        "groups of clips. A net that does not use the order loses nothing on shuffled frames; to "
        "tell clips forwards from backwards without it is to guess: one half.",
        *_say_clips(found),
    )
    return Section(name, experiment.title, (), (Table(headers, rows),), notes)


def _describe_order(trial: Trial, lines: Sequence[Line]) -> tuple[str, ...]:
    lows = [line.low for line in lines if line.low is not None]
    highs = [line.high for line in lines if line.high is not None]
    interval = f"{min(lows):.3f} to {max(highs):.3f}" if lows else ""
    disturbed = [dict(line.frames) for line in lines if line.frames]
    means = (
        f"{np.mean([scores[order] for scores in disturbed]):.3f}" if disturbed else ""
        for order in _ORDERS
    )
    task = "" if trial.protocol == "ucf101" else f", {trial.protocol}"
    readout = "".join(s for s in trial.settings if "readout" in s)
    title = trial.net + task + readout.replace("model.readout=", ", reads ")
    note = "" if trial.net in TABLE_3 and not readout else "not in the paper"
    return (title, write_seeds(lines), interval, *means, note)


def _say_clips(found: Found) -> tuple[str, ...]:
    if not found.clips:
        return ("No features of UCF-101 were at hand.",)
    floors = {line.floor for line in found.lines if line.data == found.clips and line.floor}
    floor = f"; floor {min(floors):.3f}" if floors else ""
    if found.num_classes == NUM_CLASSES:
        return (f"Ours: {found.clips}{floor}.",)
    return (
        f"Ours is about other data than the paper's, whose columns stand here only to be looked "
        f"at: {found.clips}, batches of 16 clips{floor}.",
    )
