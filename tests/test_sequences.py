from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sequences import LengthGroupedBatches, pad_sequences

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
    sequences = [torch.ones(2, 3), torch.full((4, 3), 2.0)]
    features, lengths = pad_sequences(sequences)
    assert lengths.tolist() == [2, 4]
    assert features[0].tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2
    assert features[1].tolist() == [[2.0] * 3] * 4
