"""The copying problem: which symbols were seen, in order, after a long wait?

The recall task of Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio 2016,
"Unitary evolution recurrent neural networks", section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.sequences import SequenceBatch
from pipeline.tasks.draws import DRAWS, draw_bits, to_whole
from pipeline.tasks.numbered import NumberedTask
from pipeline.tasks.options import CopyingOptions
from pipeline.tasks.task import CLASSIFICATION, NOT_SCORED, Origin

NUM_SYMBOLS = 8
NUM_RECALLED = 10
BLANK, DELIMITER = NUM_SYMBOLS, NUM_SYMBOLS + 1
_ORIGIN = Origin(sequences={"draws": DRAWS, "layout": 1})


def copying_task(options: CopyingOptions) -> NumberedTask:
    """Sequences (T + 20, 10), T = `length`, one-hot: 10 symbols, T blank steps, 10 to answer.

    The last of the T steps holds the delimiter: recall now. Each symbol is one of 8. Targets
    (T + 20,): the symbols at the last 10 steps, NOT_SCORED before.

    Unlike in the paper the blanks are not scored, and no answer is one: a net without memory is
    right in 1 of 8.
    """
    return NumberedTask(
        kind=CLASSIFICATION,
        labels=tuple(str(symbol) for symbol in range(NUM_SYMBOLS)),
        input_size=NUM_SYMBOLS + 2,
        num_outputs=NUM_SYMBOLS,
        sizes=options.sizes,
        make=lambda part: CopyingSet(
            part, num=options.sizes[part], length=options.length, seed=options.seed
        ),
        origin=_ORIGIN,
    )


class CopyingSet:
    """One part of the sequences, computed when they are asked for: a SequenceSet."""

    is_in_memory = True  # no disk is read

    def __init__(self, part: str, *, num: int, length: int, seed: int) -> None:
        self._part = part
        self._seed = seed
        self.lengths = torch.full((num,), length + 2 * NUM_RECALLED)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        rows = np.asarray(indices, dtype=np.int64)
        assert ((rows >= 0) & (rows < len(self))).all()
        bits = draw_bits(self._seed, indices, width=NUM_RECALLED, stream=self._part)
        symbols = torch.from_numpy(to_whole(bits, NUM_SYMBOLS))  # (B, 10)
        lengths = self.lengths[indices]
        inputs = torch.full((len(rows), int(lengths[0])), BLANK)
        inputs[:, :NUM_RECALLED] = symbols
        inputs[:, -NUM_RECALLED - 1] = DELIMITER
        targets = torch.full_like(inputs, NOT_SCORED)
        targets[:, -NUM_RECALLED:] = symbols
        features = F.one_hot(inputs, NUM_SYMBOLS + 2).float()
        return SequenceBatch(features, lengths, targets, torch.from_numpy(rows))
