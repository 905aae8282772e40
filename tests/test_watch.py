"""The page of a video: self-contained, in step with the video, readable without a picture."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from eval.predictions.calibration import Calibration
from eval.videos import pictures, watch
from eval.videos.decoding import decode_video
from eval.videos.timeline import TimelineReader
from eval.videos.videos import Classifier, VideoAnswer, Wanted, read_video
from eval.videos.watch import make_page, write_pages
from pipeline.video import read_frames
from pipeline.video.web import encode_web_video
from tests.test_predict_videos import make_classifier, write_colours
from tests.test_streaming import traced_growth


def read_with_timeline(path: Path, classifier: Classifier) -> VideoAnswer:
    messages = decode_video(path, classifier.encoder)
    found = read_video(classifier, path, messages, wanted=Wanted(timeline=True))
    assert isinstance(found, VideoAnswer)
    return found


def make(tmp_path: Path, *, name: str = "a.avi", **more: Any) -> str:
    classifier = make_classifier(**more)
    path = write_colours(tmp_path / name, "rrgb", num_frames=25)
    return make_page(read_with_timeline(path, classifier), classifier, page=tmp_path / "out.html")


def read_thoughts(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    content: dict[str, Any] = json.loads(text)
    return content


def read_video_of(page: str, folder: Path) -> list[np.ndarray[Any, Any]]:
    (kind, content) = re.findall(r'src="data:video/(\w+);base64,([^"]+)"', page)[0]
    path = folder / f"embedded.{kind}"
    path.write_bytes(base64.b64decode(content))
    return [frame for chunk in read_frames(path) for frame in chunk]


def test_a_page_needs_no_network_and_no_other_file(tmp_path: Path) -> None:
    page = make(tmp_path)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "http" not in re.sub(r"data:[^\"]*", "", page).replace("http-equiv", "")


@pytest.mark.parametrize("stride", [1, 3])
def test_the_moments_are_the_frames_of_the_embedded_video(tmp_path: Path, stride: int) -> None:
    page = make(tmp_path, stride=stride)
    thoughts = read_thoughts(page)
    frames = read_video_of(page, tmp_path)
    assert len(frames) == 100
    assert thoughts["total"] == 4.0
    np.testing.assert_allclose(thoughts["seconds"], np.arange(0, 100, stride) / 25, atol=1e-4)
    colours = [int(frame.mean(axis=(0, 1)).argmax()) for frame in frames]
    assert colours == [0] * 50 + [1] * 25 + [2] * 25


def test_the_probabilities_of_a_moment_are_those_of_the_video_up_to_it(tmp_path: Path) -> None:
    classifier = make_classifier()
    whole = read_with_timeline(write_colours(tmp_path / "a.avi", "rg", num_frames=10), classifier)
    assert whole.timeline is not None
    np.testing.assert_allclose(whole.timeline.probabilities[-1], whole.probabilities, atol=1e-12)
    frames = [frame for chunk in read_frames(tmp_path / "a.avi") for frame in chunk]
    state = classifier.stepper.initial_state()
    for place, row in enumerate(classifier.encoder.encode(np.stack(frames))):
        outputs, state = classifier.stepper.step(row, state)
        expected = classifier.calibration.probabilities(outputs)
        np.testing.assert_allclose(whole.timeline.probabilities[place], expected, atol=1e-9)


def test_what_the_chart_shows_is_said_in_words_and_in_a_table(tmp_path: Path) -> None:
    page = make(tmp_path)
    (label,) = re.findall(r'<svg class="chart"[^>]*aria-label="([^"]*)"', page)
    assert "red from 0.0 to" in label
    table = page[page.index("<table>") : page.index("</table>")]
    assert "<td>red</td>" in table
    assert 'scope="col"' in table
    assert re.search(r'<label[^>]*for="playhead">', page)
    assert 'aria-live="polite"' in page
    assert len(re.findall(r'<img src="data:image/jpeg[^"]*" alt="Frame at', page)) == 10


def test_a_page_says_none_of_these_where_no_label_reaches_the_threshold(tmp_path: Path) -> None:
    page = make(tmp_path, threshold=0.9999)  # of red alone 1 - 1e-11, at the end 0.997
    assert '<p class="answer"><b>None of these</b></p>' in page
    assert re.search(r"The nearest label: red, \d+ %", page)
    known = read_thoughts(page)["known"]
    assert known[0]
    assert known == sorted(known, reverse=True)
    assert not known[-1]
    assert "<td>none of these (nearest: red)</td>" in page
    assert "<b>red</b>" in make(tmp_path, threshold=0.2)


def test_names_that_look_like_html_stay_text(tmp_path: Path) -> None:
    page = make(tmp_path, name="<script>alert(1)<!--.avi")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_several_videos_get_an_index_with_links_to_their_pages(tmp_path: Path) -> None:
    classifier = make_classifier()
    answers = [
        read_with_timeline(write_colours(tmp_path / f"{c} video.avi", c), classifier) for c in "gb"
    ]
    index, *pages = write_pages(tmp_path / "out" / "all.html", answers, classifier)
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', index.read_text())
    assert [(index.parent / address).resolve() for address, _ in links] == pages
    assert "b video.avi" in pages[1].read_text()


def test_an_index_shows_each_video_by_a_picture_and_its_name_below_the_common_folder(
    tmp_path: Path,
) -> None:
    classifier = make_classifier()
    paths = [tmp_path / "deep" / "x" / "a.avi", tmp_path / "deep" / "y" / "a.avi"]
    answers = [
        read_with_timeline(write_colours(path, colours), classifier)
        for path, colours in zip(paths, ("rgr", "rbr"), strict=True)
    ]
    index = write_pages(tmp_path / "all.html", answers, classifier)[0].read_text()
    assert re.findall(r'<a href="[^"]+">([^<]+)</a>', index) == ["x/a.avi", "y/a.avi"]
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', index)
    middles = [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in pictures]
    # The middle third of the videos is green, and blue.
    assert [int(np.asarray(m).mean(axis=(0, 1)).argmax()) for m in middles] == [1, 2]


def test_names_of_videos_hold_no_control_characters() -> None:
    names = watch.name_videos([Path("a/one\x1b[31m.avi"), Path("b/two.avi")])
    assert names == ["a/one\N{REPLACEMENT CHARACTER}[31m.avi", "b/two.avi"]


def test_a_video_too_large_to_embed_is_linked_or_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "encode_web_video", lambda frames, **more: None)
    page = make(tmp_path)
    assert "<video" not in page
    assert "too large for this page" in page
    assert page.count('alt="Frame at') == 10
    with av.open(str(tmp_path / "my b.mp4"), "w") as file:
        stream: Any = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        grey = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
        file.mux(stream.encode(grey))
        file.mux(stream.encode())
    classifier = make_classifier()
    answer = read_with_timeline(tmp_path / "my b.mp4", classifier)
    page = make_page(answer, classifier, page=tmp_path / "sub" / "out.html")
    assert 'src="../my%20b.mp4"' in page


def test_a_video_over_the_limit_is_not_encoded_to_its_end() -> None:
    generator = np.random.default_rng(0)
    frames = (generator.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(500))
    assert encode_web_video(frames, fps=25, most_bytes=20_000) is None
    assert next(frames, None) is not None


def test_a_long_timeline_is_thinned_evenly_and_keeps_its_end() -> None:
    reader = TimelineReader()
    for place in range(10_001):
        reader.add(np.array([place, 0.0], np.float32), np.zeros(2, np.float32))
    timeline = reader.finish(Calibration(), step_seconds=0.5)
    assert 1000 < len(timeline.seconds) <= 2049
    assert timeline.seconds[-1] == 5000.0
    assert len(set(np.diff(timeline.seconds[:-1]))) == 1


def test_the_memory_of_a_long_timeline_is_that_of_its_moments() -> None:
    reader = TimelineReader()

    def add() -> None:
        reader.add(np.ones(2, np.float32), np.zeros(2, np.float32))

    # 300 bytes a moment, 2,049 of them at most; all that were read would be 6 MB.
    assert traced_growth(add, num_steps=20_000) < 1_000_000
