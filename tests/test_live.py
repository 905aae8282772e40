"""Cameras and streams: the newest frame is read, the late ones are dropped and counted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from eval.predictions.calibration import Calibration
from eval.videos.live import watch_live
from pipeline.video import VideoError
from pipeline.video.live import MOST_WAITING, LiveFrames
from tests.test_predict_videos import make_classifier, write_colours
from tests.waiting import wait_until


def wait_for_frames(frames: LiveFrames, number: int) -> None:
    wait_until(lambda: frames.num_decoded >= number)


def test_a_slow_reader_gets_late_frames_dropped_and_counted(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "rgb", num_frames=25, fps=100.0)
    colours: list[int] = []
    with LiveFrames(str(path)) as frames:
        for frame in frames:
            colours.append(int(frame.mean(axis=(0, 1)).argmax()))
            wait_for_frames(frames, min(75, frames.num_decoded + 5))  # so slow that five more came
    assert len(colours) + frames.num_dropped == frames.num_decoded == 75
    assert frames.num_dropped > 30
    assert colours == sorted(colours)
    assert colours[-1] == 2


def test_frames_that_come_while_a_reader_is_late_for_once_wait(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "r", num_frames=MOST_WAITING, fps=100.0)
    with LiveFrames(str(path)) as frames:
        wait_for_frames(frames, MOST_WAITING)
        assert len(list(frames)) == MOST_WAITING
    assert frames.num_dropped == 0


def test_of_more_frames_than_can_wait_the_oldest_are_dropped(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "rg", num_frames=MOST_WAITING, fps=100.0)
    with LiveFrames(str(path)) as frames:
        wait_until(lambda: frames.num_dropped == MOST_WAITING)
        colours = [int(frame.mean(axis=(0, 1)).argmax()) for frame in frames]
    assert colours == [1] * MOST_WAITING


class Seen(nn.Module):
    """The net of make_encoder, which keeps the shapes it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        return images.mean(dim=(2, 3))


def test_a_net_has_seen_a_frame_before_a_stream_is_opened() -> None:
    classifier, net = make_classifier(), Seen()
    encoder = classifier.encoder
    encoder = replace(encoder, backbone=replace(encoder.backbone, module=net))
    with pytest.raises(VideoError, match="cannot be opened"):
        watch_live("no-such-file.mp4", replace(classifier, encoder=encoder))
    assert net.shapes == [(1, 3, 8, 8)]  # one frame: as a stream gives them


class Clock:
    """A clock that moves only while someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_file_is_shown_by_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = write_colours(tmp_path / "a.avi", "r", num_frames=25, fps=50.0), Clock()
    monkeypatch.setattr("pipeline.video.live.time", clock)
    with LiveFrames(str(path)) as frames:
        num = sum(1 for _ in frames)
    assert clock.seconds == pytest.approx(100 + 24 / 50)  # where the 25th frame begins
    assert num + frames.num_dropped == 25


def test_standard_input_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_colours(tmp_path / "a.avi", "g", num_frames=10, fps=50.0)
    pipe = io.BytesIO(path.read_bytes())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=pipe))
    lines: list[str] = []
    report = watch_live("-", make_classifier(), tell=lines.append)
    assert report.num_read + report.num_dropped == 10
    assert "green" in lines[-1]


def test_a_stream_of_none_of_the_labels_is_said_to_be_so(tmp_path: Path) -> None:
    path = str(write_colours(tmp_path / "a.avi", "g", num_frames=5, fps=50.0))
    lines: list[str] = []
    sure = make_classifier(threshold=0.9)
    watch_live(path, sure, tell=lines.append)
    assert lines[-1].split()[2:] == ["green", "1.000"]
    unsure = replace(sure, calibration=Calibration(temperature=50.0))
    watch_live(path, unsure, tell=lines.append)
    assert "none of these (nearest: green)" in lines[-1]
    watch_live(path, unsure, as_json=True, tell=lines.append)
    told = json.loads(lines[-1])
    assert (told["label"], told["is_known"], told["nearest"]) == ("none of these", False, "green")


@pytest.mark.parametrize("source", ["camera:77", "no-such-file.mp4"])
def test_what_cannot_be_opened_is_named(source: str) -> None:
    with pytest.raises(VideoError, match=r"no camera 77|cannot be opened"):
        LiveFrames(source)


def test_a_text_is_no_stream(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello\n" * 50)
    with pytest.raises(VideoError, match="cannot be opened"):
        LiveFrames(str(tmp_path / "a.txt"))
