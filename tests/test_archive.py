"""A zip of a run is read as its folder is, whatever else the zip holds."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.__main__ import main
from eval.report.evaluate import evaluate_runs
from pipeline.runs import archive, load_net, load_run
from tests.tiny_runs import write_run, write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "a", write_store(tmp_path / "store"))
    (tmp_path / "runs" / "a" / "checkpoints").mkdir()
    (tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt").write_bytes(b"not to be loaded")
    return tmp_path / "runs" / "a"


def zip_folder(folder: Path, path: Path, *, within: str = "") -> Path:
    """A zip of the folder's files, at its top or in a folder of it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for file in folder.rglob("*"):
            made.write(file, within + str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("within", ["", "a/", "deep/down/a/"])
def test_a_zip_of_a_run_is_the_run(folder: Path, tmp_path: Path, within: str) -> None:
    path = zip_folder(folder, tmp_path / "shared.zip", within=within)
    run, expected = load_run(path), load_run(folder)
    assert run.config == expected.config
    assert run.provenance == expected.provenance
    for mine, theirs in zip(
        load_net(run).parameters(), load_net(expected).parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert run.folder.name == "shared"
    assert not (run.folder / "checkpoints").exists()


def test_a_zip_scores_as_its_folder_does(folder: Path, tmp_path: Path) -> None:
    path = zip_folder(folder, tmp_path / "a.zip")
    (mine,) = evaluate_runs([path], out=tmp_path / "mine").rows[0].seeds
    (theirs,) = evaluate_runs([folder], out=tmp_path / "theirs").rows[0].seeds
    np.testing.assert_array_equal(mine.outputs, theirs.outputs)


def test_a_zip_is_unpacked_once_and_again_when_it_changed(folder: Path, tmp_path: Path) -> None:
    path = zip_folder(folder, tmp_path / "a.zip")
    first = load_run(path).folder
    assert load_run(path).folder == first
    path.unlink()
    zip_folder(folder, path, within="a/")
    assert load_run(path).folder != first


@pytest.mark.parametrize("verb", [[], ["dynamics"]])
def test_results_never_go_into_the_folder_of_a_zip(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    path = zip_folder(folder, tmp_path / "a.zip")
    assert main([*verb, "--run", str(path)]) == 2
    assert f"--run: found {path}, a zip, into which no results" in capsys.readouterr().err


def test_no_path_of_a_zip_is_followed(folder: Path, tmp_path: Path) -> None:
    path = zip_folder(folder, tmp_path / "a.zip", within="../../up/")
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("../../up/../../outside.txt", "outside")
        made.writestr("/absolute.txt", "outside")
        link = zipfile.ZipInfo("../../up/metrics.csv")
        link.external_attr = 0o120777 << 16  # a symbolic link, to what its content says
        made.writestr(link, "/etc/passwd")
    before = set(tmp_path.rglob("*"))
    run = load_run(path)
    assert set(tmp_path.rglob("*")) == before
    assert {p.name for p in run.folder.parent.rglob("*")} == {
        "a", "config.yaml", "provenance.json", "weights.safetensors", "metrics.csv",
    }  # fmt: skip
    assert not (run.folder / "metrics.csv").is_symlink()
    assert (run.folder / "metrics.csv").read_text() == "/etc/passwd"


def write_zip(path: Path, members: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in members.items():
            made.writestr(name, text)
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "expected a zip of one run folder, found no config.yaml"),
        ({"notes.txt": "x"}, "found no config.yaml"),
        ({"a/config.yaml": "x", "b/config.yaml": "x"}, "found 2: a, b.*Zip the folder of a run"),
        ({"config.yaml": "x" * 2000}, "expected a run of 1,000 bytes at most, found 2,000 once"),
        ({"config.yaml": "x"}, "holds no provenance.json"),
    ],
)
def test_a_zip_that_is_no_run_is_refused_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: Mapping[str, str], message: str
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_run(write_zip(tmp_path / "a.zip", members))


def test_a_damaged_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    path = zip_folder(folder, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as made:
        weights = made.getinfo("weights.safetensors")
    place = weights.header_offset + 60 + weights.compress_size // 2
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip: expected a zip of a run folder, found one that"):
        load_run(path)


def test_a_header_that_promises_less_than_there_is_never_gives_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    path = write_zip(tmp_path / "a.zip", {"config.yaml": "x" * 100_000})
    content = path.read_bytes()
    real, promised = (100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert content.count(real) == 2
    path.write_bytes(content.replace(real, promised))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="cannot be unpacked"):
        load_run(path)
    (unpacked,) = tmp_path.rglob("config.yaml")
    assert unpacked.stat().st_size <= 10


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    shutil.copy(__file__, tmp_path / "a.zip")
    with pytest.raises(ValueError, match="expected a run folder, found a file that is no zip"):
        load_run(tmp_path / "a.zip")
