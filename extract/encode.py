"""Frames to features, in batches of one size that run across clips."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backbones import Backbone


class BatchEncoder:
    """Collects the frames of a shard's clips into full batches; `flush` encodes what is left.

    Whatever the batch, a frame's features depend on that frame alone (`Backbone.encode_crops`).
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._pending: list[Tensor] = []
        self._num_pending = 0
        self.seconds = 0.0
        """Seconds spent preprocessing and encoding."""

    def add(self, frames: Tensor) -> NDArray[np.float32] | None:
        """Take frames (N, H, W, 3) uint8; the features of the batches they fill, if any."""
        start = time.perf_counter()
        crops = self._backbone.crop(frames)
        self._pending.append(crops)
        self._num_pending += len(crops)
        num = self._num_pending - self._num_pending % self._backbone.batch_frames
        features = self._encode(num)
        self.seconds += time.perf_counter() - start
        return features

    def flush(self) -> NDArray[np.float32] | None:
        """The features of the frames not yet encoded."""
        start = time.perf_counter()
        features = self._encode(self._num_pending)
        self.seconds += time.perf_counter() - start
        return features

    def _encode(self, num: int) -> NDArray[np.float32] | None:
        if not num:
            return None
        crops = torch.cat(self._pending)
        self._pending, self._num_pending = [crops[num:]], len(crops) - num
        features: NDArray[np.float32] = self._backbone.encode_crops(crops[:num]).cpu().numpy()
        return features
