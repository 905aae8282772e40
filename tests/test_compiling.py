"""Compiled code is kept in the user's cache folder, apart for each kind of processor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline.backbones import compiling, load_backbone, prepare
from pipeline.backbones.compiling import CODE_FOLDER, find_code_folder, keep_code


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CODE_FOLDER, "")  # and as it was afterwards
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.skipif(not compiling.has_compiler(), reason="there is no C++ compiler")
def test_a_compiled_backbone_keeps_its_code_in_the_users_cache(tmp_path: Path) -> None:
    prepare(load_backbone("bvlc-googlenet", weights="random"), compiled=True)
    folder = Path(os.environ[CODE_FOLDER])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "np-rnn"


def test_a_folder_that_the_environment_names_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CODE_FOLDER, "elsewhere")
    keep_code()
    assert os.environ[CODE_FOLDER] == "elsewhere"


def test_hosts_that_share_a_home_but_no_processor_share_no_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = find_code_folder()
    assert find_code_folder() == here
    monkeypatch.setattr(compiling, "_read_instructions", lambda: "flags: other")
    assert find_code_folder() != here


def test_a_relative_cache_folder_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_code_folder().parent == tmp_path / ".cache" / "np-rnn"


def test_where_no_folder_can_be_made_torch_chooses(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.write_text("a file")
    keep_code()
    assert not os.environ[CODE_FOLDER]
