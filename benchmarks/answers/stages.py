"""The stages of an answer, each by turns with its own limit, in milliseconds of processor time."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.answers.setting import Setting
from benchmarks.report import Comparison, Side
from eval.serve.app import make_app
from eval.serve.http import KIND
from eval.videos.answers import format_json
from eval.videos.live import LiveReader, LiveReport, watch_live
from eval.videos.videos import VideoAnswer, read_videos
from pipeline.backbones.backbone import DTYPES
from pipeline.backbones.encoder import load_encoder
from pipeline.features import INT8
from pipeline.files import digest_file
from pipeline.video import read_frames

Way = tuple[str, Callable[[], object]]
"""A side's name, and what is timed."""
CAMERA = (240, 320)
"""Height and width of a browser camera's frame, as the served page sends it."""


def by_turns(what: str, ours: Way, limit: Way, *, rounds: int, num: int = 1) -> Comparison:
    """Processor time of both, all threads', over `num` frames; the ratio is the limit's share."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for (_, call), kept in zip((ours, limit), seconds, strict=True):
            start = time.process_time()
            call()
            if number:  # the first warms up
                kept.append(1e3 * (time.process_time() - start) / num)
    sides = Side(ours[0], tuple(seconds[0])), Side(limit[0], tuple(seconds[1]))
    return Comparison(what, "ms CPU", "time", *sides)


def best(comparison: Comparison) -> float:
    """The limit in its best round."""
    return min(comparison.theirs.values)


def time_starts(setting: Setting, video: Path, *, rounds: int) -> list[Comparison]:
    """A short video's whole command, and its imports, beside torch's import alone."""
    run = ["-m", "eval", "predict", "--run", str(setting.classifier.run.folder), str(video)]
    weights = ["--weights", str(setting.weights)] if setting.weights else []
    commands = {
        "whole command": [*run, *weights],
        "imports": ["-c", "import eval.videos.videos, eval.videos.answers"],
        "import torch": ["-c", "import torch"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _, (name, words) in itertools.product(range(rounds), commands.items()):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent[name].append(1e3 * seconds)
    limit = Side("import torch", tuple(spent.pop("import torch")))
    return [
        Comparison(f"start, {setting.dtype}: {name}", "ms CPU", "time", Side(name, tuple(v)), limit)
        for name, v in spent.items()
    ]


def time_loading(setting: Setting, *, rounds: int) -> list[Comparison]:
    """Weights read, checked and moved beside their file's digest; the first batch and a later."""
    classifier, spec = setting.classifier, setting.classifier.run.features
    backbone = classifier.encoder.backbone
    black = torch.zeros(backbone.batch_frames, 3, *backbone.steps.size, dtype=torch.uint8)
    fresh = [load_encoder(spec, weights=setting.weights) for _ in range(rounds + 1)]
    encoders = iter(fresh)
    later = fresh[0]
    later.encode_crops(black)
    first = by_turns(
        f"predict, {setting.dtype}: first batch of {len(black)}",
        ("first", lambda: next(encoders).encode_crops(black)),
        ("a later one", lambda: later.encode_crops(black)),
        rounds=rounds,
    )
    if setting.weights is None:
        return [first]
    file = setting.weights
    read = by_turns(
        f"predict, {setting.dtype}: weights read",
        ("load_encoder", lambda: load_encoder(spec, weights=file)),
        ("digest of the file", lambda: digest_file(file)),
        rounds=rounds,
    )
    return [read, first]


def time_stages(
    setting: Setting, video: Path, *, num_frames: int, batch: int, rounds: int
) -> list[Comparison]:
    """Each stage a frame, `batch` frames at a time, beside its limit."""
    encoder, what = setting.classifier.encoder, f"batch {batch}, {setting.dtype}"
    chunk = next(iter(read_frames(video, chunk_frames=min(batch, num_frames))))
    crops = encoder.crop(chunk)
    whole = replace(encoder, backbone=replace(encoder.backbone, batch_frames=batch))
    full = crops.repeat(batch // len(crops) + 1, 1, 1, 1)[:batch]
    stages = [
        by_turns(
            f"{what}: backbone",
            ("encode_crops", lambda: whole.encode_crops(full)),
            ("bare net", make_bare(setting, full)),
            rounds=rounds, num=batch,
        )
    ]  # fmt: skip
    if setting.dtype != INT8:
        steps = encoder.backbone.steps
        stages.append(
            by_turns(
                f"{what}: normalise",
                ("normalise", lambda: steps.normalise(full)), ("to float32", full.float),
                rounds=rounds, num=batch,
            )
        )  # fmt: skip
    return stages


def make_bare(setting: Setting, crops: Tensor) -> Callable[[], object]:
    """The net alone on a ready batch: normalised, in its arithmetic and order of memory."""
    backbone = setting.classifier.encoder.backbone
    if setting.dtype == INT8:
        return lambda: backbone.module(crops)
    ready = backbone.steps.normalise(crops).to(DTYPES[setting.dtype])
    ready = ready.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def run() -> object:
        return backbone.module(ready)

    return run


def time_decoding(video: Path, *, num_frames: int, rounds: int) -> Comparison:
    """Frames as `read_frames` gives them beside PyAV's decoding alone."""

    def read() -> None:
        for _ in read_frames(video, chunk_frames=16):
            pass

    def decode() -> None:
        with av.open(str(video)) as file:
            stream = file.streams.video[0]
            stream.codec_context.thread_count = 1
            for _ in file.decode(stream):
                pass

    ways: tuple[Way, Way] = (("read_frames", read), ("bare PyAV", decode))
    return by_turns(f"decode, {video.stem}", *ways, rounds=rounds, num=num_frames)


def time_small_stages(setting: Setting, video: Path, *, rounds: int) -> list[Comparison]:
    """Resize and crop, recurrent step, the answer's JSON."""
    classifier = setting.classifier
    encoder, stepper = classifier.encoder, classifier.stepper
    frames = next(iter(read_frames(video, chunk_frames=1)))
    images, size = torch.from_numpy(frames).permute(0, 3, 1, 2), encoder.backbone.steps.scaled
    features = np.ones(stepper.spec.input_size, np.float32)
    state = stepper.initial_state()
    draw = np.random.default_rng(0)
    hidden = stepper.spec.hidden_size
    matrix = draw.normal(size=(hidden, hidden + len(features))).astype(np.float32)
    joined = np.ones(hidden + len(features), np.float32)
    (answer,) = read_videos(classifier, [video])
    assert isinstance(answer, VideoAnswer)
    content = json.loads(format_json([answer], [], classifier, top=5))
    repeat = range(20)

    def resize() -> None:
        for _ in repeat:
            F.interpolate(images, size=size, mode="bilinear", antialias=True)

    ways: list[tuple[str, Way, Way]] = [
        ("resize, crop", ("crop", lambda: [encoder.crop(frames) for _ in repeat]),
         ("bare resize", resize)),
        ("recurrent step", ("step", lambda: [stepper.step(features, state) for _ in repeat]),
         ("its product", lambda: [matrix @ joined for _ in repeat])),
        ("answer as JSON",
         ("format_json", lambda: [format_json([answer], [], classifier, top=5) for _ in repeat]),
         ("json.dumps", lambda: [json.dumps(content, indent=1) for _ in repeat])),
    ]  # fmt: skip
    return [
        by_turns(name, ours, limit, rounds=rounds, num=len(repeat)) for name, ours, limit in ways
    ]


def time_predict(
    setting: Setting, video: Path, limit: float, *, num_frames: int, rounds: int
) -> Comparison:
    """A video from file to answer, a frame, beside the sum of its stages' limits."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        list(read_videos(setting.classifier, [video]))
        seconds.append(1e3 * (time.process_time() - start) / num_frames)
    ours, theirs = Side("read_videos", tuple(seconds)), Side("sum of the limits", (limit,))
    return Comparison(f"predict, {setting.dtype}: a frame", "ms CPU", "time", ours, theirs)


def time_serve(setting: Setting, *, num_frames: int, rounds: int) -> list[Comparison]:
    """A camera's frame from the request's bytes to the answer's, beside the bare net."""
    draw = np.random.default_rng(0)
    frame = draw.integers(0, 256, size=(*CAMERA, 4), dtype=np.uint8)
    reader = LiveReader(setting.classifier)
    crops = setting.classifier.encoder.crop(frame[None, :, :, :3])
    bare = make_bare(setting, crops)
    app = make_app(setting.classifier)
    key = json.loads(ask(app, "/cameras"))["key"]
    path, query = f"/cameras/{key}/frames", f"height={CAMERA[0]}&width={CAMERA[1]}"
    body, repeat = frame.tobytes(), range(num_frames)

    def read() -> None:
        for _ in repeat:
            reader.read(frame[:, :, :3])

    def serve() -> None:
        for _ in repeat:
            ask(app, path, query=query, body=body)

    ways: dict[str, tuple[Way, Way]] = {
        "read": (("LiveReader", read), ("bare net", lambda: [bare() for _ in repeat])),
        "request to answer": (("app", serve), ("LiveReader", read)),
    }
    return [
        by_turns(f"serve, {setting.dtype}: {name}", *sides, rounds=rounds, num=num_frames)
        for name, sides in ways.items()
    ]


def ask(app: Any, path: str, *, query: str = "", body: bytes = b"") -> bytes:
    """The body of the answer to a POST, without a network between."""
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": query.encode(),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", KIND.encode())],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 200, sent
    return b"".join(message.get("body", b"") for message in sent)


def time_watch(
    setting: Setting, videos: Sequence[Path], limits: Sequence[float]
) -> Iterator[tuple[Comparison, LiveReport]]:
    """Streams at their own clock: a decoded frame beside bare decoding and net; what was dropped.

    Frames that were dropped cost their decoding alone.
    """
    for video, limit in zip(videos, limits, strict=True):
        start = time.process_time()
        report = watch_live(str(video), setting.classifier, tell=lambda line: None)
        spent = 1e3 * (time.process_time() - start) / report.num_read
        ours, theirs = Side("watch_live", (spent,)), Side("sum of the limits", (limit,))
        name = f"watch, {setting.dtype}, {video.stem}: a frame read"
        yield Comparison(name, "ms CPU", "time", ours, theirs), report
