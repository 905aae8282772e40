"""Verdicts from made-up scores: each of the four comes out where it should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from papers.verdicts import MARGIN, MOST_SEEDS, Quantity, above, ahead, below, decide


def of_seeds(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores))


HIGH = of_seeds(0.95, 0.96, 0.94, 0.95, 0.97)
LOW = of_seeds(0.41, 0.40, 0.43, 0.38, 0.40)
WIDE = of_seeds(0.95, 0.42, 0.91, 0.55, 0.97)


def test_a_sentence_holds_if_every_quantity_bears_it_out() -> None:
    verdict = decide([above("a", HIGH, 0.9), below("b", LOW, 0.5)])
    assert verdict.state == "holds"
    assert "b: 0.404" in verdict.because or "a: 0.954" in verdict.because


def test_a_sentence_fails_if_one_quantity_contradicts_it() -> None:
    verdict = decide([above("a", HIGH, 0.9), above("b", LOW, 0.5)])
    assert verdict.state == "fails"
    assert verdict.because.startswith("b: 0.404")


def test_a_sentence_is_undecided_where_the_interval_crosses_the_bound() -> None:
    verdict = decide([above("a", HIGH, 0.9), above("c", WIDE, 0.7)])
    assert verdict.state == "undecided"
    assert "1 of 2 comparisons are open" in verdict.because
    assert "more seeds would decide" in verdict.because


def test_a_sentence_without_its_data_cannot_be_tested() -> None:
    verdict = decide([above("a", {}, 0.9)], missing="MNIST's files are not at hand")
    assert verdict.state == "cannot be tested here"
    assert verdict.because == "MNIST's files are not at hand"


def test_four_seeds_decide_nothing_and_the_fifth_does() -> None:
    four = {seed: score for seed, score in HIGH.items() if seed < 4}
    for bound in (0.5, 0.99):
        assert decide([above("a", four, bound)]).state == "undecided"
    assert "1 more seed would decide" in decide([above("a", four, 0.5)]).because
    assert "5 more seeds would decide" in decide([above("a", {}, 0.5)]).because
    assert decide([above("a", HIGH, 0.5)]).state == "holds"
    assert decide([above("a", HIGH, 0.99)]).state == "fails"


def test_the_interval_is_students_over_the_seeds() -> None:
    scores = tuple(WIDE.values())
    expected = stats.ttest_1samp(scores, 0.0).confidence_interval(0.95)
    assert Quantity("c", scores, 0.7).interval() == pytest.approx((expected.low, expected.high))
    assert Quantity("c", scores[:1], 0.7).interval() == (-math.inf, math.inf)


def test_the_seeds_that_would_decide_do_if_mean_and_spread_stay() -> None:
    quantity = Quantity("c", tuple(WIDE.values()), 0.7)
    more = quantity.count_more_seeds()
    assert more is not None

    def make(num: int) -> Quantity:
        drawn = np.array([1.0, -1.0] * (num // 2) + [0.0] * (num % 2))
        spread = np.std(tuple(WIDE.values()), ddof=1)
        scaled = quantity.mean + drawn * spread / np.std(drawn, ddof=1)
        return Quantity("c", tuple(scaled), 0.7)

    assert make(5 + more).bears_out()
    assert not make(5 + more - 1).bears_out()


def test_a_difference_of_nothing_is_never_decided_and_says_so() -> None:
    even = of_seeds(0.6, 0.8, 0.7, 0.65, 0.75)
    verdict = decide([above("d", even, 0.7)])
    assert verdict.state == "undecided"
    assert f"{MOST_SEEDS} seeds would not decide d: 0.700" in verdict.because


def test_nets_are_compared_seed_by_seed() -> None:
    # Seeds differ far more than the nets: only pairs show that one is ahead.
    first = of_seeds(0.2, 0.5, 0.8, 0.3, 0.9)
    second = of_seeds(0.17, 0.46, 0.77, 0.26, 0.87)
    assert decide([ahead("e", first, second)]).state == "holds"
    assert decide([ahead("e", second, first)]).state == "fails"
    assert decide([ahead("e", second, first, by=-MARGIN)]).state == "holds"
    shuffled = dict(zip(second, [0.87, 0.17, 0.26, 0.77, 0.46], strict=True))
    assert decide([ahead("e", first, shuffled)]).state == "undecided"
    assert ahead("e", first, {0: 0.1, 7: 0.3}).of_seeds == pytest.approx((0.1,))


def test_of_many_comparisons_one_unlucky_one_does_not_make_a_sentence_fail() -> None:
    # Against its bound at 95 %, not at the level of 20 comparisons.
    unlucky = Quantity("x", (0.47, 0.49, 0.46, 0.50, 0.48), 0.5)
    assert decide([unlucky]).state == "fails"
    others = [above(f"y{i}", HIGH, 0.5) for i in range(19)]
    assert decide([*others, unlucky]).state == "undecided"


def test_an_exact_number_needs_no_seeds() -> None:
    ratio = Quantity("parameters", (3.75,), 3.5, is_exact=True)
    assert decide([ratio]).state == "holds"
    assert decide([Quantity("parameters", (3.4,), 3.5, is_exact=True)]).state == "fails"
