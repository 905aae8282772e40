"""Decoding: the asked frames, and the truth about files that are not whole."""

from __future__ import annotations

import multiprocessing
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.video import DecodeSummary, read_frames, write_video
from pipeline.video import frames as video

# RGB -> limited-range YUV -> RGB rounds twice, and the quantiser's finest step is 2.
GREY_TOLERANCE = 3

Frames = NDArray[np.uint8]


def grey_frames(num_frames: int) -> Frames:
    levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (num_frames, 48, 64, 3))


def textured_frames(num_frames: int) -> Frames:
    """Coloured tiles that move three pixels a frame, as the decoders need something to err on."""
    tiles = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = tiles.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([np.roll(picture, 3 * index, axis=1) for index in range(num_frames)])


def decode(path: Path, *, stride: int = 1) -> tuple[Frames, DecodeSummary]:
    frames = read_frames(path, stride=stride)
    return np.concatenate(list(frames)), frames.summary


def max_difference(a: Frames, b: Frames) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(np.int16) - b.astype(np.int16)).max())


def packet_sizes(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [packet.size for packet in container.demux(video=0) if packet.size]


@pytest.fixture
def grey_clip(tmp_path: Path) -> Path:
    path = tmp_path / "grey.avi"
    write_video(path, grey_frames(100))
    return path


@pytest.fixture
def textured_clip(tmp_path: Path) -> Path:
    path = tmp_path / "textured.avi"
    write_video(path, textured_frames(40))
    return path


def test_max_difference_sees_one_wrong_pixel_in_either_direction() -> None:
    frames = grey_frames(3).copy()
    wrong = frames.copy()
    wrong[1, 2, 3, 0] = 251
    assert max_difference(frames, wrong) == max_difference(wrong, frames) == 250


@pytest.mark.parametrize("stride", [1, 2, 7, 99, 100])
def test_the_asked_frames_come_out_and_all_are_counted(grey_clip: Path, stride: int) -> None:
    frames, summary = decode(grey_clip, stride=stride)
    assert max_difference(frames, grey_frames(100)[::stride]) <= GREY_TOLERANCE
    assert summary == DecodeSummary(100, 100, 25.0, None)


@pytest.mark.parametrize("chunk_frames", [1, 7, 50, 64])
def test_chunks_have_the_asked_length_and_join_to_the_whole(
    textured_clip: Path, chunk_frames: int
) -> None:
    chunks = list(read_frames(textured_clip, chunk_frames=chunk_frames))
    whole, _ = decode(textured_clip)
    assert np.array_equal(np.concatenate(chunks), whole)
    assert all(len(chunk) == chunk_frames for chunk in chunks[:-1])
    assert 1 <= len(chunks[-1]) <= chunk_frames


def test_a_summary_is_refused_before_the_last_chunk(grey_clip: Path) -> None:
    frames = read_frames(grey_clip, chunk_frames=10)
    next(frames)
    with pytest.raises(AssertionError, match="after the last chunk"):
        _ = frames.summary


@pytest.mark.parametrize("option", [{"stride": 0}, {"chunk_frames": 0}])
def test_a_wrong_option_is_named_with_what_is_allowed(
    grey_clip: Path, option: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(option))} is .*must be"):
        read_frames(grey_clip, **option)


@pytest.mark.parametrize("percent", [30, 50, 90])
def test_a_truncated_clip_is_told_and_what_is_left_is_right_and_the_same_twice(
    textured_clip: Path, percent: int
) -> None:
    whole, _ = decode(textured_clip)
    content = textured_clip.read_bytes()
    textured_clip.write_bytes(content[: len(content) * percent // 100])
    left, summary = decode(textured_clip)
    again, summary_again = decode(textured_clip)
    assert summary.problem == f"truncated: {len(left)} of 40 frames decoded"
    assert 0 < summary.num_decoded == len(left) < 40
    # The last frame's packet is cut, and it is a reference of the B-frame before it.
    assert np.array_equal(left[:-2], whole[: len(left) - 2])
    assert np.array_equal(left, again)
    assert summary == summary_again


def test_truncation_is_told_whatever_the_stride(textured_clip: Path) -> None:
    content = textured_clip.read_bytes()
    textured_clip.write_bytes(content[: len(content) // 2])
    _, every = decode(textured_clip)
    _, strided = decode(textured_clip, stride=9)
    assert strided == every


def test_chunks_of_large_frames_are_short(
    textured_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, _ = decode(textured_clip)
    for max_bytes, expected in ((3 * frames[0].nbytes, 3), (1, 1)):
        monkeypatch.setattr(video, "_MAX_CHUNK_BYTES", max_bytes)
        chunks = list(read_frames(textured_clip, chunk_frames=7))
        assert [len(chunk) for chunk in chunks[:-1]] == [expected] * (len(chunks) - 1)
        assert np.array_equal(np.concatenate(chunks), frames)


def turn(path: Path, *, matrix: tuple[int, int, int, int]) -> None:
    """Writes a rotation into an mp4's track header."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value << 16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("matrix", "num_turns_clockwise"),
    [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)],
)
def test_a_rotated_video_comes_out_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], num_turns_clockwise: int
) -> None:
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25, width=128, height=96, pix_fmt="yuv420p")
        for frame in textured_frames(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    stored, _ = decode(path)
    turn(path, matrix=matrix)
    upright, _ = decode(path)
    assert np.array_equal(upright, np.rot90(stored, -num_turns_clockwise, axes=(1, 2)))


def test_decoding_works_in_a_spawned_worker(textured_clip: Path) -> None:
    here, summary = decode(textured_clip)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there, summary_there = pool.apply(decode, (textured_clip,))
    assert np.array_equal(here, there)
    assert summary == summary_there


def test_a_packet_that_is_not_coded_shows_the_frame_before_it_again(data_root: Path) -> None:
    path = data_root / "ucf101/BaseballPitch/v_BaseballPitch_g10_c01.avi"
    frames, summary = decode(path)
    sizes = packet_sizes(path)
    repeated = [index for index in range(1, 104) if np.array_equal(*frames[index - 1 : index + 1])]
    assert repeated == [index for index, size in enumerate(sizes) if size == 7] == [13, 29, 37]
    assert summary == DecodeSummary(104, 104, 30000 / 1001, None)


def test_not_coded_last_packets_are_counted_once(data_root: Path) -> None:
    _, summary = decode(data_root / "ucf101/Basketball/v_Basketball_g12_c01.avi")
    assert (summary.num_decoded, summary.num_header, summary.problem) == (278, 278, None)


def test_a_truncated_matroska_is_told_from_its_duration(data_root: Path, tmp_path: Path) -> None:
    content = (data_root / "video/flipping_a_pancake.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(content[: len(content) * 995 // 1000])
    _, summary = decode(path, stride=50)
    expected = "truncated: 308 frames decoded, which end at 10.27 of 10.33 seconds"
    assert summary.problem == expected


def test_a_hole_in_the_middle_of_a_matroska_is_told(data_root: Path, tmp_path: Path) -> None:
    content = bytearray((data_root / "video/flipping_a_pancake.mkv").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "hole.mkv"
    path.write_bytes(content)
    _, summary = decode(path, stride=50)
    assert summary.problem == "damaged: 1 of 161 packets did not decode cleanly"


def test_garbage_in_the_middle_is_told(data_root: Path, tmp_path: Path) -> None:
    content = bytearray((data_root / "video/demo.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60_000] = bytes(60_000)
    path = tmp_path / "garbage.mp4"
    path.write_bytes(content)
    frames, summary = decode(path)
    assert str(summary.problem).startswith("damaged: ")
    assert len(frames) == summary.num_decoded < 280
