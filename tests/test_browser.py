"""Pages in a real browser: what is dropped or opened from disk is seen, heard and reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.videos.watch import write_pages
from tests.browsing import (
    DESK,
    PHONE,
    Seen,
    Served,
    count_points,
    drop_file,
    expect_text,
    is_too_wide,
)
from tests.conftest import MOST_BYTES
from tests.test_predict_videos import make_classifier, write_colours
from tests.test_watch import read_with_timeline


@pytest.mark.parametrize(("way", "size"), [("drop", DESK), ("choose", PHONE)])
def test_a_dropped_clip_shows_its_label_and_chart_and_is_deleted(
    open_page: Callable[..., Seen], served: Served, tmp_path: Path, way: str, size: dict[str, int]
) -> None:
    clip = write_colours(tmp_path / "my <b> ü.avi", "ggb", num_frames=10)
    seen = open_page(served.address, size=size)
    if way == "drop":
        drop_file(seen.page, clip)
    else:
        seen.page.set_input_files("#file", clip)
    answer = seen.page.frame_locator("iframe")
    expect_text(answer, ".answer", "green")
    expect_text(answer, "h1", "my <b> ü.avi", is_whole=True)
    expect_text(seen.page, "#said", "my <b> ü.avi was read.")
    assert max(count_points(answer)) == 31  # a frame each, and the end
    assert answer.locator("#track").bounding_box()["height"] > 100
    # The frame is as high as the page in it.
    seen.page.wait_for_function(
        """() => {
          const frame = document.querySelector("iframe");
          const root = frame.contentDocument.documentElement;
          return frame.clientHeight > 400 && root.scrollHeight <= root.clientHeight + 1;
        }"""
    )
    assert not is_too_wide(seen.page)
    assert served.list_files() == []
    assert seen.problems == []
    assert all(url.startswith((served.address, "data:")) for url in seen.requests)


def test_a_text_named_as_a_video_gets_one_clear_message(
    open_page: Callable[..., Seen], served: Served, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    seen = open_page(served.address)
    drop_file(seen.page, tmp_path / "text.mp4")
    expect_text(seen.page, ".error", "text.mp4: not a video", is_whole=True)
    assert seen.page.locator("iframe").count() == 0
    assert not seen.page.is_visible("#progress")
    assert served.list_files() == []
    assert seen.problems == []


def test_a_file_over_the_limit_is_refused_without_sending_it(
    open_page: Callable[..., Seen], served: Served, tmp_path: Path
) -> None:
    (tmp_path / "large.mp4").write_bytes(bytes(MOST_BYTES + 1))
    seen = open_page(served.address)
    seen.page.set_input_files("#file", tmp_path / "large.mp4")
    message = "large.mp4 is larger than 200,000 bytes, the limit here."
    expect_text(seen.page, ".error", message, is_whole=True)
    assert not any("/videos" in url for url in seen.requests)
    assert seen.problems == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page on disk: a second each of red, green and blue."""
    folder = tmp_path_factory.mktemp("written")
    classifier = make_classifier()
    answer = read_with_timeline(write_colours(folder / "a.avi", "rgb", num_frames=25), classifier)
    (page,) = write_pages(folder / "out.html", [answer], classifier)
    return page.as_uri()


def read_head(page: Any) -> float:
    """The playhead's place in the chart, from 0 to 1."""
    return float(page.get_attribute("#head", "x1")) / 1000


def read_time(page: Any) -> float:
    found: float = page.evaluate("document.getElementById('video').currentTime")
    return found


def test_the_playhead_of_a_page_on_disk_follows_the_video(
    open_page: Callable[..., Seen], written: str
) -> None:
    seen = open_page(written)
    page = seen.page
    page.wait_for_function("() => document.getElementById('video').readyState >= 2")
    assert (read_head(page), count_points(page)) == (0.0, [76, 76, 76])
    expect_text(page, "#now", "0.0 s: red, ")
    for seconds in (1.9, 0.5):
        page.evaluate(f"document.getElementById('video').currentTime = {seconds}")
        expect_text(page, "#now", f"{seconds:.1f} s: ")
        assert read_head(page) == pytest.approx(seconds / 3, abs=0.02)
    page.evaluate("const v = document.getElementById('video'); v.playbackRate = 4; v.play()")
    page.wait_for_function("() => document.getElementById('video').ended")
    expect_text(page, "#now", "3.0 s: ")
    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [written]


def test_a_page_on_disk_is_used_by_keyboard_and_by_pointer(
    open_page: Callable[..., Seen], written: str
) -> None:
    page = open_page(written).page
    page.wait_for_function("() => document.getElementById('video').readyState >= 2")
    for _ in range(12):
        if page.evaluate("document.activeElement.id") == "playhead":
            break
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "playhead"
    for key, seconds in (("ArrowRight", 0.04), ("End", 2.96), ("ArrowLeft", 2.92), ("Home", 0.0)):
        page.keyboard.press(key)
        page.wait_for_function(
            "time => Math.abs(document.getElementById('video').currentTime - time) < 0.005",
            arg=seconds,
        )
        assert read_head(page) == pytest.approx(seconds / 3, abs=0.002)
        assert page.get_attribute("#playhead", "aria-valuetext").startswith(f"{seconds:.1f} s: ")
    box = page.locator("#track").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert read_head(page) == pytest.approx(0.5, abs=0.01)
    assert read_time(page) == pytest.approx(1.5, abs=0.02)


def test_a_page_on_disk_fits_a_phone(open_page: Callable[..., Seen], written: str) -> None:
    page = open_page(written, size=PHONE).page
    for summary in page.locator("summary").all():
        summary.click()
    assert not is_too_wide(page)
    # The chart's time, the slider's and the strip's stand below each other.
    boxes = [page.locator(name).bounding_box() for name in ("#track", ".strip", ".times")]
    assert {round(box["x"]) for box in boxes} == {round(boxes[0]["x"])}
    assert {round(box["width"]) for box in boxes} == {round(boxes[0]["width"])}
