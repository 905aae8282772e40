"""`python -m extract inspect` and `verify`: what a store holds, and whether it was written so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from extract import plan
from extract.__main__ import main
from extract.plan import plan_shards
from pipeline.clips import Clip
from pipeline.features import (
    INDEX,
    ClipRecord,
    FeatureSpec,
    FeatureWriter,
    ShardWriter,
    claim_store,
    write_index,
)
from pipeline.seals import seal
from tests.damage import blank_seal, find_features, flip_bit

SPEC = FeatureSpec(backbone="mine", dim=4, dtype="float32")
CLIPS = tuple(Clip(f"clip{i}", "Punch", "g08", f"Punch/clip{i}.avi") for i in range(5))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store as extract writes it: five clips in shards of two, with plan and index."""
    monkeypatch.setattr(plan, "CLIPS_PER_SHARD", 2)
    folder = tmp_path / "store"
    claim_store(folder, SPEC)
    shards = plan_shards(folder, CLIPS)
    generator = np.random.default_rng(0)
    for shard in shards:
        with ShardWriter(folder, shard.name, SPEC) as file:
            for clip in shard.clips:
                file.append(generator.random((6, 4)))
                file.finish(ClipRecord(clip, 6, 6, 25.0))
    write_index(folder, SPEC, [shard.name for shard in shards])
    return folder


def verify(store: Path) -> int:
    return main(["verify", str(store)])


def test_a_whole_store_is_found_whole(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(store) == 0
    assert capsys.readouterr().out == f"{store}: 5 clips read; 5 are as they were written\n"


def test_a_whole_store_of_features_made_elsewhere_is_found_whole(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path / "mine", SPEC, clips_per_shard=2) as writer:
        for clip in CLIPS:
            writer.write(clip, np.ones((3, 4)))
    assert verify(tmp_path / "mine") == 0


def test_every_damaged_clip_and_missing_shard_is_named_in_one_call(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = store / "shard-00000.h5"
    for clip_id in ("clip0", "clip1"):
        flip_bit(shard, find_features(shard, clip_id)[11], bit=3)
    (store / "shard-00002.h5").unlink()
    assert verify(store) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  shard-00002.h5 is missing: 1 clips"
    assert lines[1].startswith("  shard-00000.h5, clip clip0: expected the checksum ")
    assert lines[2].startswith("  shard-00000.h5, clip clip1: expected the checksum ")
    assert lines[3] == f"{store}: 4 clips read, 3 damages"
    assert "Run the same `python -m extract` again" in lines[4]


def test_a_shard_and_an_index_that_hdf5_cannot_read_are_named(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("shard-00001.h5", INDEX):
        (store / name).write_bytes((store / name).read_bytes()[:200])
    assert verify(store) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"  {store}/shard-00001.h5 cannot be read, or is damaged")
    assert lines[1].startswith(f"  {store}/{INDEX} cannot be read, or is damaged")
    assert lines[2] == f"{store}: 3 clips read, 2 damages"


def test_a_store_without_its_index_is_not_whole(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / INDEX).unlink()
    assert verify(store) == 1
    assert f"{store}/{INDEX} is missing" in capsys.readouterr().out


def test_an_index_that_disagrees_with_the_shards_is_told_by_clip(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ShardWriter(store, "shard-00000", SPEC) as file:
        file.append(np.zeros((6, 4)))
        file.finish(ClipRecord(CLIPS[0], 6, 6, 25.0))
    write_index(store, SPEC, ["shard-00000", "shard-00002"])
    with ShardWriter(store, "shard-00000", SPEC) as file:
        file.append(np.ones((6, 4)))
        file.finish(ClipRecord(CLIPS[0], 6, 6, 25.0))
    assert verify(store) == 1
    assert capsys.readouterr().out.splitlines()[:4] == [
        "  shard-00000.h5, clip clip1: not in it as plan.json says",
        "  index.h5, clip clip0: not what shard-00000.h5 says of it",
        "  index.h5, clip clip2: missing, but in shard-00001.h5",
        "  index.h5, clip clip3: missing, but in shard-00001.h5",
    ]


def test_a_link_of_the_index_that_was_changed_is_found(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = store / INDEX
    flip_bit(index, index.read_bytes().index(b"/clips/clip4"))
    assert verify(store) == 1
    assert "  index.h5: its HDF5 is not what was written\n" in capsys.readouterr().out


def test_a_shard_that_is_gone_is_seen(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(store)]) == 0
    assert "3 of 3 done\n\n5 clips, 30 frames, complete" in capsys.readouterr().out
    (store / "shard-00001.h5").unlink()
    assert main(["inspect", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 done, missing: shard-00001\n\n3 clips, 18 frames, not complete" in shown


def test_a_damaged_plan_and_a_shard_of_another_spec_are_named(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "plan.json").write_text("[{")
    spec = blank_seal((store / "spec.json").read_text())
    (store / "spec.json").write_text(seal(spec.replace('"stride": 1', '"stride": 3')))
    assert verify(store) == 1
    output = capsys.readouterr().out
    assert f"{store}/plan.json is damaged" in output
    assert "shard-00002.h5 was made with stride=1, not 3 of spec.json" in output


def test_what_is_no_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["inspect", str(tmp_path)], ["verify", str(tmp_path)]):
        assert main(arguments) == 2
        assert "expected a feature store, found no spec.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--inspect my/store", "The command is: python -m extract inspect my/store"),
        ("--inspect=my/store", "The command is: python -m extract inspect my/store"),
        ("--inspect", "The command is: python -m extract inspect STORE"),
        (
            "inspekt my/store",
            "expected one of inspect, verify, found 'inspekt'. Did you mean inspect?",
        ),
        (".", "The command is: python -m extract --videos ."),
    ],
)
def test_a_wrong_spelling_is_answered_with_the_right_one(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("error: ") == 1
    assert shown.out == ""


def test_each_verb_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    helps = []
    for words in (["--help"], ["inspect", "--help"], ["verify", "--help"]):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == 0
        helps.append(capsys.readouterr().out)
    of_extract, of_inspect, of_verify = helps
    assert "--backbone" in of_extract
    assert "inspect  what a store holds" in of_extract
    assert "verify   whether it is what was written" in of_extract
    assert "compare checksums" in of_verify
    assert "--backbone" not in of_inspect
