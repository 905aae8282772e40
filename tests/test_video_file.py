"""Files that are no video, each with its one line; headers; and the clips that we write."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from numpy.typing import NDArray

from pipeline.video import VideoError, read_frames, read_header, write_video

Frames = NDArray[np.uint8]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    write_video(path, np.zeros((10, 48, 64, 3), np.uint8))
    return path


def test_a_header_is_read_without_decoding(clip: Path) -> None:
    header = read_header(clip)
    assert (header.num_frames, header.fps) == (10, 25.0)
    assert (header.width_pixels, header.height_pixels) == (64, 48)


def write_audio(path: Path) -> None:
    with path.open("wb") as file, wave.open(file, "wb") as audio:
        audio.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        audio.writeframes(bytes(16000))


def cut_to_header(path: Path) -> None:
    write_video(path, np.zeros((40, 48, 64, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "directory": (lambda path: path.mkdir(), "a directory, not a file"),
    "zero bytes": (lambda path: path.write_bytes(b""), "empty file (0 bytes)"),
    "text": (lambda path: path.write_text("no video at all\n" * 99), "not a video"),
    "random bytes": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "not a video",
    ),
    "mp4 without index": (
        lambda path: path.write_bytes(struct.pack(">I", 16) + b"ftypisom\0\0\2\0isom" * 9),
        "mp4 that was cut off before its index, or whose index is damaged",
    ),
    "playlist": (
        lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nhttp://localhost/a.ts\n"),
        "not a video",
    ),
    "audio only": (write_audio, "no video stream (audio only)"),
    "pipe": (os.mkfifo, "not a regular file"),
    "link to itself": (
        lambda path: path.symlink_to(path),
        "cannot be opened (Too many levels of symbolic links)",
    ),
    "header alone": (
        cut_to_header,
        "no frame decodes of the 40 that its header promises",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_without_frames_is_refused_in_one_plain_line(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = UNREADABLE[kind]
    path = tmp_path / "clip.avi"
    make(path)
    with pytest.raises(VideoError) as caught:
        list(read_frames(path))
    assert str(caught.value) == message
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(clip: Path) -> None:
    clip.chmod(0)
    with pytest.raises(VideoError, match="no permission"):
        list(read_frames(clip))


def test_a_name_with_colon_spaces_and_umlauts_is_just_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video("http:wörld x%03d.avi", np.zeros((5, 16, 16, 3), np.uint8))
    frames = read_frames("http:wörld x%03d.avi")
    assert len(next(frames)) == 5


def test_written_clips_have_b_frames_and_equal_bytes(tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 10 * level, np.uint8) for level in range(24)]
    for name in ("a.avi", "b.avi"):
        write_video(tmp_path / name, iter(frames), fps=30000 / 1001)
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()
    with av.open(str(tmp_path / "a.avi")) as container:
        types = [PictureType(frame.pict_type).name for frame in container.decode(video=0)]
    assert types[:4] == ["I", "B", "B", "P"]
    assert read_header(tmp_path / "a.avi").fps == 30000 / 1001
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.avi", "b.avi"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frame"),
        ([np.zeros((8, 8, 3))], "float64"),
        ([*np.zeros((9, 16, 16, 3), np.uint8), np.zeros((16, 8, 3), np.uint8)], "frame 9 is"),
    ],
)
def test_frames_that_cannot_be_written_leave_no_file(
    tmp_path: Path, frames: list[Frames], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "clip.avi", frames)
    assert list(tmp_path.iterdir()) == []
