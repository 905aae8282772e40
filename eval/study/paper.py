"""The np-RNN paper's numbers, to stand beside ours.

Talathi & Vartak 2015, "Improving performance of recurrent neural network with ReLU nonlinearity".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's table 3: accuracies of the best of its grid."""

    learning_rate: float
    dropout: float
    validation: float
    test: float


# Table 3: UCF-101, split one, GoogLeNet features, RMSprop.
TABLE_3: Mapping[str, PaperRow] = {
    "scaled-irnn": PaperRow(1e-3, 0.5, 0.59, 0.566),
    "irnn": PaperRow(1e-2, 0.5, 0.71, 0.67),
    "np-rnn": PaperRow(1e-3, 0.5, 0.786, 0.752),
    "lstm": PaperRow(1e-3, 0.5, 0.803, 0.785),
}
TABLE_3_IS = (
    "UCF-101 split one, all 101 classes, one training each (Talathi & Vartak 2015, table 3)"
)
