"""A local web page on which one drops a video and sees what a run says of it.

Its libraries are the extra `serve`. A video is deleted when it was read; its page stays in memory,
for the last few videos only.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.decoding import Ended, Opened, Piece, VideoFailure, decode_video
from eval.report import render_page
from eval.videos import Classifier, Wanted, read_video
from eval.watch import make_page
from pipeline.video import read_header

LOOPBACK = "127.0.0.1"
PAGE = "serve.html"
_KIND = "application/octet-stream"
_KEPT_JOBS = 8


@dataclass(frozen=True)
class Limits:
    """The largest file and the longest video that are taken."""

    most_bytes: int = 200_000_000
    most_seconds: float = 600.0


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
            path.unlink(missing_ok=True)

    def _make_page(self, path: Path, job: Job) -> str:
        header = read_header(path)
        job.num_frames = header.num_frames
        if header.num_frames and header.fps:
            self._refuse_long(header.num_frames / header.fps)
        pieces = self._count(path, job)
        found = read_video(self._classifier, path, pieces, wanted=Wanted(curve=True))
        if isinstance(found, VideoFailure):
            raise ValueError(found.reason)
        return make_page(found, self._classifier, page=None)

    def _count(self, path: Path, job: Job) -> Any:
        """The pieces, counted; a header may promise less than there is."""
        spec, fps = self._classifier.encoder.spec, 25.0
        piece: Piece
        for piece in decode_video(path, self._classifier.encoder):
            if isinstance(piece, Opened):
                fps = piece.fps or fps
            elif not isinstance(piece, Ended):
                self._refuse_long(job.num_read / fps)
                job.num_read += len(piece) * spec.stride
            yield piece

    def _refuse_long(self, seconds: float) -> None:
        if seconds > self._limits.most_seconds:
            raise ValueError(
                f"The video is longer than {self._limits.most_seconds:g} seconds, the limit here."
            )


def make_app(classifier: Classifier, *, host: str = LOOPBACK, limits: Limits | None = None) -> Any:
    """The ASGI app. ValueError where the extra is not installed."""
    try:
        from starlette.applications import Starlette  # noqa: PLC0415
        from starlette.middleware import Middleware  # noqa: PLC0415
        from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415
    except ImportError:
        raise ValueError('--serve needs an extra: pip install "np-rnn[serve]"') from None
    routes = _Routes(classifier, limits or Limits())
    # A page elsewhere must not reach this one under a name of its own (DNS rebinding).
    hosts = [LOOPBACK, "localhost", host] if host != "0.0.0.0" else ["*"]
    return Starlette(
        routes=[
            Route("/", routes.show),
            Route("/videos", routes.take, methods=["POST"]),
            Route("/videos/{key}", routes.tell),
            Route("/videos/{key}/page", routes.show_page),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        lifespan=routes.lifespan,
    )


class _Routes:
    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self._classifier, self._limits = classifier, limits
        self._reader = VideoReader(classifier, limits)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._folder = Path()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> Any:
        with tempfile.TemporaryDirectory(prefix="np-rnn-serve-") as folder:
            self._folder = Path(folder)
            yield

    async def show(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse  # noqa: PLC0415

        return HTMLResponse(
            render_page(
                PAGE,
                title=f"What does {self._classifier.stepper.spec.name} see?",
                run=self._classifier.run.folder.name,
                most_megabytes=self._limits.most_bytes // 1_000_000,
                most_bytes=self._limits.most_bytes,
                most_seconds=f"{self._limits.most_seconds:g}",
                labels=self._classifier.labels,
            )
        )

    async def take(self, request: Any) -> Any:
        """Keep the body in a file, no more than the limit, and begin to read it."""
        # This kind makes browsers ask before another site's page may send it; nobody allows it.
        if request.headers.get("content-type") != _KIND:
            return _say_error(415, f"Expected the video as {_KIND}.")
        if sum(not job.is_done for job in self._jobs.values()) >= _KEPT_JOBS:
            return _say_error(503, "Too many videos are waiting. Try again later.")
        name = _clear_name(request.query_params.get("name", ""))
        key = secrets.token_urlsafe(12)
        path = self._folder / key / name  # its own name, as the page shows it
        path.parent.mkdir()
        try:
            is_whole = await _receive(request, path, most_bytes=self._limits.most_bytes)
        except BaseException:  # the browser went away, or the server ends
            path.unlink(missing_ok=True)
            raise
        if not is_whole:
            path.unlink()
            limit = self._limits.most_bytes // 1_000_000
            return _say_error(413, f"The file is larger than {limit} MB, the limit here.")
        job = self._keep(key, Job(name))
        threading.Thread(target=self._reader.read, args=(path, job), daemon=True).start()
        return _answer({"key": key})

    def _keep(self, key: str, job: Job) -> Job:
        self._jobs[key] = job
        done = [key for key, job in self._jobs.items() if job.is_done]
        for old in done[: max(0, len(self._jobs) - _KEPT_JOBS)]:
            del self._jobs[old]
        return job

    async def tell(self, request: Any) -> Any:
        job = self._jobs.get(request.path_params["key"])
        if job is None:
            return _say_error(404, "This video is not kept any more.")
        return _answer(
            {
                "num_read": job.num_read,
                "num_frames": job.num_frames,
                "is_done": job.is_done,
                "error": job.error,
            }
        )

    async def show_page(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse  # noqa: PLC0415

        job = self._jobs.get(request.path_params["key"])
        if job is None or not job.page:
            return _say_error(404, "This video is not kept any more.")
        return HTMLResponse(job.page)


def _clear_name(name: str) -> str:
    """A file name of what a browser sent, without folders."""
    plain = Path(name.replace("\0", "")).name.encode()[:200].decode(errors="ignore")
    return plain if plain not in ("", ".", "..") else "video"


async def _receive(request: Any, path: Path, *, most_bytes: int) -> bool:
    """Write the body to `path`; False as soon as it is larger than `most_bytes`."""
    num_bytes = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            num_bytes += len(chunk)
            if num_bytes > most_bytes:
                return False
            file.write(chunk)
    return True


def _answer(content: dict[str, Any], *, status: int = 200) -> Any:
    from starlette.responses import JSONResponse  # noqa: PLC0415

    return JSONResponse(content, status_code=status)


def _say_error(status: int, message: str) -> Any:
    return _answer({"error": message}, status=status)


def serve(classifier: Classifier, *, host: str, port: int, limits: Limits) -> None:
    """Serve until Ctrl-C."""
    app = make_app(classifier, host=host, limits=limits)
    import uvicorn  # noqa: PLC0415

    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
