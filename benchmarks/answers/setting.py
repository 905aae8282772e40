"""What an answer is measured on: a video, and a run on features of each arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from benchmarks.stores import write_store
from eval.videos.videos import Classifier, load_classifier
from extract.setup import Workload, prepare_encoder
from pipeline.backbones import resolve_dtype
from pipeline.features import INT8, INT8_FILE
from pipeline.runs import load_run
from train.config import compose_config
from train.fit import train_run

FPS = 25
_NUM_PICTURES = 8
_LENGTHS = (16,) * 66


@dataclass(frozen=True)
class Setting:
    """A run that is ready to answer, and the file of its encoder's weights; None: random ones."""

    dtype: str
    classifier: Classifier
    weights: Path | None


def write_h264(path: Path, *, height: int, width: int, num_frames: int) -> Path:
    """A video of moving blocks under noise: some 4 Mbit/s of 1080p."""
    draw = np.random.default_rng(0)
    blocks = draw.integers(40, 216, size=(height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
    ground = blocks.repeat(40, axis=0).repeat(40, axis=1)
    noise = draw.integers(0, 12, size=(_NUM_PICTURES, height, width, 1), dtype=np.uint8)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(num_frames):
            top, left = index % 40, 3 * index % 40
            picture = ground[top : top + height, left : left + width] + noise[index % _NUM_PICTURES]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


def list_dtypes() -> list[str]:
    """The arithmetics of this processor, with what is installed."""
    found = ["float32"]
    if resolve_dtype("auto", "cpu") != "float32":
        found.append("bfloat16")
    has_int8 = torch.cpu._is_vnni_supported() and find_spec("openvino") and find_spec("nncf")
    return [*found, INT8] if has_int8 else found


def make_setting(dtype: str, folder: Path, *, video: Path, weights: Path | None) -> Setting:
    """A run on drawn features, trained for an epoch: only its speed counts.

    Without the file of `weights` the backbone is googlenet with random ones.
    """
    store = folder / f"store-{dtype}"
    setup = prepare_encoder(
        "bvlc-googlenet" if weights else "googlenet", store,
        weights=str(weights or "random"), features="pool", stride=1, device="cpu", dtype=dtype,
        batch_frames=None, num_workers=1, workload=Workload(videos=[video]),
    )  # fmt: skip
    write_store(store, _LENGTHS, spec=setup.spec)
    run = load_run(
        train_run(
            compose_config(
                [
                    "model=np-rnn", f"features={store}", "split=draw", f"out={folder / 'runs'}",
                    "schedule.phase_epochs=[1]", "trainer.accelerator=cpu",
                ]
            )
        )
    )  # fmt: skip
    file = store / INT8_FILE if dtype == INT8 else weights
    return Setting(dtype, load_classifier(run, weights=file), file)
