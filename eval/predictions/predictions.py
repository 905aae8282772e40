"""What a net answered on a part of a split, and the file that keeps it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.predictions.frames import ALL, FRAMES
from pipeline.files import write_text
from pipeline.seals import BLANK, check_seal, is_seal, seal
from pipeline.tasks import CLASSIFICATION, LANGUAGE, REGRESSION, PartUse
from pipeline.tasks.options import UNITS

PREDICTIONS = "predictions.csv"
USED, TRUNCATED, DAMAGED, MISSING = "used", "truncated", "damaged", "missing"
BY_STEP = "classification of steps"
_OUTPUT = "output:"
_OUTPUT_BEFORE = "score:"
"""What the columns of outputs began with in the first files; these stay readable."""
_FRAMES = "frames"
_TARGET = "target:"
_SHARE = "share:"
_BY_STEP_OUTPUTS = ("right", "log-probability")
_RIGHT_OF = "right of "
_NUM_SCORED = "scored"
_UNKNOWN, _LOG_PROBABILITY = "unknown", "log-probability"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a net answered, one row a clip that was used, in the order of `ids`.

    `outputs` (N, C) float32 as the net gives them: of a classification any real numbers, whose
    softmax are the probabilities of the C `labels`. `targets` (N,) int64, the places of the right
    labels; of a regression (`labels` is ()) (N, C) float32. `sources` (N,) name what each clip was
    cut from. `use` says which clips are missing.

    Where many steps of a sequence have a label (`is_by_step`), what is kept of it does not grow
    with its length: `outputs` (N, 2) the share of the labelled steps that were answered rightly and
    the mean log probability of their labels, `targets` (N, C) each label's share of those steps.
    Where sequences count by their steps, `num_scored` (N,) says how many have a label, and for each
    of `folds`, keys of FOLDS by which labels are joined, another column of `outputs` is the share
    right of the steps that it scores.
    `frames` says which frames of each clip were read: a key of FRAMES.

    Of a language, whose tokens are of a `unit`, a row is a stretch of a text: `targets` (N, 2) how
    many tokens it has, and how many of them are unknown; `outputs` (N, 1 + F) the sum of their log
    probabilities as the net gives them, and as each of the `floors` does.
    """

    labels: tuple[str, ...]
    outputs: NDArray[np.float32]
    targets: NDArray[Any]
    sources: tuple[str, ...]
    use: PartUse
    is_by_step: bool = False
    frames: str = ALL
    num_scored: NDArray[np.int64] | None = None
    folds: tuple[str, ...] = ()
    unit: str = ""
    floors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        num = len(self.use.used)
        if not num == len(self.outputs) == len(self.targets) == len(self.sources) or num == 0:
            raise ValueError(
                f"Predictions: expected one target, source and row of outputs for each clip, found "
                f"{num} clips, {len(self.targets)} targets, {len(self.sources)} sources and "
                f"{len(self.outputs)} rows."
            )
        width = len(_name_by_step(self.folds)) if self.is_by_step else len(self.labels)
        if self.labels and self.outputs.shape != (num, width):
            raise ValueError(
                f"Predictions: expected outputs ({num}, {width}), found {self.outputs.shape}: a "
                f"{self.kind} with {len(self.labels)} labels."
            )

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.use.used)

    @property
    def kind(self) -> str:
        if self.unit:
            return LANGUAGE
        if self.is_by_step:
            return BY_STEP
        return CLASSIFICATION if self.labels else REGRESSION

    @property
    def num_not_finite(self) -> int:
        """Clips with an output that is NaN or infinite: a net that diverged."""
        return int((~np.isfinite(self.outputs).all(axis=1)).sum())


def _name_by_step(folds: Sequence[str]) -> tuple[str, ...]:
    return (*_BY_STEP_OUTPUTS, *(f"{_RIGHT_OF}{fold}" for fold in folds))


def is_same_test(first: Predictions, second: Predictions) -> bool:
    """Whether both answer the same clips in the same order, with the same targets and labels."""
    return (
        first.ids == second.ids
        and first.kind == second.kind
        and first.labels == second.labels
        and np.array_equal(first.targets, second.targets)
    )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a CSV file with a row for each listed clip, whole or not at all.

    Columns: `id`; `use`: used, truncated (used, but shorter than its file's header says), damaged
    (used, but some of its frames did not decode cleanly) or missing (the other cells are empty);
    `source`; `target`; and one `output:<label>` for each label. A
    regression has `target:<place>` and `output:<place>`; a classification of steps `share:<label>`,
    `output:right` and `output:log-probability`, with `output:right of <fold>` for each fold; a
    language `target:words` (or characters), `target:unknown`, `output:log-probability` and an
    output for each floor. The numbers read back exactly. A column `frames` follows `source` where
    not all frames were read in their order, and a column `scored` where sequences count by their
    steps. The name of the last column, whose cells are empty, is the file's checksum.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    targets, names = _name_columns(predictions)
    frames = [] if predictions.frames == ALL else [predictions.frames]
    scored = [] if predictions.num_scored is None else [_NUM_SCORED]
    outputs = [f"{_OUTPUT}{name}" for name in names]
    more = [*(_FRAMES for _ in frames), *scored]
    writer.writerow(["id", "use", "source", *more, *targets, *outputs, BLANK])
    condition_of = dict.fromkeys(predictions.use.truncated, TRUNCATED)
    condition_of |= dict.fromkeys(predictions.use.damaged, DAMAGED)
    for place, clip_id in enumerate(predictions.ids):
        use = condition_of.get(clip_id, USED)
        target = predictions.targets[place]
        is_label = predictions.kind == CLASSIFICATION
        cells = [predictions.labels[target]] if is_label else map(_write_number, target)
        numbers = map(_write_number, predictions.outputs[place])
        told = [
            *frames,
            *([] if predictions.num_scored is None else [predictions.num_scored[place]]),
        ]
        writer.writerow([clip_id, use, predictions.sources[place], *told, *cells, *numbers, ""])
    blanks = [""] * (2 + len(more) + len(targets) + len(names))
    writer.writerows([clip_id, MISSING, *blanks] for clip_id in predictions.use.missing)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, seal(text.getvalue()))


def _name_columns(predictions: Predictions) -> tuple[list[str], Sequence[str]]:
    """The columns of the targets, and those of the outputs without their prefix."""
    labels = predictions.labels
    if predictions.kind == CLASSIFICATION:
        return ["target"], labels
    if predictions.kind == BY_STEP:
        return [f"{_SHARE}{label}" for label in labels], _name_by_step(predictions.folds)
    if predictions.kind == LANGUAGE:
        targets = [f"{_TARGET}{predictions.unit}s", f"{_TARGET}{_UNKNOWN}"]
        return targets, (_LOG_PROBABILITY, *predictions.floors)
    names = [str(place) for place in range(predictions.outputs.shape[1])]
    return [f"{_TARGET}{name}" for name in names], names


def _write_number(number: np.float32) -> str:
    return f"{number:.9g}"  # 9 digits give a float32 back


def read_predictions(path: Path) -> Predictions:
    """The predictions in a file of `write_predictions`; ValueError where it is none."""
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of predictions, found no such file.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        check_seal(text)
        if "\0" in text:
            raise ValueError("it holds bytes of zero")
        return _parse(csv.reader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is not a whole file of predictions ({error}).\n"
            f"Make it again: python -m eval --run RUN"
        ) from error


def _parse(lines: Iterator[list[str]]) -> Predictions:
    header = [_name_output(column) for column in next(lines, [])]
    rows = list(lines)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"expected {len(header)} cells, found {len(row)} in {row[:1]}")
    if header and is_seal(header[-1]):
        header, rows = header[:-1], [row[:-1] for row in rows]
    header, rows, frames = _take_frames(header, rows)
    header, rows, num_scored = _take_num_scored(header, rows)
    first_output = next((i for i, name in enumerate(header) if name.startswith(_OUTPUT)), 0)
    if header[:3] != ["id", "use", "source"] or first_output < 4:
        raise ValueError("expected the columns id, use, source, target and outputs")
    labels = _find_labels(header, first_output)
    is_by_step = header[3].startswith(_SHARE)
    ids = [row[0] for row in rows]
    if len(set(ids)) < len(ids):
        raise ValueError("a clip stands in it twice")
    used = [row for row in rows if row[1] != MISSING]
    use = PartUse(
        num_listed=len(ids),
        used=tuple(row[0] for row in used),
        missing=tuple(row[0] for row in rows if row[1] == MISSING),
        truncated=tuple(row[0] for row in used if row[1] == TRUNCATED),
        damaged=tuple(row[0] for row in used if row[1] == DAMAGED),
    )
    targets = [row[3:first_output] for row in used]
    return Predictions(
        labels=labels,
        outputs=np.array([row[first_output:] for row in used]).astype(np.float32),
        targets=_place_labels(targets, labels)
        if header[3] == "target"
        else np.array(targets, np.float32),
        sources=tuple(row[2] for row in used),
        use=use,
        is_by_step=is_by_step,
        frames=frames,
        num_scored=num_scored,
        folds=tuple(
            name.removeprefix(_OUTPUT + _RIGHT_OF)
            for name in header[first_output:]
            if name.startswith(_OUTPUT + _RIGHT_OF)
        )
        if is_by_step
        else (),
        unit=(unit := _find_unit(header[3])),
        floors=tuple(n.removeprefix(_OUTPUT) for n in header[first_output + 1 :]) if unit else (),
    )


def _take_frames(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]], str]:
    """Header and rows without the column `frames`, and what it says: one thing of all clips."""
    if header[3:4] != [_FRAMES]:
        return header, rows, ALL
    found = {row[3] for row in rows if row[1] != MISSING}
    if len(found) != 1 or not found <= set(FRAMES):
        raise ValueError(f"expected one of {', '.join(FRAMES)} as frames, found {sorted(found)}")
    header, *rows = [[*row[:3], *row[4:]] for row in (header, *rows)]
    return header, rows, found.pop()


def _take_num_scored(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]], NDArray[np.int64] | None]:
    """Header and rows without the column `scored`, and what it says of the used sequences."""
    if header[3:4] != [_NUM_SCORED]:
        return header, rows, None
    counts = np.array([int(row[3]) for row in rows if row[1] != MISSING], dtype=np.int64)
    header, *rows = [[*row[:3], *row[4:]] for row in (header, *rows)]
    return header, rows, counts


def _find_unit(column: str) -> str:
    """What the tokens are where the column of targets counts them, or ""."""
    return next((unit for unit in UNITS if column == f"{_TARGET}{unit}s"), "")


def _name_output(column: str) -> str:
    if column.startswith(_OUTPUT_BEFORE):
        return _OUTPUT + column.removeprefix(_OUTPUT_BEFORE)
    return column


def _find_labels(header: Sequence[str], first_output: int) -> tuple[str, ...]:
    if header[3] == "target":
        return tuple(name.removeprefix(_OUTPUT) for name in header[first_output:])
    if header[3].startswith(_SHARE):
        return tuple(name.removeprefix(_SHARE) for name in header[3:first_output])
    return ()


def _place_labels(targets: Sequence[Sequence[str]], labels: Sequence[str]) -> NDArray[np.int64]:
    place_of = {label: place for place, label in enumerate(labels)}
    unknown = {target[0] for target in targets} - set(place_of)
    if unknown:
        raise ValueError(f"no output for the targets {', '.join(sorted(unknown))}")
    return np.array([place_of[target[0]] for target in targets], dtype=np.int64)
