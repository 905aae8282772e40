from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clips import Clip
from pipeline.features import (
    ClipRecord,
    FeatureSpec,
    FeatureWriter,
    ShardWriter,
    claim_store,
    write_index,
)
from pipeline.tasks import Origin, make_task
from pipeline.tasks.clips import ClipsTask, _is_finite, find_store
from pipeline.tasks.options import ClipsOptions

SPEC = FeatureSpec(backbone="mine", dim=3)


def make_clips(labels: tuple[str, ...], groups: range) -> list[Clip]:
    ids = [(label, f"g{g:02d}") for label in labels for g in groups]
    return [
        Clip(i := f"v_{label}_{group}_c01", label, group, f"{label}/{i}.avi")
        for label, group in ids
    ]


def write_store(folder: Path, labels: tuple[str, ...] = ("Archery", "Punch")) -> Path:
    with FeatureWriter(folder, SPEC) as writer:
        for place, clip in enumerate(make_clips(labels, range(1, 26))):
            writer.write(clip, np.full((1 + place % 7, 3), place, dtype=np.float32))
    return folder


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_batch_holds_the_clips_asked_for_with_their_classes(tmp_path: Path, cache: str) -> None:
    store = write_store(tmp_path / "store")
    task = ClipsTask(
        ClipsOptions(features=str(store), split="ucf101-split1", classes="present", cache=cache)
    )
    test = task.sequences("test")
    assert test.is_in_memory == (cache == "memory")
    batch = test[[13, 0]]
    assert batch.targets.tolist() == [1, 0]
    assert batch.lengths.tolist() == [test.lengths[13], test.lengths[0]]
    # Clips are written in the order Archery g01-g25, Punch g01-g25, each filled with its place.
    assert batch.features[0, 0].tolist() == [31.0] * 3
    assert batch.features[1, 0].tolist() == [0.0] * 3
    assert batch.features.dtype == torch.float16


def test_the_parts_are_the_splits_and_say_what_is_missing(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    task = ClipsTask(ClipsOptions(features=str(store), split="ucf101-split1", classes="present"))
    use = task.use("test")
    assert [i[-7:-4] for i in use.used] == [f"g{g:02d}" for g in range(1, 8)] * 2
    # The official test list 1 has 80 clips of these two classes; here each group has its first.
    assert use.num_listed == 80
    assert len(use.missing) == 80 - 14
    assert "v_Punch_g01_c02" in use.missing
    assert task.sources("test")[0] == "Archery/g01"


def test_truncated_and_damaged_clips_are_counted_apart(tmp_path: Path) -> None:
    claim_store(tmp_path, SPEC)
    problems = {
        "g03": "truncated: 2 of 9 frames decoded",
        "g05": "damaged: 1 of 2 packets did not decode cleanly",
        "g10": "damaged: 2 of 2 packets did not decode cleanly",
    }
    with ShardWriter(tmp_path, "shard-00000", SPEC) as shard:
        for clip in make_clips(("Archery", "Punch"), range(1, 26)):
            shard.append(np.zeros((2, 3)))
            problem = problems.get(clip.group, "")
            shard.finish(ClipRecord(clip, 2, 2, 25.0, problem=problem))
    write_index(tmp_path, SPEC, ["shard-00000"])
    task = ClipsTask(ClipsOptions(features=str(tmp_path), split="ucf101-split1", classes="present"))
    assert task.use("test").truncated == ("v_Archery_g03_c01", "v_Punch_g03_c01")
    assert task.use("test").damaged == ("v_Archery_g05_c01", "v_Punch_g05_c01")
    assert str(task.use("test")) == "14 of 80 sequences, 2 truncated, 2 damaged"
    assert task.use("train").truncated == ()
    assert task.use("train").damaged == ("v_Archery_g10_c01", "v_Punch_g10_c01")


def test_a_class_without_training_clips_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with pytest.raises(ValueError, match=r"99 of 101 classes have no clip in the train part"):
        ClipsTask(ClipsOptions(features=str(store), split="ucf101-split1"))


def test_a_part_without_clips_is_refused(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path, SPEC) as writer:
        for clip in make_clips(("Archery", "Punch"), range(8, 25)):
            writer.write(clip, np.zeros((2, 3)))
    task = ClipsTask(ClipsOptions(features=str(tmp_path), split="ucf101-split1", classes="present"))
    with pytest.raises(ValueError, match="none of the .* clips of the test part"):
        task.sequences("test")


def test_nan_in_features_made_elsewhere_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    with monkeypatch.context() as context:
        context.setattr(np, "isfinite", np.ones_like)  # elsewhere nobody looked
        with FeatureWriter(store, SPEC) as writer:
            for clip in make_clips(("Archery", "Punch"), range(1, 26)):
                is_one = clip.id == "v_Punch_g09_c01"
                writer.write(clip, np.array([[1, 2, 3], [np.nan if is_one else 4, 5, 6]]))
    task = ClipsTask(ClipsOptions(features=str(store), split="ucf101-split1", classes="present"))
    with pytest.raises(ValueError, match="clip v_Punch_g09_c01: .* 1 numbers NaN"):
        task.sequences("train")[[0]]


def test_features_of_another_kind_are_another_origin(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    task = ClipsTask(ClipsOptions(features=str(store), split="ucf101-split1", classes="present"))
    other = Origin(features=FeatureSpec(backbone="theirs", dim=3))
    assert task.origin.differences(task.origin) == []
    assert task.origin.differences(other) == ["backbone=mine, not theirs"]


def test_the_only_store_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="found none"):
        find_store()
    write_store(tmp_path / "features" / "a")
    assert find_store() == Path("features/a")
    write_store(tmp_path / "features" / "b")
    with pytest.raises(ValueError, match="found features/a, features/b"):
        find_store()


def test_an_unknown_task_or_choice_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean clips"):
        make_task({"name": "clip"})
    with pytest.raises(ValueError, match=r"task\.cache: expected one of auto, memory, disk"):
        make_task({"name": "clips", "features": "x", "split": "draw", "cache": "ram"})


def test_infinite_and_nan_features_are_told_from_finite_ones_for_every_bit_pattern() -> None:
    patterns = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.isfinite(patterns)
    assert _is_finite(patterns[finite])
    assert not any(_is_finite(patterns[i : i + 1]) for i in np.flatnonzero(~finite))
