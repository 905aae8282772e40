"""What a net thought at every moment of a video, thinned so that it never grows without bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.predictions.calibration import Calibration

_MOST_MOMENTS = 2048


@dataclass(frozen=True, eq=False)
class Timeline:
    """`seconds` (N,) at which frames were read, `probabilities` (N, C), `hidden` (N, H) states."""

    seconds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    hidden: NDArray[np.float32]


class TimelineReader:
    """Keeps every k-th step's outputs and state; k doubles whenever there are too many."""

    def __init__(self) -> None:
        self._spacing = 1
        self._num_steps = 0
        self._kept: list[tuple[int, NDArray[np.float32], NDArray[np.float32]]] = []
        self._last: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None

    def add(self, outputs: NDArray[np.float32], hidden: NDArray[np.float32]) -> None:
        """One more step: outputs (C,), state (H,)."""
        self._last = (self._num_steps, outputs, hidden)
        if self._num_steps % self._spacing == 0:
            self._kept.append(self._last)
        self._num_steps += 1
        if len(self._kept) > _MOST_MOMENTS:
            self._kept = self._kept[::2]
            self._spacing *= 2

    def finish(self, calibration: Calibration, *, step_seconds: float) -> Timeline:
        """The moments kept, the last step always among them."""
        assert self._last is not None
        is_new = self._last[0] != self._kept[-1][0]
        places, outputs, hidden = zip(*self._kept, *([self._last] if is_new else []), strict=True)
        return Timeline(
            np.array(places) * step_seconds,
            calibration.probabilities(np.stack(outputs)),
            np.stack(hidden),
        )
