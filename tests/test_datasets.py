"""Datasets and splits that need no code: lists in CSV, HMDB-51's lists, draws that are kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from extract.__main__ import default_out, extract
from extract.options import make_parser
from pipeline.clips import (
    PARTS,
    Clip,
    Split,
    draw_split,
    find_clips,
    read_clip_list,
    read_group,
    read_split,
    write_clip_list,
)
from pipeline.features import (
    ClipRecord,
    FeatureSpec,
    FeatureStore,
    ShardWriter,
    claim_store,
    write_index,
)
from pipeline.tasks import make_task
from tests.tiny_clips import write_clip


def write_list(folder: Path, *lines: str) -> Path:
    path = folder / "clips.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def parts_of(split: Split) -> dict[str, set[str]]:
    return {part: {clip.id for clip in split.part(part)} for part in PARTS}


def test_a_list_gives_clips_relative_to_it_with_its_groups_and_parts(tmp_path: Path) -> None:
    path = write_list(
        tmp_path, "path,label,group,split", "sub/a b.mp4,été,film 1,train", "c.avi,run,,"
    )
    found = find_clips(path)
    assert found.folder == tmp_path
    assert found.clips == (
        Clip("a b", "été", "film 1", "sub/a b.mp4"),
        Clip("c", "run", "", "c.avi"),
    )
    assert [part for _, part in read_clip_list(path)] == ["train", ""]


def test_without_a_column_of_groups_they_are_read_from_the_names(tmp_path: Path) -> None:
    path = write_list(tmp_path, "label,path", "Punch,x/v_Punch_g08_c01.avi", "Punch,talk_part2.mp4")
    assert [clip.group for clip in find_clips(path).clips] == ["g08", "talk"]


def test_names_that_repeat_in_a_list_have_their_folders_in_their_ids(tmp_path: Path) -> None:
    path = write_list(tmp_path, "path,label", "a/1.mp4,run", "../b/1.mp4,walk", "b/2.mp4,walk")
    assert [clip.id for clip in find_clips(path).clips] == ["a:1", "b:1", "2"]


def test_a_split_names_the_clips_of_a_store_as_the_store_does(tmp_path: Path) -> None:
    stored = [Clip("1", "a", "", "a/1.avi"), Clip("b:1", "b", "", "b/1.avi")]
    listed = write_list(tmp_path, "path,label,split", "a/1.avi,a,train", "b/1.avi,b,test")
    assert parts_of(read_split(str(listed), stored))["train"] == {"1"}
    for part, line in (("train", "a/1.avi 1"), ("val", "c/1.avi 3"), ("test", "b/1.avi")):
        (tmp_path / f"{part}.txt").write_text(f"{line}\n")
    official = tmp_path / "official.yaml"
    official.write_text("train: train.txt\nval: val.txt\ntest: test.txt\n")
    parts = parts_of(read_split(str(official), stored))
    assert parts == {"train": {"1"}, "val": {"c:1"}, "test": {"b:1"}}


def test_a_kept_draw_names_the_clips_as_the_store_does(tmp_path: Path) -> None:
    stored = [Clip(f"{label}:1", label, "", f"{label}/1.avi") for label in "abcdefghij"]
    drawn = read_split("draw", stored[:6], store=tmp_path)
    again = read_split("draw", stored, store=tmp_path)
    assert set().union(*parts_of(again).values()) == {clip.id for clip in stored}
    assert all(parts_of(again)[part] >= parts_of(drawn)[part] for part in PARTS)
    alone = [Clip("a:1", "a", "", "a/1.avi")]  # its like gave no features
    for _ in range(2):
        split = read_split("draw", alone, seed=1, store=tmp_path)
        assert [clip.id for part in PARTS for clip in split.part(part)] == ["a:1"]


def test_a_list_written_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_bytes(b'\xef\xbb\xbfpath,label\r\n"a, b.mp4",run\r\n')
    assert find_clips(path).clips == (Clip("a, b", "run", "", "a, b.mp4"),)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    listed = ((Clip("a,b", "x", 'film "1"', "x/a,b.mp4"), "val"), (Clip("c", "y", "", "c.avi"), ""))
    write_clip_list(tmp_path / "list.csv", listed)
    assert read_clip_list(tmp_path / "list.csv") == listed


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label"], "found 'path,label' and 0 rows"),
        (["file,label", "a.mp4,x"], "expected a first line `path,label`"),
        (["path,label,fold", "a.mp4,x,1"], "expected a first line `path,label`"),
        (["path,label", "a.mp4,x", "b.mp4"], "row 3: expected path,label"),
        (["path,label", "a.mp4,x,y"], "row 2: expected path,label"),
        (["path,label", "a.mp4,"], "row 2"),
        (["path,label,split", "a.mp4,x,dev"], "one of train, val, test or nothing; found 'a.mp4,"),
        (["path,label", "a.mp4,x", "a.mp4,y"], "1 paths stand in it twice, such as a.mp4"),
    ],
)
def test_a_malformed_list_is_refused_with_its_row(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_clips(write_list(tmp_path, *lines))


def test_a_split_is_read_from_the_list_and_validation_is_drawn_by_group_where_it_names_none(
    tmp_path: Path,
) -> None:
    rows = [f"{label}{g}_{i}.mp4,{label},{label}{g},{'test' if g > 9 else 'train'}"
            for label in "ab" for g in range(12) for i in range(3)]  # fmt: skip
    path = write_list(tmp_path, "path,label,group,split", *rows, "unused.mp4,a,a0,")
    split = read_split(str(path), [])
    assert len(split.test) == 12
    assert Counter(clip.label for clip in split.val) == {"a": 3, "b": 3}  # a tenth of 30
    assert len(split.train) == 54  # Split itself refuses groups in two parts
    assert "unused" not in set().union(*parts_of(split).values())
    assert split == read_split(str(path), [])
    assert split != read_split(str(path), [], seed=1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "a.mp4,x"], "expected a column `split`"),
        (
            ["path,label,split", *(f"{name}.mp4,x,train" for name in ("b/a", "c/a", "b:a"))],
            "1 ids are those of several",
        ),
        (["path,label,group,split", "a.mp4,x,g,train", "b.mp4,x,g,test"], "1 groups stand in both"),
    ],
)
def test_a_list_that_is_no_split_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_split(str(write_list(tmp_path, *lines)), [])


def test_extract_reads_a_list_and_names_a_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "films" / "walk 1.avi", num_frames=4)
    path = write_list(tmp_path / "films", "path,label", "walk 1.avi,walk", "gone.avi,run")
    arguments = ["--videos", str(path), "--backbone", "timm/test_resnet", "--weights", "random"]
    assert extract(make_parser().parse_args(arguments)) == 1
    store = FeatureStore(default_out(path, "timm/test_resnet"))
    assert store.folder == Path("features/clips-timm-test_resnet")
    assert [record.clip.label for record in store.records.values()] == ["walk"]
    assert "gone.avi" in capsys.readouterr().out


def write_hmdb51(folder: Path) -> Path:
    """Lists in the form of HMDB-51's: names of sources, classes of two words, spaces at the end."""
    folder.mkdir()
    tags = "u_nm_np1_ba_goo"
    rows = [(f"Film_{g}_brush_hair_{tags}_{i}.avi", 2 if g > 9 else 1)
            for g in range(12) for i in range(2)]  # fmt: skip
    rows.append((f"Rest_brush_hair_{tags}_0.avi", 0))
    text = "".join(f"{name} {mark} \n" for name, mark in rows)
    for number in (1, 2):
        (folder / f"brush_hair_test_split{number}.txt").write_text(text)
        (folder / f"wave_test_split{number}.txt").write_text(text.replace("brush_hair", "wave"))
    return folder


def test_the_lists_of_hmdb51_give_a_split_with_validation_drawn_by_source(tmp_path: Path) -> None:
    folder = write_hmdb51(tmp_path / "lists")
    split = read_split(f"{folder}/split1", [])
    assert split.name == "hmdb51-split1"
    counts = {part: Counter(clip.label for clip in split.part(part)) for part in PARTS}
    assert counts == {
        "train": {"brush_hair": 18, "wave": 18},
        "val": {"brush_hair": 2, "wave": 2},
        "test": {"brush_hair": 4, "wave": 4},
    }
    assert {clip.group for clip in split.test} == {
        f"Film_{g}_{label}" for g in (10, 11) for label in ("brush_hair", "wave")
    }
    assert split.test[0].path == "brush_hair/Film_10_brush_hair_u_nm_np1_ba_goo_0.avi"


def test_a_source_that_the_official_lists_put_in_both_parts_is_no_group(tmp_path: Path) -> None:
    folder = write_hmdb51(tmp_path / "lists")
    path = folder / "wave_test_split1.txt"
    path.write_text(path.read_text().replace("np1_ba_goo_1.avi 1", "np1_ba_goo_1.avi 2"))
    split = read_split(f"{folder}/split1", [])
    assert {clip.group for clip in split.train if clip.label == "wave"} == {""}
    assert "" not in {clip.group for clip in split.test if clip.label == "brush_hair"}


def test_a_folder_of_hmdb51_lists_without_the_number_is_refused_with_the_choices(
    tmp_path: Path,
) -> None:
    folder = write_hmdb51(tmp_path / "lists")
    for name in (f"{folder}", f"{folder}/split3"):
        with pytest.raises(ValueError, match="expected one of .*lists/split1, .*lists/split2"):
            read_split(name, [])
    (folder / "wave_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(ValueError, match=r"line 1: expected <file> 0\|1\|2, found 'a.avi 3'"):
        read_split(f"{folder}/split1", [])


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09_brush_hair"),
        ("(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0", "(Rad)Schlag_die_Bank!_cartwheel"),
        ("Film_wave_f_cm_np12_xx_med_0", ""),
    ],
)
def test_the_group_of_an_hmdb51_name_is_its_source_with_the_class(stem: str, group: str) -> None:
    assert read_group(stem) == group


def make_clips(groups: range) -> list[Clip]:
    return [
        Clip(f"{label}{g}_{i}", label, f"film{g}", f"{label}/{label}{g}_{i}.avi")
        for label in "ab"
        for g in groups
        for i in range(2)
    ]


def test_a_draw_is_written_down_and_later_clips_join_it_without_moving_any(tmp_path: Path) -> None:
    first = read_split("draw", make_clips(range(10)), store=tmp_path)
    assert first == draw_split(make_clips(range(10)), seed=0)
    written = (tmp_path / "split-draw-0.csv").read_bytes()
    assert parts_of(read_split(str(tmp_path / "split-draw-0.csv"), [])) == parts_of(first)
    assert read_split("draw", make_clips(range(10)), store=tmp_path) == first
    assert (tmp_path / "split-draw-0.csv").read_bytes() == written
    grown = parts_of(read_split("draw", make_clips(range(20)), store=tmp_path))
    assert all(ids <= grown[part] for part, ids in parts_of(first).items())
    assert sum(map(len, grown.values())) == 80
    assert grown != parts_of(draw_split(make_clips(range(20)), seed=0))  # so the file is what acts
    assert {len(ids) for ids in grown.values()} == {56, 8, 16}
    assert parts_of(read_split("draw", make_clips(range(3)), store=tmp_path)) == grown


def test_the_task_keeps_its_draw_beside_the_features(tmp_path: Path) -> None:
    spec = FeatureSpec(backbone="tiny", dim=2, dtype="float32")
    claim_store(tmp_path, spec)
    with ShardWriter(tmp_path, "shard-00000", spec) as shard:
        for clip in make_clips(range(10)):
            shard.append(np.zeros((3, 2), np.float32))
            shard.finish(ClipRecord(clip, 3, 3, 25.0))
    write_index(tmp_path, spec, ["shard-00000"])
    section = {"name": "clips", "features": str(tmp_path), "split": "draw", "split_seed": 4}
    used = make_task(section).use("test").used
    assert {clip.id for clip, part in read_clip_list(tmp_path / "split-draw-4.csv")
            if part == "test"} == set(used)  # fmt: skip
