from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sequences import (
    LengthGroupedBatches,
    SequenceBatch,
    SequenceBlock,
    make_loader,
    pad_sequences,
)

lengths_lists = st.lists(st.integers(1, 300), min_size=1, max_size=200)


@given(lengths_lists, st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_every_epoch_holds_every_sequence_once(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = LengthGroupedBatches(torch.tensor(lengths), batch_size, seed=seed)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(index for batch in drawn for index in batch) == list(range(len(lengths)))
    assert len(drawn) == len(batches)
    assert max(map(len, drawn)) <= batch_size


@given(lengths_lists, st.integers(1, 20), st.integers(2, 9))
def test_blocks_hold_the_same_batches_in_the_same_order(
    lengths: list[int], batch_size: int, batches_per_block: int
) -> None:
    single = LengthGroupedBatches(torch.tensor(lengths), batch_size, seed=0)
    blocks = LengthGroupedBatches(
        torch.tensor(lengths), batch_size, seed=0, batches_per_block=batches_per_block
    )
    assert [i for block in blocks for i in block] == [i for batch in single for i in batch]
    assert len(list(blocks)) == len(blocks)
    num_full = len(lengths) // batch_size
    assert all(
        len(block) % batch_size == 0 for block in list(blocks)[: -(-num_full // batches_per_block)]
    )


def test_a_share_takes_the_first_batches_of_the_epoch() -> None:
    lengths = torch.arange(1, 101)
    whole = list(LengthGroupedBatches(lengths, 10, seed=0))
    assert list(LengthGroupedBatches(lengths, 10, seed=0, share=0.25)) == whole[:3]


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    lengths = torch.arange(1, 101)
    first = LengthGroupedBatches(lengths, 8, seed=1)
    first.set_epoch(3)
    list(first)
    again = LengthGroupedBatches(lengths, 8, seed=1)
    again.set_epoch(3)
    assert list(first) == list(again)
    again.set_epoch(4)
    assert list(first) != list(again)
    other = LengthGroupedBatches(lengths, 8, seed=2)
    other.set_epoch(3)
    assert list(first) != list(other)


def test_grouping_by_length_leaves_less_than_a_tenth_of_padding_for_lengths_like_ucf101s() -> None:
    # UCF-101's clips have 29 to 1,776 frames with a median near 160.
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(9537, generator=generator) * 0.5 + 5.1).exp().clamp(29, 1776).long()
    real = padded = 0
    for batch in LengthGroupedBatches(lengths, 256, seed=0):
        real += int(lengths[batch].sum())
        padded += int(lengths[batch].max()) * len(batch)
    assert 1 - real / padded < 0.1


def test_padding_is_zeros_behind_each_sequence() -> None:
    sequences = [torch.ones(2, 3).half(), torch.full((4, 3), 2.0).half()]
    features, lengths = pad_sequences(sequences)
    assert features.dtype == torch.float16
    assert lengths.tolist() == [2, 4]
    assert features[0].tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2
    assert features[1].tolist() == [[2.0] * 3] * 4


class Counted:
    """Sequences of one step whose feature is their place; `num_read` batches were asked for."""

    is_in_memory = True

    def __init__(self, num: int) -> None:
        self.lengths = torch.ones(num, dtype=torch.int64)
        self.num_read = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        if 13 in indices:
            raise ValueError("clip 13 is damaged")
        self.num_read += 1
        places = torch.tensor(indices)
        features = places[:, None, None].float().expand(-1, int(self.lengths.max()), 1)
        return SequenceBatch(features, self.lengths[places], places, places)


def test_reading_ahead_gives_every_batch_once_in_order_and_reads_one_more_at_most() -> None:
    sequences = Counted(10)
    loader = make_loader(sequences, 4, seed=None)
    for _ in range(2):
        assert [b.indices.tolist() for b in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    sequences.num_read = 0
    next(iter(loader))
    assert sequences.num_read <= 2


def test_a_block_of_different_lengths_holds_the_batches_of_the_loader_without_blocks() -> None:
    sequences = Counted(11)
    sequences.lengths = torch.arange(1, 12)
    single = make_loader(sequences, 2, seed=0)
    blocks = make_loader(sequences, 2, seed=0, batches_per_block=3)
    found = [block.batches for block in blocks if isinstance(block, SequenceBlock)]
    assert [len(batches) for batches in found] == [3, 2, 1]  # the last one is not full
    places = [batch.indices.tolist() for batches in found for batch in batches]
    assert places == [batch.indices.tolist() for batch in single]


def test_an_error_while_reading_ahead_comes_out_at_its_batch() -> None:
    batches = iter(make_loader(Counted(16), 4, seed=None))
    assert [len(next(batches).indices) for _ in range(3)] == [4, 4, 4]
    with pytest.raises(ValueError, match="clip 13 is damaged"):
        next(batches)
