"""A local web page on which one drops a video, or turns a camera on, and sees what a run says.

Its libraries are the extra `serve`. No video is kept longer than its reading takes, and no frame of
a camera at all.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from markupsafe import Markup

from eval.pages.rendering import render_page
from eval.pages.svg import COLOURS
from eval.serve.camera import CameraRoutes, Cameras
from eval.serve.http import RequestError, tell_error
from eval.serve.temporary import lend_temporary
from eval.serve.video import Limits, VideoRoutes
from eval.videos.videos import Classifier
from eval.videos.watch import DASHES

__all__ = ["LOOPBACK", "Limits", "make_app", "serve"]

LOOPBACK = "127.0.0.1"
# More are told 503.
MOST_CONNECTIONS = 100
PAGE = "serve/serve.html"


def make_app(classifier: Classifier, *, host: str = LOOPBACK, limits: Limits | None = None) -> Any:
    """The ASGI app; its `state.cameras` are those that are on.

    Raises ValueError where the extra is not installed.
    """
    try:
        from starlette.applications import Starlette  # noqa: PLC0415
        from starlette.middleware import Middleware  # noqa: PLC0415
        from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415
        from starlette.responses import HTMLResponse  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415
    except ImportError:
        raise ValueError('A served page needs an extra: pip install "np-rnn[serve]"') from None
    limits = limits or Limits()
    videos, cameras = VideoRoutes(classifier, limits), Cameras(classifier)
    page = make_start_page(classifier, limits, most_side_pixels=cameras.most_side_pixels)

    async def show(request: Any) -> Any:
        return HTMLResponse(page)

    @contextlib.asynccontextmanager
    async def lend_folder(app: Any) -> AsyncIterator[None]:
        with lend_temporary() as folder:
            videos.folder = folder
            yield

    # A page elsewhere must not reach this one under a name of its own (DNS rebinding).
    hosts = [LOOPBACK, "localhost", host] if host != "0.0.0.0" else ["*"]
    app = Starlette(
        routes=[Route("/", show), *videos.make_routes(), *CameraRoutes(cameras).make_routes()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={RequestError: tell_error},
        lifespan=lend_folder,
    )
    app.state.cameras = cameras
    return app


def make_start_page(classifier: Classifier, limits: Limits, *, most_side_pixels: int) -> str:
    """The page that one opens first."""
    settings = {
        "mostBytes": limits.most_bytes,
        "most": limits.size,
        "mostSidePixels": most_side_pixels,
        "labels": classifier.labels,
        "colours": COLOURS,
        "dashes": DASHES,
    }
    return render_page(
        PAGE,
        title=f"What does {classifier.stepper.spec.name} see?",
        run=classifier.run.folder.name,
        about=classifier.about,
        most=limits.size,
        most_seconds=f"{limits.most_seconds:g}",
        labels=classifier.labels,
        settings=Markup(json.dumps(settings).replace("<", "\\u003c")),
    )


def serve(classifier: Classifier, *, host: str, port: int, limits: Limits) -> None:
    """Serve until Ctrl-C."""
    app = make_app(classifier, host=host, limits=limits)
    import uvicorn  # noqa: PLC0415

    uvicorn.run(
        app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2,
        limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
