from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clips import Clip, find_clips, read_group


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


def test_files_that_share_a_stem_are_all_problems_and_none_is_chosen(tmp_path: Path) -> None:
    make_files(tmp_path, "a/x.avi", "b/x.mp4", "b/y.mp4")
    found = find_clips(tmp_path)
    assert [clip.id for clip in found.clips] == ["y"]
    assert [(p.path, p.reason) for p in found.problems] == [
        ("a/x.avi", "shares its name with b/x.mp4"),
        ("b/x.mp4", "shares its name with a/x.avi"),
    ]


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
