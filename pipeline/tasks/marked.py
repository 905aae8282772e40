"""The addition and multiplication problems: what are two marked numbers of a sequence together?

Hochreiter & Schmidhuber 1997, in the form of Talathi & Vartak 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.sequences import SequenceBatch
from pipeline.tasks.draws import DRAWS, draw_bits, to_unit, to_whole
from pipeline.tasks.numbered import NumberedTask
from pipeline.tasks.options import MarkedOptions
from pipeline.tasks.task import REGRESSION, Origin

COMBINATIONS: dict[str, np.ufunc] = {"sum": np.add, "product": np.multiply}
_ORIGIN = Origin(sequences={"draws": DRAWS, "layout": 1})


def marked_task(combination: str, options: MarkedOptions) -> NumberedTask:
    """Sequences (T, 2), T = `length`: a number in [0, 1) and a mask, 1 at two steps; target (1,).

    `marks="halves"`: one in the first T // 2 steps, one in the rest; "anywhere": any two steps.
    """
    return NumberedTask(
        kind=REGRESSION,
        labels=(),
        input_size=2,
        num_outputs=1,
        sizes=options.sizes,
        make=lambda part: MarkedSet(
            combination, part, num=options.sizes[part], length=options.length,
            marks=options.marks, seed=options.seed,
        ),
        origin=_ORIGIN,
    )  # fmt: skip


class MarkedSet:
    """One part of the sequences, computed when they are asked for: a SequenceSet."""

    is_in_memory = True  # no disk is read

    def __init__(
        self, combination: str, part: str, *, num: int, length: int, marks: str, seed: int
    ) -> None:
        self._combine = COMBINATIONS[combination]
        self._part = part
        self._length = length
        self._marks = marks
        self._seed = seed
        self.lengths = torch.full((num,), length)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        rows = np.asarray(indices, dtype=np.int64)
        assert ((rows >= 0) & (rows < len(self))).all()
        # The numbers, then one draw for each mark.
        bits = draw_bits(self._seed, indices, width=self._length + 2, stream=self._part)
        features = np.zeros((len(rows), self._length, 2), dtype=np.float32)
        features[:, :, 0] = to_unit(bits[:, :-2])
        first, second = place_marks(bits[:, -2:], self._length, marks=self._marks)
        batch = np.arange(len(rows))
        features[batch, first, 1] = 1
        features[batch, second, 1] = 1
        targets = self._combine(features[batch, first, 0], features[batch, second, 0])
        return SequenceBatch(
            torch.from_numpy(features),
            self.lengths[indices],
            torch.from_numpy(targets[:, None]),
            torch.from_numpy(rows),
        )


def place_marks(
    bits: NDArray[np.uint64], length: int, *, marks: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The steps (B,) of both marks, never the same one, from two draws each, (B, 2)."""
    if marks == "halves":
        half = length // 2
        return to_whole(bits[:, 0], half), half + to_whole(bits[:, 1], length - half)
    first, second = to_whole(bits[:, 0], length), to_whole(bits[:, 1], length - 1)
    return first, second + (second >= first)  # skips the first, so that all pairs are as likely
