"""Does a net see time at all? Each clip forwards and backwards, to be told apart.

Wei, Lim, Zisserman & Freeman 2018, "Learning and using the arrow of time".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.memory import RecycledMemory
from pipeline.sequences import SequenceBatch, SequenceSet, reorder_steps
from pipeline.tasks.clips import ClipsTask
from pipeline.tasks.options import ClipsOptions
from pipeline.tasks.task import CLASSIFICATION, Origin, PartUse

_BACKWARDS = "backwards"
DIRECTIONS = (_BACKWARDS, "forwards")


class ArrowTask:
    """Every clip of task=clips twice, its features reversed in time and as they are.

    Both lie in the part of the clip and have its source. A net that cannot tell the order of the
    frames gives both the same outputs, and so answers exactly one of them rightly, or none.
    """

    kind = CLASSIFICATION
    labels = DIRECTIONS
    num_outputs = len(DIRECTIONS)

    def __init__(self, options: ClipsOptions) -> None:
        self._clips = ClipsTask(options)
        self.input_size = self._clips.input_size

    def sequences(self, part: str) -> SequenceSet:
        return BothDirections(self._clips.sequences(part))

    def use(self, part: str) -> PartUse:
        use = self._clips.use(part)
        return PartUse(
            num_listed=len(DIRECTIONS) * use.num_listed,
            used=_name_both(use.used),
            missing=_name_both(use.missing),
            truncated=_name_both(use.truncated),
            damaged=_name_both(use.damaged),
        )

    def sources(self, part: str) -> Sequence[str]:
        return [source for source in self._clips.sources(part) for _ in DIRECTIONS]

    @property
    def origin(self) -> Origin:
        return self._clips.origin

    def places(self) -> Mapping[str, tuple[Path, str]]:
        return self._clips.places()

    def kept(self) -> Mapping[str, str]:
        return {}


def find_clip(sequence_id: str) -> tuple[str, bool]:
    """The clip that a sequence of the task is of, and whether it is the one backwards."""
    clip_id, _, direction = sequence_id.rpartition(" ")
    return (clip_id, direction == _BACKWARDS) if direction in DIRECTIONS else (sequence_id, False)


def _name_both(clip_ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{clip_id} {direction}" for clip_id in clip_ids for direction in DIRECTIONS)


class BothDirections:
    """Of N sequences 2N: each in both DIRECTIONS, one after the other. A SequenceSet."""

    def __init__(self, sequences: SequenceSet) -> None:
        self.is_in_memory = sequences.is_in_memory
        self.lengths = sequences.lengths.repeat_interleave(len(DIRECTIONS))
        self._sequences = sequences
        self._memory = RecycledMemory()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        places: Tensor = torch.tensor(indices)
        targets = places % len(DIRECTIONS)
        batch = self._sequences[(places // len(DIRECTIONS)).tolist()]
        orders = [
            range(length - 1, -1, -1) if DIRECTIONS[target] == _BACKWARDS else range(length)
            for length, target in zip(batch.lengths.tolist(), targets.tolist(), strict=True)
        ]
        found = reorder_steps(batch, orders, memory=self._memory)
        return replace(found, targets=targets, indices=places)
