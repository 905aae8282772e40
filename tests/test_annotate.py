"""Annotated videos: every frame in its place, the answer of its moment, the curves so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageColor

from eval.pages.svg import COLOURS
from eval.videos.annotate import Panel, draw_frames, find_moment, write_annotated
from pipeline.video import read_frames, write_video
from pipeline.video.web import write_shared_video
from tests.test_predict_videos import make_classifier, run_main, write_colours
from tests.test_watch import read_with_timeline


def read(path: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [frame for chunk in read_frames(path) for frame in chunk]


@pytest.mark.parametrize(("ending", "spacing"), [("mp4", 1), ("gif", 2)])
def test_the_frames_are_those_of_the_video_in_their_order(
    tmp_path: Path, ending: str, spacing: int
) -> None:
    classifier = make_classifier()
    answer = read_with_timeline(write_colours(tmp_path / "a.avi", "rgb"), classifier)
    out = tmp_path / "new" / f"out.{ending}"
    write_annotated(out, answer, classifier)
    frames = read(out)
    # 48 x 32 pixels in the middle of a panel of 320, which stands below.
    pictures = [frame[4:28, 150:170] for frame in frames]
    colours = [int(picture.mean(axis=(0, 1)).argmax()) for picture in pictures]
    assert colours == ([0] * 10 + [1] * 10 + [2] * 10)[::spacing]
    assert frames[0].shape == (32 + 32 + 72, 320, 3)


def count_pixels(panel: Panel, seconds: float, colour: str) -> int:
    pixels = np.asarray(panel.draw(seconds))[32:]  # of the chart
    return int((pixels == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_a_curve_is_drawn_as_far_as_the_video_has_come(tmp_path: Path) -> None:
    classifier = make_classifier()
    answer = read_with_timeline(write_colours(tmp_path / "a.avi", "r"), classifier)
    panel = Panel(answer, classifier, width=400)
    counts = [count_pixels(panel, seconds, COLOURS[0]) for seconds in (0.0, 0.1, 0.2, 0.4)]
    # Red is certain throughout: a level line of two or three pixels' height, 100 wide in 0.1 s.
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], np.array([1, 2, 4]) * counts[1], atol=15)
    assert 150 <= counts[1] <= 310


def test_words_and_colour_are_those_of_the_moment(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "rgb", num_frames=25)
    classifier = make_classifier(threshold=0.9)
    answer = read_with_timeline(path, classifier)
    assert answer.timeline is not None
    panel = Panel(answer, classifier, width=400)
    first, last = (panel._describe(find_moment(answer.timeline, s)) for s in (0.0, 2.96))
    assert first[0] == "red  100 %"
    assert first[1] in COLOURS
    assert last[0].startswith("none of these (nearest: ")
    assert find_moment(answer.timeline, 0.05) == 1  # frame 1 is shown from 0.04 s on


def test_long_names_are_cut_and_keep_their_probability(tmp_path: Path) -> None:
    classifier = make_classifier()
    answer = read_with_timeline(write_colours(tmp_path / "a.avi", "r"), classifier)
    panel = Panel(answer, classifier, width=320)
    cut = panel._cut("walk" * 40 + "  97 %")
    assert cut.startswith("walkwalk")
    assert cut.endswith("…  97 %")
    assert panel._cut("walk  97 %") == "walk  97 %"


def test_large_frames_are_shrunk_to_even_sides(tmp_path: Path) -> None:
    frame = np.full((720, 402, 3), 99, np.uint8)
    write_video(tmp_path / "tall.avi", [frame] * 3, fps=25.0)
    classifier = make_classifier()
    (first, *_) = draw_frames(read_with_timeline(tmp_path / "tall.avi", classifier), classifier)
    assert first.shape == (360 + 32 + 72, 320, 3)


def test_a_stopped_writing_leaves_what_was_there(tmp_path: Path) -> None:
    def break_off() -> object:
        yield np.zeros((32, 48, 3), np.uint8)
        raise KeyboardInterrupt

    (tmp_path / "out.mp4").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_shared_video(tmp_path / "out.mp4", break_off(), fps=25.0)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "before"


def test_the_command_writes_the_video_of_one_and_refuses_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(write_colours(tmp_path / f"{c}.avi", c)) for c in "rg"]
    out = tmp_path / "out.mp4"
    assert run_main([paths[0], "--annotate", str(out)], monkeypatch) == 0
    assert len(read(out)) == 10
    assert run_main([*paths, "--annotate", str(out)], monkeypatch) == 2
    assert "--annotate: expected one video, found 2" in capsys.readouterr().err
    paths[0] = str(out)
    assert run_main([paths[0], "--annotate", str(out)], monkeypatch) == 2
    assert "is the video itself" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_main([paths[0], "--annotate", "out.avi"], monkeypatch)
    assert "expected a name in .mp4 or .gif, found 'out.avi'" in capsys.readouterr().err
