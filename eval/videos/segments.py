"""What is seen when: a long video as segments (start, end, label, probability)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.predictions.calibration import Calibration
from eval.predictions.unknown import is_known, name_answer
from pipeline.recurrent.stepper import Stepper


@dataclass(frozen=True)
class Segment:
    """A stretch [start, end) of a video in seconds, with one label, or NONE where not `is_known`.

    `probability` is the mean over its windows of what `nearest` got at the end of each: the label,
    or of NONE the label that got most.
    """

    start_seconds: float
    end_seconds: float
    label: str
    probability: float
    nearest: str
    is_known: bool


class SegmentReader:
    """Reads a video's features window by window, and joins neighbours of one label.

    A window whose likeliest label stays below `threshold` has none.
    The state is reset at the start of each window of `num_steps`, not always whole, so that each
    is answered from its own frames; with `carries` it is carried on. The last may be shorter.
    """

    def __init__(
        self,
        stepper: Stepper,
        labels: Sequence[str],
        *,
        calibration: Calibration,
        threshold: float | None = None,
        num_steps: float,
        carries: bool,
    ) -> None:
        self._stepper = stepper
        self._labels = labels
        self._calibration = calibration
        self._threshold = threshold
        self._window = num_steps
        self._carries = carries
        self._state = stepper.initial_state()
        self._outputs: NDArray[np.float32] | None = None
        self._num_steps = self._start = 0
        # Start, end, answer, whether it is a label, probabilities of its windows.
        self._found: list[tuple[int, int, str, bool, list[NDArray[np.float64]]]] = []

    def add(self, features: NDArray[Any]) -> None:
        """One more step (D,)."""
        if self._place(self._num_steps) != self._place(self._start):
            self._end_window()
            self._start = self._num_steps
            if not self._carries:
                self._state = self._stepper.initial_state()
        self._outputs, self._state = self._stepper.step(features, self._state)
        self._num_steps += 1

    def _place(self, step: int) -> int:
        """The window that a step is in."""
        return int(step / self._window + 1e-9)

    def _end_window(self) -> None:
        assert self._outputs is not None
        shares = self._calibration.probabilities(self._outputs)
        end, known = self._num_steps, is_known(shares, self._threshold)
        answer = name_answer(shares, self._labels, self._threshold)
        if self._found and self._found[-1][2:4] == (answer, known):
            first, *_, before = self._found.pop()
            self._found.append((first, end, answer, known, [*before, shares]))
        else:
            self._found.append((self._start, end, answer, known, [shares]))

    def finish(self, *, step_seconds: float, end_seconds: float) -> tuple[Segment, ...]:
        """The segments of the whole video, which ends at `end_seconds`."""
        self._end_window()
        segments = []
        for start, end, answer, known, shares in self._found:
            means = np.mean(shares, axis=0)  # (C,)
            nearest = self._labels.index(answer) if known else int(means.argmax())
            stop = min(end * step_seconds, end_seconds)
            segments.append(
                Segment(
                    start * step_seconds, stop, answer, float(means[nearest]),
                    nearest=self._labels[nearest], is_known=known,
                )
            )  # fmt: skip
        return tuple(segments)
