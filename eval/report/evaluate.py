"""Runs, or files of predictions, to a table, a report page and a report for machines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.predictions.frames import ALL, check_frames
from eval.predictions.linear import answer_linear, has_linear
from eval.predictions.predict import PartReader, find_state, predict
from eval.predictions.predictions import (
    PREDICTIONS,
    Predictions,
    read_predictions,
    write_predictions,
)
from eval.report.frames import Videos, find_videos, list_videos
from eval.report.report import write_report
from eval.scores.card import refresh_card
from eval.scores.notes import find_notes
from eval.scores.pairs import Pairs, check_pairs, format_pairs
from eval.scores.rows import Result, Row, describe_run, make_rows
from eval.scores.tables import format_scores, format_table
from pipeline.choices import check_choice
from pipeline.devices import resolve_device
from pipeline.runs import CARD, CONFIG, Run, load_run

PARTS = ("val", "test")
REPORTS_FOLDER = Path("reports")


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation; `page` is the report."""

    part: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    page: Path
    pairs: Pairs = ()

    @property
    def is_complete(self) -> bool:
        """Whether every run has a score."""
        return all(row.scores for row in self.rows)

    def __str__(self) -> str:
        own = [row for row in self.rows if not row.results[0].is_beside]
        is_single = len(own) == 1 and own[0].scores
        details = [format_scores(own[0]), ""] if is_single else []
        pairs = format_pairs(self.rows, self.pairs)
        details += [pairs, ""] if pairs else []
        return "\n".join([format_table(self.rows), "", *details, *self.notes]).rstrip()


def evaluate_runs(
    folders: Sequence[Path | str],
    part: str = "test",
    *,
    out: Path | str | None = None,
    features: str | None = None,
    frames: str = ALL,
    videos: Path | str | None = None,
    pairs: Pairs = (),
    device: str = "auto",
    batch_size: int = 256,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Score runs on a part of their split, and write predictions.csv, report.json, report.html.

    Each run's predictions go to `<run>/eval/<part>/`, and so does the report of one run; that of
    several goes to `reports/<name>/`. With `out`, everything goes there; without it, the scores go
    on the runs' model cards, too. `features` is a store that
    stands in for the runs' own, `videos` a folder to take pictures from, where it is not the one
    that the store was made from, `pairs` classes to tell apart two by two. `frames` is a key of
    FRAMES; where it is not `all`, the folder is `<run>/eval/<part>-<frames>/`. A run that is
    incomplete or diverged gets a row without a score; one that is damaged raises ValueError. `say`
    takes a line for each step of the work.
    """
    _check_options(part, batch_size)
    resolved = resolve_device(device)
    runs = [load_run(folder) for folder in _drop_repeats(folders)]
    for run in runs:
        check_frames(run, frames)
        check_pairs(pairs, run.config.labels)
    reader, folder = PartReader(part, features, frames), _name_folder(part, frames)
    results = []
    for place, run in enumerate(runs):
        if state := find_state(run):
            results.append(describe_run(run, None, state))
            continue
        say(f"{run.folder}: scoring the {part} part")
        predictions = predict(run, reader, batch_size=batch_size, device=resolved)
        path = _predictions_path(run, folder, out, place if len(runs) > 1 else None)
        write_predictions(path, predictions)
        if out is None and not refresh_card(run):
            say(f"{run.folder / CARD} was changed by hand, and is left without these scores.")
        results.append(describe_run(run, *refuse_not_finite(predictions)))
    results += _answer_beside(runs, reader, say)
    out = Path(out) if out is not None else _default_out(runs, folder)
    shown = find_videos(results, features=features) if videos is None else list_videos(Path(videos))
    return _write(results, part, out=out, videos=shown, pairs=pairs)


def _answer_beside(
    runs: Sequence[Run], reader: PartReader, say: Callable[[str], None]
) -> list[Result]:
    """What linear classifiers answer on the data of these runs, once for all that share them."""
    shown: dict[Path, Result] = {}
    for run in runs:
        if not has_linear(run) or find_state(run):
            continue
        for found in answer_linear(run, reader, say):
            result = Result(found.name, found.path.parent, found.predictions, is_beside=True)
            shown.setdefault(found.path, result)
    return list(shown.values())


def answer_run(run: Run, reader: PartReader, *, batch_size: int, device: str) -> Result:
    """What the run answers on the reader's part, kept in its folder; or why it has no answers."""
    if state := find_state(run):
        return describe_run(run, None, state)
    predictions = predict(run, reader, batch_size=batch_size, device=device)
    folder = run.folder / "eval" / _name_folder(reader.part, reader.frames)
    write_predictions(folder / PREDICTIONS, predictions)
    refresh_card(run)
    return describe_run(run, *refuse_not_finite(predictions))


def evaluate_predictions(
    files: Sequence[Path | str],
    part: str,
    *,
    out: Path | str,
    videos: Path | str | None = None,
    pairs: Pairs = (),
) -> Evaluation:
    """As `evaluate_runs`, from files of predictions: no net is built and no features are read.

    The run a file came from is found where the file lies in its folder; without it, the row has no
    parameters and joins no others.
    """
    check_choice("--part", part, PARTS)
    results = [_describe_file(path, read_predictions(path)) for path in _drop_repeats(files)]
    for result in results:
        if result.predictions is not None:
            check_pairs(pairs, result.predictions.labels)
    shown = find_videos(results) if videos is None else list_videos(Path(videos))
    return _write(results, part, out=Path(out), videos=shown, pairs=pairs)


def _describe_file(path: Path, predictions: Predictions) -> Result:
    folder = path.resolve().parent.parent.parent  # <run>/eval/<folder>/predictions.csv
    if (folder / CONFIG).is_file():
        return describe_run(load_run(folder), *refuse_not_finite(predictions))
    return Result(str(path), path.parent, *refuse_not_finite(predictions))


def _check_options(part: str, batch_size: int) -> None:
    check_choice("--part", part, PARTS)
    if batch_size < 1:
        raise ValueError(f"--batch-size: expected 1 or more, found {batch_size}.")


def _drop_repeats(paths: Sequence[Path | str]) -> list[Path]:
    return list({Path(path).resolve(): Path(path) for path in paths}.values())


def refuse_not_finite(predictions: Predictions) -> tuple[Predictions | None, str]:
    """The predictions, or why they are no answers: a net that diverged in its last step."""
    num = predictions.num_not_finite
    if num:
        return None, f"diverged: {num} of {len(predictions.ids)} answers are NaN or infinite"
    return predictions, ""


def _name_folder(part: str, frames: str) -> str:
    """Never that of the undisturbed frames for others."""
    return part if frames == ALL else f"{part}-{frames}"


def _predictions_path(run: Run, folder: str, out: Path | str | None, place: int | None) -> Path:
    if out is None:
        return run.folder / "eval" / folder / PREDICTIONS
    return Path(out) / (PREDICTIONS if place is None else f"{place:02d}-{PREDICTIONS}")


def _default_out(runs: Sequence[Run], folder: str) -> Path:
    if len(runs) == 1:
        return runs[0].folder / "eval" / folder
    names = "-".join(sorted({run.config.net.name for run in runs}))[:60]
    which = "\n".join(sorted(str(run.folder.resolve()) for run in runs))
    digest = hashlib.blake2b(which.encode(), digest_size=3).hexdigest()
    return REPORTS_FOLDER / f"{names}-{folder}-{digest}"


def _write(
    results: Sequence[Result], part: str, *, out: Path, videos: Videos, pairs: Pairs
) -> Evaluation:
    rows = make_rows(results)
    notes = find_notes(rows, part)
    page = write_report(out, rows, part=part, notes=notes, videos=videos, pairs=pairs)
    return Evaluation(part, rows, notes, page, pairs)
