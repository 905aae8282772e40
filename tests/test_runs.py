"""The run's types: what is learned, how it was computed, and their files, found from anywhere."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from eval.predictions.predict import PartReader
from pipeline import files
from pipeline.features import FeatureSpec, write_weights_place
from pipeline.places import Place, find_place
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import (
    BatchSpec,
    OptimizerSpec,
    Run,
    RunConfig,
    ScheduleSpec,
    Session,
    TaskConfig,
    begin_run,
    find_encoder_weights,
    is_run,
    load_net,
    load_run,
    save_weights,
)
from pipeline.seals import seal
from pipeline.tasks import Origin
from pipeline.versions import name_processor
from tests.damage import blank_seal, flip_bit
from tests.tiny_runs import toy_section, write_run, write_store, write_toy_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_run(tmp_path / "runs" / "a", write_store(tmp_path / "store"), model="np-rnn", seed=3)
    return load_run(tmp_path / "runs" / "a")


def read_config(folder: Path) -> dict[str, Any]:
    """What config.yaml says, without its checksum."""
    content: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    assert content.pop("checksum").startswith("crc32:")
    return content


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json", "weights.safetensors"])
@pytest.mark.parametrize("seed", range(15))
def test_any_flipped_bit_of_a_runs_files_is_found_or_changes_nothing(
    run: Run, name: str, seed: int
) -> None:
    expected = {key: tensor.tolist() for key, tensor in load_net(run).state_dict().items()}
    path = run.folder / name
    generator = random.Random(seed)
    flip_bit(path, generator.randrange(path.stat().st_size), generator.randrange(8))
    said = ""
    try:
        found = load_run(run.folder)
        tensors = load_net(found).state_dict()
        assert found == run
        assert {key: tensor.tolist() for key, tensor in tensors.items()} == expected
    except ValueError as error:
        said = str(error)
    assert not said or f"{path} is damaged" in said
    assert not said or "python -m train` again" in said


def test_a_runs_files_without_checksums_are_read(run: Run) -> None:
    for name in ("config.yaml", "provenance.json"):
        path = run.folder / name
        path.write_text(re.sub(r".*crc32:.*\n", "", path.read_text()))
    tensors = load_file(run.folder / "weights.safetensors")
    save_file(tensors, run.folder / "weights.safetensors")
    found = load_run(run.folder)
    assert found == run
    assert load_net(found).state_dict().keys() == tensors.keys()


def test_a_config_reads_back_equal_from_its_file(run: Run) -> None:
    content = read_config(run.folder)
    config = RunConfig.from_dict(content)
    assert config == run.config
    assert config.digest() == run.config.digest()
    assert config.name == f"np-rnn-clips-seed3-{config.digest()}"


def test_the_seed_alone_is_no_setting(run: Run) -> None:
    other = replace(run.config, seed=4)
    assert other.digest() != run.config.digest()
    assert other.learned() == run.config.learned()


def test_an_option_that_came_later_leaves_the_digests_of_earlier_runs_as_they_were(
    run: Run,
) -> None:
    config = replace(run.config, task=TaskConfig.make("mnist", {}))
    content = {**config.learned(), "seed": config.seed, "task": {"name": "mnist", "num_val": 5000}}
    later = ("layers", "bidirectional", "embedding_size", "tied", "softmax")
    content["net"] = {name: value for name, value in content["net"].items() if name not in later}
    text = json.dumps(content, sort_keys=True).encode()
    assert config.digest() == hashlib.blake2b(text, digest_size=4).hexdigest()
    other = replace(config, task=TaskConfig.make("mnist", {"pixels": "bytes"}))
    assert other.digest() != config.digest()
    assert other.learned()["task"]["pixels"] == "bytes"
    nets = [replace(config.net, **field) for field in ({"layers": 2}, {"bidirectional": True})]
    assert len({replace(config, net=net).digest() for net in (config.net, *nets)}) == 3


def test_a_whole_number_is_the_same_setting_as_its_float(run: Run) -> None:
    config = run.config
    same = replace(
        config,
        budget=1,
        optimizer=replace(config.optimizer, clip=10),
        schedule=replace(config.schedule, cooling=1),
        net=replace(config.net, dropout=0, forget_bias=1),
    )
    floats = replace(
        config,
        budget=1.0,
        optimizer=replace(config.optimizer, clip=10.0),
        schedule=replace(config.schedule, cooling=1.0),
        net=replace(config.net, dropout=0.0, forget_bias=1.0),
    )
    assert same.digest() == floats.digest()
    assert same.to_dict() == floats.to_dict()


@pytest.mark.parametrize(
    ("net", "digest"),
    [("np-rnn", "2b1ff71c"), ("lstm", "e37551f8"), ("mean-pool", "223d96ac")],
)
def test_the_digest_of_a_config_is_that_of_every_earlier_version(net: str, digest: str) -> None:
    """A run that was begun is found, and goes on, by it: a new field must not stand in it."""
    config = RunConfig(
        seed=0,
        budget=1.0,
        task=TaskConfig.make("clips", {"split": "draw"}),
        split_digest="",
        origin=Origin(FeatureSpec("b", 4)),
        labels=("a", "b"),
        net=NetSpec(net, 4, 2),
        optimizer=OptimizerSpec("sgd", 1e-3, None, None),
        schedule=ScheduleSpec((1,), None),
        batch=BatchSpec(1, "mean", "last", "32-true"),
    )
    assert config.digest() == digest


def test_versions_of_the_extraction_are_told_and_are_no_part_of_the_identity(run: Run) -> None:
    features = run.features
    assert features is not None
    origin = replace(run.config.origin, features=replace(features, versions={"av": "1"}))
    other = replace(run.config, origin=origin)
    assert other.digest() == run.config.digest()
    assert other.to_dict()["origin"]["features"]["versions"] == {"av": "1"}
    wider = replace(run.config.origin, features=replace(features, stride=2))
    assert replace(run.config, origin=wider).digest() != run.config.digest()


def test_settings_are_named_as_the_command_line_names_them(run: Run) -> None:
    settings = run.config.settings()
    assert settings["optimizer.lr"] == 1e-3
    assert settings["model.name"] == "np-rnn"
    assert settings["trainer.batch_size"] == 256
    assert settings["split"] == "tiny"
    assert settings["features.backbone"] == "tiny"
    assert not {"seed", "model.input_size", "task.cache"} & set(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1.5}, "seed: expected a whole number, found 1.5"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"budget": 0}, "budget: expected a share in"),
        ({"colour": 1}, "colour"),
        ({"format": "run 9"}, "expected the format 'run 2', found 'run 9'"),
        ({"task": {"name": "clip"}}, "task: expected one of .* Did you mean clips"),
        ({"task": {"name": "clips", "splt": "x"}}, "option of task=clips: .* Did you mean split"),
    ],
)
def test_a_wrong_config_is_refused(run: Run, change: dict[str, object], message: str) -> None:
    path = run.folder / "config.yaml"
    path.write_text(yaml.safe_dump({**read_config(run.folder), **change}))
    with pytest.raises(ValueError, match=f"config.yaml is damaged or not of a run.*{message}"):
        load_run(run.folder)


def test_a_provenance_reads_back_equal_with_its_sessions(run: Run) -> None:
    session = Session(0, "cpu", {"num_workers": "0"}, {"torch": "2"}, "x86", "abc")
    provenance = replace(run.provenance, sessions=(session, replace(session, first_epoch=7)))
    begin_run(run.folder, run.config, provenance)
    assert load_run(run.folder).provenance == provenance


class Kill(BaseException):
    """Stands for a kill: nothing but the clean-up of a block sees it."""


@contextmanager
def killed_at(place: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends the block at the place-th step of writing files: before, and after each rename."""
    steps = iter(range(100))
    replace_file = Path.replace

    def step() -> None:
        if next(steps) == place:
            raise Kill

    def rename(self: Path, target: Path) -> Path:
        step()
        path = replace_file(self, target)
        step()
        return path

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", rename)
        yield


@pytest.mark.parametrize("place", range(4))
def test_a_run_stopped_while_it_begins_is_none_yet_or_one_that_reads(
    run: Run, tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    with killed_at(place, monkeypatch), pytest.raises(Kill):
        begin_run(folder, run.config, run.provenance)
    assert is_run(folder) == (place == 3)
    if is_run(folder):
        assert load_run(folder).config == run.config
    begin_run(folder, run.config, run.provenance)
    assert load_run(folder).provenance == run.provenance
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "provenance.json"}


@pytest.mark.parametrize("place", range(4))
def test_a_run_stopped_while_it_goes_on_always_reads(
    run: Run, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_at(place, monkeypatch), pytest.raises(Kill):
        begin_run(run.folder, run.config, replace(run.provenance, train_seconds=9.0))
    found = load_run(run.folder)
    assert found.config == run.config
    assert found.provenance.train_seconds in (75.0, 9.0)


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(OSError, match="full"), files.replacing(path) as unfinished:
        unfinished.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_the_disk_has_no_room_for_say_their_need_and_leave_the_old(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    net = load_net(run)

    def refuse(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(
        OSError, match=r"weights.safetensors needs [\d,]+ bytes, and [\d,]+ are free"
    ):
        save_weights(run.folder, net)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_features_and_split_are_found_from_another_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/b"), Path("store"))
    monkeypatch.chdir("/")
    for name in ("a", "b"):
        _, sequences = PartReader("test").read(load_run(tmp_path / "runs" / name))
        assert len(sequences) == 36


def test_features_are_found_when_run_and_store_moved_together(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("runs", "store", "tiny.yaml", "listed.csv"):
        shutil.move(tmp_path / name, moved / name)
    task, _ = PartReader("test").read(load_run(moved / "runs" / "a"))
    assert task.places()["features"][0] == moved / "store"


def test_a_store_of_other_features_in_its_place_is_passed_over_and_told(
    run: Run, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "store")
    write_store(tmp_path / "store", dim=7)
    with pytest.raises(ValueError, match="was not found") as error:
        PartReader("test").read(run)
    assert f"{tmp_path / 'store'}: it was made with dim=7, not 6" in str(error.value)
    assert "Pass --features DIR" in str(error.value)


@pytest.fixture
def of_weights(tmp_path: Path) -> Run:
    """A run on a store whose encoder's weights came from the file `weights.pth`."""
    (tmp_path / "weights.pth").write_bytes(b"trained numbers")
    write_store(tmp_path / "store")
    write_weights_place(tmp_path / "store", tmp_path / "weights.pth")
    write_run(tmp_path / "runs" / "a", tmp_path / "store")
    return load_run(tmp_path / "runs" / "a")


def test_a_run_knows_the_weights_of_its_encoder_without_its_store(
    of_weights: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "store")
    monkeypatch.chdir("/")
    assert find_encoder_weights(of_weights) == tmp_path / "weights.pth"


def test_weights_are_found_when_moved_together_with_run_and_store(
    of_weights: Run, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("runs", "store", "weights.pth", "tiny.yaml", "listed.csv"):
        shutil.move(tmp_path / name, moved / name)
    assert find_encoder_weights(load_run(moved / "runs" / "a")) == moved / "weights.pth"
    write_run(moved / "runs" / "b", moved / "store")
    place = load_run(moved / "runs" / "b").provenance.places["weights"]
    assert (place.absolute, place.relative) == (str(moved / "weights.pth"), "../../weights.pth")


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "nothing there"), (b"others", "another file, of digest ")]
)
def test_weights_that_are_gone_or_changed_are_told_with_the_option_that_names_them(
    of_weights: Run, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    (tmp_path / "weights.pth").unlink()
    if content is not None:
        (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ValueError, match="encoder was not found") as error:
        find_encoder_weights(of_weights)
    assert f"{tmp_path / 'weights.pth'}: {reason}" in str(error.value)
    assert "--weights FILE" in str(error.value)


def test_a_run_whose_store_noted_no_weights_has_none(run: Run) -> None:
    assert find_encoder_weights(run) is None


def test_every_place_that_was_looked_at_is_told(tmp_path: Path) -> None:
    place = Place.of(tmp_path / "here", tmp_path / "runs" / "a")
    assert place.relative == "../../here"
    folder = tmp_path / "other" / "runs" / "a"
    with pytest.raises(ValueError, match="the thing was not found") as error:
        find_place(place, folder, refuse=lambda path: "no", what="the thing", fix="Do this.")
    assert f"  {tmp_path / 'other' / 'here'}: no\n  {tmp_path / 'here'}: no\nDo this." in str(
        error.value
    )


def make_legacy(run: Run, *, features: str | None, split: str) -> None:
    """Writes the run's files as the version before the RunConfig did."""
    config = run.config.to_dict()
    assert run.features is not None
    net = config["net"]
    legacy = {
        "seed": config["seed"],
        "budget": 1.0,
        "task": {
            "name": "clips", "features": features, "split": split, "split_seed": 0,
            "classes": "listed", "cache": "auto",
        },
        "model": {"name": net["name"], "dropout": net["dropout"]},
        "optimizer": config["optimizer"],
        "schedule": config["schedule"],
        "trainer": {
            **config["batch"], "num_workers": 0, "updates_per_step": "auto", "accelerator": "auto",
            "devices": "auto", "strategy": "auto",
        },
        "net": net,
        "labels": config["labels"],
    }  # fmt: skip
    provenance = {
        "versions": {"torch": "2"}, "processor": "x86", "git_commit": "abc", "seed": config["seed"],
        "num_parameters": run.provenance.num_parameters, "multiply_adds_per_step": 1,
        "use": {"train": {"used": 24}}, "sources": {"train": ["walk/g01"]}, "train_seconds": 7.0,
        "features": asdict(run.features),
    }  # fmt: skip
    (run.folder / "config.yaml").write_text(yaml.safe_dump(legacy))
    (run.folder / "provenance.json").write_text(json.dumps(provenance))


@pytest.mark.parametrize("features", ["features/tiny", None])
def test_a_run_of_an_earlier_version_is_the_same_run_and_finds_its_features(
    tmp_path: Path, features: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "runs" / "a", write_store(tmp_path / "features" / "tiny"), model="np-rnn")
    run = load_run(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    make_legacy(run, features=features, split="features/tiny.yaml")
    earlier = load_run(run.folder)
    assert earlier.config.digest() == run.config.digest()
    assert earlier.provenance.train_seconds == 7.0
    assert earlier.provenance.sessions[0].versions == {"torch": "2"}
    monkeypatch.chdir("/")
    assert len(PartReader("test").read(earlier)[1]) == 36


def test_a_run_of_an_earlier_version_is_read_without_what_had_no_effect(
    run: Run, tmp_path: Path
) -> None:
    make_legacy(run, features="store", split=str(tmp_path / "tiny.yaml"))
    path = run.folder / "config.yaml"
    legacy = yaml.safe_load(path.read_text())
    legacy["schedule"] = {"phase_epochs": [10], "cooling": 0.1}
    legacy["optimizer"] |= {"clip": None, "clip_by": "norm"}
    path.write_text(yaml.safe_dump(legacy))
    config = load_run(run.folder).config
    assert config.schedule == ScheduleSpec((10,), None)
    assert (config.optimizer.clip, config.optimizer.clip_by) == (None, None)


@pytest.mark.parametrize("place", range(5))
def test_a_run_of_an_earlier_version_survives_a_stop_in_its_upgrade(
    run: Run, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_legacy(run, features="store", split=str(tmp_path / "tiny.yaml"))
    try:
        with killed_at(place, monkeypatch):
            begin_run(run.folder, run.config, run.provenance)
    except Kill:
        pass
    assert load_run(run.folder).config.digest() == run.config.digest()


def test_a_toy_run_has_no_places_and_its_origin_is_kept(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "toy", toy_section("addition"))
    run = load_run(tmp_path / "toy")
    assert run.provenance.places == {}
    assert run.features is None
    assert run.config.origin.sequences == {"draws": "philox4x64", "layout": 1}
    path = tmp_path / "toy" / "config.yaml"
    path.write_text(seal(blank_seal(path.read_text()).replace("layout: 1", "layout: 2")))
    with pytest.raises(ValueError, match="layout': 1.*, not .*layout': 2.*\nTrain the run again"):
        PartReader("val").read(load_run(tmp_path / "toy"))


def test_a_session_names_the_model_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: True)
    told = "processor: 0\nmodel name\t: A Processor 9\nprocessor: 1\nmodel name\t: A Processor 9\n"
    monkeypatch.setattr(Path, "read_text", lambda self: told)
    assert name_processor() == "A Processor 9"
    monkeypatch.setattr(Path, "read_text", lambda self: "")
    assert name_processor()
