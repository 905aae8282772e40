"""A real browser for the tests of pages: the one that is installed here, never a download."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.served_page import list_files

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE = {"width": 375, "height": 740}
DESK = {"width": 1280, "height": 900}
Launch = Callable[..., Any]


@dataclass(frozen=True)
class Served:
    """The served page: its address, its app, and the folder of its temporary files."""

    address: str
    app: Any
    folder: Path

    def list_files(self) -> list[Path]:
        return list_files(self.folder)

    def wait_for_no_camera(self, page: Any) -> None:
        for _ in range(1500):
            if len(self.app.state.cameras) == 0:
                return
            page.wait_for_timeout(20)
        raise AssertionError("the server still has a camera")


@dataclass(frozen=True)
class Seen:
    """A page, what it complained of, and the addresses that it asked for."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def start_launcher() -> Iterator[Launch]:
    """A function that starts the browser with flags; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser found: install one of {', '.join(NAMES)}")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # As root it does not start in its sandbox.
    sandbox = [] if hasattr(os, "getuid") and os.getuid() else ["--no-sandbox"]
    with api.sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(
            executable_path=path, args=[*sandbox, *flags]
        )


def open_address(context: Any, address: str, *, script: str = "") -> Seen:
    """The page at an address; `script` runs before its own."""
    context.set_default_timeout(30_000)
    seen = Seen(context.new_page())
    seen.page.on("console", lambda told: seen.problems.append(f"{told.type}: {told.text}"))
    seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    if script:
        seen.page.add_init_script(script)
    seen.page.goto(address)
    return seen


def expect_text(page: Any, selector: str, text: str, *, is_whole: bool = False) -> None:
    """Waits until the element holds the text, or nothing else."""
    from playwright.sync_api import expect  # noqa: PLC0415

    element = expect(page.locator(selector))
    (element.to_have_text if is_whole else element.to_contain_text)(text, timeout=30_000)


def drop_file(page: Any, path: Path) -> None:
    """A drop on the page's box, as a browser reports one."""
    content = base64.b64encode(path.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """([name, content]) => {
          const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [path.name, content],
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event("#drop", kind, {"dataTransfer": transfer})


def count_points(scope: Any) -> list[int]:
    """How many points each curve of a chart has."""
    found: list[int] = scope.locator(".curve").evaluate_all(
        "curves => curves.map(c => c.getAttribute('points').trim().split(/\\s+/).length)"
    )
    return found


def is_too_wide(page: Any) -> bool:
    """Whether the page scrolls sideways."""
    found: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return found
