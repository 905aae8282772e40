"""Files of predictions: they read back exactly, and say when they are none."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.predictions.predictions import (
    Predictions,
    is_same_test,
    read_predictions,
    write_predictions,
)
from pipeline.tasks import PartUse
from tests.damage import flip_bit

_NAMES = st.lists(st.text("aß,\"'\n;: $", min_size=1, max_size=6), min_size=2, unique=True)


def _make(labels: tuple[str, ...], outputs: NDArray[np.float32], targets: object) -> Predictions:
    ids = tuple(f"clip {i}" for i in range(len(outputs)))
    use = PartUse(len(ids) + 1, ids, missing=("gone",), truncated=ids[1:2], damaged=ids[2:3])
    return Predictions(labels, outputs, np.asarray(targets), tuple(f"s{i}" for i in ids), use)


def _assert_equal(found: Predictions, expected: Predictions) -> None:
    assert is_same_test(found, expected)
    assert (found.use, found.sources) == (expected.use, expected.sources)
    np.testing.assert_array_equal(found.outputs, expected.outputs, strict=True)


@settings(max_examples=30, deadline=None)
@given(labels=_NAMES, seed=st.integers(0, 99))
def test_a_classification_reads_back_exactly_whatever_its_labels(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    outputs = (generator.normal(size=(4, len(labels))) * 10.0 ** generator.integers(-9, 9)).astype(
        np.float32
    )
    outputs[0, 0] = np.nan
    predictions = _make(tuple(labels), outputs, generator.integers(len(labels), size=4))
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    write_predictions(path, predictions)
    _assert_equal(read_predictions(path), predictions)


def test_a_regression_reads_back_exactly(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(2, 5, 2)).astype(np.float32)
    predictions = _make((), numbers[0], numbers[1])
    write_predictions(tmp_path / "p.csv", predictions)
    _assert_equal(read_predictions(tmp_path / "p.csv"), predictions)


def test_the_comparison_of_this_file_sees_one_changed_output() -> None:
    outputs = np.zeros((3, 2), np.float32)
    changed = outputs.copy()
    changed[2, 1] = 1e-6
    with pytest.raises(AssertionError):
        _assert_equal(_make(("a", "b"), changed, [0, 1, 0]), _make(("a", "b"), outputs, [0, 1, 0]))


def test_the_file_has_a_row_for_each_listed_clip_also_the_missing_ones(tmp_path: Path) -> None:
    outputs = np.zeros((3, 2), np.float32)
    write_predictions(tmp_path / "p.csv", _make(("a", "b"), outputs, [1, 0, 0]))
    blank = (
        "id,use,source,target,output:a,output:b,crc32:00000000\n"
        "clip 0,used,sclip 0,b,0,0,\n"
        "clip 1,truncated,sclip 1,a,0,0,\n"
        "clip 2,damaged,sclip 2,a,0,0,\n"
        "gone,missing,,,,,\n"
    )
    checksum = f"{zlib.crc32(blank.encode()):08x}"
    assert (tmp_path / "p.csv").read_text() == blank.replace("00000000", checksum)


@pytest.mark.parametrize("seed", range(20))
def test_any_flipped_bit_of_a_file_of_predictions_is_found_or_changes_nothing(
    tmp_path: Path, seed: int
) -> None:
    outputs = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    expected = _make(("a", "b"), outputs, [1, 0, 0])
    write_predictions(tmp_path / "p.csv", expected)
    generator = random.Random(seed)
    size = (tmp_path / "p.csv").stat().st_size
    flip_bit(tmp_path / "p.csv", generator.randrange(size), generator.randrange(8))
    said = ""
    try:
        _assert_equal(read_predictions(tmp_path / "p.csv"), expected)
    except ValueError as error:
        said = str(error)
    assert not said or "p.csv is not a whole file of predictions" in said


def test_files_whose_columns_of_outputs_begin_with_score_read_the_same(tmp_path: Path) -> None:
    outputs = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    for labels, targets in ((("a", "score:b"), [1, 0, 1]), ((), outputs + np.float32(1))):
        expected = _make(labels, outputs, targets)
        write_predictions(tmp_path / "p.csv", expected)
        header, rest = (tmp_path / "p.csv").read_text().split("\n", maxsplit=1)
        old = header.rpartition(",")[0].replace("output:", "score:")
        rest = rest.replace(",\n", "\n")
        assert old.count(",score:") == 2
        (tmp_path / "old.csv").write_text(f"{old}\n{rest}")
        _assert_equal(read_predictions(tmp_path / "old.csv"), expected)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "expected the columns"),
        ("a,b\n1,2\n", "expected the columns"),
        ("id,use,source,target,output:a\n", "0 clips"),
        ("id,use,source,target,output:a\nx,used,s,a\n", "found 4"),
        ("id,use,source,target,output:a\nx,used,s,a,high\n", "high"),
        ("id,use,source,target,output:a\nx,used,s,b,1\n", "targets b"),
        ("id,use,source,target,output:a\nx,used,s,a,1\nx,used,s,a,1\n", "twice"),
        ("\x00\x01\x02", "bytes of zero"),
    ],
)
def test_what_is_no_file_of_predictions_is_named(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"p\.csv is not a whole file of predictions") as error:
        read_predictions(path)
    assert found in str(error.value)
