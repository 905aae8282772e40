"""The generated clips, and the demo from clips to table."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from demo.__main__ import SPLIT, describe_pairs, main
from demo.clips import LABELS, PAIRS, ClipsSpec, draw_frames, make_path, write_clips
from pipeline.clips import SPLITS_FOLDER, find_clips, read_split, write_clip_list
from pipeline.video import Chunk, read_frames, read_header

SMALL = ClipsSpec(groups=(3, 11), clips_per_group=1, num_frames=10)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    assert write_clips(folder, SMALL) == len(LABELS) * 2
    return folder


def decode(path: Path) -> Chunk:
    return np.concatenate(list(read_frames(path)))


def coded_types(path: Path) -> set[int]:
    """The kinds of frames in an MPEG-4 file: 0 I, 1 P, 2 B (vop_coding_type, ISO/IEC 14496-2)."""
    content = path.read_bytes()
    start = b"\x00\x00\x01\xb6"
    places = [i for i in range(len(content)) if content.startswith(start, i)]
    return {content[place + len(start)] >> 6 for place in places}


def distance(first: Chunk, second: Chunk) -> float:
    """The root mean square difference, in grey levels."""
    return float(np.sqrt(np.mean((first.astype(float) - second) ** 2)))


def test_every_clip_decodes_to_what_was_drawn_in_mpeg4_with_b_frames(videos: Path) -> None:
    clips = find_clips(videos).clips
    assert {clip.label for clip in clips} == set(LABELS)
    for clip in clips:
        header = read_header(videos / clip.path)
        assert (header.width_pixels, header.height_pixels, header.fps) == (320, 240, 25.0)
        reader = read_frames(videos / clip.path)
        assert np.concatenate(list(reader)).shape == (10, 240, 320, 3)
        assert reader.summary.problem is None
        assert coded_types(videos / clip.path) == {0, 1, 2}
    for label in ("Grows", "Brightens", "Spins"):
        drawn = np.stack(draw_frames(SMALL, label, 3, 1))
        assert distance(decode(videos / make_path(label, 3, 1)), drawn) < 4


@pytest.mark.parametrize("pair", PAIRS)
def test_the_second_of_a_pair_is_the_first_backwards(videos: Path, pair: tuple[str, str]) -> None:
    first, second = (decode(videos / make_path(label, 3, 1)) for label in pair)
    # The codec's loss is 2 to 3 levels; a frame differs from its neighbour by more.
    assert distance(first, second[::-1]) < 4
    assert distance(first, second) > 10


def test_groups_look_different_and_clips_of_a_group_alike() -> None:
    def first_frame(group: int, number: int) -> Chunk:
        return draw_frames(SMALL, "Grows", group, number)[0]

    assert distance(first_frame(3, 1), first_frame(3, 2)) < 25
    for one, other in itertools.combinations((3, 11, 24), 2):
        background = (first_frame(one, 1)[:10], first_frame(other, 1)[:10])
        assert distance(*background) > 10


def test_equal_specs_give_equal_files_and_other_seeds_others(videos: Path, tmp_path: Path) -> None:
    write_clips(tmp_path / "again", SMALL)
    write_clips(tmp_path / "other", replace(SMALL, seed=1))
    for clip in find_clips(videos).clips:
        bytes_of = [(f / clip.path).read_bytes() for f in (videos, tmp_path / "again")]
        assert bytes_of[0] == bytes_of[1]
        assert (tmp_path / "other" / clip.path).read_bytes() != bytes_of[0]


def test_clips_that_are_there_are_kept_and_missing_ones_come_back(tmp_path: Path) -> None:
    write_clips(tmp_path, SMALL)
    lost, kept = (tmp_path / make_path(label, 3, 1) for label in ("Shrinks", "Grows"))
    content, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    assert write_clips(tmp_path, SMALL) == 1
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == time


def test_clips_of_another_spec_are_refused(videos: Path) -> None:
    with pytest.raises(ValueError, match="holds generated clips with seed=0, not 5"):
        write_clips(videos, replace(SMALL, seed=5))
    with pytest.raises(ValueError, match="num_frames: expected 2 or more, found 1"):
        replace(SMALL, num_frames=1)


def test_the_split_by_groups_has_the_papers_parts(videos: Path) -> None:
    by_groups, listed = (
        yaml.safe_load((SPLITS_FOLDER / f"{name}.yaml").read_text())
        for name in (SPLIT, "ucf101-split1")
    )
    assert by_groups == {part: listed[part] for part in ("train", "val", "test")}
    split = read_split(SPLIT, find_clips(videos).clips)
    assert {clip.group for clip in split.test} == {"g03"}
    assert {clip.group for clip in split.train} == {"g11"}


def test_quick_demo_goes_from_clips_to_table_and_a_second_call_does_nothing_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "it's a demo, quick"
    options = ["--quick", "--out", str(out)]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "30 clips written" in printed
    assert "random weights" in printed
    report = json.loads((out / "report" / "report.json").read_text())
    assert len(list((out / "runs").glob("*/weights.safetensors"))) == 1
    assert "np-rnn" in json.dumps(report)
    assert report["rows"][0]["pairs"]["num_clips"] > 0
    assert "pair accuracy" in printed
    assert "Pairs of classes" in (out / "report" / "report.html").read_text()
    assert (out / "report" / "report.html").stat().st_size > 1000
    assert main(options) == 0
    again = capsys.readouterr().out
    for line in ("all clips were there", "Nothing was left to do", "is complete"):
        assert line in again
    assert table(again) == table(printed)


@pytest.fixture(scope="module")
def own_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of seven groups, so that a draw has all parts, beside a list of some of them."""
    folder = tmp_path_factory.mktemp("own")
    spec = ClipsSpec(groups=tuple(range(1, 8)), clips_per_group=1, num_frames=2)
    write_clips(folder / "my clips", spec)
    found = find_clips(folder / "my clips").clips
    few = [clip for clip in found if clip.label in ("Grows", "Spins")]
    listed = [(replace(clip, path=f"my clips/{clip.path}"), "") for clip in few]
    write_clip_list(folder / "few.csv", listed)
    return folder


@pytest.mark.parametrize(
    ("where", "videos", "num"),
    [(".", "my clips", 35), ("my clips", "../few.csv", 14)],
)
def test_own_videos_come_from_a_folder_or_a_list_by_a_relative_path(
    tmp_path: Path,
    own_videos: Path,
    where: str,
    videos: str,
    num: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(own_videos / where)
    assert main(["--quick", "--videos", videos, "--out", str(tmp_path / "out")]) == 0
    assert f": {num} clips, complete" in capsys.readouterr().out
    (store,) = (tmp_path / "out" / "features").iterdir()
    assert store.name == f"{Path(videos).stem}-googlenet-random"
    # The worst clips are shown with their frames.
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "data:image/jpeg" in page


def test_a_clip_that_gives_no_features_shows_in_the_exit_code(
    tmp_path: Path, own_videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_videos)
    listed = Path("few.csv").read_text() + "my clips/lost.avi,Spins,g01,\n"
    Path("lost.csv").write_text(listed)
    assert main(["--quick", "--videos", "lost.csv", "--out", str(tmp_path / "out")]) == 1


@pytest.mark.parametrize(
    ("stage", "code"), [("extract", 2), ("extract", 130), ("eval", 2), ("eval", 130)]
)
def test_the_demo_ends_with_the_stage_that_could_not_go_on(
    tmp_path: Path, stage: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.__main__._generate", lambda *given: None)
    monkeypatch.setattr("demo.__main__._train", lambda config: tmp_path / "run")
    for name in ("extract", "eval"):
        answer = code if name == stage else 0
        monkeypatch.setattr(f"{name}.__main__.main", lambda words, answer=answer: answer)
    assert main(["--quick", "--out", str(tmp_path / "out")]) == code


def test_the_demo_asks_extract_and_eval_what_a_user_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def answer(words: list[str], code: int) -> int:
        asked.append(words)
        return code

    monkeypatch.setattr("demo.__main__._train", lambda config: Path(config["model"]["name"]))
    monkeypatch.setattr("extract.__main__.main", lambda words: answer(words, 0))
    monkeypatch.setattr("eval.__main__.main", lambda words: answer(words, 1))
    monkeypatch.chdir(tmp_path)
    options = ["--videos", "my.csv", "--nets", "lstm", "irnn", "--stride", "3", "--out", "o"]
    assert main([*options, "--weights", "w.npz", "--backbone", "bvlc-googlenet"]) == 1
    store = Path("o/features/my.csv-bvlc-googlenet-w")
    assert asked == [
        ["--videos=my.csv", f"--out={store}", "--backbone=bvlc-googlenet", "--weights=w.npz",
         "--stride=3"],
        ["--run", "lstm", "irnn", f"--out={Path('o/report')}", "--videos=my.csv"],
    ]  # fmt: skip


def test_only_nets_whose_whole_interval_is_above_chance_are_said_to_see_the_pairs(
    tmp_path: Path,
) -> None:
    rows = [
        {"name": "good", "pairs": {"low": 0.51}},
        {"name": "lost"},
        {"name": "half", "pairs": {"low": 0.5}},
    ]
    (tmp_path / "report.json").write_text(json.dumps({"rows": rows}))
    assert describe_pairs(tmp_path).endswith("(the whole interval above 0.5): good; not so: half.")


def table(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("np-rnn ")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nets", "lstn"], "found 'lstn'. Did you mean lstm?"),
        (["--videos", "nowhere"], "expected a folder of videos or a CSV"),
        (["--weights", "nowhere.pth"], "there is no file nowhere.pth"),
        (["--seed", "-1"], "seed: expected a whole number from 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["--quick", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
