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
    worst=10_000.0,  # a guess among as many words
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

# Nets of the language model and of speech: the paper's and the plain one, then ours.
_NETS = ("irnn", "lstm", "tanh-rnn", "np-rnn", "scaled-irnn", "gru")
_WORDS_OF = {net: Trial("ptb-words", net) for net in _NETS}
# As deep as the paper's, at the learning rate of one layer.
_DEEP_WORDS_OF = {net: Trial("ptb-words", net, None, ("model.layers=4",)) for net in _NETS}
_SENTENCES_OF = {net: Trial("sentences", net) for net in _NETS}


def _frames(net: str, units: int, *more: str) -> Trial:
    return Trial("speech-frames", net, None, (f"model.hidden_size={units}", *more))


def _stack(net: str, rate: str, *more: str) -> Trial:
    """A net of some layers. Half the units of an LSTM have a simple net's parameters, about."""
    return _frames(net, 50 if net == "lstm" else 100, f"optimizer.lr={rate}", *more)


# One layer, each at the learning rate that was best on validation, with one seed, of 3e-4, 1e-3,
# 3e-3 and 1e-2; but irnn, whose next seed diverged at 1e-2.
_RATES = dict.fromkeys((*_NETS, "rnn", "np-tanh-rnn"), "3e-3") | {"lstm": "1e-2"}
_FRAMES_OF = {
    net: _frames(net, 100 if net in ("lstm", "gru") else 200, f"optimizer.lr={rate}")
    for net, rate in _RATES.items()
}
_STACKED = ("lstm", "scaled-irnn", "irnn")
# At the rates of one layer; irnn, which diverged, at less.
_STACKS_OF = {
    f"{net}-{name}": _stack(
        net, "1e-3" if net == "irnn" and name != "1" else _RATES[net], *settings
    )
    for name, settings in (
        ("1", ()),
        ("2", ("model.layers=2",)),
        ("5", ("model.layers=5",)),
        ("5-bidirectional", ("model.layers=5", "model.bidirectional=true")),
    )
    for net in _STACKED
}

# The LSTM takes four times as long as the simple nets.
EXPERIMENTS: Mapping[str, Experiment] = {
    "addition": Experiment(
        "The addition problem: test sequences answered within 0.04",
        tuple(Trial("addition", net, T) for T in _LENGTHS for net in ("irnn", "lstm")),
    ),
    "mnist": Experiment("MNIST pixel by pixel", tuple(_MNIST.values())),
    "permuted-mnist": Experiment("MNIST with permuted pixels", tuple(_PERMUTED.values())),
    "words": Experiment(
        "A language model of Penn Treebank's words, one long text: test perplexity",
        (*_WORDS_OF.values(), *_DEEP_WORDS_OF.values()),
    ),
    "sentences": Experiment(
        "A language model of single sentences: test perplexity", tuple(_SENTENCES_OF.values())
    ),
    "frames": Experiment(
        "Phones of the frames of speech: test error", (*_FRAMES_OF.values(), *_STACKS_OF.values())
    ),
}
READINGS: Mapping[str, Reading] = {
    name: READINGS_OF_NP_RNN[name] for name in ("hidden", "mean", "bytes", "unclipped")
}


PRINTED_OF: Mapping[Trial, Printed] = {
    **{_MNIST[net]: PRINTED[f"mnist-{net}"] for net in ("irnn", "lstm")},
    **{
        _STACKS_OF[f"{net}-{name}"]: PRINTED[f"frames-{net}-{told}"]
        for net, name, told in (
            ("lstm", "2", "2x250"),
            ("scaled-irnn", "2", "2x500"),
            ("lstm", "5", "5x250"),
            ("scaled-irnn", "5", "5x500"),
            ("lstm", "5-bidirectional", "5x250-bidirectional"),
            ("scaled-irnn", "5-bidirectional", "5x500-bidirectional"),
        )
    },
}
"""What is told of its trials, of MNIST at another number of epochs, of speech with more units."""


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


def _is_closer_to_lstms(scores: Scores) -> list[Quantity]:
    """Perplexities: the IRNN's is below the middle of the two others'."""
    return [
        above(f"{name}: middle of lstm and tanh-rnn less irnn", _middle_less_irnn(scores, of), 0.0)
        for name, of in (("ptb-words", _WORDS_OF), ("sentences", _SENTENCES_OF))
    ]


def _middle_less_irnn(scores: Scores, trials: Mapping[str, Trial]) -> dict[int, float]:
    irnn, lstm, tanh = (scores.test(trials[net]) for net in ("irnn", "lstm", "tanh-rnn"))
    seeds = [seed for seed in irnn if seed in lstm and seed in tanh]
    return {seed: (lstm[seed] + tanh[seed]) / 2 - irnn[seed] for seed in seeds}


def _outperforms_tanh_and_keeps_up(scores: Scores) -> list[Quantity]:
    """Errors: far below the tanh net's, and at most MARGIN above the LSTM's in every stack."""
    errors = scores.test
    easily = ahead(
        "error of tanh-rnn less scaled-irnn's",
        errors(_FRAMES_OF["tanh-rnn"]),
        errors(_FRAMES_OF["scaled-irnn"]),
        by=_EASILY,
    )
    stacks = [
        ahead(
            f"error of lstm less scaled-irnn's, {name}",
            errors(_STACKS_OF[f"lstm-{name}"]),
            errors(_STACKS_OF[f"scaled-irnn-{name}"]),
            by=-MARGIN,
        )
        for name in ("2", "5", "5-bidirectional")
    ]
    return [easily, *stacks]


_EASILY = 0.02
"""How much less a net errs that easily outperforms another; set before any score was looked at."""

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
            measure=_is_closer_to_lstms,
        ),
    ),
    "frames": (
        Claim(
            "with 0.01 I it easily outperforms tanh units and is comparable to the LSTM",
            "TIMIT",
            source="second-hand",
            measure=_outperforms_tanh_and_keeps_up,
        ),
    ),
}
