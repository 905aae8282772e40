"""The camera of a real browser on the served page: its label and chart, its end, its refusals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import (
    PHONE,
    Launch,
    Seen,
    Served,
    count_points,
    drop_file,
    expect_text,
    is_too_wide,
)
from tests.conftest import OTHER_HOST
from tests.test_predict_videos import write_colours


def read_curves(page: Any) -> str:
    found: str = page.locator("#curves").inner_html()
    return found


def test_the_camera_shows_a_label_and_a_moving_chart_until_it_is_stopped(
    open_page: Callable[..., Seen], served: Served
) -> None:
    seen = open_page(served.address)
    page = seen.page
    page.click("text=Use the camera")
    expect_text(page, "#said", "The camera is on.")
    page.wait_for_function("() => Number(document.getElementById('rate').textContent) > 1")
    # Chromium's own picture is green.
    expect_text(page, "#label", "green")
    expect_text(page, "#announced", "green, ")
    assert len(served.app.state.cameras) == 1
    before = read_curves(page)
    page.wait_for_function(
        "before => document.getElementById('curves').innerHTML !== before", arg=before
    )
    assert max(count_points(page)) > 2
    page.set_viewport_size(PHONE)
    assert not is_too_wide(page)
    page.click("text=Stop the camera")
    expect_text(page, "#said", "The camera is off.")
    page.wait_for_function("() => !document.getElementById('picture').srcObject")
    served.wait_for_no_camera(page)
    assert page.is_visible("text=Use the camera")
    assert served.list_files() == []
    assert seen.problems == []
    assert all(url.startswith((served.address, "data:")) for url in seen.requests)


@pytest.mark.parametrize("way", ["leave", "drop"])
def test_the_camera_ends_when_the_page_is_left_or_given_a_video(
    open_page: Callable[..., Seen], served: Served, tmp_path: Path, way: str
) -> None:
    page = open_page(served.address).page
    page.click("text=Use the camera")
    expect_text(page, "#label", "green")
    if way == "leave":
        page.goto("about:blank")
    else:
        drop_file(page, write_colours(tmp_path / "b.avi", "b"))
        expect_text(page.frame_locator("iframe"), ".answer", "blue")
        assert not page.is_visible("#live")
    served.wait_for_no_camera(page)


# A server that takes 200 milliseconds and more for each frame.
SLOW_SERVER = """
  const plain = window.fetch;
  window.inFlight = window.mostInFlight = 0;
  window.fetch = async (...request) => {
    if (!String(request[0]).includes('/frames')) return plain(...request);
    window.mostInFlight = Math.max(window.mostInFlight, ++window.inFlight);
    await new Promise(done => setTimeout(done, 200));
    return plain(...request).finally(() => { window.inFlight -= 1; });
  };
"""


def test_frames_that_come_while_one_is_read_are_late_and_never_queued(
    open_page: Callable[..., Seen], served: Served
) -> None:
    page = open_page(served.address, script=SLOW_SERVER).page
    page.click("text=Use the camera")
    page.wait_for_function("() => Number(document.getElementById('late').textContent) >= 5")
    assert page.evaluate("window.mostInFlight") == 1
    assert 0 < float(page.inner_text("#rate")) < 6  # an answer takes 200 ms at least
    assert float(page.inner_text("#each")) >= 200
    page.click("text=Stop the camera")


@pytest.mark.parametrize(
    ("flags", "host", "message"),
    [
        # Nobody is there to give leave, so a headless browser gives none.
        (["--use-fake-device-for-media-stream"], "", "The browser may not use the camera. Allow"),
        (["--use-fake-ui-for-media-stream"], "", "No camera was found. Connect one, then try"),
        ([f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1"], OTHER_HOST, "only over https, or"),
    ],
    ids=["denied", "no camera", "no secure context"],
)
def test_what_stands_against_the_camera_is_said(
    launch: Launch, served: Served, flags: list[str], host: str, message: str
) -> None:
    browser = launch(*flags)
    page = browser.new_page()
    page.goto(served.address.replace("127.0.0.1", host or "127.0.0.1"))
    page.click("text=Use the camera")
    expect_text(page, ".error", message)
    assert page.is_enabled("text=Use the camera")
    assert not page.is_visible("#live")
    assert len(served.app.state.cameras) == 0
    browser.close()


# Another label is the likeliest in every answer; what a screen reader is told is noted.
FLICKERING = """
  const plain = window.fetch;
  let num = 0;
  window.told = [];
  window.fetch = async (...request) => {
    if (!String(request[0]).includes('/frames')) return plain(...request);
    const shares = [0, 0, 0];
    shares[num++ % 3] = 1;
    return new Response(JSON.stringify({ probabilities: shares, is_known: true }));
  };
  addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
    window.told.push(performance.now());
  }).observe(document.getElementById('announced'), { childList: true }));
"""


def test_a_screen_reader_is_told_of_another_label_once_a_second_at_most(
    open_page: Callable[..., Seen], served: Served
) -> None:
    page = open_page(served.address, script=FLICKERING).page
    page.click("text=Use the camera")
    page.wait_for_function("() => window.told.length >= 2")
    told = page.evaluate("window.told")
    assert all(later - earlier > 900 for earlier, later in pairwise(told))
    page.click("text=Stop the camera")


def test_a_label_that_stays_is_told_once(open_page: Callable[..., Seen], served: Served) -> None:
    page = open_page(served.address, script=FLICKERING.replace("num++ % 3", "num")).page
    page.click("text=Use the camera")
    page.wait_for_function("() => window.told.length >= 1")
    page.wait_for_timeout(1200)
    assert len(page.evaluate("window.told")) == 1
    page.click("text=Stop the camera")


def test_a_camera_that_the_server_ended_is_said_to_be_off(
    open_page: Callable[..., Seen], served: Served
) -> None:
    page = open_page(served.address).page
    page.click("text=Use the camera")
    expect_text(page, "#label", "green")
    served.app.state.cameras._cameras.clear()
    expect_text(page, ".error", "This camera is off")
    assert not page.is_visible("#live")
    assert page.is_visible("text=Use the camera")
