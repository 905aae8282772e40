"""The tables of language models and of speech, whose scores are better the lower they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from papers.book import Experiment, Printed, Trial
from papers.irnn import PRINTED
from papers.reproduction.judge import Found
from papers.reproduction.lines import Line
from papers.reproduction.sections import NO_RUN, Section, Table

_OTHERS = {
    "unigram": "counting words alone",
    "kneser-ney-5": "counting five words in a row (Kneser-Ney)",
    "linear-1": "linear, one frame",
    "linear-11": "linear, 11 frames",
}


def make_words_table(name: str, experiment: Experiment, found: Found) -> Section:
    """A row a net, then what counting reaches; below, what the paper is said to have reached."""
    rows = [_row(_name_layers(trial), found.of(trial), digits=1) for trial in experiment.trials]
    rows += _beside(experiment, found, digits=1)
    table = Table(("net", "validation", "test", "95 % interval"), tuple(rows))
    told = tuple(
        (net.removeprefix("words-"), f"{printed.test:g}")
        for net, printed in PRINTED.items()
        if printed.unit == "perplexity"
    )
    theirs = Table(("the paper's net, on the 1 Billion Word benchmark", "perplexity"), told)
    notes = (
        "The interval is over blocks of the text, or sentences, of all seeds the widest. What the "
        "paper reached is told by others, without a source.",
        *_say_data(experiment, found),
    )
    return Section(name, experiment.title, (), (table, theirs), notes)


def make_frames_table(
    name: str, experiment: Experiment, found: Found, printed: Mapping[Trial, Printed]
) -> Section:
    """A row a net and stack with what the paper is said to have reached, then linear ones."""
    rows = []
    for trial in experiment.trials:
        own = _row(_describe(trial), found.of(trial), digits=3)
        told = printed.get(trial)
        theirs = ("", "") if told is None else (f"{told.validation:.3f}", f"{told.test:.3f}")
        rows.append((*own, *theirs))
    headers = ("net", "development", "test", "95 % interval", "paper, development", "paper, test")
    others = [(*row, "", "") for row in _beside(experiment, found, digits=3)]
    notes = (
        "The interval is over speakers, of all seeds the widest. The paper's numbers are TIMIT's, "
        "told second-hand, with 250 units of an LSTM and 500 of others.",
        *_say_data(experiment, found),
    )
    return Section(name, experiment.title, (), (Table(headers, (*rows, *others)),), notes)


def write_errors(scores: Sequence[float | None], digits: int) -> str:
    """`115.2 (114.9 to 115.5, 2 seeds)`: the mean of the runs that ended, and the range."""
    ended = [score for score in scores if score is not None]
    lost = f", {len(scores) - len(ended)} diverged" if len(ended) < len(scores) else ""
    if not scores:
        return NO_RUN
    if not ended:
        return f"{len(scores)} diverged"
    num = f"{len(ended)} seed{'' if len(ended) == 1 else 's'}{lost}"
    spread = f"{min(ended):.{digits}f} to {max(ended):.{digits}f}, " if len(ended) > 1 else ""
    return f"{np.mean(ended):.{digits}f} ({spread}{num})"


def _row(title: str, lines: Sequence[Line], *, digits: int) -> tuple[str, ...]:
    lows = [line.low for line in lines if line.low is not None]
    highs = [line.high for line in lines if line.high is not None]
    interval = f"{min(lows):.{digits}f} to {max(highs):.{digits}f}" if lows else ""
    val, test = ([getattr(line, part) for line in lines] for part in ("validation", "test"))
    return title, write_errors(val, digits) if lines else "", write_errors(test, digits), interval


def _beside(experiment: Experiment, found: Found, *, digits: int) -> list[tuple[str, ...]]:
    """What others reach on the same test part, and of speech the commonest phone."""
    lines = (line for trial in experiment.trials for line in found.of(trial))
    line = next((line for line in lines if line.beside), None)
    if line is None:
        return []
    rows: list[tuple[str, ...]] = [
        (_OTHERS.get(name, name), "", f"{value:.{digits}f}", "") for name, value in line.beside
    ]
    if "unigram" not in dict(line.beside):
        rows.insert(0, ("always the commonest phone", "", f"{line.floor:.{digits}f}", ""))
    return rows


def _name_layers(trial: Trial) -> str:
    """`irnn, 4 layers`; of one layer the net's name."""
    layers = _told(trial).get("model.layers", "1")
    return trial.net if layers == "1" else f"{trial.net}, {layers} layers"


def _told(trial: Trial) -> dict[str, str]:
    return dict(setting.split("=") for setting in trial.settings)


def _describe(trial: Trial) -> str:
    """`irnn, 5 layers of 200, both directions`."""
    told = _told(trial)
    layers, units = told.get("model.layers", "1"), told["model.hidden_size"]
    stack = f"{layers} layers of {units}" if layers != "1" else f"a layer of {units}"
    both = ", both directions" if "model.bidirectional" in told else ""
    return f"{trial.net}, {stack}{both}"


def _say_data(experiment: Experiment, found: Found) -> tuple[str, ...]:
    data = found.data_of(experiment.trials[0].protocol)
    return (f"Ours is of {data}.",) if data else ()
