"""Browsers' cameras on the served page: a stream each, read frame by frame and kept nowhere."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.predictions.unknown import is_known
from eval.serve.http import RequestError, answer, receive, refuse_other_kinds
from eval.videos.live import LiveReader
from eval.videos.videos import Classifier

UCF101_WIDTH_PIXELS = 320
MOST_CAMERAS = 4
IDLE_SECONDS = 30.0
_NUM_CHANNELS = 4  # RGBA, as a canvas gives it


@dataclass
class Camera:
    """A camera that is on; `used_seconds` is when it was last heard of."""

    reader: LiveReader
    used_seconds: float
    is_busy: bool = False


class Cameras:
    """The cameras that are on. The net reads one frame at a time, whoever sent it.

    `most_side_pixels` is the longer side of the largest frame taken: that of UCF-101's frames, or
    as much as a frame of 4:3 needs to cover the net's input. A larger one would cost more time on
    its way than the net takes for it.
    """

    def __init__(
        self, classifier: Classifier, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._classifier = classifier
        self._clock = clock
        self._cameras: dict[str, Camera] = {}
        self._one_at_a_time = threading.Lock()
        scaled = max(classifier.encoder.backbone.steps.scaled)
        self.most_side_pixels = max(UCF101_WIDTH_PIXELS, math.ceil(scaled * 4 / 3))

    def __len__(self) -> int:
        """How many are on, those left idle not among them."""
        now = self._clock()
        for key, camera in list(self._cameras.items()):
            if now - camera.used_seconds > IDLE_SECONDS:
                del self._cameras[key]
        return len(self._cameras)

    def start(self) -> str:
        """The key of a new camera, whose stream is empty. RequestError if too many are on."""
        if len(self) >= MOST_CAMERAS:
            raise RequestError(
                503, f"{MOST_CAMERAS} cameras are on, the most at a time. Stop one, or try later."
            )
        key = secrets.token_urlsafe(12)
        self._cameras[key] = Camera(LiveReader(self._classifier), self._clock())
        return key

    def stop(self, key: str) -> None:
        """End a camera's stream; it may have ended before."""
        self._cameras.pop(key, None)

    @contextlib.contextmanager
    def take(self, key: str) -> Iterator[Camera]:
        """The camera, busy within. Raises RequestError if it is off, or busy already."""
        camera = self._cameras.get(key) if len(self) else None
        if camera is None:
            raise RequestError(
                404, f"This camera is off: it was stopped, or sent nothing for {IDLE_SECONDS:g} s."
            )
        if camera.is_busy:
            raise RequestError(409, "The frame before is still being read: wait for its answer.")
        camera.is_busy, camera.used_seconds = True, self._clock()
        try:
            yield camera
        finally:
            camera.is_busy = False

    def knows(self, shares: NDArray[np.float64]) -> bool:
        """Whether the likeliest of probabilities (C,) is an answer, not none of the labels."""
        return is_known(shares, self._classifier.threshold)

    def read(self, camera: Camera, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (C,) after one more frame (H, W, 3) of a camera."""
        with self._one_at_a_time:
            try:
                return camera.reader.read(frame)
            except ValueError as error:
                raise RequestError(500, str(error)) from error


def read_size(params: Mapping[str, str], *, most_pixels: int) -> tuple[int, int]:
    """(height, width) of a frame. RequestError for what is no size, or has a side too long."""
    sizes = [params.get(name, "") for name in ("height", "width")]
    if not all(size.isascii() and size.isdigit() and len(size) < 9 for size in sizes):
        raise RequestError(400, "Expected ?width=W&height=H in pixels.")
    height, width = map(int, sizes)
    if not (0 < height <= most_pixels and 0 < width <= most_pixels):
        expected = f"expected sides from 1 to {most_pixels}"
        raise RequestError(413, f"The frame is {width}×{height} pixels; {expected}.")
    return height, width


class CameraRoutes:
    """`POST /cameras`, `POST /cameras/KEY/frames?width=W&height=H`, `DELETE /cameras/KEY`."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras

    def make_routes(self) -> list[Any]:
        from starlette.routing import Route  # noqa: PLC0415

        return [
            Route("/cameras", self.start, methods=["POST"]),
            Route("/cameras/{key}", self.stop, methods=["DELETE"]),
            Route("/cameras/{key}/frames", self.read, methods=["POST"]),
        ]

    async def start(self, request: Any) -> Any:
        refuse_other_kinds(request, "an empty body")
        return answer({"key": self._cameras.start()})

    async def stop(self, request: Any) -> Any:
        self._cameras.stop(request.path_params["key"])
        return answer({})

    async def read(self, request: Any) -> Any:
        """Probabilities after the body's frame: raw RGBA, row by row."""
        from starlette.concurrency import run_in_threadpool  # noqa: PLC0415

        refuse_other_kinds(request, "a frame's RGBA bytes")
        height, width = read_size(request.query_params, most_pixels=self._cameras.most_side_pixels)
        with self._cameras.take(request.path_params["key"]) as camera:
            frame = await _receive_frame(request, height, width)
            shares = await run_in_threadpool(self._cameras.read, camera, frame)
        return answer(
            {
                "probabilities": np.round(shares, 4).tolist(),
                "is_known": self._cameras.knows(shares),
            }
        )


async def _receive_frame(request: Any, height: int, width: int) -> NDArray[np.uint8]:
    num_bytes = height * width * _NUM_CHANNELS
    expected = f"expected {num_bytes:,} bytes of RGBA for {width}×{height} pixels."
    error = RequestError(413, f"The frame is too long: {expected}")
    body = b"".join([piece async for piece in receive(request, most_bytes=num_bytes, error=error)])
    if len(body) != num_bytes:
        raise RequestError(400, f"The frame has {len(body):,} bytes; {expected}")
    return np.frombuffer(body, np.uint8).reshape(height, width, _NUM_CHANNELS)[:, :, :3]
