"""An extraction in parts gives the store of one process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from extract import plan
from extract.__main__ import main
from extract.finish import Unfinished, finish_store
from extract.leases import Leases
from extract.outcome import PROBLEMS, Outcome
from extract.parts import Part, read_part
from extract.plan import Shard
from pipeline.clips import FoundClips, find_clips
from pipeline.features import INDEX
from tests.damage import find_features, flip_bit
from tests.test_extract import ROOT, extract, read_bytes
from tests.test_hosts import THERE
from tests.tiny_clips import write_clips
from tests.waiting import wait_until


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine videos and one that is none; two in a shard, so five shards."""
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    videos = write_clips(tmp_path / "videos", num=9, num_frames=3)
    (videos / "Punch" / "text.avi").write_text("no video")
    return videos


def extract_parts(videos: Path, out: Path, parts: Sequence[Part]) -> list[Outcome]:
    return [extract(videos, out, part=part) for part in parts]


def extract_at_once(videos: str, out: str, part: str, meeting: str) -> None:
    """Do a part from the moment on at which three processes have come so far."""
    plan.CLIPS_PER_SHARD = 2
    Path(meeting, part.replace("/", "-")).touch()
    wait_until(lambda: len(list(Path(meeting).iterdir())) == 3)
    extract(Path(videos), Path(out), part=read_part(part))


@pytest.mark.parametrize("total", [1, 2, 3, 5, 16])
def test_every_shard_is_of_exactly_one_part(total: int) -> None:
    shards = [Shard(f"shard-{number:05d}", ()) for number in range(11)]
    parts = [Part(number, total).choose(shards) for number in range(1, total + 1)]
    assert sorted(s.name for part in parts for s in part) == [s.name for s in shards]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert Part(3, 16).choose(shards) == (shards[2],)


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "x", "4", "/4", "4/", "1/0", "1/2/3", "-1/4", "²/4"]
)
def test_a_text_that_names_no_part_is_refused(text: str) -> None:
    said = "from 1 to 4, found" if text in ("0/4", "5/4") else "K/N, such as 2/16"
    with pytest.raises(ValueError, match=f"expected .*{said}"):
        read_part(text)
    assert read_part("2/16") == Part(2, 16)


@pytest.mark.parametrize("total", [1, 3, 7])
def test_parts_in_any_order_and_finished_are_the_store_of_one_process(
    tmp_path: Path, videos: Path, total: int
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "store"
    undivided = extract(videos, whole)
    parts = [Part(number, total) for number in range(total, 0, -1)]
    done = extract_parts(videos, out, parts)
    assert all(outcome.is_complete for outcome in done)
    assert sum(outcome.num_stored for outcome in done) == 9
    assert [p.path for outcome in done for p in outcome.problems] == ["Punch/text.avi"]
    assert not (out / INDEX).exists()
    assert not (out / PROBLEMS).exists()
    finished = finish_store(find_clips(videos), out)
    assert isinstance(finished, Outcome)
    assert finished.problems == undivided.problems
    assert read_bytes(out) == read_bytes(whole)


def test_parts_that_begin_at_once_in_an_empty_folder_make_one_plan(
    tmp_path: Path, videos: Path
) -> None:
    whole, out, meeting = (tmp_path / name for name in ("whole", "store", "meeting"))
    extract(videos, whole)
    meeting.mkdir()
    code = "import sys; from tests.test_parts import *; extract_at_once(*sys.argv[1:])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(videos), str(out), f"{number}/3", str(meeting)],
            cwd=ROOT,
        )
        for number in (1, 2, 3)
    ]
    try:
        assert [process.wait(timeout=900) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    assert isinstance(finish_store(find_clips(videos), out), Outcome)
    assert read_bytes(out) == read_bytes(whole)


def refuse(videos: FoundClips, out: Path) -> str:
    """What is said of the store, in which nothing changes."""
    before = read_bytes(out)
    unfinished = finish_store(videos, out)
    assert isinstance(unfinished, Unfinished)
    assert read_bytes(out) == before
    return unfinished.describe("COMMAND")


def test_shards_that_are_missing_are_named_with_what_makes_them(
    tmp_path: Path, videos: Path
) -> None:
    out = tmp_path / "store"
    extract_parts(videos, out, [Part(1, 3), Part(3, 3)])
    assert Leases(THERE).claim(out / "shard-00004.lock")
    said = refuse(find_clips(videos), out)
    assert "Missing: shard-00001, shard-00004 (held by process 12 of node-7).\n" in said
    assert "2 of 5 shards are left to do; no index was written.\n" in said
    assert "in any number of processes: COMMAND\n" in said
    assert "--part K/N: a shard whose number is S is of part K = S modulo N + 1." in said


def test_a_damaged_shard_is_named_and_mended_by_its_part(tmp_path: Path, videos: Path) -> None:
    out = tmp_path / "store"
    extract(videos, out)
    whole = read_bytes(out)
    shard = out / "shard-00001.h5"
    flip_bit(shard, find_features(shard, "v_Archery_g04_c01")[5])
    said = refuse(find_clips(videos), out)
    assert said.startswith("shard-00001.h5 is to be done anew: it was damaged: clip v_Archery_g04")
    assert "Missing" not in said
    assert "1 of 5 shards are left to do" in said
    assert extract(videos, out, part=Part(1, 3)).tally.num_clips == 0
    assert extract(videos, out, part=Part(2, 3)).tally.num_clips == 2
    assert not (out / INDEX).exists()
    assert isinstance(finish_store(find_clips(videos), out), Outcome)
    assert read_bytes(out) == whole


def test_a_part_without_a_shard_has_nothing_to_do(tmp_path: Path, videos: Path) -> None:
    outcome = extract(videos, tmp_path / "store", part=Part(6, 6))
    assert (outcome.num_shards, outcome.num_stored, outcome.is_complete) == (0, 0, True)


def test_the_command_does_parts_and_finishes_without_a_backbone(
    tmp_path: Path,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (videos / "Punch" / "text.avi").unlink()
    monkeypatch.chdir(tmp_path)
    words = ["--videos", "videos", "--weights", "random", "--dtype", "float32", "--limit", "3"]
    assert main([*words, "--part", "2/2"]) == 0
    said = capsys.readouterr().out
    assert "features/videos-googlenet: part 2/2, 1 shards, 1 clips, done\n" in said
    assert "with --finish in place of --part 2/2 writes the index." in said
    assert main([*words, "--finish"]) == 1
    said = capsys.readouterr().out
    assert "Missing: shard-00000.\n1 of 2 shards are left" in said
    assert f"python -m extract {' '.join(words)}\n" in said
    assert main([*words, "--part", "1/2"]) == 0
    monkeypatch.setattr("extract.setup.load_backbone", lambda *_, **__: pytest.fail("loaded"))
    assert main([*words, "--finish"]) == 0
    assert "videos-googlenet: 3 clips, complete" in capsys.readouterr().out
    assert main([*words, "--finish", "--stride", "2"]) == 2
    assert "made with stride=1, not 2.\nFinish it with the options of its parts: --stride 1" in (
        capsys.readouterr().err
    )


def test_clips_with_problems_are_said_by_their_part_and_answered_for_by_who_finishes(
    tmp_path: Path,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--videos", str(videos), "--weights", "random", "--dtype", "float32"]
    assert main([*words, "--part", "1/1"]) == 0
    assert "1 clips with problems, which --finish lists in problems.csv" in capsys.readouterr().out
    assert main([*words, "--finish"]) == 1
    assert "9 clips, complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--videos", ".", "--part", "0/4"], "--part: expected a part from 1 to 4, found 0."),
        (["--videos", ".", "--part", "5/4"], "--part: expected a part from 1 to 4, found 5."),
        (["--videos", ".", "--part", "x"], "--part: expected K/N, such as 2/16 for the second"),
        (["--videos", ".", "--part", "1/4", "--finish"], "--finish: not allowed with"),
        (["--speech", ".", "--part", "1/4"], "--part has no effect with --speech: leave it out."),
        (["--speech", ".", "--finish"], "--finish has no effect with --speech: leave it out."),
        (["--videos", "clips", "--finish"], "expected a feature store, found no such folder"),
    ],
)
def test_what_is_no_part_is_refused_in_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    write_clips(tmp_path / "clips", num=1, num_frames=2)
    monkeypatch.chdir(tmp_path)
    try:
        code: object = main(words)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]
