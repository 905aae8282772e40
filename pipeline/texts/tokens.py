"""A text as token numbers: in memory, or of a large text in a file that is mapped into it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.files import replacing, saying_need, write_text
from pipeline.seals import dump_sealed, load_sealed
from pipeline.texts.parts import Stretch
from pipeline.texts.reading import read_pieces
from pipeline.texts.vocabulary import END_NUMBER, UNKNOWN_NUMBER, Vocabulary

MOST_BYTES_IN_MEMORY = 64 << 20
"""Of the files of a text, beyond which its numbers are kept on disk."""
_FORMAT = 1
_ABOUT_LINES = 1 << 22


@dataclass(frozen=True)
class _Counts:
    num_tokens: int
    num_unknown: int
    num_empty: int


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text by the numbers (N,) int32 of its tokens, each line ended by the number 1.

    `num_unknown` of them are UNKNOWN; `num_empty` lines of the text were empty and are left out.
    """

    numbers: NDArray[np.int32]
    num_unknown: int
    num_empty: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def is_in_memory(self) -> bool:
        return not isinstance(self.numbers, np.memmap)

    def find_ends(self) -> NDArray[np.int64]:
        """The places of the lines' ends, which are read a few million numbers at a time."""
        found = [
            start + np.flatnonzero(self.numbers[start : start + _ABOUT_LINES] == END_NUMBER)
            for start in range(0, len(self), _ABOUT_LINES)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.int64)


def number_text(stretch: Stretch, vocabulary: Vocabulary, *, folder: Path) -> Tokens:
    """The tokens of a text. Those of a large one are kept in `folder`, and read from there.

    What is kept is told by the digests of text and vocabulary, written whole or not at all.
    """
    if sum(path.stat().st_size for path in stretch.files) <= MOST_BYTES_IN_MEMORY:
        return _number_in_memory(stretch, vocabulary)
    told = f"{_FORMAT} {vocabulary.digest} {stretch.digest()}"
    name = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
    kept = folder / f"{name}.tokens"
    about = kept.with_suffix(".json")
    counts = _read_counts(kept, about)
    if counts is None:
        counts = _write_numbers(kept, stretch, vocabulary)
        write_text(about, dump_sealed(asdict(counts)))
    numbers = np.memmap(kept, dtype=np.int32, mode="r")
    return Tokens(numbers, counts.num_unknown, counts.num_empty)


def _number_in_memory(stretch: Stretch, vocabulary: Vocabulary) -> Tokens:
    pieces = list(_number_pieces(stretch, vocabulary))
    numbers = np.concatenate([n for n, _ in pieces]) if pieces else np.zeros(0, np.int32)
    num_unknown = int((numbers == UNKNOWN_NUMBER).sum())
    return Tokens(numbers, num_unknown, sum(num for _, num in pieces))


def _number_pieces(
    stretch: Stretch, vocabulary: Vocabulary
) -> Iterator[tuple[NDArray[np.int32], int]]:
    for piece in read_pieces(stretch):
        yield vocabulary.number(piece), piece.num_empty


def _read_counts(kept: Path, about: Path) -> _Counts | None:
    """What is told of kept numbers; None where they are not there, or not whole."""
    try:
        counts = _Counts(**load_sealed(about.read_text(encoding="utf-8")))
        is_whole = kept.stat().st_size == 4 * counts.num_tokens
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return counts if is_whole else None


def _write_numbers(kept: Path, stretch: Stretch, vocabulary: Vocabulary) -> _Counts:
    kept.parent.mkdir(parents=True, exist_ok=True)
    total = np.zeros(3, np.int64)
    with ExitStack() as stack:
        unfinished = stack.enter_context(replacing(kept))
        stack.enter_context(saying_need(kept, 4 * _bound_tokens(stretch)))
        file: Any = stack.enter_context(unfinished.open("wb"))
        for numbers, num_empty in _number_pieces(stretch, vocabulary):
            file.write(numbers.data)
            num_unknown = int((numbers == UNKNOWN_NUMBER).sum())
            total += (len(numbers), num_unknown, num_empty)
        file.flush()
    return _Counts(*map(int, total))


def _bound_tokens(stretch: Stretch) -> int:
    """About how many words there are, for a message."""
    return sum(path.stat().st_size for path in stretch.files) // 5
