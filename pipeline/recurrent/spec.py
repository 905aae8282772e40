"""The one table of nets, and the spec that says which one to build; reading it needs no torch.

To add a net, give it a row in NETS: it can then be trained by that name. A start matrix of its own
is a function in `initial.py` with a row in RECURRENT_MATRICES there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pipeline.choices import check_choice
from pipeline.fields import ADDED, hold_fields

Cell = Literal["simple", "lstm", "gru", "min-gru", "co-rnn", "lru", "none"]


@dataclass(frozen=True)
class NetKind:
    """What makes a net: its cell; for a simple one also f and the recurrent matrix at the start.

    `recurrent_matrix` is a key of RECURRENT_MATRICES in `initial.py`; "" where there is none.
    `kept`: what that matrix stays while it is trained (`kept.py`); "" for any matrix.
    """

    cell: Cell
    nonlinearity: Literal["relu", "tanh"] = "relu"
    recurrent_matrix: str = ""
    kept: Literal["", "diagonal", "orthogonal"] = ""


@dataclass(frozen=True)
class CellSizes:
    """What a cell holds: matrices (H, D) and (H, H), and the widths of its states over H."""

    input_matrices: int
    state_matrices: int
    states: tuple[int, ...]


CELLS: dict[Cell, CellSizes] = {
    "simple": CellSizes(1, 1, (1,)),
    "lstm": CellSizes(4, 4, (1, 1)),
    "gru": CellSizes(3, 3, (1,)),
    "min-gru": CellSizes(2, 0, (1,)),
    "co-rnn": CellSizes(1, 2, (1, 1)),
    "lru": CellSizes(3, 2, (2,)),  # complex numbers count twice
    "none": CellSizes(0, 0, ()),
}

NETS: dict[str, NetKind] = {
    "np-rnn": NetKind("simple", "relu", "normalized-positive-definite"),
    "irnn": NetKind("simple", "relu", "identity"),
    "scaled-irnn": NetKind("simple", "relu", "scaled-identity"),
    "n-rnn": NetKind("simple", "relu", "normalized-gaussian"),
    "o-rnn": NetKind("simple", "relu", "orthogonal"),
    "g-rnn": NetKind("simple", "relu", "gaussian"),
    "rnn": NetKind("simple", "relu", "framework-default"),
    "shifted-np-rnn": NetKind("simple", "relu", "identity-plus-positive-definite"),
    "active-np-rnn": NetKind("simple", "relu", "active-set-normalized"),
    "tanh-rnn": NetKind("simple", "tanh", "framework-default"),
    "np-tanh-rnn": NetKind("simple", "tanh", "normalized-positive-definite"),
    # Not in the paper. IndRNN (Li et al. 2018, arXiv:1803.04831): h = relu(W x + u * h + b); here u
    # starts at 1 and is not clipped, so that it is irnn without what lies off the diagonal.
    "ind-rnn": NetKind("simple", "relu", "identity", kept="diagonal"),
    # Not in the paper. o-rnn that stays orthogonal, after expRNN (Lezcano-Casado & Martínez-Rubio
    # 2019, arXiv:1901.08428), but with ReLU for its modReLU: only the matrix keeps a state's norm.
    "orthogonal-rnn": NetKind("simple", "relu", "orthogonal", kept="orthogonal"),
    "lstm": NetKind("lstm"),
    "gru": NetKind("gru"),
    # Not in the paper; `cells.py` says what is taken. minGRU: Feng et al. 2024, arXiv:2410.01201;
    # coRNN: Rusch & Mishra 2021, arXiv:2010.00951; LRU: Orvieto et al. 2023, arXiv:2303.06349.
    "min-gru": NetKind("min-gru"),
    "co-rnn": NetKind("co-rnn"),
    "lru": NetKind("lru"),
    "mean-pool": NetKind("none"),
}

INPUT_SCALES = ("fan-in", "hidden")
READOUTS = ("last", "mean", "last-and-mean", "all")
DROPOUT_MEANINGS = ("dropped", "kept")
INITIAL_STATES = ("zero", "learned")
MOST_LAYERS = 5
SOFTMAXES = ("full", "adaptive")

# Which cells an option acts on; one that is not here acts on all.
_RECURRENT: tuple[Cell, ...] = tuple(cell for cell in CELLS if cell != "none")
_CELLS_OF_FIELD: dict[str, tuple[Cell, ...]] = {
    "hidden_size": _RECURRENT,
    "input_scale": ("simple",),
    "readout": _RECURRENT,
    "forget_bias": ("lstm",),
    "h0": _RECURRENT,
    "layers": _RECURRENT,
    "bidirectional": _RECURRENT,
    "embedding_size": _RECURRENT,
    "tied": _RECURRENT,
    "softmax": _RECURRENT,
}

# The fields that the task gives.
_OF_DATA = ("input_size", "num_outputs")


@dataclass(frozen=True)
class NetSpec:
    """All that determines a net but its seed.

    `name`: a key of NETS. `input_size` D, `num_outputs` C, `hidden_size` H.
    `input_scale`: the N of eq. 10 is the input's size (`fan-in`) or the hidden one (`hidden`).
    `readout`: what the linear layer reads, the `last` real step's state, the `mean` of the states
    over the real steps, `last-and-mean`, the last state and the mean of the features beside it (in
    training one of the two, drawn), or `all` steps one by one; mean-pool has no choice, and reads
    the mean of the features.
    `dropout`: in training, the share of hidden units that are `dropout_means` (dropped or kept).
    `forget_bias`: of an lstm's forget gate at the start. `h0`: the state before the first step.
    `layers`: recurrent layers of H units, 1 to 5, each above the first reading what the linear
    layer would read of the one below; the paper has one. No dropout lies between them.
    `bidirectional`: each layer has a second net, which reads the sequence from its end. What is
    read of a step is both states side by side, forward first; of readout `last` the forward one
    after the last step and the backward one after the first, each having read the whole sequence.
    `embedding_size`: features are token numbers, each less than `num_outputs`, and the first layer
    reads a vector of this size that is learned for each, of which dropout drops as of hidden units
    (Zaremba et al. 2014); 0: features are read as they are. `tied`: these vectors are the linear
    layer's weights. `softmax`: that of all outputs at once, or by groups of them (`adaptive`).
    A field without effect on the named net must stand at its default.
    """

    name: str
    input_size: int
    num_outputs: int
    hidden_size: int = 100
    input_scale: str = "fan-in"
    readout: str = "last"
    dropout: float = 0.5
    dropout_means: str = "dropped"
    forget_bias: float = 1.0
    h0: str = "zero"
    layers: int = field(default=1, metadata=ADDED)
    bidirectional: bool = field(default=False, metadata=ADDED)
    embedding_size: int = field(default=0, metadata=ADDED)
    tied: bool = field(default=False, metadata=ADDED)
    softmax: str = field(default="full", metadata=ADDED)

    def __post_init__(self) -> None:
        hold_fields(self, "model", bare=_OF_DATA)
        check_choice("model", self.name, NETS)
        for size in ("input_size", "num_outputs", "hidden_size"):
            _check_positive(size, getattr(self, size))
        check_choice("model.input_scale", self.input_scale, INPUT_SCALES)
        check_choice("model.readout", self.readout, READOUTS)
        check_choice("model.dropout_means", self.dropout_means, DROPOUT_MEANINGS)
        check_choice("model.h0", self.h0, INITIAL_STATES)
        if not 1 <= self.layers <= MOST_LAYERS:
            raise ValueError(
                f"model.layers: expected a whole number from 1 to {MOST_LAYERS}, "
                f"found {self.layers}."
            )
        if not 0 <= self.dropped_share < 1:
            bounds = "[0, 1)" if self.dropout_means == "dropped" else "(0, 1]"
            raise ValueError(
                f"dropout is {self.dropout}; expected a share in {bounds}, "
                f"since dropout_means={self.dropout_means}"
            )
        self._check_unused_fields()
        self._check_tokens()

    @property
    def kind(self) -> NetKind:
        """The net's row in NETS."""
        return NETS[self.name]

    @property
    def reads_tokens(self) -> bool:
        """Whether features are token numbers, and answers the tokens that follow."""
        return self.embedding_size > 0

    @property
    def dropped_share(self) -> float:
        """The share of hidden units set to zero in training, whatever `dropout_means`."""
        return self.dropout if self.dropout_means == "dropped" else 1 - self.dropout

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Widths of the vectors that pass from step to step: h, an lstm's c, co-rnn's speeds.

        Those of the layers lie side by side, the first one's first; of a layer, forward first.
        """
        in_all = self.layers * self.num_directions * self.hidden_size
        return tuple(width * in_all for width in CELLS[self.kind.cell].states)

    @property
    def num_directions(self) -> int:
        """2 where a second net reads the sequences from their ends."""
        return 2 if self.bidirectional else 1

    @property
    def step_size(self) -> int:
        """How many numbers there are to read of a step, above all layers; 0 for mean-pool."""
        return 0 if self.kind.cell == "none" else self.num_directions * self.hidden_size

    @property
    def layer_inputs(self) -> tuple[int, ...]:
        """The input size of each layer, the first one's first; () for mean-pool."""
        if self.kind.cell == "none":
            return ()
        first = self.embedding_size or self.input_size
        return (first, *(self.layers - 1) * (self.step_size,))

    @property
    def reads_mean_features(self) -> bool:
        """Whether the linear layer reads the mean of the features, alone or beside the state."""
        return self.kind.cell == "none" or self.readout == "last-and-mean"

    @property
    def mean_size(self) -> int:
        """The size of the mean over steps that the linear layer reads; 0 where it reads none."""
        if self.reads_mean_features:
            return self.input_size
        return self.step_size if self.readout == "mean" else 0

    @property
    def read_size(self) -> int:
        """How many numbers the linear layer reads."""
        return self.mean_size + (self.step_size if self.readout != "mean" else 0)

    def check_advances(self) -> None:
        """Raise ValueError for a bidirectional net, which has no state to go on from."""
        if self.bidirectional:
            raise ValueError(
                f"model.bidirectional is true: this {self.name} reads a sequence from its end, "
                f"too, and so cannot go on from step to step, as streams and cuts of a long text "
                f"do.\nTrain one with model.bidirectional=false."
            )

    def _check_tokens(self) -> None:
        check_choice("model.softmax", self.softmax, SOFTMAXES)
        if self.embedding_size < 0:
            raise ValueError(
                f"model.embedding_size: expected a whole number from 0 up, "
                f"found {self.embedding_size}."
            )
        if not self.reads_tokens:
            if self.tied or self.softmax != "full":
                name = "tied" if self.tied else f"softmax={self.softmax}"
                raise ValueError(
                    f"model.{name} is about tokens, but model.embedding_size is 0: leave it out."
                )
            return
        if self.readout != "all" or self.kind.cell == "none":
            raise ValueError(
                f"model.embedding_size is {self.embedding_size}: expected a recurrent net that "
                f"answers at every step, found {self.name} with readout={self.readout}.\n"
                f"Pass model.readout=all, or another model."
            )
        self.check_advances()
        self._check_tied()

    def _check_tied(self) -> None:
        if not self.tied:
            return
        if self.softmax != "full":
            raise ValueError("model.tied: expected model.softmax=full, found adaptive.")
        if self.embedding_size != self.read_size:
            raise ValueError(
                f"model.tied: expected an embedding as large as what the linear layer reads, "
                f"found {self.embedding_size} and {self.read_size}.\n"
                f"Pass model.embedding_size={self.read_size}."
            )

    def _check_unused_fields(self) -> None:
        for f in fields(self):
            found = getattr(self, f.name)
            if not _acts_on(f.name, self.kind.cell) and found != f.default:
                # It comes with tasks that are scored at every step.
                fix = "choose another model" if found == "all" else "leave it out"
                raise ValueError(
                    f"model.{f.name} is {found!r}, which has no effect on {self.name}; "
                    f"expected its default, {f.default!r}: {fix}"
                )


def model_options(name: str) -> dict[str, Any]:
    """The options of the net of this name with their defaults: the config's `model` section.

    All of NetSpec but the sizes, which the task gives, and the options without effect on the net.
    """
    cell = NETS[name].cell
    given = ("name", *_OF_DATA)
    options = {f.name: f.default for f in fields(NetSpec) if f.name not in given}
    return {"name": name, **{key: v for key, v in options.items() if _acts_on(key, cell)}}


def _acts_on(option: str, cell: Cell) -> bool:
    return cell in _CELLS_OF_FIELD.get(option, (cell,))


def _check_positive(field: str, found: int) -> None:
    if found < 1:
        raise ValueError(f"{field} is {found!r}; expected a whole number of at least 1")
