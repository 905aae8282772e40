"""The processes of one training, one a device: who writes, and who computes which sequences.

A batch holds the same sequences in the same order whatever the number of processes: rank r of R
takes its sequences r, r + R, r + 2R and so on. Gradients, losses and scores are then added over
ranks before they are divided by the number of sequences in the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.data import DataLoader

from pipeline.console import REFUSED
from pipeline.sequences import SequenceBatch, SequenceSet, is_cut
from train.module import FILLER, DivergedError
from train.quiet import quieten_lightning

Loader = DataLoader[SequenceBatch]
_OF_A_GROUP = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class ShareOfBatches:
    """A SequenceSet that reads, of the indices of each batch, those of one rank.

    Where a batch has fewer sequences than there are ranks, it reads one that counts for nothing:
    every rank takes part in every update.
    """

    sequences: SequenceSet
    rank: int
    num_ranks: int

    @property
    def lengths(self) -> Tensor:
        return self.sequences.lengths

    @property
    def is_in_memory(self) -> bool:
        return self.sequences.is_in_memory

    @property
    def is_cut(self) -> bool:
        return is_cut(self.sequences)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        share = indices[self.rank :: self.num_ranks]
        if len(share):
            return self.sequences[share]
        batch = self.sequences[indices[:1]]
        return replace(batch, indices=torch.full_like(batch.indices, FILLER))


class RankedBatches(pl.LightningDataModule):
    """The loaders of training and validation in each process, made when its rank is known."""

    def __init__(
        self,
        train_set: SequenceSet,
        val_set: SequenceSet,
        make_loaders: Callable[[SequenceSet, SequenceSet], tuple[Loader, Loader]],
    ) -> None:
        super().__init__()
        self._sets = train_set, val_set
        self._make_loaders = make_loaders

    def train_dataloader(self) -> Loader:
        return self._make_loaders(*self._shares())[0]

    def val_dataloader(self) -> Loader:
        return self._make_loaders(*self._shares())[1]

    def _shares(self) -> tuple[SequenceSet, SequenceSet]:
        assert self.trainer is not None
        rank, num_ranks = self.trainer.global_rank, self.trainer.world_size
        if num_ranks == 1:
            return self._sets
        train_set, val_set = (ShareOfBatches(part, rank, num_ranks) for part in self._sets)
        return train_set, val_set


class _SpawnedQuietly(DDPStrategy):
    """`ddp_spawn`, whose processes are told to be quiet as the first one is."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def setup_environment(self) -> None:
        quieten_lightning()
        super().setup_environment()


def choose_strategy(name: str) -> str | DDPStrategy:
    """What Lightning takes for a strategy's name."""
    return _SpawnedQuietly() if name == "ddp_spawn" else name


def is_first() -> bool:
    """Whether this process does the writing; known when there is a trainer."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


@contextmanager
def refusing_once() -> Iterator[None]:
    """Of the processes that torchrun starts on a machine, the first one says why it is refused."""
    try:
        yield
    except ValueError:
        if int(os.environ.get("LOCAL_RANK", "0")) > 0:
            raise SystemExit(REFUSED) from None
        raise


@contextmanager
def as_one_process() -> Iterator[None]:
    """Errors of the training's other processes as one of this; afterwards it is alone again.

    So each training of a grid starts processes of its own.
    """
    before = {name: os.environ.get(name) for name in _OF_A_GROUP}
    try:
        yield
    except ProcessRaisedException as error:
        raise _find_cause(error) from error
    except RuntimeError as error:
        if not any(told in str(error) for told in _LOST):
            raise
        raise ConnectionError("Another process of this training has ended") from error
    finally:
        if before["LOCAL_RANK"] is None:
            _leave_group(before)


_LOST = ("Connection closed by peer", "Connection reset by peer", "NCCL communicator was aborted")


def _find_cause(error: ProcessRaisedException) -> Exception:
    """What a spawned process raised, told by the last lines of its traceback."""
    for kind, name in (
        (DivergedError, f"{DivergedError.__module__}.{DivergedError.__qualname__}: "),
        (ValueError, "ValueError: "),
    ):
        _, found, message = str(error).rpartition(f"\n{name}")
        if found:
            return kind(message.strip())
    return error


def _leave_group(before: dict[str, str | None]) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
