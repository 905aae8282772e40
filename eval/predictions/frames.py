"""Which frames of each clip a net reads, and in which order: what it loses without the order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.choices import check_choice
from pipeline.memory import RecycledMemory
from pipeline.runs import Run
from pipeline.sequences import SequenceBatch, SequenceSet, reorder_steps
from pipeline.tasks.draws import draw_permutation

ALL = "all"
Order = Callable[[str, int], Sequence[int]]


def _shuffle(name: str, num_steps: int) -> Sequence[int]:
    """An order that the name alone draws: the same in every run, batch and part."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    order: list[int] = draw_permutation(int.from_bytes(digest), num_steps).tolist()
    return order


FRAMES: dict[str, Order] = {
    ALL: lambda name, num_steps: range(num_steps),
    "shuffled": _shuffle,
    "reversed": lambda name, num_steps: range(num_steps - 1, -1, -1),
    "first-half": lambda name, num_steps: range(max(1, num_steps // 2)),
}
"""The steps that are read, of how many, of the sequence with a name."""

NOTES = {
    "shuffled": "Each sequence of frames was read in one drawn order.",
    "reversed": "Each sequence of frames was read from its last to its first.",
    "first-half": "Of each sequence of frames only the first half was read.",
}


def check_frames(run: Run, frames: str) -> None:
    """Raise ValueError for an unknown choice, or one without a meaning for the run's task."""
    check_choice("--frames", frames, FRAMES)
    if frames != ALL and not can_disturb(run):
        raise ValueError(
            f"--frames {frames}: {run.folder} is of the task {run.config.task.name}, whose inputs "
            f"are no frames of clips.\nLeave it out, or give runs of clips or arrow-of-time."
        )


def can_disturb(run: Run) -> bool:
    """Whether the run's sequences are frames with one answer, whose order can be taken away."""
    return run.features is not None and run.config.net.readout != "all"


class DisturbedSet:
    """The sequences of another set, as FRAMES[frames] has them; `names` are theirs."""

    def __init__(self, sequences: SequenceSet, names: Sequence[str], frames: str) -> None:
        assert len(sequences) == len(names)
        self.is_in_memory = sequences.is_in_memory
        self._sequences = sequences
        self._names = names
        self._order = FRAMES[frames]
        self._memory = RecycledMemory()
        self.lengths: Tensor = torch.tensor(
            [len(self._find_order(place)) for place in range(len(names))]
        )

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        orders = [self._find_order(place) for place in indices]
        return reorder_steps(self._sequences[indices], orders, memory=self._memory)

    def _find_order(self, place: int) -> Sequence[int]:
        return self._order(self._names[place], int(self._sequences.lengths[place]))
