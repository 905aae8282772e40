"""Frames of a camera or a stream as they come; those that come too late are dropped and counted.

Part of pipeline/video.py's home for PyAV.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.video.file import VideoError

_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_POLL_SECONDS = 0.2
_OPEN_SECONDS = 20.0
MOST_WAITING = 5
"""Frames that wait while the reader is busy: a fifth of a second of 25 frames a second."""


class LiveFrames:
    """Iterator over RGB frames (H, W, 3) that holds the MOST_WAITING newest ones of a busy reader.

    A reader that is late for once loses none; of one that is too slow, the oldest are dropped.
    `source` is `camera:N`, an address, a file, or `-` for standard input. A source that gives
    frames faster than they are shown, as a file does, is held back to its own clock.
    """

    def __init__(self, source: str) -> None:
        self.num_dropped = 0
        self.num_decoded = 0
        self._decode_seconds = self._convert_seconds = 0.0
        self._container = _open(source)
        self._is_piped = source == "-"
        self._waiting: deque[av.VideoFrame] = deque()
        self._reformatter = VideoReformatter()
        self._error = ""
        self._is_done = self._stops = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="live frames", daemon=True)

    @property
    def decode_seconds(self) -> float:
        """Spent on all frames so far; those that were dropped are not converted to RGB."""
        return self._decode_seconds + self._convert_seconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stops = True
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():  # else it waits for a silent source, and ends with us
            self._container.close()

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            with self._changed:
                while not self._waiting and not self._is_done:
                    self._changed.wait(_POLL_SECONDS)
                frame = self._waiting.popleft() if self._waiting else None
            if frame is not None:
                yield self._to_rgb(frame)
            elif self._error:
                raise VideoError(self._error)
            else:
                return

    def _to_rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        start = time.perf_counter()
        rgb = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        upright: NDArray[np.uint8] = np.rot90(rgb, round(frame.rotation / 90))
        self._convert_seconds += time.perf_counter() - start
        return upright

    def _read(self) -> None:
        try:
            self._read_frames()
        except (av.FFmpegError, OSError) as error:
            # A stream that breaks off has given what it gave.
            self._error = "" if self.num_decoded else f"the source gives no frame ({error})"
            if self._error and self._is_piped:
                self._error += "; an MP4 whose index stands at its end cannot come through a pipe"
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify()

    def _read_frames(self) -> None:
        start: tuple[float, float] | None = None  # (this clock, the frame's) at the first frame
        before = time.perf_counter()
        for frame in self._container.decode(video=0):
            if self._stops:
                return
            now = time.perf_counter()
            self._decode_seconds += now - before
            self.num_decoded += 1
            if frame.time is not None:
                start = start or (now, frame.time)
                time.sleep(max(0.0, min(1.0, start[0] + frame.time - start[1] - now)))
            with self._changed:
                if len(self._waiting) == MOST_WAITING:  # it came too late for the net
                    self._waiting.popleft()
                    self.num_dropped += 1
                self._waiting.append(frame)
                self._changed.notify()
            before = time.perf_counter()


def _open(source: str) -> Any:
    try:
        if source.startswith("camera:"):
            return _open_camera(int(source.removeprefix("camera:")))
        if source == "-":
            return av.open(sys.stdin.buffer, metadata_errors="ignore")
        return av.open(source, timeout=_OPEN_SECONDS, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{source} cannot be opened ({error})") from None


def _open_camera(number: int) -> Any:
    form = _CAMERA_FORMATS.get(sys.platform, "v4l2")
    if form == "v4l2" and not Path(f"/dev/video{number}").exists():
        raise VideoError(f"no camera {number}: there is no /dev/video{number}")
    names = {"v4l2": f"/dev/video{number}", "avfoundation": str(number)}
    return av.open(names.get(form, f"video={number}"), format=form)
