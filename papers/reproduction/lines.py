"""The ledger: one line a finished run, in small files that join by being read together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock

from pipeline.files import write_text

SHIPPED = Path(__file__).parent.parent / "results"
"""The lines that come with the program."""
SCORED, DIVERGED = "scored", "diverged"
_BLANK = " "


@dataclass(frozen=True)
class Line:
    """A run that ended: what it was, what came out, where and in how long.

    `python -m train +experiment=<experiment> <settings> budget=<budget> seed=<seed>` runs it again;
    `digest` is its RunConfig's, `data` what its sequences were cut from, "" where the program draws
    them. `validation`, `test` and `floor` (of test) are the task's leading score, None for a run
    that diverged; `low` and `high` the 95 % interval of `test` over what its sequences were cut
    from. `frames` are test scores on frames out of order, by the name of `eval --frames`, of clips
    alone; `losses` those on validation of each epoch, of MNIST alone; `beside` what others reach on
    the same test part, by name: of words counting, of speech linear classifiers.
    """

    experiment: str
    settings: str
    data: str
    seed: int
    budget: float
    state: str
    validation: float | None
    test: float | None
    low: float | None
    high: float | None
    floor: float | None
    epochs: int
    seconds: float
    digest: str
    version: str
    machine: str
    frames: tuple[tuple[str, float], ...] = ()
    losses: tuple[float, ...] = ()
    beside: tuple[tuple[str, float], ...] = ()

    def to_row(self) -> dict[str, str]:
        """What its line of the file holds, by column."""
        row = {name: "" if value is None else str(value) for name, value in asdict(self).items()}
        losses = _BLANK.join(f"{loss:.4g}" for loss in self.losses)
        named = {"frames": _write_named(self.frames), "beside": _write_named(self.beside)}
        return {**row, **named, "losses": losses}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Line:
        """The line that `to_row` wrote; KeyError or ValueError for anything else."""
        texts = {name: row[name] for name in _COLUMNS}

        def read(name: str) -> float | None:
            return float(texts[name]) if texts[name] else None

        seconds, budget = float(texts["seconds"]), float(texts["budget"])
        return cls(
            **{name: texts[name] for name in _TEXTS},
            seed=int(texts["seed"]),
            budget=budget,
            validation=read("validation"),
            test=read("test"),
            low=read("low"),
            high=read("high"),
            floor=read("floor"),
            epochs=int(texts["epochs"]),
            seconds=seconds,
            frames=_read_named(texts["frames"]),
            beside=_read_named(texts["beside"]),
            losses=tuple(map(float, texts["losses"].split())),
        )


def _write_named(scores: Iterable[tuple[str, float]]) -> str:
    return _BLANK.join(f"{name}={score:g}" for name, score in scores)


def _read_named(text: str) -> tuple[tuple[str, float], ...]:
    pairs = (named.partition("=") for named in text.split())
    return tuple((name, float(score)) for name, _, score in pairs)


_COLUMNS = tuple(field.name for field in fields(Line))
_TEXTS = ("experiment", "settings", "data", "state", "digest", "version", "machine")


def read_lines(places: Iterable[Path]) -> tuple[Line, ...]:
    """The lines of these files, or of all *.csv in these folders, one for each run."""
    found: dict[str, Line] = {}
    for place in places:
        for path in sorted(place.glob("*.csv")) if place.is_dir() else [place]:
            for line in _read_file(path):
                found.setdefault(line.digest, line)
    return tuple(found.values())


def _read_file(path: Path) -> list[Line]:
    if not path.is_file():
        raise ValueError(f"{path}: expected a file or folder of results, found nothing there.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) not in (_COLUMNS, _COLUMNS[:-1]):  # the first had no last
            raise ValueError(
                f"{path}: expected the columns {','.join(_COLUMNS)}, found "
                f"{','.join(reader.fieldnames or ()) or 'none'}."
            )
        try:
            return [Line.from_row({"beside": "", **row}) for row in reader]
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}, line {reader.line_num} is damaged: {error}") from error


def add_lines(folder: Path, lines: Sequence[Line]) -> int:
    """Add those lines that are new, each to its experiment's file in `folder`; their number.

    Whatever stops this, every file is as before or has all of its new lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num = 0
    with FileLock(folder / ".lock"):
        known = {line.digest for line in read_lines([folder])}
        new = [line for line in lines if line.digest not in known]
        for name in sorted({_file_of(line) for line in new}):
            path = folder / name
            before = _read_file(path) if path.is_file() else []
            own = [line for line in new if _file_of(line) == name]
            write_text(path, _write(sorted([*before, *own], key=_order)))
            num += len(own)
    return num


def _file_of(line: Line) -> str:
    """`addition.csv`: what stands before the first dash names the task."""
    return f"{line.experiment.split('-')[0]}.csv"


def _order(line: Line) -> tuple[object, ...]:
    number = line.experiment.rpartition("-")[2]
    length = int(number) if number.isdecimal() else 0
    return line.data, line.budget, length, line.experiment, line.settings, line.seed, line.digest


def _write(lines: Sequence[Line]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(line.to_row() for line in lines)
    return stream.getvalue()
