from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from extract import flow, plan
from extract.__main__ import main
from extract.claims import claim_shard
from extract.decode import ClipEnd, DecodePool, decode_clip
from extract.encode import cut_batches
from extract.flow import extract_features
from extract.inspect import describe_store
from extract.leases import Leases
from extract.outcome import PROBLEMS, Outcome
from extract.parts import Part
from extract.plan import Shard, plan_shards
from pipeline.backbones import Backbone
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.clips import Clip, find_clips
from pipeline.features import (
    TRUNCATED,
    FeatureSpec,
    FeatureStore,
    read_videos_place,
    read_weights_place,
)
from pipeline.video import read_frames
from tests.damage import find_features, flip_bit
from tests.tiny_clips import write_clip, write_clips
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
SPEC = FeatureSpec(backbone="mean colour", dim=3, dtype="float32")


class MeanColour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def make_backbone() -> Backbone:
    """A backbone whose features are the frame's mean colour: known without a net."""
    steps = Preprocessing("squash", (48, 64), (48, 64), "bilinear", (0.0,) * 3, (1.0,) * 3)
    return Backbone("mean colour", MeanColour(), 3, "", "", steps, batch_frames=5)


class KillsItsProcess(MeanColour):
    """Mean colours, until the batch at which the process is killed as by kill -9."""

    def __init__(self, num_batches: int) -> None:
        super().__init__()
        self.num_batches = num_batches

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.num_batches -= 1
        if self.num_batches == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class MeetsAnother(MeanColour):
    """Mean colours, from the moment on at which as many processes as `num` are at work."""

    def __init__(self, folder: Path, num: int) -> None:
        super().__init__()
        (folder / str(os.getpid())).touch()
        self.has_met = functools.cache(
            lambda: wait_until(lambda: len(list(folder.iterdir())) == num)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.has_met()
        return super().forward(images)


def extract(
    videos: Path,
    out: Path,
    *,
    spec: FeatureSpec = SPEC,
    workers: int = 1,
    module: nn.Module | None = None,
    part: Part | None = None,
    leases: Leases | None = None,
) -> Outcome:
    backbone = make_backbone()
    if module is not None:
        backbone = replace(backbone, module=module)
    return extract_features(
        find_clips(videos), videos, out, backbone=backbone, spec=spec, num_workers=workers,
        part=part, leases=leases,
    )  # fmt: skip


def extract_until_killed(videos: str, out: str, num_batches: str) -> None:
    extract(Path(videos), Path(out), module=KillsItsProcess(int(num_batches)))


def extract_beside_another(videos: str, out: str, meeting: str) -> None:
    """Prints how many clips this process did, and the shards that it left to the other."""
    tally = extract(Path(videos), Path(out), module=MeetsAnother(Path(meeting), 2)).tally
    print(json.dumps([tally.num_clips, tally.left_to_others]))


def python_command(function: str, *arguments: object) -> list[str]:
    """The command of a process that calls a function of this file."""
    code = f"import sys; from tests.test_extract import {function}; {function}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, arguments)]


def read_bytes(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir() if path.suffix != ".lock"}


def read_problems(store: Path) -> dict[str, str]:
    with (store / PROBLEMS).open(newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_clips_of_a_store_keep_their_ids_when_files_of_their_names_come_and_go(
    tmp_path: Path,
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "store"
    write_clip(videos / "a" / "1.avi", seed=0)
    extract(videos, out)
    before = FeatureStore(out).read("1")
    write_clip(videos / "b" / "1.avi", seed=1)
    outcome = extract(videos, out)
    assert outcome.tally.num_clips == 1
    assert {i: r.clip.path for i, r in FeatureStore(out).records.items()} == {
        "1": "a/1.avi",
        "b:1": "b/1.avi",
    }
    np.testing.assert_array_equal(FeatureStore(out).read("1"), before)
    (videos / "a" / "1.avi").unlink()
    assert extract(videos, out).tally.num_clips == 0
    assert set(FeatureStore(out).records) == {"1", "b:1"}


def test_a_store_notes_the_file_of_its_weights_also_when_it_was_begun_before(
    tmp_path: Path,
) -> None:
    videos, out = write_clips(tmp_path / "videos", num=2), tmp_path / "store"
    extract(videos, out)
    assert read_weights_place(out) is None
    (tmp_path / "weights.pth").write_bytes(b"numbers")
    backbone = replace(make_backbone(), weights_file=tmp_path / "weights.pth")
    extract_features(find_clips(videos), videos, out, backbone=backbone, spec=SPEC, num_workers=1)
    place = read_weights_place(out)
    assert place is not None
    assert place.absolute == str(tmp_path / "weights.pth")
    assert place.digest == hashlib.blake2b(b"numbers", digest_size=16).hexdigest()


def test_a_store_knows_where_its_videos_lie_and_finds_them_moved_with_it(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "first" / "videos", num=2)
    extract(videos, tmp_path / "first" / "store")
    place = read_videos_place(tmp_path / "first" / "store")
    assert place is not None
    assert place.absolute == str(videos.resolve())
    (tmp_path / "first").rename(tmp_path / "second")
    assert place.locate(tmp_path / "second" / "store") == tmp_path / "second" / "videos"
    damaged = tmp_path / "second" / "store" / "videos.json"
    damaged.write_text(damaged.read_text().replace("first", "third"))
    with pytest.raises(ValueError, match=r"videos\.json is damaged"):
        read_videos_place(tmp_path / "second" / "store")


def test_every_row_is_its_own_frame_though_batches_run_across_clips(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=5)
    outcome = extract(videos, tmp_path / "store", workers=2)
    assert outcome.is_complete
    assert not outcome.problems
    store = FeatureStore(tmp_path / "store")
    assert len(store.records) == 5
    for clip_id, record in store.records.items():
        frames = np.concatenate(list(read_frames(videos / record.clip.path)))
        expected = frames.mean(axis=(1, 2))
        np.testing.assert_allclose(store.read(clip_id), expected, rtol=1e-5)  # float32 sums
        assert record.num_frames == record.num_steps == len(frames)


def test_a_store_has_the_same_bytes_on_any_number_of_threads(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=5)
    extract(videos, tmp_path / "one")
    torch.set_num_threads(3)
    try:
        extract(videos, tmp_path / "three")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert read_bytes(tmp_path / "three") == read_bytes(tmp_path / "one")


@given(sizes=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 7))
def test_cut_batches_are_full_and_leave_the_frames_in_their_order(
    sizes: list[int], size: int
) -> None:
    frames = torch.arange(sum(sizes))
    batches, rest = cut_batches(list(torch.split(frames, sizes)), size)
    assert [sum(map(len, batch)) for batch in batches] == [size] * (len(frames) // size)
    assert sum(map(len, rest)) == len(frames) % size
    joined = [*(view for batch in batches for view in batch), *rest]
    assert torch.equal(torch.cat([frames[:0], *joined]), frames)


def test_a_stride_takes_every_nth_frame_and_counts_all(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=1, num_frames=11)
    tally = extract(videos, tmp_path / "store", spec=replace(SPEC, stride=4)).tally
    (record,) = FeatureStore(tmp_path / "store").records.values()
    assert (record.num_steps, record.num_frames) == (3, 11)
    assert (tally.num_steps, tally.num_frames) == (3, 11)


def test_an_extraction_stopped_anywhere_and_resumed_equals_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos = write_clips(tmp_path / "videos", num=6)
    extract(videos, tmp_path / "whole")
    for stop_after in (1, 4, 6):
        out = tmp_path / f"stopped-{stop_after}"
        with monkeypatch.context() as context:
            context.setattr(flow._Work, "_count", make_bomb(stop_after))
            with pytest.raises(KeyboardInterrupt):
                extract(videos, out)
        assert not (out / "index.h5").exists()
        assert not list(out.glob("*.part"))
        assert len(list(out.glob("shard-*.h5"))) == (stop_after - 1) // 2
        extract(videos, out)
        assert read_bytes(out) == read_bytes(tmp_path / "whole")


def make_bomb(after: int):  # type: ignore[no-untyped-def]
    count = 0

    def explode(*_: object) -> None:
        nonlocal count
        count += 1
        if count == after:
            raise KeyboardInterrupt

    return explode


def test_killed_processes_resumed_give_the_store_of_an_undisturbed_one(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=110, num_frames=6)  # 4 shards, 132 batches
    generator = random.Random(0)
    for _ in range(3):
        num_batches = generator.randrange(1, 36)  # a shard has 39
        command = python_command("extract_until_killed", videos, tmp_path / "killed", num_batches)
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    extract(videos, tmp_path / "killed")
    extract(videos, tmp_path / "whole")
    killed, whole = read_bytes(tmp_path / "killed"), read_bytes(tmp_path / "whole")
    assert {name: killed[name] for name in whole} == whole


def test_two_processes_at_once_do_every_clip_once_and_both_do_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos = write_clips(tmp_path / "videos", num=16, num_frames=6)
    extract(videos, tmp_path / "whole")
    out, meeting = tmp_path / "store", tmp_path / "meeting"
    for folder in (out, meeting):
        folder.mkdir()
    plan_shards(out, find_clips(videos).clips)
    command = python_command("extract_beside_another", videos, out, meeting)
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:  # what takes long is the import on a busy machine
        tallies = [json.loads(process.communicate(timeout=900)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    (one, left_by_one), (other, left_by_other) = tallies
    assert one + other == 16
    assert min(one, other) >= 2  # a shard at least
    assert left_by_one or left_by_other
    last = extract(videos, out)
    assert (last.tally.num_clips, last.is_complete) == (0, True)
    assert read_bytes(out) == read_bytes(tmp_path / "whole")


def test_a_shard_that_is_held_is_left_to_who_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos = write_clips(tmp_path / "videos", num=6)
    out = tmp_path / "store"
    out.mkdir()
    first = plan_shards(out, find_clips(videos).clips)[0]
    with Leases() as leases, claim_shard(out, first, leases) as is_mine:
        assert is_mine
        outcome = extract(videos, out)
    assert outcome.tally.left_to_others == [first.name]
    assert not outcome.is_complete
    assert outcome.num_stored == 4
    assert extract(videos, out).is_complete


def test_a_plan_only_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    clips = [Clip(f"c{i}", "a", "", f"a/c{i}.avi") for i in range(5)]
    first = plan_shards(tmp_path, clips[:3])
    assert [len(shard.clips) for shard in first] == [2, 1]
    everything = plan_shards(tmp_path, clips)
    assert everything[:2] == first
    assert everything[2].clips == tuple(clips[3:])
    assert plan_shards(tmp_path, clips[:1]) == (Shard("shard-00000", tuple(clips[:2])),)
    with pytest.raises(ValueError, match="is in the store as a/c0.avi"):
        plan_shards(tmp_path, [Clip("c0", "b", "", "b/c0.avi")])


def test_a_video_changed_since_is_done_anew_with_its_shard_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos = write_clips(tmp_path / "videos", num=4)
    out = tmp_path / "store"
    extract(videos, out)
    assert extract(videos, out).tally.num_clips == 0
    (out / "shard-00000.h5").touch()
    write_clip(videos / "Archery" / "v_Archery_g01_c01.avi", num_frames=20, seed=9)
    outcome = extract(videos, out)
    assert outcome.tally.redone == {"shard-00000": "v_Archery_g01_c01 changed since it was written"}
    assert outcome.tally.num_clips == 2
    assert FeatureStore(out).records["v_Archery_g01_c01"].num_steps == 20


def test_a_touched_video_of_equal_bytes_is_not_done_anew(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=2)
    extract(videos, tmp_path / "store")
    later = time.time() + 100
    os.utime(videos / "Archery" / "v_Archery_g01_c01.avi", (later, later))
    assert extract(videos, tmp_path / "store").tally.num_clips == 0


def test_every_damaged_file_is_named_and_the_rest_is_extracted(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=3)
    whole = (videos / "Archery" / "v_Archery_g01_c01.avi").read_bytes()
    bad = videos / "Bad"
    bad.mkdir()
    (bad / "empty.avi").touch()
    (bad / "text.avi").write_text("not a video, whatever its name says\n" * 50)
    long = write_clip(tmp_path / "long.avi", num_frames=60, seed=3).read_bytes()
    (bad / "cut.avi").write_bytes(long[: len(long) // 2])
    (bad / "v_Punch_g01_c01.avi").write_bytes(whole)
    outcome = extract(videos, tmp_path / "store")
    problems = read_problems(tmp_path / "store")
    assert set(problems) == {"empty", "text", "cut"}
    assert problems["cut"].startswith("truncated")
    stored = FeatureStore(tmp_path / "store").records
    same = {"Bad:v_Punch_g01_c01", "Punch:v_Punch_g01_c01"}
    assert set(stored) == {"v_Archery_g01_c01", "v_Archery_g02_c01", "cut", *same}
    assert stored["cut"].condition == TRUNCATED
    described = describe_store(tmp_path / "store")
    assert "truncated: 1\n  Bad/cut.avi: truncated" in described
    assert "damaged: 0" in described
    assert "missing: 2" in described
    again = extract(videos, tmp_path / "store")
    assert again.tally.num_clips == 0
    assert again.problems == outcome.problems


def test_a_clip_that_became_a_fifo_does_not_hang_an_extraction(tmp_path: Path) -> None:
    path = tmp_path / "pipe.avi"
    os.mkfifo(path)
    (end,) = decode_clip(path, stride=1)
    assert isinstance(end, ClipEnd)
    assert end.reason == "it is a FIFO, no regular file"


@pytest.fixture
def mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, dict[str, bytes]]:
    """Four videos, their store in two shards, and its bytes."""
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos, out = write_clips(tmp_path / "videos", num=4), tmp_path / "store"
    extract(videos, out)
    return videos, out, read_bytes(out)


def test_a_store_with_a_flipped_bit_is_mended_as_its_error_says(
    mended: tuple[Path, Path, dict[str, bytes]],
) -> None:
    videos, out, whole = mended
    shard = out / "shard-00001.h5"
    flip_bit(shard, find_features(shard, "v_Punch_g02_c01")[40])
    with pytest.raises(
        ValueError, match=r"clip v_Punch_g02_c01: [\s\S]*Run the same `python -m ext"
    ):
        FeatureStore(out).read("v_Punch_g02_c01")
    tally = extract(videos, out).tally
    assert tally.num_clips == 2
    assert tally.redone["shard-00001"].startswith("it was damaged: clip v_Punch_g02_c01: expected")
    assert read_bytes(out) == whole
    assert extract(videos, out).tally.num_clips == 0


@pytest.mark.parametrize("name", ["shard-00000.h5", "shard-00001.h5", "index.h5"])
@pytest.mark.parametrize("seed", range(3))
def test_any_damaged_file_of_a_store_is_mended_and_no_other_touched(
    mended: tuple[Path, Path, dict[str, bytes]], name: str, seed: int
) -> None:
    videos, out, whole = mended
    generator = random.Random(seed)
    content = whole[name]
    start = generator.randrange(len(content))
    damaged = (
        content[:start],
        content[:start] + b"\xff" * 100 + content[start + 100 :],
        None,
    )[seed]
    if damaged is None:
        (out / name).unlink()
    else:
        (out / name).write_bytes(damaged)
    assert extract(videos, out).tally.num_clips == (0 if name == "index.h5" else 2)
    assert read_bytes(out) == whole


def test_a_damaged_shard_whose_videos_are_gone_is_kept_and_said(
    mended: tuple[Path, Path, dict[str, bytes]],
) -> None:
    videos, out, _ = mended
    shard = out / "shard-00000.h5"
    flip_bit(shard, find_features(shard, "v_Archery_g01_c01")[3])
    damaged = read_bytes(out)
    (videos / "Archery" / "v_Archery_g02_c01.avi").unlink()
    with pytest.raises(
        ValueError, match="1 of its 2 videos are not there to do it anew, such as A"
    ):
        extract(videos, out)
    assert read_bytes(out) == damaged


def test_a_plan_that_was_damaged_and_deleted_is_made_anew(
    mended: tuple[Path, Path, dict[str, bytes]],
) -> None:
    videos, out, whole = mended
    (out / "plan.json").write_bytes(whole["plan.json"][:50])
    with pytest.raises(ValueError, match=r"plan.json is damaged[\s\S]*Delete it and run the same"):
        extract(videos, out)
    (out / "plan.json").unlink()
    assert extract(videos, out).tally.num_clips == 0
    assert read_bytes(out) == whole


def test_a_decoder_that_dies_costs_only_its_clip(tmp_path: Path) -> None:
    videos = write_clips(tmp_path / "videos", num=3, num_frames=2000)
    paths = sorted(videos.rglob("*.avi"))
    with DecodePool(1, stride=1) as pool:
        for path in paths:
            pool.ask(path)
        ends = []
        for place in range(3):
            messages = pool.messages()
            next(messages)
            if place == 0:
                pool._workers[0].process.kill()
            ends += [message for message in messages if isinstance(message, ClipEnd)]
    assert [end.summary is None for end in ends] == [True, False, False]
    assert ends[0].reason == "the decoder crashed on it (SIGKILL)"


def test_a_decoder_that_cannot_start_ends_the_extraction_and_loses_no_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = write_clips(tmp_path / "videos", num=3)
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    monkeypatch.setattr(sys, "path", ["nowhere"])
    with pytest.raises(ChildProcessError, match=r"ended before its first clip \(exit code 1\)"):
        extract(videos, tmp_path / "store")
    monkeypatch.undo()
    outcome = extract(videos, tmp_path / "store")
    assert (outcome.num_stored, outcome.problems) == (3, ())


def test_the_command_extracts_and_inspects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = write_clips(tmp_path / "videos", num=2, num_frames=2)
    monkeypatch.chdir(tmp_path)
    options = ["--videos", str(videos), "--weights", "random", "--dtype", "float32", "--limit", "1"]
    monkeypatch.setattr(sys, "argv", ["extract", *options])
    assert main() == 0
    output = capsys.readouterr().out
    assert "features/videos-googlenet: 1 clips, complete" in output
    with h5py.File("features/videos-googlenet/index.h5") as index:
        features = index["clips/v_Archery_g01_c01"]
        assert features.shape == (2, 1024)
        assert features.dtype == np.float16
    monkeypatch.setattr(sys, "argv", ["extract", "inspect", "features/videos-googlenet"])
    assert main() == 0
    assert "Archery" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["extract", *options, "--stride", "2"])
    assert main() == 2
    assert "stride=1, not 2" in capsys.readouterr().err


def test_a_refused_extraction_leaves_no_folder_and_names_timms_nets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = write_clips(tmp_path / "videos", num=1, num_frames=2)
    out = tmp_path / "features"
    words = ["extract", "--videos", str(videos), "--out", str(out), "--backbone", "resnet18"]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 2
    assert "found 'resnet18'. Did you mean timm/resnet18?" in capsys.readouterr().err
    assert not out.exists()


def test_a_full_disk_is_said_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = write_clips(tmp_path / "videos", num=1, num_frames=2)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.features.writers.ShardWriter.append", refuse)
    options = ["--videos", str(videos), "--weights", "random", "--out", str(tmp_path / "store")]
    monkeypatch.setattr(sys, "argv", ["extract", *options])
    assert main() == 2
    message = capsys.readouterr().err
    assert "The disk is full: No space left on device. What was done is kept." in message
    assert "Run the same command again" in message
    assert threading.active_count() < 10
