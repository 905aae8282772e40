"""The trials that make the np-RNN paper's figures and tables, and what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping

from papers.book import Experiment, Printed, Reading, Trial
from papers.np_rnn.protocols import PRINTED, TABLE_3

ADDITION_NETS = ("np-rnn", "irnn", "scaled-irnn", "n-rnn", "np-tanh-rnn", "o-rnn", "g-rnn")
ADDITION_LENGTHS = (150, 200, 300, 400, 500)
MULTIPLICATION_NETS = ADDITION_NETS[:5]
MULTIPLICATION_LENGTHS = (50, 100, 200)
LEARNING_RATES = ("1e-5", "5e-5", "1e-4", "5e-4", "1e-3", "1e-2")
DROPOUTS = ("0.5", "0.7", "0.9")
_SHIFTED = "shifted-np-rnn"
# The same net under the settings that the IRNN paper is told to have used for MNIST.
IRNN_BY_SGD = Trial("mnist-irnn", "irnn", 100, ("optimizer=sgd", "optimizer.lr=1e-8"))


def grid_trial(net: str, lr: str, dropout: str) -> Trial:
    """A cell of figure 6."""
    return Trial("ucf101", net, None, (f"optimizer.lr={lr}", f"model.dropout={dropout}"))


def grid_trials(net: str) -> tuple[Trial, ...]:
    """The cells of a net's panel of figure 6; those of mean-pool are not in the paper."""
    return tuple(grid_trial(net, lr, dropout) for dropout in DROPOUTS for lr in LEARNING_RATES)


ALL_NETS = (
    "np-rnn", "irnn", "scaled-irnn", "n-rnn", "o-rnn", "g-rnn", "rnn", "shifted-np-rnn",
    "active-np-rnn", "np-tanh-rnn", "tanh-rnn", "ind-rnn", "orthogonal-rnn", "lstm", "gru",
    "min-gru", "lru", "co-rnn", "mean-pool",
)  # fmt: skip
"""Every net of this program: those that the paper does not have are controls, or of today."""


def _read_otherwise(trial: Trial) -> tuple[Trial, ...]:
    """The trial, and what the same net gives if its linear layer reads more than the last state."""
    readouts = ("model.readout=mean", "model.readout=last-and-mean")
    more = (Trial(trial.protocol, trial.net, None, (*trial.settings, r)) for r in readouts)
    return trial, *more


def _search_mnist() -> tuple[Trial, ...]:
    """{A, A + I} × pixels × loss × clip: the first is the protocol as it is read by default."""
    return tuple(
        Trial("mnist-np-rnn", net, 100, tuple(setting for setting in chosen if setting))
        for net in ("np-rnn", "shifted-np-rnn")
        for pixels in ("", "task.pixels=bytes")
        for loss in ("", "trainer.loss_over_batch=mean")
        for clip in ("", "optimizer.clip=1", "optimizer.clip=null")
        for chosen in [("" if net == "np-rnn" else f"model={net}", pixels, loss, clip)]
    )


_GRID = tuple(trial for net in TABLE_3 for trial in grid_trials(net))

EXPERIMENTS: Mapping[str, Experiment] = {
    "figure-3": Experiment(
        "The addition problem: test sequences answered within 0.04",
        tuple(Trial("addition", net, T) for T in ADDITION_LENGTHS for net in ADDITION_NETS),
    ),
    "figure-4": Experiment(
        "The multiplication problem: test sequences answered within 0.04",
        tuple(
            Trial("multiplication", net, T)
            for T in MULTIPLICATION_LENGTHS
            for net in MULTIPLICATION_NETS
        ),
    ),
    "figure-5": Experiment(
        "MNIST pixel by pixel: the loss by epoch, in 100 epochs",
        tuple(Trial(f"mnist-{net}", net, 100) for net in ("np-rnn", "irnn")),
    ),
    "table-2": Experiment(
        "MNIST pixel by pixel: accuracy after 100 and 500 epochs",
        (
            *(Trial(f"mnist-{net}", net, n) for n in (100, 500) for net in ("irnn", "np-rnn")),
            IRNN_BY_SGD,
        ),
    ),
    "table-3": Experiment("UCF-101: each net's best setting by validation, tested", _GRID),
    "figure-6": Experiment("UCF-101: validation over learning rate and dropout", _GRID),
    # The other nets of today take hours for 1,000,000 updates with single sequences.
    "other-nets": Experiment(
        "The addition problem with nets that are not in the paper",
        tuple(Trial("addition", net, 150) for net in ("ind-rnn", "orthogonal-rnn")),
        is_ours=True,
    ),
    "mnist-search": Experiment(
        "What MNIST needs: matrix, pixels, loss and clipping at a tenth of the training",
        _search_mnist(),
        budget=0.1,
        is_ours=True,
    ),
    "mnist-best": Experiment(
        "What MNIST needs: the best of the search by validation, in full",
        tuple(
            Trial("mnist-np-rnn", net, 100, settings)
            for net, settings in (
                ("np-rnn", ("task.pixels=bytes", "optimizer.clip=null")),
                (_SHIFTED, (f"model={_SHIFTED}", "task.pixels=bytes", "optimizer.clip=null")),
                (_SHIFTED, (f"model={_SHIFTED}", "task.pixels=bytes")),
            )
        ),
        is_ours=True,
    ),
    "order-of-frames": Experiment(
        "Is the order of the frames used? What nets lose on frames out of order",
        tuple(grid_trial(net, "1e-3", "0.5") for net in ALL_NETS),
        is_ours=True,
    ),
    "readouts": Experiment(
        "Does a recurrent net earn its place beside the average of the frames?",
        (
            grid_trial("mean-pool", "1e-3", "0.5"),
            *_read_otherwise(grid_trial("np-rnn", "1e-3", "0.5")),
            *_read_otherwise(Trial("arrow-of-time", "np-rnn")),
        ),
        is_ours=True,
    ),
    "arrow-of-time": Experiment(
        "Is the order of the frames seen? Clips forwards told from clips backwards",
        tuple(Trial("arrow-of-time", net) for net in ALL_NETS),
        is_ours=True,
    ),
}

PRINTED_OF: Mapping[Trial, Printed] = {
    trial: PRINTED[trial.name]
    for trial in EXPERIMENTS["table-2"].trials
    if not trial.settings and trial.name in PRINTED
}
"""What table 2 prints of its trials."""

_MNIST = ("mnist-np-rnn", "mnist-irnn", "permuted-mnist")
READINGS: Mapping[str, Reading] = {
    "hidden": Reading(
        "N = H",
        "the N of eq. 10 is the hidden size, not the input's",
        ("addition", "multiplication", "ucf101", *_MNIST),
        ("model.input_scale=hidden",),
        without=("lstm", "mean-pool"),
    ),
    "shifted": Reading(
        "A + I",
        "np-RNN starts from (A + I) over its largest eigenvalue, as programs that cite the paper's "
        "third version have it, not from A",
        ("addition", "multiplication", "ucf101", *_MNIST),
        nets={"np-rnn": "shifted-np-rnn"},
    ),
    "mean": Reading(
        "mean loss",
        "the loss of a batch is the mean of its sequences', not their sum",
        ("multiplication", *_MNIST),
        ("trainer.loss_over_batch=mean",),
    ),
    "bytes": Reading(
        "pixels to 255", "pixels are from 0 to 255, not to 1", _MNIST, ("task.pixels=bytes",)
    ),
    "unclipped": Reading(
        "no clip",
        "gradients are clipped for addition alone, where the paper says so, and not elsewhere",
        ("multiplication", *_MNIST),
        ("optimizer.clip=null",),
    ),
}
