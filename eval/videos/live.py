"""A camera or a stream, watched as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eval.predictions.unknown import is_known, name_answer, with_nearest
from eval.videos.videos import Classifier
from pipeline.streaming import StageSeconds, Streamer
from pipeline.video import VideoError
from pipeline.video.live import LiveFrames

_REPORT_SECONDS = 1.0


class LiveReader:
    """What a run says of one stream, frame by frame, in memory that does not grow.

    When it is made the encoder is warm: no frame waits for it, or is dropped meanwhile.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._streamer = Streamer(classifier.stepper, classifier.encoder)
        self._streamer.warm_up()
        self._calibration = classifier.calibration

    @property
    def num_frames(self) -> int:
        """Frames read so far."""
        return self._streamer.num_frames

    @property
    def spent(self) -> StageSeconds:
        """Where the time went."""
        return self._streamer.seconds

    def read(self, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Calibrated probabilities (C,) after one more frame, uint8 (H, W, 3) RGB."""
        outputs = self._streamer.push(frame)
        if not np.isfinite(outputs).all():
            raise ValueError("The net's outputs are not finite numbers.")
        return self._calibration.probabilities(outputs)


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
    classifier: Classifier,
    *,
    as_json: bool = False,
    tell: Callable[[str], None] = print,
) -> LiveReport:
    """Tell the likeliest label, or none, once a second, until the source ends or Ctrl-C."""
    reader = LiveReader(classifier)
    frames = LiveFrames(source)
    start = said = time.perf_counter()
    shares: NDArray[np.float64] | None = None
    with frames:
        try:
            for frame in frames:
                shares = reader.read(frame)
                now = time.perf_counter()
                if now - said >= _REPORT_SECONDS:
                    said = now
                    tell(_describe(shares, classifier, now - start, as_json=as_json))
        except KeyboardInterrupt:
            pass  # the way to end a camera
    if shares is None:
        raise VideoError(f"{source} gave no frame")
    seconds = time.perf_counter() - start
    tell(_describe(shares, classifier, seconds, as_json=as_json))
    num_steps = max(1, reader.spent.num_steps)
    return LiveReport(
        num_read=reader.num_frames,
        num_dropped=frames.num_dropped,
        seconds=seconds,
        decode_ms=1e3 * frames.decode_seconds / max(1, frames.num_decoded),
        encode_ms=1e3 * reader.spent.encode / num_steps,
        step_ms=1e3 * reader.spent.step / num_steps,
    )


def describe_report(report: LiveReport, *, as_json: bool) -> str:
    """The report's last line."""
    return json.dumps(asdict(report)) if as_json else str(report)


def _describe(
    shares: NDArray[np.float64], classifier: Classifier, seconds: float, *, as_json: bool
) -> str:
    labels, threshold = classifier.labels, classifier.threshold
    answer, known = name_answer(shares, labels, threshold), is_known(shares, threshold)
    nearest, probability = labels[int(shares.argmax())], float(shares.max())
    if as_json:
        return json.dumps(
            {
                "seconds": round(seconds, 3),
                "label": answer,
                "is_known": known,
                "nearest": nearest,
                "probability": probability,
            }
        )
    return f"{seconds:7.1f} s  {with_nearest(answer, nearest, known=known)}  {probability:.3f}"
