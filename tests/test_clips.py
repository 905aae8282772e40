from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import Clip, find_clips, read_group
from pipeline.clips.ids import make_ids
from pipeline.console import run_command


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_clips_are_labelled_by_their_folder_also_where_ucf101_spells_the_name_otherwise(
    tmp_path: Path,
) -> None:
    make_files(tmp_path, "HandstandPushups/v_HandStandPushups_g08_c01.avi")
    assert find_clips(tmp_path).clips == (
        Clip(
            "v_HandStandPushups_g08_c01",
            "HandstandPushups",
            "g08",
            "HandstandPushups/v_HandStandPushups_g08_c01.avi",
        ),
    )


def test_clips_come_in_the_order_of_their_paths_and_other_files_are_counted(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.mp4", "a/9.MKV", "a/deep/1.avi", "a/notes.txt", "a/.hidden.avi")
    found = find_clips(tmp_path)
    assert [clip.path for clip in found.clips] == ["a/9.MKV", "a/deep/1.avi", "b/2.mp4"]
    assert [clip.label for clip in found.clips] == ["a", "a", "b"]
    assert found.num_ignored == 1


def test_only_files_that_share_a_stem_have_their_folders_in_their_ids(tmp_path: Path) -> None:
    make_files(tmp_path, "a/x.avi", "b/x.mp4", "b/deep/x.avi", "b/y.mp4", "c/z.avi", "c/z.mp4")
    found = find_clips(tmp_path)
    assert {clip.path: clip.id for clip in found.clips} == {
        "a/x.avi": "a:x",
        "b/x.mp4": "b:x",
        "b/deep/x.avi": "b:deep:x",
        "b/y.mp4": "y",
        "c/z.avi": "c:z.avi",
        "c/z.mp4": "c:z.mp4",
    }
    assert not found.problems


def test_files_that_come_to_one_id_all_the_same_are_problems_and_none_is_chosen(
    tmp_path: Path,
) -> None:
    make_files(tmp_path, "a/x.avi", "b/x.avi", "b/a:x.avi")
    found = find_clips(tmp_path)
    assert [clip.id for clip in found.clips] == ["b:x"]
    assert [(p.path, p.reason) for p in found.problems] == [
        ("a/x.avi", "shares its id a:x with b/a:x.avi"),
        ("b/a:x.avi", "shares its id a:x with a/x.avi"),
    ]


names = st.text(alphabet="ab", min_size=1, max_size=2)


@given(st.sets(st.tuples(names, names, names, st.sampled_from(["avi", "mp4"]))))
def test_ids_differ_where_paths_do_and_one_that_repeats_is_a_function_of_its_path(
    files: set[tuple[str, str, str, str]],
) -> None:
    paths = [f"{a}/{b}/{stem}.{ending}" for a, b, stem, ending in sorted(files)]
    ids = make_ids(paths)
    assert len({*ids.values()}) == len(paths)
    with_another = make_ids([*paths, *(f"other/{stem}.webm" for _, _, stem, _ in files)])
    assert all(with_another[path] == clip_id for path, clip_id in ids.items() if ":" in clip_id)


def test_what_is_no_regular_file_is_a_problem_and_never_opened(tmp_path: Path) -> None:
    make_files(tmp_path, "a/x.avi")
    os.mkfifo(tmp_path / "a" / "pipe.avi")
    (tmp_path / "a" / "device.avi").symlink_to("/dev/zero")
    found = find_clips(tmp_path)
    assert [clip.id for clip in found.clips] == ["x"]
    assert [(p.path, p.reason) for p in found.problems] == [
        ("a/device.avi", "it is a device, no regular file"),
        ("a/pipe.avi", "it is a FIFO, no regular file"),
    ]


def test_names_that_steer_a_terminal_are_problems_and_shown_without_it(tmp_path: Path) -> None:
    make_files(tmp_path, "a/\x1b[31mred.avi", "b\nc/x.avi", "d/\udcff.avi", "é/👩\u200d👩 1.avi")
    found = find_clips(tmp_path)
    assert [clip.path for clip in found.clips] == ["é/👩\u200d👩 1.avi"]
    assert [p.path for p in found.problems] == [
        r"a/\x1b[31mred.avi", r"b\nc/x.avi", r"d/\udcff.avi",
    ]  # fmt: skip
    assert found.problems[1].label == r"b\nc"
    assert all("rename it" in problem.reason for problem in found.problems)


def test_a_message_never_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise ValueError("no run in \x1b]0;title\x07\nsecond line")

    assert run_command(refuse, how_to_go_on="") == 2
    assert capsys.readouterr().err == "error: no run in \\x1b]0;title\\x07\nsecond line\n"


def test_a_link_back_to_the_folder_is_not_followed_forever(tmp_path: Path) -> None:
    make_files(tmp_path, "a/x.avi")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert [clip.id for clip in find_clips(tmp_path).clips] == ["x"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "found an empty folder"),
        (("a/readme.txt",), "found 1 files, none of them a video"),
        (("loose.avi", "a/x.avi"), "1 videos outside of any, such as loose.avi"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused_with_what_was_found(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    make_files(tmp_path, *files)
    with pytest.raises(ValueError, match=message):
        find_clips(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found nothing there"):
        find_clips(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("v_Punch_g08_c01", "g08"),
        ("v_HandStandPushups_g25_c07", "g25"),
        ("v_Punch_g8_c1", "v_Punch_g8"),
        ("talk_part2", "talk"),
        ("holiday-clip11", "holiday"),
        ("IMG_0001", ""),
        ("walk", ""),
    ],
)
def test_the_group_is_read_only_where_the_name_shows_it(stem: str, group: str) -> None:
    assert read_group(stem) == group


def test_a_clip_needs_an_id_and_a_label() -> None:
    with pytest.raises(ValueError, match=r"Clip\.id"):
        Clip("a/b", "label", "", "a/b.avi")
    with pytest.raises(ValueError, match=r"Clip\.label"):
        Clip("a", "", "", "a.avi")
