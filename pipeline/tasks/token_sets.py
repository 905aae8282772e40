"""Texts as sequences of token numbers, each to be followed by the next: sentences, or cuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.sequences import SequenceBatch
from pipeline.tasks.task import NOT_SCORED
from pipeline.texts import Tokens
from pipeline.texts.vocabulary import END_NUMBER, UNKNOWN_NUMBER

_MOST_STEPS = 10_000
"""Of a sentence; a whole text in one line is a stream."""


class StretchSet:
    """Stretches [starts, ends) of a text, whose tokens are predicted one by one: a SequenceSet.

    Of a stretch the inputs are the token before it and all of it but the last, the targets all of
    it. Before a text's first token stands a line's end. `starts` and `ends` are ranges or arrays.
    """

    def __init__(
        self, tokens: Tokens, starts: Sequence[int], ends: Sequence[int], *, is_cut: bool
    ) -> None:
        self._numbers = tokens.numbers
        self._starts = starts
        self._ends = ends
        self.is_cut = is_cut
        self.is_in_memory = tokens.is_in_memory

    @property
    def lengths(self) -> Tensor:
        # Made when asked for: of the cuts of a long text there are tens of millions.
        starts, ends = (np.asarray(bounds, np.int64) for bounds in (self._starts, self._ends))
        return torch.from_numpy(ends.clip(max=len(self._numbers)) - starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        stretches = [self.read(place) for place in indices]
        lengths = torch.tensor([len(found) for found in stretches])
        shape = (len(stretches), int(lengths.max()))
        inputs, targets = np.zeros(shape, np.int32), np.full(shape, NOT_SCORED, np.int64)
        for row, (place, found) in enumerate(zip(indices, stretches, strict=True)):
            start = self._starts[place]
            inputs[row, 0] = self._numbers[start - 1] if start else END_NUMBER
            inputs[row, 1 : len(found)] = found[:-1]
            targets[row, : len(found)] = found
        features = torch.from_numpy(inputs)[:, :, None]  # (B, T, 1)
        return SequenceBatch(
            features, lengths, torch.from_numpy(targets), torch.tensor(indices), is_cut=self.is_cut
        )

    def read(self, place: int) -> NDArray[np.int32]:
        """The tokens of a stretch."""
        found: NDArray[np.int32] = self._numbers[self._starts[place] : self._ends[place]]
        return found

    def count_unknown(self) -> NDArray[np.int64]:
        """(N,) how many tokens of each stretch are UNKNOWN."""
        return np.array(
            [int((self.read(place) == UNKNOWN_NUMBER).sum()) for place in range(len(self))],
            dtype=np.int64,
        )


def cut_text(tokens: Tokens, *, steps: int) -> StretchSet:
    """A text in cuts of `steps` tokens, the last one shorter."""
    starts = range(0, len(tokens), steps)
    return StretchSet(tokens, starts, range(steps, len(tokens) + steps, steps), is_cut=True)


def split_sentences(tokens: Tokens, *, name: str) -> StretchSet:
    """A text in its lines, each with its end; ValueError for one of too many tokens."""
    ends = tokens.find_ends() + 1
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    longest = int((ends - starts).max())
    if longest > _MOST_STEPS:
        raise ValueError(
            f"{name}: expected lines of up to {_MOST_STEPS:,} tokens, found one of {longest:,}.\n"
            f"Pass task.protocol=stream, which reads a text in cuts."
        )
    return StretchSet(tokens, starts, ends, is_cut=False)  # type: ignore[arg-type]
