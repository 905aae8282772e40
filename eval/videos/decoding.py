"""Videos decoded ahead of the net, in threads: the decoders leave Python's lock while they work."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.backbones.encoder import Encoder
from pipeline.clips import VIDEO_SUFFIXES
from pipeline.video import DecodeSummary, VideoError, read_frames, read_header

# Few, as frames of any size are held until they are cropped.
_CHUNK_FRAMES = 16
_MESSAGES_AHEAD = 8
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Opened:
    """The first word on a video."""

    fps: float


@dataclass(frozen=True)
class Ended:
    """The last word on a video: what was decoded, or why nothing was."""

    summary: DecodeSummary | None
    reason: str
    decode_seconds: float


Message = Opened | Tensor | Ended


@dataclass(frozen=True)
class VideoFailure:
    """A path without an answer, and why."""

    path: Path
    reason: str


def find_videos(paths: Sequence[Path]) -> tuple[list[Path], list[VideoFailure]]:
    """Files as they are given, and the videos in folders at any depth; and what cannot be read.

    Each comes once. Hidden files and folders are passed over, and links to folders.
    """
    videos: dict[str, Path] = {}
    failures: list[VideoFailure] = []
    for path in paths:
        found = _find_in_folder(path, failures) if path.is_dir() else [path]
        if not found and not any(failure.path == path for failure in failures):
            failures.append(VideoFailure(path, "a directory without videos"))
        # Not resolve(), which fails on a loop of links.
        videos.update({str(video.absolute()): video for video in found})
    return list(videos.values()), failures


def _find_in_folder(folder: Path, failures: list[VideoFailure]) -> list[Path]:
    def refuse(error: OSError) -> None:
        path = Path(error.filename or folder)
        failures.append(VideoFailure(path, f"cannot be listed ({error.strerror})"))

    found = []
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                failures.append(VideoFailure(Path(root, name), "a directory, not a file"))
        found += [
            Path(root, name)
            for name in sorted(files)
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
        ]
    return found


def decode_ahead(
    paths: Sequence[Path], encoder: Encoder, *, num_workers: int
) -> Iterator[tuple[Path, Iterator[Message]]]:
    """Each path with its Opened, crops and Ended, in order; take all of one before the next."""
    stop = threading.Event()
    queues: list[queue.Queue[Message]] = [queue.Queue(_MESSAGES_AHEAD) for _ in paths]
    executor = ThreadPoolExecutor(num_workers, thread_name_prefix="decode")
    try:
        for path, messages in zip(paths, queues, strict=True):
            executor.submit(_fill, messages, path, encoder, stop)
        for path, messages in zip(paths, queues, strict=True):
            yield path, _drain(messages)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def _drain(messages: queue.Queue[Message]) -> Iterator[Message]:
    while True:
        message = messages.get()
        yield message
        if isinstance(message, Ended):
            return


def _fill(
    messages: queue.Queue[Message], path: Path, encoder: Encoder, stop: threading.Event
) -> None:
    for message in decode_video(path, encoder):
        while not stop.is_set():
            try:
                messages.put(message, timeout=_POLL_SECONDS)
                break
            except queue.Full:
                continue
        if stop.is_set():
            return


def decode_video(path: Path, encoder: Encoder) -> Iterator[Message]:
    """Opened, the crops of every stride-th frame in full batches, and Ended, whatever happens."""
    seconds, start = 0.0, time.perf_counter()
    size = encoder.backbone.batch_frames
    crops: list[Tensor] = []
    summary, reason = None, ""
    try:
        yield Opened(read_header(path).fps)
        frames = read_frames(path, stride=encoder.spec.stride, chunk_frames=_CHUNK_FRAMES)
        for chunk in frames:
            crops += encoder.crop(chunk)
            while len(crops) >= size:
                seconds += time.perf_counter() - start
                yield torch.stack(crops[:size])
                start = time.perf_counter()
                del crops[:size]
        seconds += time.perf_counter() - start
        if crops:
            yield torch.stack(crops)
        summary = frames.summary
    except VideoError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001  # the thread's only way to tell of our mistake
        reason = f"could not be decoded ({type(error).__name__}: {error})"
    yield Ended(summary, reason, seconds)
