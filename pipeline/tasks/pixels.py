"""Images as sequences: one pixel a step, in scanline order or any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.sequences import SequenceBatch

DIGITS = tuple("0123456789")


class PixelSet:
    """Images (N, P) of whole numbers and their classes (N,): a SequenceSet.

    A sequence is (P, 1), its step t pixel `order[t]` of the image, divided by `unit`.
    """

    is_in_memory = True

    def __init__(
        self,
        images: NDArray[np.uint8],
        classes: NDArray[np.int64],
        *,
        unit: int,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        assert len(images) == len(classes)
        self._images = images if order is None else images[:, order]
        self._classes = torch.from_numpy(classes)
        self._unit = unit
        self.lengths = torch.full((len(images),), images.shape[1])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        places = torch.tensor(indices)
        pixels = torch.from_numpy(self._images[places.numpy()]).float() / self._unit
        return SequenceBatch(
            pixels[:, :, None], self.lengths[places], self._classes[places], places
        )
