"""What the np-RNN paper says of a net's dynamics, each with a test on numbers.

Talathi & Vartak 2015; the section stands beside each claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.dynamics.dynamics import LOOK_BACK, Moment, at

TOLERANCE = 1e-4
"""Two eigenvalues are equal within this: of 100 units, from float32 weights."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and whether a net at its start bears it out; None: it cannot say."""

    text: str
    holds: Callable[[Moment], bool | None]


def _spectrum(test: Callable[[NDArray[np.complex128]], bool]) -> Callable[[Moment], bool | None]:
    return lambda moment: None if moment.eigenvalues is None else bool(test(moment.eigenvalues))


def _gradient(low: float, high: float) -> Callable[[Moment], bool | None]:
    def holds(moment: Moment) -> bool | None:
        if moment.gradient_norms is None or len(moment.gradient_norms) < 2:
            return None
        return low <= at(moment.gradient_norms, LOOK_BACK) <= high

    return holds


def _sensitivity(low: float, high: float) -> Callable[[Moment], bool | None]:
    """Whether what is left of a push, relative to its first effect, lies within the bounds."""

    def holds(moment: Moment) -> bool | None:
        if moment.sensitivity is None or len(moment.sensitivity) < 2:
            return None
        first = at(moment.sensitivity, 0)
        return first > 0 and low <= at(moment.sensitivity, LOOK_BACK) / first <= high

    return holds


def _unknown(moment: Moment) -> None:
    return None


_POSITIVE = Claim(
    "the recurrent matrix starts positive definite, its highest eigenvalue 1 and all others below "
    "1 (section 2, eq. 9)",
    _spectrum(
        lambda values: (
            abs(values[0] - 1) < TOLERANCE
            and bool((abs(values.imag) < TOLERANCE).all())
            and bool((values.real > -TOLERANCE).all())
            and bool((values.real[1:] < 1).all())
        )
    ),
)
_ONE = Claim(
    "∂h(t+1)/∂h(t) starts at 1, so that gradients neither vanish nor explode (sections 2, 4.2)",
    _gradient(0.1, 10),
)
_COLLAPSED = Claim(
    "collapsing the state onto one dimension reduces its sensitivity to the input (section 5)",
    _sensitivity(0, 0.999),
)
NOTHING: Mapping[str, str] = {
    "spectrum": "nothing of this net's spectrum",
    "gradient": "nothing of this net's gradient; of the np-RNN, that ∂h(t+1)/∂h(t) starts at 1 "
    "(section 4.2)",
    "sensitivity": "nothing of this net's sensitivity; of the IRNN, that it is extreme, and of the "
    "np-RNN, that it is reduced (sections 1, 5)",
}
CLAIMS: Mapping[str, Mapping[str, Claim]] = {
    "spectrum": {
        "np-rnn": _POSITIVE,
        "np-tanh-rnn": _POSITIVE,
        "irnn": Claim(
            "the recurrent matrix starts as the identity: all eigenvalues are 1 (section 2)",
            _spectrum(lambda values: bool((abs(values - 1) < TOLERANCE).all())),
        ),
        "scaled-irnn": Claim(
            "the recurrent matrix starts as 0.01 times the identity (table 1)",
            _spectrum(lambda values: bool((abs(values - 0.01) < TOLERANCE).all())),
        ),
        "n-rnn": Claim(
            "the recurrent matrix starts normalized, its highest eigenvalue 1 and the others "
            "below, with imaginary ones (table 1, section 4.1)",
            _spectrum(
                lambda values: (
                    abs(abs(values[0]) - 1) < TOLERANCE
                    and bool((abs(values.imag) > TOLERANCE).any())
                )
            ),
        ),
        "o-rnn": Claim(
            "the recurrent matrix starts as a random orthogonal one (table 1)",
            _spectrum(lambda values: bool((abs(abs(values) - 1) < TOLERANCE).all())),
        ),
        "g-rnn": Claim("the recurrent matrix starts as a random Gaussian one (table 1)", _unknown),
    },
    "gradient": {
        "np-rnn": _ONE,
        "irnn": Claim(
            "without input the 2-norm of each Jacobian is identically one, and gradients neither "
            "grow nor decay exponentially (section 2)",
            _gradient(0.1, 10),
        ),
        "n-rnn": Claim(
            "complex eigenvalues make the state oscillate and end at the origin, so that the "
            "gradient vanishes: a conjecture (section 4.1)",
            _gradient(0, 0.1),
        ),
        "np-tanh-rnn": Claim(
            "∂h(t+1)/∂h(t) < 1, so that the gradient vanishes (section 4.1)", _gradient(0, 0.1)
        ),
        "lstm": Claim(
            "the error neither decays nor explodes on its way through the memory unit (section 1)",
            _gradient(0.1, 10),
        ),
    },
    "sensitivity": {
        "np-rnn": _COLLAPSED,
        "irnn": Claim(
            "the state is extremely sensitive to perturbations of the input, which nothing makes "
            "it forget (sections 1, 2)",
            _sensitivity(0.1, np.inf),
        ),
    },
}
