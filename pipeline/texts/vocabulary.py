"""The tokens that a net knows, most frequent first, and how often a text has each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.seals import BLANK, check_seal, seal
from pipeline.texts.reading import Piece

UNITS = ("word", "character")
VOCABULARY = "vocabulary.txt"
"""The file in which a run keeps it."""
UNKNOWN, END = "<unk>", "<eos>"
UNKNOWN_NUMBER, END_NUMBER = 0, 1
_FORMAT = "vocabulary 1"
_LAST_CHARACTER = 0x10FFFF


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """`tokens` by their numbers, and how often each was in the text that it was counted in.

    Number 0 is UNKNOWN, which stands for all tokens that are not listed, number 1 END, a line's
    end; then the most frequent first, of equals the first in the alphabet.
    """

    unit: str
    tokens: tuple[str, ...]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def text(self) -> str:
        """What the file holds: a line for each token, its count and itself."""
        head = f"{_FORMAT} {self.unit} {BLANK}"
        lines = (f"{count} {token}" for count, token in zip(self.counts, self.tokens, strict=True))
        return seal("\n".join([head, *lines]) + "\n")

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name its tokens and their counts."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()

    def number(self, piece: Piece) -> NDArray[np.int32]:
        """The tokens of a piece of text by their numbers, its lines' ends among them."""
        if self.unit == "character":
            return self._number_of_character[_list_characters(piece)]
        words = _list_words(piece)
        found = map(self._number_of_word.__getitem__, words)
        return np.fromiter(found, dtype=np.int32, count=len(words))

    @cached_property
    def _number_of_word(self) -> dict[bytes, int]:
        return _Numbers((token.encode(), number) for number, token in enumerate(self.tokens))

    @cached_property
    def _number_of_character(self) -> NDArray[np.int32]:
        numbers = np.full(_LAST_CHARACTER + 1, UNKNOWN_NUMBER, np.int32)
        numbers[ord("\n")] = END_NUMBER
        for number, token in enumerate(self.tokens[2:], start=2):
            numbers[ord(token)] = number
        return numbers


class _Numbers(dict[bytes, int]):
    def __missing__(self, word: bytes) -> int:
        return UNKNOWN_NUMBER


def _list_words(piece: Piece) -> list[bytes]:
    return piece.text.replace(b"\n", f" {END} ".encode()).split()


def _list_characters(piece: Piece) -> NDArray[np.uint32]:
    return np.frombuffer(piece.text.decode().encode("utf-32-le"), dtype=np.uint32)


def count_tokens(pieces: Iterable[Piece], unit: str, *, size: int) -> Vocabulary:
    """The `size` most frequent tokens of a text, UNKNOWN and END counted with them.

    All of them where there are no more. Memory grows with the number of unlike words alone.
    """
    counts = (_count_words if unit == "word" else _count_characters)(pieces)
    ends, unknown = counts.pop(END, 0), counts.pop(UNKNOWN, 0)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = ordered[: max(size - 2, 0)]
    unknown += sum(count for _, count in ordered[len(kept) :])
    return Vocabulary(
        unit,
        (UNKNOWN, END, *(token for token, _ in kept)),
        np.array([unknown, ends, *(count for _, count in kept)], dtype=np.int64),
    )


def _count_words(pieces: Iterable[Piece]) -> Counter[str]:
    counts: Counter[bytes] = Counter()
    for piece in pieces:
        counts.update(_list_words(piece))
    return Counter({word.decode(): count for word, count in counts.items()})


def _count_characters(pieces: Iterable[Piece]) -> Counter[str]:
    counts = np.zeros(_LAST_CHARACTER + 1, np.int64)
    for piece in pieces:
        found = np.bincount(_list_characters(piece))
        counts[: len(found)] += found
    present = np.flatnonzero(counts)
    names = {ord("\n"): END}
    return Counter({names.get(code, chr(code)): int(counts[code]) for code in present.tolist()})


def read_vocabulary(text: str) -> Vocabulary:
    """The vocabulary that `Vocabulary.text` gave; ValueError for anything else."""
    check_seal(text)
    head, *lines = text.removesuffix("\n").split("\n")
    if not head.startswith(f"{_FORMAT} "):
        raise ValueError(f"expected the format {_FORMAT!r}, found {head[:20]!r}")
    unit = head.removeprefix(f"{_FORMAT} ").split(" ")[0]
    return Vocabulary(unit, *_split(lines))


def _split(lines: Iterable[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    pairs: Iterator[tuple[str, str, str]] = (line.partition(" ") for line in lines)
    counts, _, tokens = zip(*pairs, strict=True)
    return tokens, np.array(counts).astype(np.int64)
