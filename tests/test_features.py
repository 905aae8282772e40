from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from extract.inspect import describe_store
from pipeline.clips import Clip
from pipeline.features import (
    INDEX,
    ClipRecord,
    FeatureSpec,
    FeatureStore,
    FeatureWriter,
    ShardWriter,
    check_shard,
    claim_store,
    read_shard,
    read_spec,
    write_index,
)
from pipeline.features.checksum import find_damage
from pipeline.features.seal import is_as_written, read_sealed
from tests.damage import find_features, flip_bit

SPEC = FeatureSpec(backbone="mine", dim=4, dtype="float32")
WITHOUT_SEALS = "clip features 2"


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


def test_a_clip_that_fills_the_buffer_exactly_is_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.features.writers._BUFFER_FRAMES", 8)
    rows = np.arange(64, dtype=np.float32).reshape(16, 4)
    with ShardWriter(tmp_path, "shard-00000", SPEC) as shard:
        shard.append(rows[:8])
        shard.append(rows[8:])
        shard.finish(ClipRecord(make_clip(), num_steps=16, num_frames=16, fps=25.0))
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        np.testing.assert_array_equal(file["clips/v_Punch_g08_c01"][:], rows)


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
    with pytest.raises(ValueError, match="found no such folder") as refusal:
        FeatureStore(tmp_path / "nowhere")
    assert "--videos VIDEOS" in str(refusal.value)
    assert "--speech SPEECH" in str(refusal.value)
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
        new.attrs.update({**old.attrs, "format": WITHOUT_SEALS})
        new["clips/before"] = np.zeros((100, 4))  # every clip lies elsewhere now
        for clip_id, dataset in old["clips"].items():
            new[f"clips/{clip_id}"] = dataset[:]
    (tmp_path / "new.h5").replace(shard)
    np.testing.assert_array_equal(store.read("clip0"), arrays[0])


def test_compressed_clips_are_read_too(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    with h5py.File(tmp_path / "shard-00000.h5", "a") as file:
        file.attrs["format"] = WITHOUT_SEALS
        del file["clips/clip1"]
        file["clips"].create_dataset("clip1", data=arrays[1], compression="gzip")
    break_seal(tmp_path / "shard-00000.h5")
    np.testing.assert_array_equal(FeatureStore(tmp_path).read("clip1"), arrays[1])


def break_seal(path: Path) -> None:
    """Make a sealed file one of HDF5 alone, as files of before seals are."""
    content = path.read_bytes()
    path.write_bytes(bytes(512) + content[512:])


def write_old_store(folder: Path, array: np.ndarray) -> None:
    """A store of one clip as it was written before clips had checksums."""
    clip = {"id": "clip0", "label": "Punch", "group": "g08", "path": "Punch/clip0.avi"}
    facts = {"num_steps": len(array), "num_frames": len(array), "fps": 25.0, "decoder": "pyav"}
    content = {
        **clip, **facts, "num_header_frames": -1, "problem": "", "num_bytes": -1, "digest": ""
    }  # fmt: skip
    claim_store(folder, SPEC)
    for name in ("shard-00000.h5", INDEX):
        with h5py.File(folder / name, "w", libver="v110") as file:
            file.attrs.update({"format": "clip features 1", "spec": SPEC.to_json()})
            file.create_group("clips")
            if name == INDEX:
                file["clips"]["clip0"] = h5py.ExternalLink("shard-00000.h5", "/clips/clip0")
                lines = [json.dumps({**content, "shard": "shard-00000"})]
                file.create_dataset("records", data=lines, dtype=h5py.string_dtype())
            else:
                file.create_group("failures")
                file["clips/clip0"] = array
                file["clips/clip0"].attrs.update(content)


def test_a_checksum_is_the_crc_of_the_bytes_that_are_stored_however_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.features.writers._BUFFER_FRAMES", 8)
    rows = np.random.default_rng(0).random((20, 4))
    record = ClipRecord(make_clip("whole"), num_steps=20, num_frames=20, fps=25.0)
    spec = replace(SPEC, dtype="float16")
    claim_store(tmp_path, spec)
    with ShardWriter(tmp_path, "shard-00000", spec) as shard:
        shard.append(np.asfortranarray(rows))
        shard.finish(record)
        shard.append(rows[:3])
        shard.discard()
        for start in range(0, 20, 5):  # more than are buffered: in chunks
            shard.append(rows[start : start + 5])
        shard.finish(replace(record, clip=make_clip("pieces")))
        shard.append(rows[:6])
        shard.finish(replace(record, clip=make_clip("short"), num_steps=6))
    write_index(tmp_path, spec, ["shard-00000"])
    _, records, _ = read_shard(tmp_path, "shard-00000")
    assert tuple(sorted(FeatureStore(tmp_path).records.values(), key=id_of)) == records
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        for record in records:
            stored = file["clips"][record.clip.id][:]
            assert stored.dtype == np.float16
            assert record.checksum == f"{zlib.crc32(stored.tobytes()):08x}"
    whole, pieces, short = (FeatureStore(tmp_path).read(i) for i in ("whole", "pieces", "short"))
    np.testing.assert_array_equal(whole, pieces)
    np.testing.assert_array_equal(whole[:6], short)


def id_of(record: ClipRecord) -> str:
    return record.clip.id


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_in_features_is_an_error_that_names_store_clip_and_mend(
    tmp_path: Path, seed: int
) -> None:
    arrays = write_store(tmp_path)
    shard = tmp_path / "shard-00000.h5"
    generator = random.Random(seed)
    flip_bit(shard, generator.choice(find_features(shard, "clip1")), generator.randrange(8))
    store = FeatureStore(tmp_path)
    expected = (
        rf"{tmp_path}, clip clip1: .* shard-00000.h5 are damaged: expected the checksum "
        rf"{store.records['clip1'].checksum}, found [0-9a-f]{{8}}.\nRun the same"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=expected):
            store.read("clip1")
    np.testing.assert_array_equal(store.read("clip0"), arrays[0])
    np.testing.assert_array_equal(store.read("clip2"), arrays[2])


def test_a_clip_is_checked_when_it_is_first_read_and_when_its_shard_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(tmp_path)
    store = FeatureStore(tmp_path)
    checked = []

    def note(array: np.ndarray, record: ClipRecord, spec: FeatureSpec) -> str | None:
        checked.append(record.clip.id)
        return find_damage(array, record, spec)

    monkeypatch.setattr("pipeline.features.store.find_damage", note)
    for clip_id in ("clip0", "clip1", "clip0", "clip0", "clip1"):
        store.read(clip_id)
    assert checked == ["clip0", "clip1"]
    shard = tmp_path / "shard-00000.h5"
    flip_bit(shard, find_features(shard, "clip0")[7])
    os.utime(shard, ns=(0, 0))
    with pytest.raises(ValueError, match="clip clip0: .* damaged"):
        store.read("clip0")


def test_a_flipped_bit_in_the_records_of_the_index_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    write_store(tmp_path)
    index = tmp_path / INDEX
    whole = index.read_bytes()
    for text in (b'"label": "Punch"', b'"checksum": "', b'"shard-00001"'):
        index.write_bytes(whole)
        flip_bit(index, whole.index(text) + len(text) - 2, bit=1)
        with pytest.raises(ValueError, match=rf"{index} cannot be read, or is damaged"):
            FeatureStore(tmp_path)


@pytest.mark.parametrize("name", ["shard-00000.h5", INDEX])
def test_no_byte_of_a_sealed_file_changes_without_being_found(tmp_path: Path, name: str) -> None:
    write_store(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    assert is_as_written(path)
    generator = random.Random(0)
    for _ in range(200):
        path.write_bytes(whole)
        flip_bit(path, generator.randrange(len(whole)), generator.randrange(8))
        try:
            is_found = read_sealed(path) is None or not is_as_written(path)
        except ValueError:
            is_found = True
        assert is_found


def test_a_sealed_file_without_its_mark_or_its_end_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path)
    shard = tmp_path / "shard-00000.h5"
    whole = shard.read_bytes()
    break_seal(shard)
    with pytest.raises(ValueError, match="its seal is gone"):
        read_shard(tmp_path, "shard-00000")
    for num_bytes in (len(whole) - 1, len(whole) // 2, 600, 512, 100):
        shard.write_bytes(whole[:num_bytes])
        with pytest.raises(ValueError, match=r"shard-00000\.h5 cannot be read, or is damaged"):
            read_shard(tmp_path, "shard-00000")


def test_damage_to_hdf5_that_is_not_read_is_found_when_a_store_is_checked(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    shard = tmp_path / "shard-00000.h5"
    flip_bit(shard, shard.read_bytes().index(b"OHDR") + 20)
    np.testing.assert_array_equal(FeatureStore(tmp_path).read("clip0"), arrays[0])
    check = check_shard(tmp_path, "shard-00000")
    assert (check.damages, check.damage) == ((), "its HDF5 is not what was written")


def test_features_made_anew_since_the_index_was_written_are_refused(tmp_path: Path) -> None:
    arrays = write_store(tmp_path)
    store = FeatureStore(tmp_path)
    with ShardWriter(tmp_path, "shard-00000", SPEC) as shard:
        for clip_id in ("clip0", "clip1"):
            shard.append(arrays[0] + 1)
            shard.finish(replace(store.records[clip_id], num_steps=len(arrays[0])))
    with pytest.raises(ValueError, match=r"clip clip0: shard-00000.h5 holds other features than"):
        store.read("clip0")
    with pytest.raises(ValueError, match=r"clip clip1: shard-00000.h5 holds other features than"):
        store.read("clip1")


def test_a_clip_that_lost_its_checksum_is_damage(tmp_path: Path) -> None:
    write_store(tmp_path)
    with h5py.File(tmp_path / "shard-00000.h5", "a") as file:
        file.attrs["format"] = WITHOUT_SEALS
        file["clips/clip1"].attrs["checksum"] = ""
    break_seal(tmp_path / "shard-00000.h5")
    with pytest.raises(ValueError, match=r"shard-00000.h5 .*a clip without a checksum"):
        read_shard(tmp_path, "shard-00000")


def test_a_store_written_without_checksums_is_read_unchecked(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    write_old_store(tmp_path, array)
    store = FeatureStore(tmp_path)
    assert store.records["clip0"].checksum == ""
    np.testing.assert_array_equal(store.read("clip0"), array)
    spec, records, failures = read_shard(tmp_path, "shard-00000")
    assert (spec, records, failures) == (SPEC, tuple(store.records.values()), ())
    assert store.digest != FeatureStore(write_store_at(tmp_path / "new", array)).digest
    assert "checksums: 0 of 1 clips, the others are not checked" in describe_store(tmp_path)
    assert "checksums: 1 of 1 clips" in describe_store(tmp_path / "new")


def write_store_at(folder: Path, array: np.ndarray, *, label: str = "Punch") -> Path:
    with FeatureWriter(folder, SPEC) as writer:
        writer.write(replace(make_clip("clip0"), label=label), array, fps=25.0)
    return folder


def test_equal_digests_of_stores_mean_equal_clips_with_equal_features(tmp_path: Path) -> None:
    write_store(tmp_path / "shards of 2")
    write_store(tmp_path / "shards of 1", clips_per_shard=1)
    write_store(tmp_path / "one more", num_clips=4)
    array = np.zeros((3, 4), np.float32)
    write_store_at(tmp_path / "zeros", array)
    write_store_at(tmp_path / "other label", array, label="Kick")
    array[1, 2] = 1e-30
    write_store_at(tmp_path / "other number", array)
    digests = [FeatureStore(folder).digest for folder in sorted(tmp_path.iterdir())]
    assert all(len(digest) == 16 for digest in digests)
    (same,) = {FeatureStore(tmp_path / f"shards of {n}").digest for n in (1, 2)}
    assert digests.count(same) == 2
    assert len(set(digests)) == 5


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    write_store(tmp_path)
    store = FeatureStore(tmp_path)
    shard = tmp_path / "shard-00000.h5"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"shard-00000\.h5 cannot be read, or is damaged"):
        store.read("clip0")
    shard.unlink()
    with pytest.raises(ValueError, match=r"shard-00000\.h5 is missing"):
        store.read("clip0")
    with h5py.File(shard, "w"):
        pass
    with pytest.raises(ValueError, match="of the form None, not 'clip features 3'"):
        read_shard(tmp_path, "shard-00000")


def limited(program: str) -> subprocess.CompletedProcess[str]:
    """The program in a process whose files may not grow past 100,000 bytes, as on a full disk."""
    start = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    root = Path(__file__).resolve().parent.parent
    return subprocess.run(
        [sys.executable, "-c", start + program],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no room can be taken before")
def test_a_shard_that_the_disk_has_no_room_for_is_one_message_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    done = limited(f"""
import numpy as np
from pathlib import Path
from pipeline.console import run_command
from pipeline.features import FeatureWriter
from tests.test_features import SPEC, make_clip

def write() -> int:
    with FeatureWriter({str(tmp_path)!r}, SPEC) as writer:
        for number in range(20):
            writer.write(make_clip(f"clip{{number}}"), np.ones((1000, 4)))
    return 0

raise SystemExit(run_command(write, how_to_go_on="Go on."))
""")
    assert done.returncode == 2
    assert "error: The disk is full: " in done.stderr
    assert f"{tmp_path}/shard-00000.h5 needs " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]
    with FeatureWriter(tmp_path, SPEC) as writer:
        writer.write(make_clip("clip0"), np.ones((1000, 4)))
    assert len(FeatureStore(tmp_path).read("clip0")) == 1000
