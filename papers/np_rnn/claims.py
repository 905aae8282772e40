"""What the np-RNN paper claims of its experiments, each sentence with the test that decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from papers.book import Claim, Scores, Trial
from papers.np_rnn.protocols import TABLE_3
from papers.np_rnn.trials import (
    ADDITION_LENGTHS,
    ADDITION_NETS,
    IRNN_BY_SGD,
    MULTIPLICATION_LENGTHS,
    grid_trials,
)
from papers.verdicts import MARGIN, Quantity, above, ahead, below

TRAINED = 0.2
"""A net learned something of the addition problem from this share on; the floor is 0.08."""
NEAR_BEST = 0.05
"""A cell of figure 6 is good if its score is within this of the net's best."""


def find_best(scores: Scores, net: str, seed: int) -> Trial | None:
    """The net's setting that is best on validation for this seed.

    Ties go to the smaller learning rate, then the smaller dropout. None unless all cells are there.
    """
    trials = sorted(grid_trials(net), key=lambda t: [float(s.split("=")[1]) for s in t.settings])
    found = [scores.validation(trial).get(seed) for trial in trials]
    known = [
        (score, trial) for score, trial in zip(found, trials, strict=True) if score is not None
    ]
    return max(known, key=lambda pair: pair[0])[1] if len(known) == len(trials) else None


def find_tested(scores: Scores, net: str) -> dict[int, float]:
    """Table 3: of each seed the test score of the setting that is best on validation."""
    seeds = scores.validation(grid_trials(net)[0])
    best = {seed: find_best(scores, net, seed) for seed in seeds}
    return {
        seed: scores.test(trial)[seed]
        for seed, trial in best.items()
        if trial is not None and seed in scores.test(trial)
    }


def measure_breadth(scores: Scores, net: str) -> dict[int, float]:
    """Figure 6: of each seed the share of cells within NEAR_BEST of the best one."""
    trials = grid_trials(net)
    breadth = {}
    for seed in scores.validation(trials[0]):
        best = find_best(scores, net, seed)
        if best is not None:
            bound = scores.validation(best)[seed] - NEAR_BEST
            breadth[seed] = sum(scores.validation(t)[seed] >= bound for t in trials) / len(trials)
    return breadth


def _compare(
    protocol: str, net: str, others: Sequence[str], *, lengths: Sequence[int], by: float
) -> Callable[[Scores], list[Quantity]]:
    def measure(scores: Scores) -> list[Quantity]:
        return [
            ahead(
                f"{net} less {other}, T = {T}",
                scores.test(Trial(protocol, net, T)),
                scores.test(Trial(protocol, other, T)),
                by=by,
            )
            for T in lengths
            for other in others
        ]

    return measure


def _bound(
    protocol: str,
    bound: Callable[[str, Mapping[int, float], float], Quantity],
    value: float,
    *,
    nets: Sequence[str],
    lengths: Sequence[int],
) -> Callable[[Scores], list[Quantity]]:
    def measure(scores: Scores) -> list[Quantity]:
        return [
            bound(f"{net}, T = {T}", scores.test(Trial(protocol, net, T)), value)
            for T in lengths
            for net in nets
        ]

    return measure


def _trains_alone_at_500(scores: Scores) -> list[Quantity]:
    def measure(bound: Any, nets: Sequence[str]) -> list[Quantity]:
        return _bound("addition", bound, TRAINED, nets=nets, lengths=(500,))(scores)

    return [*measure(above, ADDITION_NETS[:1]), *measure(below, ADDITION_NETS[1:])]


def _mnist(scores: Scores, net: str, epochs: int) -> Mapping[int, float]:
    return scores.test(Trial(f"mnist-{net}", net, epochs))


def _reaches(net: str, epochs: int, printed: float) -> Callable[[Scores], list[Quantity]]:
    """ "About" is taken as two points less at most."""
    return lambda scores: [
        above(f"{net}, {epochs} epochs", _mnist(scores, net, epochs), printed - 0.02)
    ]


def _is_ahead_on_mnist(scores: Scores) -> list[Quantity]:
    return [
        ahead(
            f"np-rnn less irnn, {n} epochs", _mnist(scores, "np-rnn", n), _mnist(scores, "irnn", n)
        )
        for n in (100, 500)
    ]


def _order_on_ucf101(scores: Scores) -> list[Quantity]:
    order = ("lstm", "np-rnn", "irnn", "scaled-irnn")
    tested = {net: find_tested(scores, net) for net in order}
    return [
        ahead(f"{first} less {second}", tested[first], tested[second])
        for first, second in pairwise(order)
    ]


def _is_closer_to_lstm(scores: Scores) -> list[Quantity]:
    lstm, np_rnn, irnn = (find_tested(scores, net) for net in ("lstm", "np-rnn", "irnn"))
    seeds = sorted(set(lstm) & set(np_rnn) & set(irnn))
    closer = tuple(abs(lstm[s] - irnn[s]) - abs(lstm[s] - np_rnn[s]) for s in seeds)
    return [Quantity("distance of irnn to lstm less that of np-rnn", closer, 0.0)]


def _depends_less(scores: Scores) -> list[Quantity]:
    breadth = {net: measure_breadth(scores, net) for net in TABLE_3}
    return [
        ahead(f"good share of the grid, {wide} less {narrow}", breadth[wide], breadth[narrow])
        for wide in ("np-rnn", "lstm")
        for narrow in ("irnn", "scaled-irnn")
    ]


_SHORT = (150, 200, 300)
_OF_NP_RNN = ("hidden", "shifted")
_OF_MULTIPLICATION = ("hidden", "shifted", "mean", "unclipped")
_OF_MNIST = ("hidden", "shifted", "mean", "bytes", "unclipped")

# Of its experiments: a claim is about the scores of EXPERIMENTS' trials of the same protocol.
RESULTS: Mapping[str, tuple[Claim, ...]] = {
    "addition": (
        Claim(
            "the np-RNN performs at par or better than the others for T <= 300",
            "section 4.1",
            measure=_compare("addition", "np-rnn", ADDITION_NETS[1:], lengths=_SHORT, by=-MARGIN),
            readings=_OF_NP_RNN,
        ),
        Claim(
            "at T = 400 both the IRNN and the np-RNN could be trained",
            "section 4.1",
            measure=_bound("addition", above, TRAINED, nets=("np-rnn", "irnn"), lengths=(400,)),
            readings=_OF_NP_RNN,
        ),
        Claim(
            "at T = 500 the np-RNN can be trained, and no other easily",
            "section 4.1",
            measure=_trains_alone_at_500,
            readings=_OF_NP_RNN,
        ),
        Claim(
            "the oRNN and the gRNN failed to train at every length",
            "section 4.1",
            measure=_bound(
                "addition", below, TRAINED, nets=("o-rnn", "g-rnn"), lengths=ADDITION_LENGTHS
            ),
            readings=("hidden",),
        ),
        Claim(
            "the nRNN and the np-tanhRNN performed relatively well for T = 150, 200, 300",
            "section 4.1",
            measure=_bound(
                "addition", above, TRAINED, nets=("n-rnn", "np-tanh-rnn"), lengths=_SHORT
            ),
            readings=("hidden",),
        ),
    ),
    "multiplication": (
        Claim(
            "the np-RNN is right on more than 90 % of the test sequences at every T",
            "section 4.2",
            measure=_bound(
                "multiplication", above, 0.9, nets=("np-rnn",), lengths=MULTIPLICATION_LENGTHS
            ),
            readings=_OF_MULTIPLICATION,
        ),
        Claim(
            "neither iRNN nor IRNN is right on more than 50 % at any T",
            "section 4.2",
            measure=_bound(
                "multiplication",
                below,
                0.5,
                nets=("scaled-irnn", "irnn"),
                lengths=MULTIPLICATION_LENGTHS,
            ),
            readings=("hidden", "mean", "unclipped"),
        ),
        Claim(
            "the nRNN and the np-tanhRNN did fairly well at every T",
            "section 4.2",
            measure=_bound(
                "multiplication",
                above,
                0.5,
                nets=("n-rnn", "np-tanh-rnn"),
                lengths=MULTIPLICATION_LENGTHS,
            ),
            readings=("hidden", "mean", "unclipped"),
        ),
        Claim(
            "the np-RNN in general outperforms both nRNN and np-tanhRNN",
            "section 4.2",
            measure=_compare(
                "multiplication",
                "np-rnn",
                ("n-rnn", "np-tanh-rnn"),
                lengths=MULTIPLICATION_LENGTHS,
                by=0.0,
            ),
            readings=_OF_MULTIPLICATION,
        ),
    ),
    "mnist": (
        Claim(
            "the IRNN could not be trained by SGD with the IRNN paper's settings",
            "section 4.3",
            measure=lambda scores: [
                below("irnn by SGD, 100 epochs", scores.test(IRNN_BY_SGD), TRAINED)
            ],
            readings=("hidden", "mean", "bytes", "unclipped"),
        ),
        *(
            Claim(
                f"the {name} reaches about {printed:g} % after {epochs} epochs",
                "table 2",
                measure=_reaches(net, epochs, printed / 100),
                readings=_OF_MNIST,
            )
            for name, net, epochs, printed in (
                ("np-RNN", "np-rnn", 100, 92),
                ("IRNN", "irnn", 100, 83),
                ("np-RNN", "np-rnn", 500, 96.8),
                ("IRNN", "irnn", 500, 93),
            )
        ),
        Claim(
            "the np-RNN is more accurate than the IRNN after 100 and 500 epochs",
            "table 2",
            measure=_is_ahead_on_mnist,
            readings=_OF_MNIST,
        ),
        Claim("the IRNN is extremely sensitive to the training protocol", "section 4.3"),
    ),
    "ucf101": (
        Claim(
            "the LSTM is best, the np-RNN next, then the IRNN, the iRNN worst",
            "table 3",
            measure=_order_on_ucf101,
            readings=_OF_NP_RNN,
        ),
        Claim(
            "the np-RNN's scores are closer to the LSTM's than the IRNN's are",
            "section 4.4",
            measure=_is_closer_to_lstm,
            readings=_OF_NP_RNN,
        ),
        Claim(
            "iRNN and IRNN depend strongly on learning rate and dropout, np-RNN and LSTM do not",
            "section 4.4, figure 6",
            measure=_depends_less,
            readings=_OF_NP_RNN,
        ),
    ),
}
LSTM_IS_FOUR_TIMES = Claim("the LSTM has four times the free parameters of the sRNN", "section 4.4")


def measure_complexity(ratio: float) -> list[Quantity]:
    """Of the parameters of the LSTM over the sRNN's: four, rounded."""
    name = "parameters of the lstm over np-rnn's"
    return [
        Quantity(name, (ratio,), 3.5, is_exact=True),
        Quantity(name, (ratio,), 4.5, is_above=False, is_exact=True),
    ]
