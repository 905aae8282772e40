from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import PARTS, Clip, Split, draw_split, read_split


def make_clip(clip_id: str, label: str = "a", group: str = "") -> Clip:
    return Clip(clip_id, label, group, f"{label}/{clip_id}.avi")


@pytest.mark.parametrize(
    ("number", "num_train", "num_test", "test_groups"),
    [(1, 9537, 3783, range(1, 8)), (2, 9586, 3734, range(8, 15)), (3, 9624, 3696, range(15, 22))],
)
def test_the_ucf101_splits_list_the_official_numbers_of_clips(
    number: int, num_train: int, num_test: int, test_groups: range
) -> None:
    split = read_split(f"ucf101-split{number}", [])
    assert len(split.train) + len(split.val) == num_train
    assert len(split.test) == num_test
    assert {clip.group for clip in split.test} == {f"g{g:02d}" for g in test_groups}
    assert {clip.group for clip in split.val} == {"g25"}
    assert len({clip.label for clip in split.train}) == 101


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_ucf101_splits_are_the_official_lists(data_root: Path, number: int) -> None:
    split = read_split(f"ucf101-split{number}", [])
    lists = data_root / "splits"
    trained = (lists / f"trainlist0{number}.txt").read_text().split()[::2]
    tested = (lists / f"testlist0{number}.txt").read_text().split()
    assert sorted(clip.path for clip in (*split.train, *split.val)) == sorted(trained)
    assert sorted(clip.path for clip in split.test) == sorted(tested)


def test_official_list_files_are_read_with_the_validation_group_taken_out_of_train(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.txt").write_bytes(b"a/v_a_g08_c01.avi 1\r\na/v_a_g25_c01.avi 1\r\n")
    (tmp_path / "test.txt").write_bytes(b"a/v_a_g01_c01.avi\r\n")
    file = tmp_path / "mine.yaml"
    file.write_text("train: train.txt\nval: [g25]\ntest: test.txt\n")
    clips = [make_clip("v_a_g08_c01", group="g08"), make_clip("v_a_g25_c01", group="g25")]
    split = read_split(str(file), clips)
    assert [c.id for c in split.train] == ["v_a_g08_c01"]
    assert [c.id for c in split.val] == ["v_a_g25_c01"]
    assert [c.id for c in split.test] == ["v_a_g01_c01"]


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("val", "test")])
def test_a_group_or_clip_in_two_parts_is_refused(parts: tuple[str, str]) -> None:
    clips = dict.fromkeys(PARTS, ())
    same_group = {parts[0]: (make_clip("x", group="g1"),), parts[1]: (make_clip("y", group="g1"),)}
    with pytest.raises(ValueError, match=f"1 groups stand in both {parts[0]} and {parts[1]}: g1"):
        Split("leaky", **{**clips, **same_group})
    same_clip = {parts[0]: (make_clip("x"),), parts[1]: (make_clip("x"),)}
    with pytest.raises(ValueError, match="1 clips stand in both"):
        Split("leaky", **{**clips, **same_clip})


def test_clips_without_a_group_do_not_leak_into_each_other() -> None:
    Split("fine", train=(make_clip("x"),), val=(make_clip("y"),), test=(make_clip("z"),))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(0, 9),
)
def test_a_drawn_split_holds_every_clip_once_and_keeps_groups_together(
    places: list[tuple[int, int]], seed: int
) -> None:
    clips = [
        make_clip(f"clip{i}", label=f"label{label}", group=f"g{group}" if group else "")
        for i, (label, group) in enumerate(places)
    ]
    split = draw_split(clips, seed=seed)  # Split itself refuses leaks
    drawn = Counter(clip.id for part in PARTS for clip in split.part(part))
    assert drawn == Counter(clip.id for clip in clips)
    assert split == draw_split(list(reversed(clips)), seed=seed)


def test_a_drawn_split_gives_every_class_its_shares() -> None:
    clips = [make_clip(f"{label}{i}", label=label) for label in "ab" for i in range(50)]
    split = draw_split(clips, seed=3)
    for label in "ab":
        counts = [sum(c.label == label for c in split.part(part)) for part in PARTS]
        assert counts == [35, 5, 10]
    assert split != draw_split(clips, seed=4)


def test_an_unknown_split_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="Did you mean ucf101-split2"):
        read_split("ucf101-spilt2", [])


def test_a_listed_split_refuses_clips_of_a_class_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="does not list 1 classes of these clips: Juggling"):
        read_split("ucf101-split1", [make_clip("x", label="Juggling")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [g1]\ntest: [g2]\n", "expected the keys train, val, test"),
        ("train: [g1]\nval: []\ntest: [g2]\nmode: x\n", "expected the keys"),
        ("train: [1]\nval: []\ntest: [2]\n", "expected a list of groups"),
        ("train: nowhere.txt\nval: []\ntest: []\n", "found no such file"),
        ("[1", "expected a split file in YAML"),
    ],
)
def test_a_malformed_split_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "split.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_split(str(file), [])
