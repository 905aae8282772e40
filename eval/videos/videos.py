"""From a run and raw videos to answers: decode, encode as the run's features were, read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.predictions.calibration import Calibration, calibrate
from eval.predictions.unknown import describe_threshold, is_known, name_answer
from eval.videos.decoding import Ended, Message, Opened, VideoFailure, decode_ahead
from eval.videos.segments import Segment, SegmentReader
from eval.videos.timeline import Timeline, TimelineReader
from pipeline.backbones.encoder import Encoder, load_encoder
from pipeline.recurrent.stepper import Stepper
from pipeline.runs import Run, find_encoder_weights, load_net
from pipeline.video import DecodeSummary

ASSUMED_FPS = 25.0
AUTO = "auto"
"""The threshold that the run's validation part gave."""
_PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Classifier:
    """A run that is ready to read videos.

    Where no label reaches the probability `threshold`, a video shows none of them; None: each shows
    its likeliest.
    """

    run: Run
    stepper: Stepper
    encoder: Encoder
    labels: tuple[str, ...]
    calibration: Calibration
    threshold: float | None = None

    @property
    def about(self) -> str:
        """What its probabilities and answers rest on, in sentences."""
        return f"{self.calibration} {describe_threshold(self.threshold)}"


@dataclass(frozen=True)
class Stages:
    """Milliseconds an encoded frame, by stage; decoding goes on beside the rest."""

    decode_ms: float
    encode_ms: float
    step_ms: float


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside the answer to the whole video."""

    window_seconds: float | None = None
    carries: bool = False
    timeline: bool = False


@dataclass(frozen=True, eq=False)
class VideoAnswer:
    """What a run says of a video: `probabilities` (C,) after its last frame.

    `answer` is the likeliest label, or NONE where the video shows none of them (not `is_known`).
    `num_frames` were decoded, `num_steps` of them read. `notes` tell what is wrong with the file.
    `segments` and `timeline` are there if asked for.
    """

    path: Path
    probabilities: NDArray[np.float64]
    answer: str
    is_known: bool
    num_frames: int
    num_steps: int
    fps: float
    notes: tuple[str, ...]
    stages: Stages
    segments: tuple[Segment, ...] = ()
    timeline: Timeline | None = None

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    def top(self, num: int) -> list[int]:
        """The places of the `num` likeliest labels, best first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [int(place) for place in order[:num]]


def load_classifier(
    run: Run,
    *,
    weights: str | Path | None = None,
    features: str | None = None,
    device: str = "auto",
    threshold: float | str | None = AUTO,
) -> Classifier:
    """The run's net, encoder and calibration; ValueError where it cannot read videos.

    `weights` as in `load_encoder`, None: where they were; `features` is a store to
    calibrate on in place of the run's. `threshold` as in Classifier, or AUTO.
    """
    labels = run.config.labels
    if not labels:
        raise ValueError(f"{run.folder} has no labels: choose a run of the task `clips`.")
    run.config.net.check_advances()
    net = load_net(run)
    encoder = load_encoder(
        run.features, weights=weights or find_encoder_weights(run), device=device
    )
    calibration = calibrate(run, features=features)
    least = calibration.threshold if isinstance(threshold, str) else threshold
    return Classifier(run, Stepper(net), encoder, labels, calibration, least)


def read_videos(
    classifier: Classifier,
    paths: Sequence[Path],
    *,
    wanted: Wanted = Wanted(),
    num_workers: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[VideoAnswer | VideoFailure]:
    """An answer, or why there is none, for each path in order; the next are decoded meanwhile."""
    cores = os.cpu_count() or 1
    on_cpu = classifier.encoder.backbone.device == "cpu"
    num_workers = num_workers or max(1, cores // 4 if on_cpu else cores - 1)
    decoding = decode_ahead(paths, classifier.encoder, num_workers=num_workers)
    for path, messages in decoding:
        reading = _Reading(classifier, wanted)
        said = time.perf_counter()
        for message in messages:
            reading.add(message)
            if time.perf_counter() - said > _PROGRESS_SECONDS:
                said = time.perf_counter()
                say(f"{path}: {reading.num_steps:,} frames read")
        yield reading.finish(path)


def read_video(
    classifier: Classifier, path: Path, messages: Iterable[Message], *, wanted: Wanted = Wanted()
) -> VideoAnswer | VideoFailure:
    """The answer to the messages of one video."""
    reading = _Reading(classifier, wanted)
    for message in messages:
        reading.add(message)
    return reading.finish(path)


class _Reading:
    """One video being read."""

    def __init__(self, classifier: Classifier, wanted: Wanted) -> None:
        self._classifier = classifier
        self._wanted = wanted
        self._state = classifier.stepper.initial_state()
        self._outputs: NDArray[np.float32] | None = None
        self._timeline = TimelineReader() if wanted.timeline else None
        self._segments: SegmentReader | None = None
        self._encode_seconds = self._step_seconds = 0.0
        self._is_finite = True
        self._end: Ended | None = None
        self._has_fps = True
        self._fps = ASSUMED_FPS

    @property
    def num_steps(self) -> int:
        return self._state.num_steps

    def add(self, message: Message) -> None:
        if isinstance(message, Opened):
            self._open(message)
        elif isinstance(message, Ended):
            self._end = message
        else:
            start = time.perf_counter()
            features = self._classifier.encoder.encode_crops(message)
            self._encode_seconds += time.perf_counter() - start
            self._is_finite = self._is_finite and bool(np.isfinite(features).all())
            for row in features if self._is_finite else ():
                self._step(row)

    def _open(self, opened: Opened) -> None:
        self._has_fps = opened.fps > 0
        self._fps = opened.fps if self._has_fps else ASSUMED_FPS
        if self._wanted.window_seconds is None:
            return
        stride = self._classifier.encoder.spec.stride
        self._segments = SegmentReader(
            self._classifier.stepper,
            self._classifier.labels,
            calibration=self._classifier.calibration,
            threshold=self._classifier.threshold,
            num_steps=max(1.0, self._wanted.window_seconds * self._fps / stride),
            carries=self._wanted.carries,
        )

    def _step(self, features: NDArray[Any]) -> None:
        start = time.perf_counter()
        self._outputs, self._state = self._classifier.stepper.step(features, self._state)
        self._step_seconds += time.perf_counter() - start
        if self._segments is not None:
            self._segments.add(features)
        if self._timeline is not None:
            self._timeline.add(self._outputs, self._state.hidden)

    def finish(self, path: Path) -> VideoAnswer | VideoFailure:
        assert self._end is not None
        summary = self._end.summary
        if summary is None:
            return VideoFailure(path, self._end.reason)
        if not self._is_finite:
            return VideoFailure(path, "its features are not finite numbers")
        if self._outputs is None or not np.isfinite(self._outputs).all():
            return VideoFailure(path, "the net's outputs are not finite numbers")
        return self._answer(path, self._outputs, summary)

    def _answer(
        self, path: Path, outputs: NDArray[np.float32], summary: DecodeSummary
    ) -> VideoAnswer:
        assert self._end is not None
        calibration, num = self._classifier.calibration, self.num_steps
        step_seconds = self._classifier.encoder.spec.stride / self._fps
        end_seconds = summary.num_decoded / self._fps
        notes = [summary.problem] if summary.problem else []
        if not self._has_fps:
            notes.append(f"no frame rate in the file: {ASSUMED_FPS:g} a second assumed")
        segments = self._segments and self._segments.finish(
            step_seconds=step_seconds, end_seconds=end_seconds
        )
        seconds = (self._end.decode_seconds, self._encode_seconds, self._step_seconds)
        shares = calibration.probabilities(outputs)
        labels, threshold = self._classifier.labels, self._classifier.threshold
        return VideoAnswer(
            path=path,
            probabilities=shares,
            answer=name_answer(shares, labels, threshold),
            is_known=is_known(shares, threshold),
            num_frames=summary.num_decoded,
            num_steps=num,
            fps=self._fps,
            notes=tuple(notes),
            stages=Stages(*(1e3 * spent / num for spent in seconds)),
            segments=segments or (),
            timeline=None
            if self._timeline is None
            else self._timeline.finish(calibration, step_seconds=step_seconds),
        )
