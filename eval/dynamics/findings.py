"""What is seen in a run's dynamics, beside what the np-RNN paper says: a sentence each.

What is seen is written from the numbers, also where it contradicts the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.dynamics.dynamics import END, LOOK_BACK, Dynamics, Moment, at
from eval.dynamics.measures import PHASE_CASES
from papers.book import Claim
from papers.np_rnn.dynamics import (
    ACTIVE_UNITS,
    DYNAMICS,
    DYNAMICS_OF_OTHERS,
    PHASE_PORTRAITS,
    TOLERANCE,
)

_ROUNDING = 1e-12  # of a sensitivity: what is below may be rounding of the state
NEAR_ONE = 0.01
"""An eigenvalue counts as 1 within this."""


@dataclass(frozen=True)
class Finding:
    """What the paper says of one aspect, what is seen, and whether they agree; None: no verdict."""

    title: str
    paper: str
    seen: str
    agrees: bool | None
    subject: str = "the start of training"

    @property
    def verdict(self) -> str:
        if self.agrees is None:
            return ""
        if self.agrees:
            return f"So {self.subject} agrees with the paper."
        return f"So {self.subject} CONTRADICTS THE PAPER."


def find_all(dynamics: Dynamics, portraits: Mapping[str, NDArray[np.float64]]) -> list[Finding]:
    """The findings in the order of the page: spectrum, gradient, units, sensitivity, portraits."""
    see = {"spectrum": see_spectrum, "gradient": see_gradient, "sensitivity": see_sensitivity}
    titles = {
        "spectrum": "Spectrum of the recurrent matrix",
        "gradient": "Back-propagated gradient",
        "sensitivity": "Sensitivity to the input",
    }
    of_claims = {
        aspect: _compare(titles[aspect], aspect, dynamics, see[aspect](dynamics)) for aspect in see
    }
    return [
        of_claims["spectrum"],
        of_claims["gradient"],
        _find_active(dynamics),
        of_claims["sensitivity"],
        _find_phases(dynamics, portraits),
    ]


def summarize(dynamics: Dynamics, findings: Sequence[Finding]) -> str:
    """One line: what changed from the start of training to its end, and the verdicts."""
    changes: dict[str, Callable[[Moment], float | None]] = {
        "largest |λ|": _largest,
        "gradient {} steps back over that at the end": lambda m: _last_within(m.gradient_norms),
        "share of units on": _mean_share,
        "a first push's effect {} steps later": lambda m: _last_within(m.sensitivity),
    }
    told = [
        f"{name.format(_steps(dynamics, name))} {change}"
        for name, measured in changes.items()
        if (change := _say_change(dynamics, measured))
    ]
    judged = [f for f in findings if f.agrees is not None and f.subject == Finding.subject]
    verdicts = [f"{f.title.lower()} {'agrees' if f.agrees else 'CONTRADICTS'}" for f in judged]
    against = f" Against the paper: {', '.join(verdicts)}." if verdicts else ""
    has_end = any(moment.name == END for moment in dynamics.moments)
    which = "From the start of training to its end" if has_end else "At the start"
    return f"{which}: {'; '.join(told)}.{against}" if told else against.strip()


def _say_change(dynamics: Dynamics, measured: Callable[[Moment], float | None]) -> str:
    """`1 → 1.1`, of several layers `1 → 1.1 (layer 1), 1 → 1 (layer 2)`; "" if not defined."""
    told = []
    for layer, moments in dynamics.by_layer.items():
        values = [value for moment in moments if (value := measured(moment)) is not None]
        if values:
            change = " → ".join(map(_number, values))
            told.append(f"{change} ({layer})" if layer else change)
    return ", ".join(told)


def _steps(dynamics: Dynamics, name: str) -> int:
    start = dynamics.start
    values = start.gradient_norms if name.startswith("gradient") else start.sensitivity
    return 0 if values is None else min(LOOK_BACK, len(values) - 1)


def _largest(moment: Moment) -> float | None:
    return None if moment.eigenvalues is None else float(abs(moment.eigenvalues[0]))


def _last_within(values: NDArray[np.float64] | None) -> float | None:
    """The value LOOK_BACK steps away, or the last one."""
    return None if values is None else at(values, LOOK_BACK)


def _mean_share(moment: Moment) -> float | None:
    return None if moment.active_share is None else float(np.nanmean(moment.active_share))


def _compare(title: str, aspect: str, dynamics: Dynamics, seen: str) -> Finding:
    claim = DYNAMICS[aspect].get(dynamics.run.config.net.name)
    if claim is None:
        return Finding(title, f"The paper says {DYNAMICS_OF_OTHERS[aspect]}.", seen, None)
    # The paper's nets have one layer; of others nothing is said.
    verdict = judge(claim, measure(dynamics.start, aspect)) if not dynamics.start.layer else None
    return Finding(title, f"The paper says: {claim.sentence}.", seen, verdict)


def judge(claim: Claim, measured: NDArray[np.complex128] | float | None) -> bool | None:
    """Whether the claim holds of what was measured; None where one of them cannot say."""
    return None if claim.holds is None or measured is None else claim.holds(measured)


def measure(moment: Moment, aspect: str) -> NDArray[np.complex128] | float | None:
    """What the claims of this aspect are about; None where it is not defined or too short."""
    if aspect == "spectrum":
        return moment.eigenvalues
    values = moment.gradient_norms if aspect == "gradient" else moment.sensitivity
    if values is None or len(values) < 2:
        return None
    later = at(values, LOOK_BACK)
    if aspect == "gradient":
        return later
    first = at(values, 0)
    return later / first if first > 0 else math.nan


def see_spectrum(dynamics: Dynamics) -> str:
    """The spectrum in words, at each moment."""
    if dynamics.start.eigenvalues is None:
        return _undefined(dynamics, "eigenvalues")
    return _each(dynamics, _say_spectrum)


def _say_spectrum(moment: Moment) -> str:
    values = moment.eigenvalues
    assert values is not None
    sizes = abs(values)
    return (
        f"the largest |λ| is {_number(sizes[0])}, the smallest {_number(sizes[-1])}; of "
        f"{len(values)}, {int((abs(values.imag) > TOLERANCE).sum())} are complex and "
        f"{int((sizes > 1 + TOLERANCE).sum())} lie outside the unit circle"
    )


def see_gradient(dynamics: Dynamics) -> str:
    """The gradient's norm LOOK_BACK steps back, and the Jacobian's, at each moment."""
    if dynamics.start.gradient_norms is None:
        return _undefined(dynamics, "gradient_norms")
    more = "" if dynamics.start.jacobian_norms is not None else _undefined(
        dynamics, "jacobian_norms")  # fmt: skip
    return f"{_each(dynamics, _say_gradient)} {more}".strip()


def _say_gradient(moment: Moment) -> str:
    norms = moment.gradient_norms
    assert norms is not None
    back = min(LOOK_BACK, len(norms) - 1)
    text = f"the gradient {back} steps back is {_number(at(norms, back))} of that at the end"
    if moment.jacobian_norms is not None:
        text += (
            f", and the most that any could be, the Jacobian's norm, "
            f"{_number(at(moment.jacobian_norms, back))}"
        )
    return text


def see_sensitivity(dynamics: Dynamics) -> str:
    """What a push at the first step moves the state by, at once and LOOK_BACK steps on."""
    if dynamics.start.sensitivity is None:
        return _undefined(dynamics, "sensitivity")
    return _each(dynamics, _say_sensitivity)


def _say_sensitivity(moment: Moment) -> str:
    moved = moment.sensitivity
    assert moved is not None
    steps = min(LOOK_BACK, len(moved) - 1)
    later = at(moved, steps)
    left = f"less than {_ROUNDING:g}" if later < _ROUNDING else _number(later)
    return (
        f"a small push of the first input moves the state by {_number(at(moved, 0))} times its "
        f"size at once, and by {left} times {steps} steps later"
    )


def _find_active(dynamics: Dynamics) -> Finding:
    paper = f"The paper says: {ACTIVE_UNITS.sentence}."
    if dynamics.start.active_share is None:
        seen = _undefined(dynamics, "active_share")
        return Finding("Active units", paper, seen, None)
    seen = _each(dynamics, _say_active)
    if _is_masked(dynamics.start):
        seen += " So the eigenvalue that the start sets is not the one that the gradient meets."
    return Finding("Active units", paper, seen, None)


def _say_active(moment: Moment) -> str:
    share, values, masked = moment.active_share, moment.eigenvalues, moment.masked_radius
    assert share is not None
    assert values is not None
    assert masked is not None
    return (
        f"{100 * float(np.nanmean(share)):.0f} % of the units are on, a mean over the steps; with "
        f"the others masked, the last step's Jacobian has the spectral radius {_number(masked)}, "
        f"where the whole matrix has {_number(abs(values[0]))}"
    )


def _is_masked(moment: Moment) -> bool:
    """Whether masking the units that are off lowers the spectral radius."""
    if moment.masked_radius is None or moment.eigenvalues is None:
        return False
    return moment.masked_radius < (1 - NEAR_ONE) * float(abs(moment.eigenvalues[0]))


def _find_phases(dynamics: Dynamics, portraits: Mapping[str, NDArray[np.float64]]) -> Finding:
    paper = f"The paper says, of two ReLU units without input: {PHASE_PORTRAITS.sentence}."
    ratios = {case: _growth(path) for case, path in portraits.items()}
    steps = len(next(iter(portraits.values()))) - 1
    told = "; ".join(f"{case}, {_number(ratio)}" for case, ratio in ratios.items())
    seen = f"The state's norm after {steps} steps, over that of its start: {told}."
    for moment in dynamics.moments:
        if moment.eigenvalues is not None and len(moment.eigenvalues) > 1:
            first, second = abs(moment.eigenvalues[:2])
            seen += (
                f" By its two largest |λ|, {_number(first)} and {_number(second)}, this run's "
                f"matrix at the {moment.title} is of the case '{choose_case(first, second)}'."
            )
    agrees = _are_as_drawn(portraits)
    return Finding("Phase portraits of two units", paper, seen, agrees, "what is drawn")


def _growth(path: NDArray[np.float64]) -> float:
    norms = np.linalg.norm(path, axis=2)
    return float((norms[-1] / norms[0]).mean())


def _are_as_drawn(portraits: Mapping[str, NDArray[np.float64]]) -> bool:
    neutral, origin, line, away = (portraits[case] for case in PHASE_CASES)
    ends_on_line = abs(line[-1, :, 1]).max() < 1e-6 and (line[-1, :, 0] > 0).all()
    return bool(
        np.allclose(neutral[-1], neutral[0])
        and _growth(origin) < 1e-3
        and ends_on_line
        and _growth(away) > 100
    )


def choose_case(first: float, second: float) -> str:
    """The case of figure 2 of a matrix with these two largest |λ|; within NEAR_ONE counts as 1."""
    neutral, origin, line, away = PHASE_CASES
    if first > 1 + NEAR_ONE:
        return away
    if first < 1 - NEAR_ONE:
        return origin
    return neutral if second > 1 - NEAR_ONE else line


def _each(dynamics: Dynamics, say: Callable[[Moment], str]) -> str:
    told = [f"At the {moment.when} {say(moment)}." for moment in dynamics.moments]
    return " ".join(told)


def _undefined(dynamics: Dynamics, what: str) -> str:
    return f"Not defined: {dynamics.undefined[what]}."


def _number(value: float) -> str:
    return "not finite" if not np.isfinite(value) else f"{value:.3g}"
