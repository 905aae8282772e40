"""Progress of an extraction: a bar on a terminal, a line every 30 seconds in a log."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from tqdm import tqdm

_LINE_SECONDS = 30.0


class Progress:
    """Counts clips and encoded frames and says so on standard error."""

    def __init__(self, num_clips: int) -> None:
        self._num_clips = num_clips
        self._num_done = 0
        self._num_steps = 0
        self._start = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=num_clips, unit="clip", dynamic_ncols=True) if sys.stderr.isatty() else None
        )

    def add(self, num_steps: int) -> None:
        """One more clip is read, with so many frames encoded."""
        self._num_done += 1
        self._num_steps += num_steps
        now = time.monotonic()
        rate = self._num_steps / max(now - self._start, 1e-9)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{rate:.0f} frames/s", refresh=False)
            self._bar.update()
        elif now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            left = (now - self._start) / self._num_done * (self._num_clips - self._num_done)
            print(
                f"{self._num_done} of {self._num_clips} clips, {rate:.0f} frames/s, "
                f"{timedelta(seconds=round(left))} left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
