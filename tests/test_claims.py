"""The claims of the np-RNN paper on made-up scores: each verdict comes out where it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from papers import irnn
from papers.book import Claim, Reading, Trial
from papers.np_rnn.claims import RESULTS, find_tested, measure_breadth, measure_complexity
from papers.np_rnn.trials import (
    DROPOUTS,
    EXPERIMENTS,
    IRNN_BY_SGD,
    LEARNING_RATES,
    READINGS,
    grid_trials,
)
from papers.verdicts import decide

TESTED = [claim for claims in RESULTS.values() for claim in claims if claim.measure]


@dataclass
class World:
    """Scores of five seeds around `score(trial)`, all of one trial moved by the same draws."""

    score: Callable[[Trial], float]
    noise: float = 0.002
    num_seeds: int = 5

    def test(self, trial: Trial) -> dict[int, float]:
        generator = np.random.default_rng(sum(map(ord, repr(trial))))
        draws = self.noise * generator.standard_normal(self.num_seeds)
        return {seed: self.score(trial) + draw for seed, draw in enumerate(draws.tolist())}

    def validation(self, trial: Trial) -> dict[int, float]:
        return self.test(trial)


def as_in_the_irnn_paper(trial: Trial) -> float:
    if trial.protocol == "speech-frames":
        return {"tanh-rnn": 0.45, "scaled-irnn": 0.34}.get(trial.net, 0.35)
    return {"irnn": 70.0, "lstm": 69.0, "tanh-rnn": 73.0}[trial.net]


def against_the_irnn_paper(trial: Trial) -> float:
    if trial.protocol == "speech-frames":
        return {"tanh-rnn": 0.35, "scaled-irnn": 0.45}.get(trial.net, 0.35)
    return {"irnn": 72.5, "lstm": 69.0, "tanh-rnn": 73.0}[trial.net]


@pytest.mark.parametrize("task", ["words", "frames"])
def test_what_the_irnn_paper_says_of_words_and_speech_gets_each_verdict(task: str) -> None:
    (claim,) = irnn.RESULTS[task]
    noise = 0.002 if task == "frames" else 0.05
    assert judge(claim, World(as_in_the_irnn_paper, noise)) == "holds"
    assert judge(claim, World(against_the_irnn_paper, noise)) == "fails"
    assert judge(claim, World(as_in_the_irnn_paper, 100 * noise)) == "undecided"
    assert judge(claim, World(as_in_the_irnn_paper, noise, num_seeds=4)) == "undecided"
    assert judge(claim, World(as_in_the_irnn_paper), "no text") == "cannot be tested here"


def as_in_the_paper(trial: Trial) -> float:
    net, number = trial.net, trial.number or 0
    if trial == IRNN_BY_SGD:
        return 0.11
    if trial.protocol == "addition":
        trained_to = {"np-rnn": 500, "irnn": 400, "n-rnn": 300, "np-tanh-rnn": 300}
        return 0.9 if number <= trained_to.get(net, 0) else 0.08
    if trial.protocol == "multiplication":
        return {"np-rnn": 0.95, "n-rnn": 0.8, "np-tanh-rnn": 0.8}.get(net, 0.3)
    if trial.protocol.startswith("mnist"):
        return {("np-rnn", 100): 0.92, ("np-rnn", 500): 0.968, ("irnn", 100): 0.83}.get(
            (net, number), 0.93
        )
    best = {"lstm": 0.785, "np-rnn": 0.752, "irnn": 0.67, "scaled-irnn": 0.566}[net]
    return best if trial.settings == BEST or net in ("lstm", "np-rnn") else 0.2


BEST = ("optimizer.lr=1e-3", "model.dropout=0.5")


def against_the_paper(trial: Trial) -> float:
    if trial.protocol == "ucf101":
        best = {"lstm": 0.6, "np-rnn": 0.2, "irnn": 0.55, "scaled-irnn": 0.58}[trial.net]
        return best if trial.settings == BEST or trial.net.endswith("irnn") else 0.1
    return 1 - as_in_the_paper(trial)


def judge(claim: Claim, world: World, missing: str = "") -> str:
    assert claim.measure is not None
    return decide(claim.measure(world), missing=missing).state


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.sentence)
def test_every_claim_gets_each_of_the_four_verdicts(claim: Claim) -> None:
    assert judge(claim, World(as_in_the_paper)) == "holds"
    assert judge(claim, World(against_the_paper)) == "fails"
    assert judge(claim, World(as_in_the_paper, noise=5.0)) == "undecided"
    assert judge(claim, World(as_in_the_paper, num_seeds=4)) == "undecided"
    missing = "MNIST's files are not at hand"
    assert judge(claim, World(as_in_the_paper), missing) == "cannot be tested here"


@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.sentence)
def test_a_claim_measures_only_trials_of_the_papers_experiments(claim: Claim) -> None:
    known = {trial for experiment in EXPERIMENTS.values() for trial in experiment.trials}
    asked = set()

    def score(trial: Trial) -> float:
        asked.add(trial)
        return 0.5

    assert claim.measure is not None
    claim.measure(World(score))
    assert asked
    assert asked <= known
    assert set(claim.readings) <= set(READINGS)


def test_the_complexity_is_decided_by_the_exact_ratio() -> None:
    found = {ratio: decide(measure_complexity(ratio)).state for ratio in (3.0, 3.75, 4.0, 5.0)}
    assert found == {3.0: "fails", 3.75: "holds", 4.0: "holds", 5.0: "fails"}


def test_table_3_tests_the_setting_that_is_best_on_validation() -> None:
    good = Trial("ucf101", "np-rnn", None, ("optimizer.lr=5e-4", "model.dropout=0.7"))

    class Apart(World):
        def test(self, trial: Trial) -> dict[int, float]:
            return {0: 0.4 if trial == good else 0.9}

        def validation(self, trial: Trial) -> dict[int, float]:
            return {0: 0.8 if trial == good else 0.7}

    world = Apart(as_in_the_paper)
    assert find_tested(world, "np-rnn") == {0: 0.4}
    assert find_tested(replace(world, score=lambda trial: 0.0), "np-rnn") == {0: 0.4}


def test_a_grid_that_is_not_whole_chooses_nothing() -> None:
    absent = grid_trials("irnn")[-1]

    class Partly(World):
        def validation(self, trial: Trial) -> dict[int, float]:
            return {} if trial == absent else {0: 0.5}

    assert find_tested(Partly(as_in_the_paper), "irnn") == {}
    assert measure_breadth(Partly(as_in_the_paper), "irnn") == {}


def test_breadth_is_the_share_of_the_grid_within_five_points_of_the_best() -> None:
    # One column of learning rates is best, another within five points, the rest is not.
    scores = {"1e-3": 0.8, "5e-4": 0.76}
    world = World(lambda t: scores.get(t.settings[0].split("=")[1], 0.7), noise=0.0)
    assert measure_breadth(world, "lstm") == dict.fromkeys(range(5), 2 / len(LEARNING_RATES))
    assert len(grid_trials("lstm")) == len(LEARNING_RATES) * len(DROPOUTS)


def test_a_reading_changes_the_trials_it_is_about_and_no_others() -> None:
    addition, mnist = Trial("addition", "np-rnn", 150), Trial("mnist-np-rnn", "np-rnn", 100)
    lstm = Trial("ucf101", "lstm", None, BEST)
    assert (addition.name, mnist.name) == ("addition-np-rnn-150", "mnist-np-rnn-100")
    shifted = READINGS["shifted"]
    assert shifted.apply(addition).name == "addition-shifted-np-rnn-150"
    assert shifted.apply(mnist).name == "mnist-np-rnn-100"
    assert shifted.apply(mnist).settings == ("model=shifted-np-rnn",)
    assert shifted.apply(Trial("addition", "irnn", 150)) == Trial("addition", "irnn", 150)
    assert READINGS["bytes"].apply(addition) == addition
    assert READINGS["hidden"].apply(lstm) == lstm
    assert Reading("", "", ("ucf101",), ("a=1",)).apply(lstm).settings == (*BEST, "a=1")
