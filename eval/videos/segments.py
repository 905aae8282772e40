"""What is seen when: a long video as segments (start, end, label, probability)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.predictions.calibration import Calibration
from pipeline.recurrent.stepper import Stepper


@dataclass(frozen=True)
class Segment:
    """A stretch [start, end) of a video in seconds, with one label.

    `probability` is the mean over its windows of what the label got at the end of each.
    """

    start_seconds: float
    end_seconds: float
    label: str
    probability: float


class SegmentReader:
    """Reads a video's features window by window, and joins neighbours of one label.

    The state is reset at the start of each window of `num_steps`, not always whole, so that each
    is answered from its own frames; with `carries` it is carried on. The last may be shorter.
    """

    def __init__(
        self,
        stepper: Stepper,
        labels: Sequence[str],
        *,
        calibration: Calibration,
        num_steps: float,
        carries: bool,
    ) -> None:
        self._stepper = stepper
        self._labels = labels
        self._calibration = calibration
        self._window = num_steps
        self._carries = carries
        self._state = stepper.initial_state()
        self._outputs: NDArray[np.float32] | None = None
        self._num_steps = self._start = 0
        self._found: list[tuple[int, int, int, list[float]]] = []  # start, end, label, shares

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
        label, end = int(shares.argmax()), self._num_steps
        if self._found and self._found[-1][2] == label:
            first, _, _, before = self._found.pop()
            self._found.append((first, end, label, [*before, float(shares[label])]))
        else:
            self._found.append((self._start, end, label, [float(shares[label])]))

    def finish(self, *, step_seconds: float, end_seconds: float) -> tuple[Segment, ...]:
        """The segments of the whole video, which ends at `end_seconds`."""
        self._end_window()
        segments = [
            Segment(
                start * step_seconds,
                min(end * step_seconds, end_seconds),
                self._labels[label],
                float(np.mean(shares)),
            )
            for start, end, label, shares in self._found
        ]
        return tuple(segments)
