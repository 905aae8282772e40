from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.tasks.draws import STREAMS, draw_bits, draw_permutation, to_unit, to_whole


def places(first: int, end: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.arange(first, end, dtype=np.uint64)


def test_the_draws_are_the_published_numbers_of_splitmix64() -> None:
    # The first five of seed 1234567, as printed for several independent implementations.
    expected = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert draw_bits(1234567, places(0, 5), stream="train").tolist() == expected


def test_no_two_places_of_any_stream_have_the_same_bits() -> None:
    bits = [draw_bits(7, places(0, 50_000), stream=stream) for stream in STREAMS]
    assert len(np.unique(np.concatenate(bits))) == 4 * 50_000


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_unit_draws_are_uniform_in_every_stream(seed: int) -> None:
    for stream in STREAMS:
        numbers = to_unit(draw_bits(seed, places(0, 200_000), stream=stream))
        assert numbers.dtype == np.float32
        assert 0 <= numbers.min() < 1e-4
        assert 1 - 1e-4 < numbers.max() < 1
        # Fixed draws: the bound is on 12 tests at once, each passed by 999 of 1000 true ones.
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
        # Low bits too: the least significant ones of the 24 that are kept.
        counts = np.bincount((numbers * 2**24).astype(np.int64) % 64, minlength=64)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_the_test_of_uniformity_sees_numbers_that_are_not() -> None:
    numbers = to_unit(draw_bits(0, places(0, 200_000), stream="train"))
    assert stats.kstest(numbers**1.02, "uniform").pvalue < 1e-3


@pytest.mark.parametrize("offset", [1, 2, 22, 152, 1000])
def test_draws_a_step_a_sequence_or_a_stream_apart_are_uncorrelated(offset: int) -> None:
    num = 200_000
    numbers = to_unit(draw_bits(3, places(0, num + offset), stream="train"))
    other = to_unit(draw_bits(3, places(offset, num + offset), stream="test"))
    next_seed = to_unit(draw_bits(4, places(offset, num + offset), stream="train"))
    here = numbers[:num]
    for there in (numbers[offset:], other, next_seed):
        # Five standard deviations of a correlation of `num` independent pairs.
        assert abs(np.corrcoef(here, there)[0, 1]) < 5 / num**0.5
        assert abs(np.corrcoef((here - 0.5) ** 2, (there - 0.5) ** 2)[0, 1]) < 5 / num**0.5
    # Pairs fill the unit square evenly.
    counts = np.histogram2d(here, numbers[offset:], bins=16)[0].ravel()
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("bound", [1, 3, 10, 75, 250])
def test_whole_draws_reach_every_number_below_the_bound_as_often(bound: int) -> None:
    numbers = to_whole(draw_bits(0, places(0, 100_000), stream="val"), bound)
    counts = np.bincount(numbers, minlength=bound)
    assert len(counts) == bound
    assert bound == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_a_permutation_holds_every_number_once_and_depends_on_the_seed() -> None:
    first, second = draw_permutation(0, 784), draw_permutation(1, 784)
    assert np.array_equal(np.sort(first), np.arange(784))
    assert np.array_equal(first, draw_permutation(0, 784))
    assert (first == second).sum() < 10  # 1 is expected
    assert (first == np.arange(784)).sum() < 10
