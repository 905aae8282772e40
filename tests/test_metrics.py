"""Scores against independent references, and intervals against their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from pipeline import metrics


def _draw_outputs(num: int = 60, num_classes: int = 8) -> tuple[metrics.Floats, metrics.Ints]:
    generator = np.random.default_rng(0)
    targets = generator.integers(num_classes, size=num)
    targets[:num_classes] = np.arange(num_classes)  # every class is there
    return generator.normal(size=(num, num_classes)).astype(np.float32), targets


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_hits_are_those_of_scikit_learn(k: int) -> None:
    outputs, targets = _draw_outputs()
    expected = top_k_accuracy_score(targets, outputs, k=k, normalize=False)
    assert metrics.top_k_hits(outputs, targets, k).sum() == expected


def test_a_net_with_equal_outputs_hits_nothing() -> None:
    targets = np.array([0, 1, 2])
    assert not metrics.top_k_hits(np.zeros((3, 3)), targets, 1).any()
    assert not metrics.top_k_hits(np.zeros((3, 3)), targets, 2).any()


def test_outputs_that_are_not_finite_hit_nothing() -> None:
    outputs = np.array([[1.0, np.nan], [np.inf, 0.0], [1.0, 0.0]])
    assert metrics.top_k_hits(outputs, np.array([0, 0, 0]), 1).tolist() == [False, False, True]


def test_an_answer_is_the_target_exactly_where_it_is_a_hit() -> None:
    generator = np.random.default_rng(1)
    outputs = generator.integers(3, size=(200, 4)).astype(np.float32)  # many ties
    targets = generator.integers(4, size=200)
    answers = metrics.answers(outputs, targets)
    np.testing.assert_array_equal(answers == targets, metrics.top_k_hits(outputs, targets, 1))
    assert (np.take_along_axis(outputs, answers[:, None], 1)[:, 0] == outputs.max(axis=1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_have_the_bits_of_scipys(dtype: type[np.floating]) -> None:
    drawn: metrics.Floats = 100 * np.random.default_rng(0).normal(size=(4, 7, 11))
    outputs: metrics.Floats = drawn.astype(dtype)
    np.testing.assert_array_equal(metrics.softmax(outputs), special.softmax(outputs, axis=-1))


def test_target_probabilities_are_the_softmax_also_of_large_outputs() -> None:
    outputs = np.array([[1000.0, 1000.0], [0.0, math.log(3)]])
    found = metrics.target_probabilities(outputs, np.array([0, 1]))
    np.testing.assert_allclose(found, [0.5, 0.75], rtol=1e-12)


def test_weighted_by_class_the_share_of_hits_is_the_balanced_accuracy() -> None:
    outputs, targets = _draw_outputs()
    hits = metrics.top_k_hits(outputs, targets, 1)
    found = metrics.estimate_share(hits, _own(len(hits)), metrics.class_weights(targets))
    expected = balanced_accuracy_score(targets, metrics.answers(outputs, targets))
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    outputs, targets = _draw_outputs()
    answers = metrics.answers(outputs, targets)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(answers, targets, 8), sklearn_confusion_matrix(targets, answers)
    )


def test_no_constant_answer_beats_the_floor_and_one_reaches_it() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    assert metrics.constant_floor(targets) == max((targets == c).mean() for c in range(3))
    assert metrics.constant_floor(targets, k=2) == pytest.approx(5 / 6)
    assert metrics.constant_floor(targets, k=5) == 1.0
    balanced = [balanced_accuracy_score(targets, np.full(6, c)) for c in range(2)]
    assert metrics.constant_class_floor(targets) == pytest.approx(max(balanced))


def test_the_floor_of_the_addition_problem_is_the_papers() -> None:
    generator = np.random.default_rng(0)
    targets = generator.random(20_000) + generator.random(20_000)
    tried = max(metrics.within(np.full(20_000, c), targets).mean() for c in np.arange(0, 2, 1e-3))
    floor = metrics.constant_within_floor(targets)
    assert tried <= floor <= tried + 5e-4  # the constants tried stand 0.001 apart
    # 1 - 0.96^2 = 7.84 % for the constant 1; the best of many constants gains a little by luck.
    assert 0.0784 - 0.002 < floor < 0.0784 + 0.005


def test_a_constant_just_as_far_as_the_tolerance_is_not_within() -> None:
    assert metrics.constant_within_floor(np.array([0.0, 1.0]), tolerance=0.5) == 0.5
    assert metrics.constant_within_floor(np.array([0.0, 0.9]), tolerance=0.5) == 1.0


def _own(num: int) -> list[str]:
    """A source of its own for every clip."""
    return [str(i) for i in range(num)]


@pytest.mark.parametrize(("num_hits", "num"), [(0, 12), (1, 12), (62, 77), (12, 12), (3, 5000)])
def test_the_interval_of_independent_clips_is_clopper_and_pearsons(num_hits: int, num: int) -> None:
    hits = np.arange(num) < num_hits
    found = metrics.estimate_share(hits, _own(num))
    expected = stats.binomtest(num_hits, num).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.value == pytest.approx(num_hits / num)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_more_clips_of_the_same_sources_that_say_the_same_narrow_nothing(share: float) -> None:
    hits = np.random.default_rng(2).random(40) < share
    once = metrics.estimate_share(hits, _own(40))
    thrice = metrics.estimate_share(np.repeat(hits, 3), np.repeat(_own(40), 3).tolist())
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx(
        (once.value, once.low, once.high), abs=1e-9
    )


def test_a_lucky_grouping_never_claims_more_than_the_number_of_clips() -> None:
    hits = np.tile([True, False], 20)  # every source has one hit and one miss
    found = metrics.estimate_share(hits, np.repeat(_own(20), 2).tolist())
    assert found == metrics.estimate_share(hits, _own(40))


def test_seeds_that_agree_are_as_good_as_one_and_seeds_that_do_not_widen_the_interval() -> None:
    hits = np.arange(50) < 30
    one = metrics.estimate_share(hits, _own(50))
    assert metrics.estimate_share(np.stack([hits, hits]), _own(50)) == one
    unlike = np.stack([np.arange(50) < 20, np.arange(50) < 40])
    spread = metrics.estimate_share(unlike, _own(50))
    assert spread.value == pytest.approx(one.value)
    assert spread.high - spread.low > one.high - one.low


@pytest.mark.parametrize(("num_sources", "num_seeds"), [(12, 1), (40, 1), (40, 3)])
def test_intervals_hold_the_truth_about_95_times_of_100(num_sources: int, num_seeds: int) -> None:
    generator = np.random.default_rng(3)
    sources = np.repeat(np.arange(num_sources), 4)
    skill_of_source, skill_of_seed, num_trials = 1.0, 0.5 if num_seeds > 1 else 0.0, 300
    spread = math.hypot(skill_of_source, skill_of_seed)
    truth = (1 / (1 + np.exp(-1 - spread * generator.normal(size=200_000)))).mean()
    held = 0
    for _ in range(num_trials):
        skill = 1 + skill_of_source * generator.normal(size=num_sources)[sources]
        skills = skill + skill_of_seed * generator.normal(size=(num_seeds, 1))
        hits = generator.random(skills.shape) < 1 / (1 + np.exp(-skills))
        found = metrics.estimate_share(hits, sources.astype(str).tolist())
        held += found.low <= truth <= found.high
    # 0.915 is 2.8 standard errors of 300 trials below 0.95; the interval may err to the wide side.
    assert held / num_trials > 0.915


def test_the_mean_of_independent_errors_has_students_interval() -> None:
    values = np.random.default_rng(4).exponential(size=30)
    found = metrics.estimate_mean(values, _own(30))
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    grouped = metrics.estimate_mean(np.repeat(values, 2), np.repeat(_own(30), 2).tolist())
    assert (grouped.low, grouped.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_one_source_alone_bounds_no_mean() -> None:
    found = metrics.estimate_mean(np.array([1.0, 2.0]), ["a", "a"])
    assert (found.value, found.low, found.high) == (1.5, -math.inf, math.inf)
