"""The papers that can be carried out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from papers import irnn
from papers.book import Claim, Experiment, Reading
from papers.np_rnn import claims, trials


@dataclass(frozen=True)
class Paper:
    """What of a paper is carried out: experiments, readings, and claims by the task they are of."""

    title: str
    citation: str
    experiments: Mapping[str, Experiment]
    readings: Mapping[str, Reading]
    claims: Mapping[str, tuple[Claim, ...]]


PAPERS: Mapping[str, Paper] = {
    "np-rnn": Paper(
        "Improving performance of recurrent neural network with ReLU nonlinearity",
        "Talathi & Vartak 2015, arXiv:1511.03771",
        trials.EXPERIMENTS,
        trials.READINGS,
        claims.RESULTS,
    ),
    "irnn": Paper(
        "A simple way to initialize recurrent networks of rectified linear units",
        "Le, Jaitly & Hinton 2015, arXiv:1504.00941; its own text was not at hand: all is told "
        "second-hand",
        irnn.EXPERIMENTS,
        irnn.READINGS,
        irnn.RESULTS,
    ),
}
