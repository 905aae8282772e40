from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.clips import Clip
from pipeline.features import (
    INDEX,
    ClipRecord,
    FeatureSpec,
    FeatureStore,
    FeatureWriter,
    ShardWriter,
    claim_store,
    read_shard,
    read_spec,
)

SPEC = FeatureSpec(backbone="mine", dim=4, dtype="float32")


def make_clip(name: str = "v_Punch_g08_c01") -> Clip:
    return Clip(name, "Punch", "g08", f"Punch/{name}.avi")


def write_store(folder: Path, *, num_clips: int = 3, clips_per_shard: int = 2) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = [generator.random((5 + i, 4), dtype=np.float32) for i in range(num_clips)]
    with FeatureWriter(folder, SPEC, clips_per_shard=clips_per_shard) as writer:
        for i, array in enumerate(arrays):
            writer.write(make_clip(f"clip{i}"), array, fps=25.0)
    return arrays


def test_every_clip_reads_through_the_index_as_if_it_were_one_file(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    assert len(list(tmp_path.glob("shard-*.h5"))) == 2
    with h5py.File(tmp_path / INDEX) as index:
        for i, array in enumerate(arrays):
            dataset = index[f"clips/clip{i}"]
            np.testing.assert_array_equal(dataset[:], array)
            assert dataset.attrs["label"] == "Punch"
            assert dataset.attrs["group"] == "g08"
            assert dataset.attrs["num_frames"] == 5 + i
            assert dataset.attrs["fps"] == 25.0


def test_the_store_gives_back_what_was_written(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    store = FeatureStore(tmp_path)
    assert store.spec == SPEC
    assert list(store.records) == ["clip0", "clip1", "clip2"]
    for i, read in enumerate(map(store.read, ["clip2", "clip0", "clip1"])):
        np.testing.assert_array_equal(read, arrays[(2, 0, 1)[i]])
    assert store.records["clip1"].clip == make_clip("clip1")


def test_features_are_stored_as_half_precision_by_default(tmp_path: Path) -> None:
    spec = FeatureSpec(backbone="mine", dim=2)
    with FeatureWriter(tmp_path, spec) as writer:
        writer.write(make_clip(), np.array([[1.0, 1 / 3]]))
    read = FeatureStore(tmp_path).read("v_Punch_g08_c01")
    assert read.dtype == np.float16
    assert abs(float(read[0, 1]) - 1 / 3) < 2**-12  # half of float16's spacing in [1/4, 1/2)


def test_a_clip_longer_than_the_buffer_is_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.features.writers._BUFFER_FRAMES", 8)
    rows = np.arange(100, dtype=np.float32).reshape(25, 4)
    record = ClipRecord(make_clip(), num_steps=25, num_frames=25, fps=25.0)
    with ShardWriter(tmp_path, "shard-00000", SPEC) as shard:
        for start in range(0, 25, 5):
            shard.append(rows[start : start + 5])
        shard.finish(record)
        shard.append(rows[:3])
        shard.finish(replace(record, clip=make_clip("short"), num_steps=3))
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        np.testing.assert_array_equal(file["clips/v_Punch_g08_c01"][:], rows)
        np.testing.assert_array_equal(file["clips/short"][:], rows[:3])


def test_frame_indices_tell_which_frames_were_taken(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path, replace(SPEC, stride=5)) as writer:
        writer.write(make_clip(), np.zeros((4, 4)))
    with h5py.File(tmp_path / INDEX) as index:
        assert index["clips/v_Punch_g08_c01"].attrs["frame_indices"].tolist() == [0, 5, 10, 15]


def test_a_record_survives_its_attributes() -> None:
    record = ClipRecord(
        make_clip(), 12, 57, 29.97, 164, "pyav", "truncated: 57 of 164 frames decoded", 1234, "ab"
    )
    assert ClipRecord.from_attributes(record.to_attributes()) == record
    unknown = replace(record, num_header_frames=None)
    assert ClipRecord.from_attributes(unknown.to_attributes()) == unknown


def test_an_error_while_writing_leaves_no_shard(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, "shard-00000", SPEC) as shard:
        shard.append(np.zeros((2, 4)))
        raise RuntimeError("a kill would do the same")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_file_under_a_shards_name(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, numpy as np
        from pathlib import Path
        from pipeline.features import FeatureSpec, ShardWriter
        with ShardWriter(Path(sys.argv[1]), "shard-00000", FeatureSpec("mine", 4)) as shard:
            shard.append(np.zeros((2, 4)))
            print("writing", flush=True)
            sys.stdin.read()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert not (tmp_path / "shard-00000.h5").exists()


def test_a_store_of_another_spec_is_refused_with_the_difference(tmp_path: Path) -> None:
    claim_store(tmp_path, SPEC)
    claim_store(tmp_path, SPEC)
    other = replace(SPEC, stride=5, weights_digest="ab")
    with pytest.raises(ValueError, match="weights_digest=, not ab; stride=1, not 5"):
        claim_store(tmp_path, other)
    assert read_spec(tmp_path) == SPEC


def test_the_digest_of_a_spec_tells_features_apart_but_not_versions() -> None:
    assert SPEC.digest() == replace(SPEC, versions={"torch": "9"}, weights="my file").digest()
    assert SPEC.digest() != replace(SPEC, preprocessing="other").digest()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e5])
def test_features_that_are_not_finite_in_half_precision_are_refused(
    tmp_path: Path, bad: float
) -> None:
    spec = FeatureSpec(backbone="mine", dim=2)
    with (
        pytest.raises(ValueError, match="clip v_Punch_g08_c01: .*NaN or infinity"),
        FeatureWriter(tmp_path, spec, clips_per_shard=1) as writer,
    ):
        writer.write(make_clip(), np.array([[1.0, bad]]))


def test_features_of_another_width_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"expected features \(T, 4\), found \(3, 5\)"),
        FeatureWriter(tmp_path, SPEC, clips_per_shard=1) as writer,
    ):
        writer.write(make_clip(), np.zeros((3, 5)))


def test_what_is_no_store_is_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no such folder"):
        FeatureStore(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"found no spec\.json"):
        FeatureStore(tmp_path)
    claim_store(tmp_path, SPEC)
    with pytest.raises(ValueError, match="is not complete"):
        FeatureStore(tmp_path)


def test_a_shard_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    store = FeatureStore(tmp_path)
    np.testing.assert_array_equal(store.read("clip0"), arrays[0])
    shard = tmp_path / "shard-00000.h5"
    (tmp_path / "old.h5").write_bytes(shard.read_bytes())
    with h5py.File(tmp_path / "old.h5") as old, h5py.File(tmp_path / "new.h5", "w") as new:
        new.attrs.update(old.attrs)
        new["clips/before"] = np.zeros((100, 4))  # every clip lies elsewhere now
        for clip_id, dataset in old["clips"].items():
            new[f"clips/{clip_id}"] = dataset[:] + 1
    (tmp_path / "new.h5").replace(shard)
    np.testing.assert_array_equal(store.read("clip0"), arrays[0] + 1)


def test_compressed_clips_are_read_too(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    with h5py.File(tmp_path / "shard-00000.h5", "a") as file:
        del file["clips/clip1"]
        file["clips"].create_dataset("clip1", data=arrays[1], compression="gzip")
    np.testing.assert_array_equal(FeatureStore(tmp_path).read("clip1"), arrays[1])


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    write_store(tmp_path)
    store = FeatureStore(tmp_path)
    shard = tmp_path / "shard-00000.h5"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"shard-00000\.h5 cannot be read as HDF5"):
        store.read("clip0")
    shard.unlink()
    with pytest.raises(ValueError, match=r"shard-00000\.h5 is missing"):
        store.read("clip0")
    with h5py.File(shard, "w"):
        pass
    with pytest.raises(ValueError, match="expected a file of the form"):
        read_shard(tmp_path, "shard-00000")
