"""A camera or a stream, watched as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eval.calibration import Calibration
from pipeline.live_video import LiveFrames
from pipeline.streaming import Streamer
from pipeline.video import VideoError

_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class LiveReport:
    """How a stream went: frames read by the net and dropped, milliseconds a frame by stage."""

    num_read: int
    num_dropped: int
    seconds: float
    decode_ms: float
    encode_ms: float
    step_ms: float

    def __str__(self) -> str:
        return (
            f"{self.num_read:,} frames read in {self.seconds:.1f} s, {self.num_dropped:,} dropped "
            f"as they came too late; a frame: decode {self.decode_ms:.3g} ms, "
            f"CNN {self.encode_ms:.3g} ms, recurrent step {self.step_ms:.3g} ms."
        )


def watch_live(
    source: str,
    streamer: Streamer,
    labels: tuple[str, ...],
    *,
    calibration: Calibration,
    as_json: bool = False,
    tell: Callable[[str], None] = print,
) -> LiveReport:
    """Tell the likeliest label once a second, until the source ends or Ctrl-C."""
    frames = LiveFrames(source)
    start = said = time.perf_counter()
    num_read, scores = 0, None
    with frames:
        try:
            for frame in frames:
                scores = streamer.push(frame)
                num_read += 1
                now = time.perf_counter()
                if now - said >= _REPORT_SECONDS:
                    said = now
                    tell(_describe(scores, labels, calibration, now - start, as_json=as_json))
        except KeyboardInterrupt:
            pass  # the way to end a camera
    if scores is None:
        raise VideoError(f"{source} gave no frame")
    seconds = time.perf_counter() - start
    tell(_describe(scores, labels, calibration, seconds, as_json=as_json))
    spent, num_steps = streamer.seconds, max(1, streamer.seconds.num_steps)
    return LiveReport(
        num_read=num_read,
        num_dropped=frames.num_dropped,
        seconds=seconds,
        decode_ms=1e3 * frames.decode_seconds / max(1, frames.num_decoded),
        encode_ms=1e3 * spent.encode / num_steps,
        step_ms=1e3 * spent.step / num_steps,
    )


def describe_report(report: LiveReport, *, as_json: bool) -> str:
    """The report's last line."""
    return json.dumps(asdict(report)) if as_json else str(report)


def _describe(
    scores: NDArray[np.float32],
    labels: tuple[str, ...],
    calibration: Calibration,
    seconds: float,
    *,
    as_json: bool,
) -> str:
    shares = calibration.probabilities(scores)
    best = int(shares.argmax())
    if as_json:
        content = {"seconds": round(seconds, 3), "label": labels[best]}
        return json.dumps({**content, "probability": float(shares[best])})
    return f"{seconds:7.1f} s  {labels[best]}  {shares[best]:.3f}"
