"""Files that are no good videos: one clear line each, and the rest goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from eval.videos.decoding import Message, VideoFailure, decode_video
from eval.videos.videos import VideoAnswer, read_video, read_videos
from pipeline.video import write_video
from tests.test_predict_videos import (
    LABELS,
    answer,
    make_classifier,
    make_encoder,
    run_main,
    write_colours,
)


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        frame.sample_rate = 44100
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def promise_three_hours(path: Path) -> None:
    """An AVI of 2 frames whose header counts 270,000."""
    write_colours(path, "r", num_frames=2)
    content = bytearray(path.read_bytes())
    total, length = content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32
    for place in (total, length):
        assert int.from_bytes(content[place : place + 4], "little") == 2
        content[place : place + 4] = (270_000).to_bytes(4, "little")
    path.write_bytes(content)


def cut(path: Path) -> None:
    write_colours(path, "rgb", num_frames=40)
    path.write_bytes(path.read_bytes()[:-4000])


def cut_mp4(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(50):
            frame = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    path.write_bytes(path.read_bytes()[:3000])


def make_loop(path: Path) -> None:
    other = path.with_name("other.mp4")
    other.symlink_to(path)
    path.symlink_to(other)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.mp4": (Path.touch, "empty file (0 bytes)"),
    "text.mp4": (lambda path: path.write_text("hello\n" * 99), "not a video"),
    "cut.mp4": (cut_mp4, "mp4 that was cut off before its index, or whose index is damaged"),
    "sound.mp4": (write_sound, "no video stream (audio only)"),
    "folder.mp4": (Path.mkdir, "a directory without videos"),
    "loop.mp4": (make_loop, "cannot be opened (Too many levels of symbolic links)"),
    "gone.mp4": (lambda path: None, "no such file"),
}
NOTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.avi": (cut, r"truncated: \d+ of 120 frames decoded"),
    "hours.avi": (promise_three_hours, "truncated: 2 of 270000 frames decoded"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_one_line_and_does_not_stop_the_rest(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = HOSTILE[name]
    make(tmp_path / name)
    good = write_colours(tmp_path / "good clip \N{SNOWMAN} ü.avi", "g")
    assert run_main([str(tmp_path / name), str(good), "--json"], monkeypatch) == 1
    captured = capsys.readouterr()
    assert f"{name}: {message}\n" in captured.err
    assert "Traceback" not in captured.err
    content = json.loads(captured.out)
    assert content["failed"] == [{"video": str(tmp_path / name), "reason": message}]
    assert [video["video"] for video in content["videos"]] == [str(good)]
    assert content["videos"][0]["top"][0]["label"] == "green"


@pytest.mark.parametrize("name", NOTED)
def test_a_damaged_video_is_answered_with_a_note(name: str, tmp_path: Path) -> None:
    make, message = NOTED[name]
    make(tmp_path / name)
    (note,) = answer(tmp_path / name).notes
    assert re.fullmatch(message, note)


@pytest.mark.parametrize("width", [16, 48, 66])
def test_narrow_videos_have_three_colours(tmp_path: Path, width: int) -> None:
    """Whose rows are padded."""
    frames = [np.full((32, width, 3), [200, 30, 30], np.uint8)] * 3
    write_video(tmp_path / "narrow.avi", frames)
    assert LABELS[answer(tmp_path / "narrow.avi").top(1)[0]] == "red"


def test_a_clip_of_one_frame_is_answered(tmp_path: Path) -> None:
    found = answer(write_colours(tmp_path / "one.avi", "b", num_frames=1))
    assert (found.num_frames, LABELS[found.top(1)[0]]) == (1, "blue")


def test_a_file_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_colours(tmp_path / "a.avi", "r")
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may read everything
    (found,) = read_videos(make_classifier(), [path])
    assert found == VideoFailure(path, "no permission to read it")


@pytest.mark.parametrize(("num_taken", "is_read"), [(1, False), (2, True)])
def test_a_file_deleted_while_it_is_read_is_named_or_read_to_its_end(
    tmp_path: Path, num_taken: int, is_read: bool
) -> None:
    """Deleted before its frames are opened it is gone; later the open file still gives them."""
    path = write_colours(tmp_path / "a.avi", "rgb", num_frames=40)
    messages = decode_video(path, make_encoder())

    def delete_after(num: int) -> Iterator[Message]:
        for place, message in enumerate(messages, start=1):
            yield message
            if place == num:
                path.unlink()

    found = read_video(make_classifier(), path, delete_after(num_taken))
    if is_read:
        assert isinstance(found, VideoAnswer)
        assert found.num_frames == 120
    else:
        assert found == VideoFailure(path, "no such file")
