"""Batches of sequences, and the loader that groups sequences of like length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from pipeline.memory import RecycledMemory


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences padded at their ends to one length T.

    `features` (B, T, D), float16 or float32, or (B, T, 1) int32 token numbers; `lengths` (B,)
    int64, the real steps of each, in [1, T]; `targets` (B,) classes, (B, T) classes of the steps,
    or (B, C) numbers; `indices` (B,) the sequences' places in their set. `is_cut`: each goes on
    where the one before it in the set ended.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    indices: Tensor
    is_cut: bool = False

    def __post_init__(self) -> None:
        batch, steps, _ = self.features.shape
        assert self.lengths.shape == self.indices.shape == (batch,)
        assert len(self.targets) == batch
        assert 1 <= int(self.lengths.min()) <= int(self.lengths.max()) <= steps

    @property
    def num_sequences(self) -> int:
        """B."""
        return len(self.targets)

    def pin_memory(self) -> SequenceBatch:
        """The same batch in page-locked memory; the loader calls it before a copy to a GPU."""
        return self._map(Tensor.pin_memory)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> SequenceBatch:
        """The same batch on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _map(self, change: Callable[[Tensor], Tensor]) -> SequenceBatch:
        return SequenceBatch(
            change(self.features), change(self.lengths), change(self.targets),
            change(self.indices), self.is_cut,
        )  # fmt: skip


@dataclass(frozen=True)
class SequenceBlock:
    """Consecutive batches of equally many sequences, each padded to a length of its own."""

    batches: tuple[SequenceBatch, ...]

    @property
    def num_sequences(self) -> int:
        """The number of sequences in all batches."""
        return sum(batch.num_sequences for batch in self.batches)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> SequenceBlock:
        """The same block on `device`; Lightning calls it."""
        return SequenceBlock(
            tuple(batch.to(device, non_blocking=non_blocking) for batch in self.batches)
        )


class SequenceSet(Protocol):
    """Sequences that can be read by their places, a whole batch at a time."""

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: the number of steps of every sequence."""

    @property
    def is_in_memory(self) -> bool:
        """Whether reading a batch needs no disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch: ...


def pad_sequences(
    sequences: Sequence[Tensor], *, memory: RecycledMemory | None = None
) -> tuple[Tensor, Tensor]:
    """(B, T, D) padded with zeros, of their type, and the lengths (B,), of B sequences (T_i, D)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    shape = (len(sequences), int(lengths.max()), sequences[0].shape[1])
    features = (memory or RecycledMemory()).empty(shape, sequences[0].numpy().dtype)
    # Copied by numpy: a thread that reads ahead is not to take torch's threads from the training.
    for row, sequence in zip(features, sequences, strict=True):
        row[: len(sequence)] = sequence.numpy()
        row[len(sequence) :] = 0
    return torch.from_numpy(features), lengths


def reorder_steps(
    batch: SequenceBatch,
    orders: Sequence[Sequence[int]],
    *,
    memory: RecycledMemory | None = None,
) -> SequenceBatch:
    """The batch whose sequence i has the steps `orders[i]` of the given one's, one or more."""
    rows = [
        torch.from_numpy(row[np.asarray(order)])  # by numpy, as in `pad_sequences`
        for row, order in zip(batch.features.numpy(), orders, strict=True)
    ]
    features, lengths = pad_sequences(rows, memory=memory)
    return SequenceBatch(features, lengths, batch.targets, batch.indices)


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of indices whose sequences have like lengths, so that little is padded.

    With a seed, every epoch draws anew: lengths are blurred by a factor in 1 ± `blur`, the indices
    sorted by them and cut, and the batches shuffled, the one that is not full last. The draw is a
    function of (seed, epoch) alone, so that a resumed training sees the batches of an uninterrupted
    one. Without a seed: by length.
    An epoch takes only the first `share` of its batches. `batches_per_block` consecutive full
    batches come as one list of indices.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        *,
        seed: int | None,
        blur: float = 0.05,
        share: float = 1.0,
        batches_per_block: int = 1,
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._blur = blur
        self._block_size = batch_size * batches_per_block
        num_full, num_left = divmod(len(lengths), batch_size)
        self._num_left = num_left if share == 1.0 or not num_full else 0
        self._num_full = math.ceil(share * num_full)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._num_full * self._batch_size / self._block_size) + (
            self._num_left > 0
        )

    def __iter__(self) -> Iterator[list[int]]:
        full, left = self._draw()
        flat = full[: self._num_full].flatten().tolist()
        for start in range(0, len(flat), self._block_size):
            yield flat[start : start + self._block_size]
        if self._num_left:
            yield left.tolist()

    def _draw(self) -> tuple[Tensor, Tensor]:
        """The full batches (n, batch size) in their order, and the indices left over."""
        num_full = len(self._lengths) // self._batch_size
        keys, places = self._lengths.double(), torch.arange(num_full)
        if self._seed is not None:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
            draws = torch.rand(len(keys), generator=generator, dtype=torch.float64)
            keys = keys * (1.0 + self._blur * (2.0 * draws - 1.0))
            places = torch.randperm(num_full, generator=generator)
        order = torch.argsort(keys, stable=True)
        # The longest are left over: they differ most, and would be padded most.
        full = order[: num_full * self._batch_size].view(num_full, self._batch_size)
        return full[places], order[num_full * self._batch_size :]


class StreamBatches(Sampler[list[int]]):
    """Batches of cuts of one long text: row b reads a stretch of it, cut after cut.

    The stretches have equally many cuts, but that the first ones have one more where they do not
    come out even; the last batch is then of these alone. Nothing is drawn: every epoch is alike.
    An epoch takes only the first `share` of its batches.
    """

    def __init__(self, num_cuts: int, batch_size: int, *, share: float = 1.0) -> None:
        each, num_longer = divmod(num_cuts, batch_size)
        sizes = [each + (row < num_longer) for row in range(min(batch_size, num_cuts))]
        starts = [sum(sizes[:row]) for row in range(len(sizes))]
        self._rows = list(zip(starts, sizes, strict=True))
        self._num_batches = math.ceil(share * max(sizes))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it; no epoch differs."""

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for place in range(self._num_batches):
            yield [start + place for start, size in self._rows if place < size]


def is_cut(sequences: SequenceSet) -> bool:
    """Whether each sequence goes on where the one before ended: the cuts of one long text."""
    return bool(getattr(sequences, "is_cut", False))


@dataclass(frozen=True)
class _InBatches:
    """Reads, of the indices of a block, one batch after another: each is padded for itself."""

    sequences: SequenceSet
    batch_size: int

    def __getitem__(self, indices: Sequence[int]) -> SequenceBlock:
        starts = range(0, len(indices), self.batch_size)
        parts = (indices[start : start + self.batch_size] for start in starts)
        return SequenceBlock(tuple(self.sequences[part] for part in parts))


def make_loader(
    sequences: SequenceSet,
    batch_size: int,
    *,
    seed: int | None,
    num_workers: int = 0,
    share: float = 1.0,
    batches_per_block: int = 1,
) -> DataLoader[SequenceBatch]:
    """A loader of SequenceBatches: shuffled by `seed`, or by length without one.

    `share` and `batches_per_block` as in LengthGroupedBatches. Cuts of one long text come in their
    order: with a seed in as many streams as a batch is large, without one in one, so that nothing
    depends on the batch size. Without loading processes a thread reads one batch ahead.
    With `batches_per_block` above 1 it is a loader of SequenceBlocks where lengths differ; where
    they do not, a block comes as one SequenceBatch.
    """
    kind: type[DataLoader[SequenceBatch]] = DataLoader if num_workers else _ReadingAhead
    sampler: Sampler[list[int]] = (
        StreamBatches(len(sequences), 1 if seed is None else batch_size, share=share)
        if is_cut(sequences)
        else LengthGroupedBatches(
            sequences.lengths, batch_size, seed=seed, share=share,
            batches_per_block=batches_per_block,
        )
    )  # fmt: skip
    is_padded = bool((sequences.lengths != sequences.lengths[0]).any())
    return kind(
        _InBatches(sequences, batch_size) if batches_per_block > 1 and is_padded else sequences,  # type: ignore[arg-type]
        sampler=sampler,
        batch_size=None,  # the sampler gives whole batches
        num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )  # fmt: skip


class _ReadingAhead(DataLoader[SequenceBatch]):
    """Reads the next batch in a thread while this one is computed with."""

    def __iter__(self) -> Any:
        return _read_ahead(super().__iter__())


def _read_ahead(batches: Iterator[SequenceBatch]) -> Iterator[SequenceBatch]:
    with ThreadPoolExecutor(1, thread_name_prefix="read") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
