"""The papers that can be carried out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from papers import irnn
from papers.book import Claim, Experiment, Printed, Reading, Trial
from papers.np_rnn import claims, trials


@dataclass(frozen=True)
class Paper:
    """What of a paper is carried out; `claims` by task, `printed` what it prints of trials."""

    title: str
    citation: str
    experiments: Mapping[str, Experiment]
    readings: Mapping[str, Reading]
    claims: Mapping[str, tuple[Claim, ...]]
    printed: Mapping[Trial, Printed]


PAPERS: Mapping[str, Paper] = {
    "np-rnn": Paper(
        "Improving performance of recurrent neural network with ReLU nonlinearity",
        "Talathi & Vartak 2015, arXiv:1511.03771",
        trials.EXPERIMENTS,
        trials.READINGS,
        claims.RESULTS,
        trials.PRINTED_OF,
    ),
    "irnn": Paper(
        "A simple way to initialize recurrent networks of rectified linear units",
        "Le, Jaitly & Hinton 2015, arXiv:1504.00941; its own text was not at hand: all is told "
        "second-hand",
        irnn.EXPERIMENTS,
        irnn.READINGS,
        irnn.RESULTS,
        irnn.PRINTED_OF,
    ),
}
