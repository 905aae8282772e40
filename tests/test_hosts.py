"""Extractions of several hosts in one store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract import plan
from extract.claims import claim_shard, hold_plan, write_shard
from extract.holders import Holder
from extract.leases import Leases, read_lease
from extract.plan import Shard, plan_shards
from pipeline.clips import Clip, find_clips
from pipeline.features import ClipRecord, ShardWriter
from pipeline.features.files import claim_store
from pipeline.files import replacing
from tests.test_extract import SPEC, extract, read_bytes
from tests.tiny_clips import write_clips

THERE = Holder("node-7", "another boot", 12, 3.0)


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six videos, two in a shard."""
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    return write_clips(tmp_path / "videos", num=6, num_frames=3)


def begin(videos: Path, out: Path) -> tuple[Shard, ...]:
    """The shards of a store that was planned and not begun."""
    with Leases() as leases, hold_plan(out, leases):
        claim_store(out, SPEC)
        return plan_shards(out, find_clips(videos).clips)


def test_a_shard_of_a_host_that_is_gone_is_done_at_the_end_by_another(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "store"
    extract(videos, whole)
    first, *_ = begin(videos, out)
    assert Leases(THERE).claim(out / f"{first.name}.lock")
    (out / f"{first.name}.h5.1234.part").write_bytes(b"begun")
    outcome = extract(videos, out, leases=Leases(beat_seconds=0.1, patience_seconds=0.3))
    assert (outcome.is_complete, outcome.tally.left_to_others) == (True, [])
    assert "Looking whether who holds shard-00000 is alive ...\n" in capsys.readouterr().err
    assert outcome.tally.num_clips == 6
    assert read_bytes(out) == read_bytes(whole)
    assert not list(out.glob("*.lock"))


def test_a_shard_of_a_host_that_lives_is_left_to_it(tmp_path: Path, videos: Path) -> None:
    out = tmp_path / "store"
    first, *_ = begin(videos, out)
    patient = Leases(beat_seconds=0.1, patience_seconds=1e6)
    with Leases(THERE, beat_seconds=0.05) as there, claim_shard(out, first, there) as is_there:
        assert is_there
        outcome = extract(videos, out, leases=patient)
        assert there.holds(out / f"{first.name}.lock")
    assert (outcome.is_complete, outcome.tally.left_to_others) == (False, [first.name])
    assert outcome.num_stored == 4


def test_a_shard_that_another_does_meanwhile_is_not_done_again(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "store"
    first, *_ = begin(videos, out)
    other = Leases(THERE)
    assert other.claim(out / f"{first.name}.lock")

    def finish(_: Leases) -> None:
        extract(videos, tmp_path / "whole")
        (tmp_path / "whole" / f"{first.name}.h5").rename(out / f"{first.name}.h5")
        other.release(out / f"{first.name}.lock")

    monkeypatch.setattr(Leases, "pause", finish)
    outcome = extract(videos, out)
    assert outcome.is_complete
    assert outcome.tally.num_clips == 4


def test_a_plan_is_made_by_one_host_after_the_other(tmp_path: Path) -> None:
    out = tmp_path / "store"
    with Leases() as leases, hold_plan(out, leases):
        (lease,) = out.iterdir()
        assert read_lease(lease)
        assert not Leases(THERE).claim(lease)
    assert not list(out.iterdir())


def test_an_extraction_writes_nothing_while_another_host_makes_the_plan(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "store", Leases(THERE)
    out.mkdir()
    lease = out / "plan.lock"
    assert other.claim(lease)

    def give_up(_: Leases) -> None:
        assert list(out.iterdir()) == [lease]
        other.release(lease)

    monkeypatch.setattr(Leases, "pause", give_up)
    assert extract(videos, out).is_complete
    assert not other.holds(lease)


def test_two_that_write_one_file_at_once_do_not_write_into_each_others(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


CLIP = Clip("a", "walk", "", "walk/a.avi")
RECORD = ClipRecord(CLIP, 1, 1, 25.0, 1, "pyav", "", 1, "")


def write_row(file: ShardWriter, number: float) -> None:
    file.append(np.full((1, 3), number, np.float32))
    file.finish(RECORD)


def test_one_that_was_suspended_and_wakes_up_late_harms_nothing(tmp_path: Path) -> None:
    shard = Shard("shard-00000", (CLIP,))
    suspended, other = Leases(THERE), Leases(replace(THERE, host="node-8"), patience_seconds=0)
    with claim_shard(tmp_path, shard, suspended) as is_mine:
        assert is_mine
        with write_shard(tmp_path, shard, SPEC, suspended) as file:
            with claim_shard(tmp_path, shard, other) as is_others:
                assert is_others
                with write_shard(tmp_path, shard, SPEC, other) as others:
                    write_row(others, 1.0)
                content = read_bytes(tmp_path)
                assert list(content) == ["shard-00000.h5"]
            write_row(file, 1.0)
    assert read_bytes(tmp_path) == content


def test_one_that_was_suspended_and_is_done_first_leaves_the_others_file_alone(
    tmp_path: Path,
) -> None:
    shard = Shard("shard-00000", (CLIP,))
    suspended, other = Leases(THERE), Leases(replace(THERE, host="node-8"), patience_seconds=0)
    with claim_shard(tmp_path, shard, suspended), claim_shard(tmp_path, shard, other) as is_others:
        assert is_others
        with write_shard(tmp_path, shard, SPEC, other) as others:
            write_row(others, 1.0)
            with write_shard(tmp_path, shard, SPEC, suspended) as file:
                write_row(file, 1.0)
            first = (tmp_path / "shard-00000.h5").read_bytes()
    assert read_bytes(tmp_path) == {"shard-00000.h5": first}


def test_a_file_that_is_gone_stops_one_that_holds_its_lease(tmp_path: Path) -> None:
    shard = Shard("shard-00000", (CLIP,))
    with (
        Leases() as leases,
        claim_shard(tmp_path, shard, leases),
        pytest.raises(FileNotFoundError),
        write_shard(tmp_path, shard, SPEC, leases) as file,
    ):
        write_row(file, 1.0)
        (unfinished,) = tmp_path.glob("*.part")
        unfinished.unlink()
