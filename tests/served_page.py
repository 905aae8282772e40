"""The served page's app behind a real port of this computer, for the tests of the page."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")
OCTETS = {"content-type": "application/octet-stream"}


@contextlib.contextmanager
def run_server(app: Any) -> Iterator[str]:
    """The address of a server of `app`; what it logs goes to pytest's own records."""
    with socket.socket() as listening:  # kept open: no other process can take its port
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", log_config=None, ws="none")
        server = uvicorn.Server(config)
        sockets = {"sockets": [listening]}
        thread = threading.Thread(target=server.run, kwargs=sockets, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def ask(
    url: str,
    *,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
) -> tuple[int, str]:
    """The status and the text that a server answers."""
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def list_files(folder: Path) -> list[Path]:
    """What a server of this folder keeps, beside the lock that says that it lives."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
