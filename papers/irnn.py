"""What is known here of the IRNN paper: its own text is not at hand.

Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units",
arXiv:1504.00941. `second-hand` is what a review or the np-RNN paper tells of it, `unverified` what
others tell without a source: pages must say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from papers.book import (
    Claim,
    Experiment,
    Printed,
    Protocol,
    Reading,
    Scores,
    Source,
    Trial,
)
from papers.np_rnn import protocols as np_rnn
from papers.np_rnn.trials import READINGS as READINGS_OF_NP_RNN
from papers.verdicts import MARGIN, Quantity, above, ahead, below

# Of a language model one layer of 200 units, as the small nets of Zaremba et al. 2014, "Recurrent
# neural network regularization", have two; two epochs, for minutes on one core: theirs have 13.
_WORDS = Protocol(
    task="words", optimizer="adam", lr=4e-3, phase_epochs=(1, 1), batch_size=20, dropout=0.2,
    clip=1.0, loss_over_batch="mean", keep="best", number="epochs",
    more={
        "model": {"hidden_size": 200, "embedding_size": 200, "softmax": "adaptive"},
        "schedule": {"cooling": 0.2},
    },
)  # fmt: skip
# The tasks are this paper's; how it trained is not known. For MNIST the np-RNN's protocol is taken.
PROTOCOLS: Mapping[str, Protocol] = {
    "permuted-mnist": replace(np_rnn.PROTOCOLS["mnist-np-rnn"], task="permuted-mnist", net=""),
    # Penn Treebank as one long text, which is not this paper's.
    "ptb-words": _WORDS,
    # As the 1 Billion Word benchmark is scored; three epochs, of its held-out part.
    "sentences": replace(
        _WORDS, phase_epochs=(2, 1), more={**_WORDS.more, "task": {"protocol": "sentences"}}
    ),
}


def _model(net: str) -> tuple[str, ...]:
    """What makes an experiment that is for the IRNN one for another net."""
    return () if net == "irnn" else (f"model={net}",)


@dataclass(frozen=True)
class Training:
    """The settings that its grids had, as they are told."""

    learning_rates: tuple[float, ...]
    clips: tuple[float, ...]
    forget_biases: tuple[float, ...]
    batch_size: int
    most_updates: int
    source: Source = "second-hand"


# SGD at a fixed rate; input weights N(0, 0.001), and whether that is a variance is not said.
TRAINING = Training(
    learning_rates=tuple(10.0**exponent for exponent in range(-9, 0)),
    clips=(1, 10, 100, 1000),
    forget_biases=(1, 4, 10, 20),
    batch_size=16,
    most_updates=1_000_000,
)


def _perplexities(rows: Sequence[tuple[str, float]]) -> dict[str, Printed]:
    place = "1 Billion Word benchmark"
    return {
        f"words-{net}": Printed(place, value, unit="perplexity", source="unverified")
        for net, value in rows
    }


def _frame_errors(rows: Sequence[tuple[str, float, float]]) -> dict[str, Printed]:
    """Of the development and the test part, in shares."""
    return {
        f"frames-{net}": Printed(
            "TIMIT", test / 100, validation=development / 100, unit="error", source="second-hand"
        )
        for net, development, test in rows
    }


# By task and net: `irnn-4x512` has four layers of 512 units.
PRINTED: Mapping[str, Printed] = {
    "mnist-irnn": Printed("MNIST", 0.03, unit="error", source="second-hand"),
    "mnist-lstm": Printed("MNIST", 0.34, unit="error", source="second-hand"),
    **_perplexities(
        [
            ("lstm-512", 68.8),
            ("irnn-4x512", 69.4),
            ("irnn-1024-projected-512", 70.2),
            ("tanh-4x512", 71.8),
            ("tanh-1024", 72.5),
        ]
    ),
    **_frame_errors(
        [
            ("lstm-2x250", 34.5, 35.4),
            ("scaled-irnn-2x500", 34.3, 35.5),
            ("lstm-5x250", 35.0, 36.2),
            ("scaled-irnn-5x500", 33.0, 33.8),
            ("lstm-5x250-bidirectional", 28.5, 29.1),
            ("scaled-irnn-5x500-bidirectional", 28.9, 29.7),
        ]
    ),
}

_LENGTHS = (150, 200, 300, 400)
_MNIST = {net: Trial("mnist-irnn", net, 100, _model(net)) for net in ("irnn", "lstm", "rnn")}
_PERMUTED = {net: Trial("permuted-mnist", net) for net in ("irnn", "lstm")}

# The LSTM has torch's layer, which takes hours where the simple nets' kernel takes minutes.
EXPERIMENTS: Mapping[str, Experiment] = {
    "addition": Experiment(
        "The addition problem: test sequences answered within 0.04",
        tuple(Trial("addition", net, T) for T in _LENGTHS for net in ("irnn", "lstm")),
    ),
    "mnist": Experiment("MNIST pixel by pixel", tuple(_MNIST.values())),
    "permuted-mnist": Experiment("MNIST with permuted pixels", tuple(_PERMUTED.values())),
}
READINGS: Mapping[str, Reading] = {
    name: READINGS_OF_NP_RNN[name] for name in ("hidden", "mean", "bytes", "unclipped")
}


PRINTED_OF: Mapping[Trial, Printed] = {
    _MNIST[net]: PRINTED[f"mnist-{net}"] for net in ("irnn", "lstm")
}
"""What is told of its trials, at another number of epochs."""


def _converges_as_well(scores: Scores) -> list[Quantity]:
    return [
        ahead(
            f"irnn less lstm, T = {T}",
            scores.test(Trial("addition", "irnn", T)),
            scores.test(Trial("addition", "lstm", T)),
            by=-MARGIN,
        )
        for T in _LENGTHS
    ]


def _is_best_on_mnist(scores: Scores) -> list[Quantity]:
    irnn, lstm, rnn = (scores.test(trial) for trial in _MNIST.values())
    return [
        above("irnn", irnn, 0.95),
        ahead("irnn less lstm", irnn, lstm),
        below("rnn", rnn, 0.5),
    ]


RESULTS: Mapping[str, tuple[Claim, ...]] = {
    "addition": (
        Claim(
            "IRNNs converge as well as LSTMs",
            "the adding problem",
            source="second-hand",
            measure=_converges_as_well,
            readings=("hidden",),
        ),
    ),
    "mnist": (
        Claim(
            "standard RNNs fail, also with ReLU; the IRNN errs on 3 %, the LSTM is worse",
            "MNIST pixel by pixel",
            source="second-hand",
            measure=_is_best_on_mnist,
            readings=("hidden", "mean", "bytes", "unclipped"),
        ),
    ),
    "words": (
        Claim(
            "IRNNs are closer to LSTMs than to RNNs",
            "1 Billion Word benchmark",
            source="second-hand",
        ),
    ),
    "frames": (
        Claim(
            "with 0.01 I it easily outperforms tanh units and is comparable to the LSTM",
            "TIMIT",
            source="second-hand",
        ),
    ),
}
