"""Videos on the served page: received into a file, read, deleted; their pages stay in memory."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.serve.http import RequestError, answer, receive, refuse_other_kinds
from eval.videos.decoding import Ended, Message, Opened, VideoFailure, decode_video
from eval.videos.videos import ASSUMED_FPS, Classifier, Wanted, read_video
from eval.videos.watch import make_page
from pipeline.video import read_header

KEPT_JOBS = 8


@dataclass(frozen=True)
class Limits:
    """The largest file and the longest video that are taken."""

    most_bytes: int = 200_000_000
    most_seconds: float = 600.0

    @property
    def size(self) -> str:
        """The largest file, for people."""
        megabytes = self.most_bytes / 1e6
        return f"{megabytes:,.0f} MB" if megabytes >= 1 else f"{self.most_bytes:,} bytes"


@dataclass
class Job:
    """A video that was dropped: how far it is, and its page or what is wrong."""

    name: str
    num_read: int = 0
    num_frames: int | None = None
    page: str = ""
    error: str = ""

    @property
    def is_done(self) -> bool:
        return bool(self.page or self.error)


class VideoReader:
    """Reads one video at a time, in a thread of its own request."""

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self._classifier = classifier
        self._limits = limits
        self._one_at_a_time = threading.Lock()

    def read(self, path: Path, job: Job) -> None:
        """Fill the job; whatever happens, it is done afterwards and the file is gone."""
        try:
            with self._one_at_a_time:
                job.page = self._make_page(path, job)
        except ValueError as error:
            job.error = str(error)
        except Exception as error:  # noqa: BLE001  # the page waits for an answer
            job.error = f"It could not be read ({type(error).__name__}: {error})."
        finally:
            remove(path)

    def _make_page(self, path: Path, job: Job) -> str:
        header = read_header(path)
        job.num_frames = header.num_frames
        if header.num_frames and header.fps:
            self._refuse_long(header.num_frames / header.fps)
        messages = self._count(path, job)
        found = read_video(self._classifier, path, messages, wanted=Wanted(timeline=True))
        if isinstance(found, VideoFailure):
            raise ValueError(found.reason)
        return make_page(found, self._classifier, page=None)

    def _count(self, path: Path, job: Job) -> Iterator[Message]:
        """The messages, counted; a header may promise less than there is."""
        spec, fps = self._classifier.encoder.spec, ASSUMED_FPS
        for message in decode_video(path, self._classifier.encoder):
            if isinstance(message, Opened):
                fps = message.fps or fps
            elif not isinstance(message, Ended):
                self._refuse_long(job.num_read / fps)
                job.num_read += len(message) * spec.stride
            yield message

    def _refuse_long(self, seconds: float) -> None:
        if seconds > self._limits.most_seconds:
            raise ValueError(
                f"The video is longer than {self._limits.most_seconds:g} seconds, the limit here."
            )


class VideoRoutes:
    """`POST /videos?name=NAME`, `GET /videos/KEY` for how far it is, `GET /videos/KEY/page`."""

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self._limits = limits
        self._reader = VideoReader(classifier, limits)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._num_coming = 0
        self.folder = Path()
        """Where files lie until they are read; set when the server starts."""

    def make_routes(self) -> list[Any]:
        from starlette.routing import Route  # noqa: PLC0415

        return [
            Route("/videos", self.take, methods=["POST"]),
            Route("/videos/{key}", self.tell),
            Route("/videos/{key}/page", self.show_page),
        ]

    async def take(self, request: Any) -> Any:
        """Keep the body in a file, no more than the limit, and begin to read it."""
        refuse_other_kinds(request, "the video")
        if self._num_coming + sum(not job.is_done for job in self._jobs.values()) >= KEPT_JOBS:
            raise RequestError(503, "Too many videos are waiting. Try again later.")
        name = _clear_name(request.query_params.get("name", ""))
        key = secrets.token_urlsafe(12)
        path = self.folder / key / name  # its own name, as the page shows it
        path.parent.mkdir()
        self._num_coming += 1
        try:
            await self._receive(request, path)
        except BaseException:  # too large, or the browser went away, or the server ends
            remove(path)
            raise
        finally:
            self._num_coming -= 1
        job = self._keep(key, Job(name))
        threading.Thread(target=self._reader.read, args=(path, job), daemon=True).start()
        return answer({"key": key})

    async def _receive(self, request: Any, path: Path) -> None:
        most, size = self._limits.most_bytes, self._limits.size
        error = RequestError(413, f"The file is larger than {size}, the limit here.")
        with path.open("wb") as file:
            async for piece in receive(request, most_bytes=most, error=error):
                file.write(piece)

    def _keep(self, key: str, job: Job) -> Job:
        self._jobs[key] = job
        done = [key for key, job in self._jobs.items() if job.is_done]
        for old in done[: max(0, len(self._jobs) - KEPT_JOBS)]:
            del self._jobs[old]
        return job

    async def tell(self, request: Any) -> Any:
        job = self._find(request)
        return answer(
            {
                "num_read": job.num_read,
                "num_frames": job.num_frames,
                "is_done": job.is_done,
                "error": job.error,
            }
        )

    async def show_page(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse  # noqa: PLC0415

        job = self._find(request)
        if not job.page:
            raise RequestError(404, "This video has no page.")
        return HTMLResponse(job.page)

    def _find(self, request: Any) -> Job:
        job = self._jobs.get(request.path_params["key"])
        if job is None:
            raise RequestError(404, "This video is not kept any more.")
        return job


def remove(path: Path) -> None:
    """Remove a video, and the folder that held it alone."""
    path.unlink(missing_ok=True)
    path.parent.rmdir()


def _clear_name(name: str) -> str:
    """A file name of what a browser sent, without folders."""
    plain = Path(name.replace("\0", "")).name.encode()[:200].decode(errors="ignore")
    return plain if plain not in ("", ".", "..") else "video"
