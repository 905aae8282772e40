"""A cell to a line: train what is missing, score it. What a process of its own does."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eval.predictions.frames import ALL, FRAMES, can_disturb
from eval.predictions.linear import answer_linear, has_linear
from eval.predictions.predict import PartReader
from eval.predictions.predictions import Predictions
from eval.report.evaluate import answer_run
from eval.scores.scores import Score, score, score_floors
from papers.reproduction.cells import Cell
from papers.reproduction.lines import DIVERGED, SCORED, Line
from pipeline.runs import METRICS, Run, find_runs, load_run
from pipeline.tasks import LANGUAGE
from train.fit import train_run

_BATCH_SIZE = 256
_PACKAGE = "np-rnn"


@dataclass(frozen=True)
class Refused:
    """A cell that gave no line, and why."""

    name: str
    reason: str


def carry_out(cell: Cell, *, runs: Path) -> Line | Refused:
    """Train the cell's run in `runs`, where it is not complete, and score it.

    What training says goes to `<runs>/<run>.log`.
    """
    torch.set_num_threads(1)  # the processes beside this one have the other cores
    runs.mkdir(parents=True, exist_ok=True)
    log = runs / f"{cell.config.name}.log"
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            return describe(cell, load_run(train_run(cell.compose(runs))))
        except (ValueError, OSError) as error:
            return Refused(cell.name, str(error))


def describe(cell: Cell, run: Run) -> Line:
    """The line of a run that ended."""
    reader = PartReader("test")
    answers = _answer(run, reader)
    val, test = _score(_answer(run, PartReader("val"))), _score(answers)
    schedule = run.config.schedule.scaled(run.config.budget)
    return Line(
        experiment=cell.trial.name,
        settings=" ".join(cell.trial.settings),
        data=cell.data,
        seed=run.config.seed,
        budget=run.config.budget,
        state=SCORED if test is not None else DIVERGED,
        validation=None if val is None else round(val.estimate.value, 6),
        test=None if test is None else round(test.estimate.value, 6),
        low=None if test is None else round(test.estimate.low, 6),
        high=None if test is None else round(test.estimate.high, 6),
        floor=None if test is None else round(test.floor, 6),
        epochs=schedule.num_epochs,
        seconds=round(run.provenance.train_seconds or 0.0, 1),
        digest=run.config.digest(),
        version=_describe_version(run),
        machine=run.provenance.sessions[-1].processor,
        frames=_score_disturbed(run) if can_disturb(run) and test is not None else (),
        losses=tuple(_read_losses(run)) if cell.data == "MNIST" else (),
        beside=() if answers is None else _score_others(run, answers, reader),
    )


def describe_runs(folder: Path, cells: Sequence[Cell]) -> list[Line]:
    """The lines of those runs below the folder that are of these cells, and ended."""
    by_digest = {cell.config.digest(): cell for cell in cells}
    lines = []
    for path in find_runs(folder):
        run = load_run(path)
        cell = by_digest.get(run.config.digest())
        if cell is not None and (run.is_complete or run.divergence):
            lines.append(describe(cell, run))
    return lines


def _describe_version(run: Run) -> str:
    session = run.provenance.sessions[-1]
    return f"{session.versions.get(_PACKAGE, '')} {session.git_commit[:7]}".strip()


def _score_disturbed(run: Run) -> tuple[tuple[str, float], ...]:
    """The test score on frames out of order, for each way to disturb them."""
    readers = {name: PartReader("test", frames=name) for name in FRAMES if name != ALL}
    found = {name: _score(_answer(run, reader)) for name, reader in readers.items()}
    return tuple((name, round(s.estimate.value, 6)) for name, s in found.items() if s is not None)


def _answer(run: Run, reader: PartReader) -> Predictions | None:
    """The run's answers; None of a run that diverged."""
    return answer_run(run, reader, batch_size=_BATCH_SIZE, device="cpu").predictions


def _score(answers: Predictions | None) -> Score | None:
    """The leading score."""
    return None if answers is None else score([answers])[0]


def _score_others(
    run: Run, answers: Predictions, reader: PartReader
) -> tuple[tuple[str, float], ...]:
    """What counting, or linear classifiers, reach on the test part, beside language and speech."""
    if has_linear(run):
        found = answer_linear(run, reader, say=print)
        return tuple((_NAME_OF[a.num_frames], _round(score([a.predictions])[0])) for a in found)
    if answers.kind != LANGUAGE:
        return ()
    return tuple(
        (name, round(value, 6))
        for name, value in zip(answers.floors, score_floors(answers), strict=True)
    )


_NAME_OF = {1: "linear-1", 11: "linear-11"}


def _round(found: Score) -> float:
    return round(found.estimate.value, 6)


def _read_losses(run: Run) -> list[float]:
    """The validation losses of the epochs."""
    with (run.folder / METRICS).open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return [float(row["val_loss"]) for row in rows if row.get("val_loss")]
