"""Fixtures that several test files use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.recurrent import fused
from tests.browsing import DESK, Launch, Seen, Served, open_address, start_launcher

# Two cores are few: threads that wait for each other are slower than none.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 200_000
OTHER_HOST = "other.example"
REQUIRE_GPU = "NPRNN_REQUIRE_GPU"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real clips, weights and lists; tests that ask for it are skipped without it.

    It is `NPRNN_DATA`, or else `../shared/data` beside the checkout.
    """
    folder = Path(os.environ.get("NPRNN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "INDEX.md").is_file():
        pytest.skip(f"real data not found at {folder}: set NPRNN_DATA to the folder that holds it")
    return folder


@pytest.fixture
def gpu() -> str:
    """The device of a CUDA GPU; without one the test is skipped, or fails if one is required."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get(REQUIRE_GPU, "0") != "0":
        pytest.fail(f"torch finds no CUDA GPU, and {REQUIRE_GPU} is set")
    pytest.skip("torch finds no CUDA GPU")


@pytest.fixture(params=fused.ISAS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each instruction set of the kernel, in use for the test."""
    if request.param not in (fused.available_isas() if fused.is_available() else ()):
        pytest.skip(f"this processor or build has no {request.param}")
    monkeypatch.setenv("NPRNN_ISA", request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Starts a browser with flags."""
    with start_launcher() as start:
        yield start


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Iterator[Any]:
    """A browser whose camera shows a generated picture, and which asks nobody for leave."""
    browser = launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Seen]]:
    """Opens an address in a fresh context, which is closed afterwards."""
    contexts = []

    def open_it(address: str, *, size: dict[str, int] = DESK, script: str = "") -> Seen:
        contexts.append(browser.new_context(viewport=size))
        return open_address(contexts[-1], address, script=script)

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def served(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The served page of a run that tells colours, called OTHER_HOST elsewhere."""
    from eval.serve.app import Limits, make_app  # noqa: PLC0415
    from tests.served_page import run_server  # noqa: PLC0415
    from tests.test_predict_videos import make_classifier  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("served")
    limits = Limits(most_bytes=MOST_BYTES, most_seconds=60.0)
    app = make_app(make_classifier(), host=OTHER_HOST, limits=limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with run_server(app) as address:
            yield Served(address, app, folder)
