"""Whole, truncated and damaged clips are told apart, by what a store keeps of their decoding."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.decode import ClipEnd
from extract.shard import describe_outcome
from pipeline.clips import Clip
from pipeline.features import DAMAGED, TRUNCATED, WHOLE, ClipRecord
from pipeline.video import read_frames
from tests.tiny_clips import write_clip

CLIP = Clip("clip0", "Punch", "g08", "Punch/clip0.avi")


def read_record(path: Path) -> ClipRecord:
    """What extraction keeps of a video; PyAV sees the bit errors that decoders conceal."""
    frames = read_frames(path)
    num_frames = sum(map(len, frames))
    end = ClipEnd(frames.summary, "", num_bytes=0, digest="", seconds=0.0)
    record = describe_outcome(CLIP, num_frames, end)
    assert isinstance(record, ClipRecord)
    return record


def invert(content: bytes, place: int, num: int) -> bytes:
    inverted = bytes(byte ^ 0xFF for byte in content[place : place + num])
    return content[:place] + inverted + content[place + num :]


def test_a_damaged_clip_that_is_whole_in_length_is_no_truncated_one(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", num_frames=40)
    whole = path.read_bytes()
    record = read_record(path)
    assert (record.condition, record.num_frames) == (WHOLE, 40)
    for share in (0.3, 0.5, 0.7):
        path.write_bytes(invert(whole, int(share * len(whole)), 16))
        record = read_record(path)
        assert (record.condition, record.num_frames) == (DAMAGED, 40)
        path.write_bytes(whole[: int(share * len(whole))])
        record = read_record(path)
        assert record.condition == TRUNCATED
        assert 0 < record.num_frames < 40


def test_real_clips_are_told_apart(data_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    content = (data_root / "video/flipping_a_pancake.mkv").read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(3000) + content[middle + 3000 :])
    assert read_record(path).condition == DAMAGED
    path.write_bytes(content[:middle])
    assert read_record(path).condition == TRUNCATED


@pytest.mark.parametrize(
    ("num_frames", "num_header_frames", "problem", "condition"),
    [
        (40, 40, "", WHOLE),
        (38, 40, "", WHOLE),  # two frames are there that the container does not want shown
        (40, None, "", WHOLE),
        (20, 40, "truncated: 20 of 40 frames decoded", TRUNCATED),
        (308, None, "truncated: 308 frames decoded, which end at 1 of 2 seconds", TRUNCATED),
        (39, 40, "incomplete: 39 of 40 frames decoded", TRUNCATED),
        (40, 40, "damaged: 3 of 40 packets did not decode cleanly", DAMAGED),
        (37, 40, "damaged: 3 of 40 packets did not decode cleanly", TRUNCATED),
        (37, None, "damaged: 3 of 40 packets did not decode cleanly", DAMAGED),
    ],
)
def test_the_facts_in_a_store_give_the_condition(
    num_frames: int, num_header_frames: int | None, problem: str, condition: str
) -> None:
    record = ClipRecord(CLIP, num_frames, num_frames, 25.0, num_header_frames, problem=problem)
    assert record.condition == condition
    assert ClipRecord.from_attributes(record.to_attributes()).condition == condition


def test_a_problem_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of truncated, incomplete, damaged, found 'odd: 1'"):
        ClipRecord(CLIP, 1, 1, 25.0, problem="odd: 1")
