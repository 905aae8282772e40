"""From the scores of seeds to a verdict on a sentence: plain statistics of numbers.

The interval is over seeds. That over test sequences is no measure of a training: rounding alone
moves a score by several of its widths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

State = Literal["holds", "fails", "undecided", "cannot be tested here"]
LEAST_SEEDS = 5
MARGIN = 0.05
"""Nets are at par within this difference of their shares; written down before any was compared."""
CONFIDENCE = 0.95
MOST_SEEDS = 1000
"""A difference that would need more seeds than this is called none."""


@dataclass(frozen=True)
class Quantity:
    """A number of each seed, and the bound that a sentence puts to its mean.

    `is_above`: the sentence says that the mean is above the bound, otherwise that it is below. An
    `is_exact` number is no draw: one value decides.
    """

    name: str
    of_seeds: tuple[float, ...]
    bound: float
    is_above: bool = True
    is_exact: bool = False

    @property
    def mean(self) -> float:
        return float(np.mean(self.of_seeds))

    @property
    def is_sufficient(self) -> bool:
        """Whether there are enough seeds to say anything."""
        return len(self.of_seeds) >= (1 if self.is_exact else LEAST_SEEDS)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Student's interval of the mean; of one draw alone everything."""
        num = len(self.of_seeds)
        if self.is_exact:
            return self.mean, self.mean
        if num < 2:
            return -math.inf, math.inf
        half = _student(confidence, num - 1) * self._spread / num**0.5
        return self.mean - half, self.mean + half

    @property
    def _spread(self) -> float:
        return float(np.std(self.of_seeds, ddof=1))

    def bears_out(self) -> bool:
        """Whether the whole interval lies where the sentence says."""
        low, high = self.interval()
        return self.is_sufficient and (low > self.bound if self.is_above else high < self.bound)

    def contradicts(self, *, num_quantities: int) -> bool:
        """Whether the whole interval lies on the other side.

        Of many quantities one will by chance: the interval is widened by their number (Bonferroni).
        """
        low, high = self.interval(1 - (1 - CONFIDENCE) / num_quantities)
        return self.is_sufficient and (high < self.bound if self.is_above else low > self.bound)

    def count_more_seeds(self) -> int | None:
        """How many more seeds would decide if mean and spread stayed; None: MOST_SEEDS do not."""
        num = len(self.of_seeds)
        if num < 2:
            return LEAST_SEEDS - num
        distance, spread = abs(self.mean - self.bound), self._spread
        for enough in range(max(num, LEAST_SEEDS), MOST_SEEDS):
            if _student(CONFIDENCE, enough - 1) * spread / enough**0.5 < distance:
                return enough - num
        return None

    def __str__(self) -> str:
        side = ">" if self.is_above else "<"
        if not self.of_seeds:
            return f"{self.name}: no seed yet, to be {side} {self.bound:g}"
        low, high = self.interval()
        known = "" if len(self.of_seeds) < 2 or self.is_exact else f" [{low:.3f}, {high:.3f}]"
        seeds = "" if self.is_exact else f", {_count(len(self.of_seeds), 'seed')}"
        return f"{self.name}: {self.mean:.3f}{known}, to be {side} {self.bound:g}{seeds}"


def _student(confidence: float, freedom: int) -> float:
    """Half the width of Student's interval, in standard errors."""
    from scipy import stats  # noqa: PLC0415 - the names of experiments need no scipy

    return float(stats.t.ppf((1 + confidence) / 2, freedom))


@dataclass(frozen=True)
class Verdict:
    """What the numbers say of a sentence, and by which; `because` in one line."""

    state: State
    because: str
    quantities: tuple[Quantity, ...] = ()


def decide(quantities: Sequence[Quantity], *, missing: str = "") -> Verdict:
    """The verdict on a sentence that says all of these; `missing`: what there is no data without.

    It holds if every quantity bears it out, and fails if one contradicts it.
    """
    known = tuple(quantities)
    if missing:
        return Verdict("cannot be tested here", missing, known)
    against = [q for q in known if q.contradicts(num_quantities=len(known))]
    if against:
        more = f"; {len(against) - 1} more like it" if len(against) > 1 else ""
        return Verdict("fails", f"{against[0]}{more}", known)
    open_ = [q for q in known if not q.bears_out()]
    if not open_:
        nearest = min(known, key=lambda q: abs(q.mean - q.bound))
        return Verdict("holds", f"{_lead(known)}{nearest}", known)
    return Verdict("undecided", _say_open(open_, known), known)


def _lead(quantities: Sequence[Quantity]) -> str:
    return f"nearest of {len(quantities)}: " if len(quantities) > 1 else ""


def _say_open(open_: Sequence[Quantity], quantities: Sequence[Quantity]) -> str:
    """Which quantity needs the most seeds, and how many."""
    needs = [q.count_more_seeds() for q in open_]
    share = f"{len(open_)} of {len(quantities)} comparisons are open; "
    if None in needs:
        hard = open_[needs.index(None)]
        return f"{share}{MOST_SEEDS} seeds would not decide {hard}"
    most = max(n for n in needs if n is not None)
    hard = open_[needs.index(most)]
    return f"{share}{_count(most, 'more seed')} would decide, as things stand: {hard}"


def _count(num: int, noun: str) -> str:
    return f"{num} {noun}{'' if num == 1 else 's'}"


OfSeeds = Mapping[int, float]
"""A score of each seed."""


def above(name: str, scores: OfSeeds, bound: float) -> Quantity:
    """That the mean score is above the bound."""
    return Quantity(name, tuple(scores.values()), bound)


def below(name: str, scores: OfSeeds, bound: float) -> Quantity:
    """That the mean score is below the bound."""
    return Quantity(name, tuple(scores.values()), bound, is_above=False)


def ahead(name: str, scores: OfSeeds, others: OfSeeds, *, by: float = 0.0) -> Quantity:
    """That the scores are above the others by more than `by`, paired by seed.

    By -MARGIN: at par or better.
    """
    pairs = [seed for seed in scores if seed in others]
    return Quantity(name, tuple(scores[seed] - others[seed] for seed in pairs), by)
