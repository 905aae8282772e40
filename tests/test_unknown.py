"""None of these: thresholds from right clips, and an AUROC as scikit-learn's with honest bounds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from eval.__main__ import main
from eval.predictions.unknown import CONFIDENCES, find_threshold, is_known
from eval.scores.unknown import Ranking, estimate_auroc
from tests.tiny_runs import GROUPS, make_clips, write_run, write_store


def draw_probabilities(num: int, *, seed: int = 0) -> NDArray[np.float64]:
    outputs = 2 * np.random.default_rng(seed).normal(size=(num, 4))
    return np.asarray(softmax(outputs, axis=1))


@pytest.mark.parametrize("num", [1, 20, 21, 137])
def test_the_threshold_keeps_the_promised_share_of_right_clips_and_hardly_more(num: int) -> None:
    probabilities = draw_probabilities(num)
    threshold = find_threshold(probabilities, probabilities.argmax(axis=1))
    kept = sum(is_known(row, threshold) for row in probabilities)
    assert 0.95 * num <= kept < 0.95 * num + 2  # clips are whole


def test_only_right_clips_choose_the_threshold() -> None:
    probabilities = draw_probabilities(40)
    targets = probabilities.argmax(axis=1)
    before = find_threshold(probabilities, targets)
    unsure = np.tile([0.27, 0.26, 0.24, 0.23], (30, 1))
    wrong = np.concatenate([targets, np.full(30, 3)])
    assert find_threshold(np.concatenate([probabilities, unsure]), wrong) == before


def test_without_a_right_clip_there_is_no_threshold() -> None:
    probabilities = draw_probabilities(5)
    threshold = find_threshold(probabilities, probabilities.argmin(axis=1))
    assert threshold is None
    assert is_known(probabilities[0], threshold)


def test_confidences_are_the_formulas_of_their_papers() -> None:
    outputs = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    exponentials = np.exp(outputs)
    sums = exponentials.sum(axis=1)
    expected = {"probability": exponentials.max(axis=1) / sums, "energy": np.log(sums),
                "output": [3.0, 0.0]}  # fmt: skip
    for name, measure in CONFIDENCES.items():
        np.testing.assert_allclose(measure(outputs), expected[name], rtol=1e-12)


def make_ranking(
    known: NDArray[np.float64], unknown: NDArray[np.float64], *, clips_a_source: int = 1
) -> Ranking:
    def name(side: str, num: int) -> tuple[str, ...]:
        return tuple(f"{side}{place // clips_a_source}" for place in range(num))

    return Ranking(known, unknown, name("known", len(known)), name("unknown", len(unknown)))


def test_the_auroc_is_that_of_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(1)
    known = np.round(generator.normal(0.8, 1, 60), 1)
    unknown = np.round(generator.normal(0, 1, 45), 1)
    found = estimate_auroc([make_ranking(known, unknown)])
    is_of_known = [1] * 60 + [0] * 45
    expected = roc_auc_score(is_of_known, np.concatenate([known, unknown]))
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Normal confidences a standard deviation apart: the AUROC is Phi(1 / sqrt 2) = 0.760."""
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        ranking = make_ranking(generator.normal(1, 1, 40), generator.normal(0, 1, 40))
        found = estimate_auroc([ranking])
        hits += found.low <= 0.7602 <= found.high
    assert 180 <= hits <= 199  # 190 expected, three standard deviations of 3.1 either way


def test_clips_of_one_source_are_no_independent_evidence() -> None:
    generator = np.random.default_rng(3)
    known, unknown = generator.normal(1, 1, 20), generator.normal(0, 1, 20)
    alone = estimate_auroc([make_ranking(known, unknown)])
    thrice = make_ranking(known.repeat(3), unknown.repeat(3), clips_a_source=3)
    assert estimate_auroc([thrice]) == alone


def test_several_runs_give_their_mean_on_the_same_draws_of_clips() -> None:
    generator = np.random.default_rng(4)
    rankings = [make_ranking(generator.normal(1, 1, 30), generator.normal(0, 1, 30)) for _ in "ab"]
    both = estimate_auroc(rankings)
    assert both.value == pytest.approx(np.mean([estimate_auroc([r]).value for r in rankings]))
    # A run again is no new evidence: the clips are the same.
    assert estimate_auroc([rankings[0]] * 2) == estimate_auroc([rankings[0]])


def test_a_perfect_order_of_few_clips_is_not_certain() -> None:
    found = estimate_auroc([make_ranking(np.arange(10, 15.0), np.arange(8.0))])
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 5))  # Clopper and Pearson: 5 hits of 5


def write_list_without(path: Path, left_out: str) -> Path:
    """A list of the clips of all classes but one, with their parts."""
    part_of = {group: part for part, groups in GROUPS.items() for group in groups}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "split"])
        writer.writerows(
            [clip.path, clip.label, clip.group, part_of[clip.group]]
            for clip in make_clips()
            if clip.label != left_out
        )
    return path


def test_a_run_without_a_class_is_scored_against_its_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store")
    split = write_list_without(tmp_path / "without.csv", "walk")
    for seed in (0, 1):
        write_run(tmp_path / f"run{seed}", store, split=split, seed=seed)
    assert main(["unknown", "--run", str(tmp_path / "run0"), str(tmp_path / "run1")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:17].strip(): line[17:].split() for line in lines[2:5]}
    # 5 classes, 3 groups, 2 clips; of the class left out all 6 groups.
    assert [row[:2] for row in rows.values()] == [["30", "12"]] * 3
    aurocs = {name: float(row[2]) for name, row in rows.items()}
    mean = (aurocs["run0"] + aurocs["run1"]) / 2
    assert aurocs["mean-pool, 2 runs"] == pytest.approx(mean, abs=1e-3)  # printed in three digits
    assert 0.5 < mean < 1
    assert lines[-3:] == [
        "Floor of AUROC: 0.5.", "run0 was not shown walk.", "run1 was not shown walk.",
    ]  # fmt: skip


def test_a_run_that_saw_every_class_is_refused_with_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", write_store(tmp_path / "store"))
    assert main(["unknown", "--run", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "no clip of another class than the run's 6" in told
    assert "split=LIST.csv" in told


def test_a_run_of_another_task_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", write_store(tmp_path / "store"), task="arrow-of-time")
    assert main(["unknown", "--run", str(tmp_path / "run")]) == 2
    assert "expected a run of the task clips, found arrow-of-time" in capsys.readouterr().err
