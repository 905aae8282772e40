"""What the np-RNN paper says of its nets at the start of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from papers.book import Claim, within

TOLERANCE = 1e-4
"""Two eigenvalues are equal within this: of 100 units, from float32 weights."""


def _is_positive_definite_up_to_one(values: NDArray[np.complex128]) -> bool:
    return (
        abs(values[0] - 1) < TOLERANCE
        and bool((abs(values.imag) < TOLERANCE).all())
        and bool((values.real > -TOLERANCE).all())
        and bool((values.real[1:] < 1).all())
    )


def _is_normalized_and_complex(values: NDArray[np.complex128]) -> bool:
    return abs(abs(values[0]) - 1) < TOLERANCE and bool((abs(values.imag) > TOLERANCE).any())


_POSITIVE = Claim(
    "the recurrent matrix starts positive definite, its highest eigenvalue 1 and all others below "
    "1",
    "section 2, eq. 9",
    _is_positive_definite_up_to_one,
)

# Of a net at its start. `spectrum`: of the eigenvalues (H,) of the recurrent matrix, the largest
# |λ| first. `gradient`: of the gradient's norm many steps back, over that at the end.
# `sensitivity`: of what is left of a push of the first input many steps on, over its first effect.
DYNAMICS: Mapping[str, Mapping[str, Claim]] = {
    "spectrum": {
        "np-rnn": _POSITIVE,
        "np-tanh-rnn": _POSITIVE,
        "irnn": Claim(
            "the recurrent matrix starts as the identity: all eigenvalues are 1",
            "section 2",
            lambda values: bool((abs(values - 1) < TOLERANCE).all()),
        ),
        "scaled-irnn": Claim(
            "the recurrent matrix starts as 0.01 times the identity",
            "table 1",
            lambda values: bool((abs(values - 0.01) < TOLERANCE).all()),
        ),
        "n-rnn": Claim(
            "the recurrent matrix starts normalized, its highest eigenvalue 1 and the others "
            "below, with imaginary ones",
            "table 1, section 4.1",
            _is_normalized_and_complex,
        ),
        "o-rnn": Claim(
            "the recurrent matrix starts as a random orthogonal one",
            "table 1",
            lambda values: bool((abs(abs(values) - 1) < TOLERANCE).all()),
        ),
        "g-rnn": Claim("the recurrent matrix starts as a random Gaussian one", "table 1"),
    },
    "gradient": {
        "np-rnn": Claim(
            "∂h(t+1)/∂h(t) starts at 1, so that gradients neither vanish nor explode",
            "sections 2, 4.2",
            within(0.1, 10),
        ),
        "irnn": Claim(
            "without input the 2-norm of each Jacobian is identically one, and gradients neither "
            "grow nor decay exponentially",
            "section 2",
            within(0.1, 10),
        ),
        "n-rnn": Claim(
            "complex eigenvalues make the state oscillate and end at the origin, so that the "
            "gradient vanishes: a conjecture",
            "section 4.1",
            within(0, 0.1),
        ),
        "np-tanh-rnn": Claim(
            "∂h(t+1)/∂h(t) < 1, so that the gradient vanishes", "section 4.1", within(0, 0.1)
        ),
        "lstm": Claim(
            "the error neither decays nor explodes on its way through the memory unit",
            "section 1",
            within(0.1, 10),
        ),
    },
    "sensitivity": {
        "np-rnn": Claim(
            "collapsing the state onto one dimension reduces its sensitivity to the input",
            "section 5",
            within(0, 0.999),
        ),
        "irnn": Claim(
            "the state is extremely sensitive to perturbations of the input, which nothing makes "
            "it forget",
            "sections 1, 2",
            within(0.1, np.inf),
        ),
    },
}
# What it says of the same where it names another net, or none.
DYNAMICS_OF_OTHERS: Mapping[str, str] = {
    "spectrum": "nothing of this net's spectrum",
    "gradient": "nothing of this net's gradient; of the np-RNN, that ∂h(t+1)/∂h(t) starts at 1 "
    "(section 4.2)",
    "sensitivity": "nothing of this net's sensitivity; of the IRNN, that it is extreme, and of the "
    "np-RNN, that it is reduced (sections 1, 5)",
}
ACTIVE_UNITS = Claim(
    "a unit below zero is off, and the argument from eigenvalues is for states within the positive "
    "quadrant, to which the np-RNN is restricted",
    "section 2, eq. 8; section 4.2",
)
PHASE_PORTRAITS = Claim(
    "with eigenvalues (1, 1) every state stays, with both below 1 all end at the origin, with "
    "(1, below 1) on a line, and with one above 1 they diverge",
    "figure 2",
)
