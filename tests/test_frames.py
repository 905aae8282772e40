"""Nets on clips whose frames are out of order, or only half: what is read, and where it goes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from eval.__main__ import main
from eval.predictions.frames import FRAMES
from eval.predictions.predict import PartReader, predict
from eval.predictions.predictions import read_predictions
from eval.report.evaluate import evaluate_predictions, evaluate_runs
from pipeline.runs import load_run
from tests.tiny_runs import (
    edit_sealed,
    make_features,
    toy_section,
    write_run,
    write_store,
    write_toy_run,
)

DISTURBED = [name for name in FRAMES if name != "all"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "features" / "tiny")


@pytest.mark.parametrize("task", ["clips", "arrow-of-time"])
@pytest.mark.parametrize("frames", DISTURBED)
def test_the_frames_read_are_those_that_the_choice_names(
    tmp_path: Path, store: Path, frames: str, task: str
) -> None:
    write_run(tmp_path / "run", store, task=task)
    run, features = load_run(tmp_path / "run"), make_features()
    read, sequences = PartReader("test", frames=frames).read(run)
    batch, moved = sequences[range(len(sequences))], 0
    for row, name in enumerate(read.use("test").used):
        clip_id, _, direction = name.partition(" ")
        whole = features[clip_id][:: -1 if direction == "backwards" else 1]
        found = batch.features[row, : int(batch.lengths[row])].numpy()
        assert int(batch.lengths[row]) == int(sequences.lengths[row])
        if frames == "shuffled":
            assert sorted(map(tuple, found)) == sorted(map(tuple, whole))
            moved += not np.array_equal(found, whole)
        elif frames == "reversed":
            np.testing.assert_array_equal(found, whole[::-1])
        else:
            np.testing.assert_array_equal(found, whole[: max(1, len(whole) // 2)])
    assert frames != "shuffled" or moved > 0.8 * len(
        sequences
    )  # of 3 frames one order in 6 is whole


@pytest.mark.parametrize("name", FRAMES)
def test_at_least_one_frame_is_read(name: str) -> None:
    assert list(FRAMES[name]("clip", 1)) == [0]


def test_a_clips_order_is_its_own_and_the_same_every_time() -> None:
    shuffle = FRAMES["shuffled"]
    # Written down: an order that changed with a version would be another test.
    assert shuffle("v_run_g01_c01", 8) == [6, 1, 0, 5, 2, 7, 3, 4]
    assert shuffle("v_run_g01_c02", 8) != shuffle("v_run_g01_c01", 8)
    assert sorted(shuffle("v_run_g01_c02", 500)) == list(range(500))


@pytest.mark.parametrize("frames", ["shuffled", "reversed"])
def test_mean_pool_never_notices_the_order_of_the_frames(
    tmp_path: Path, store: Path, frames: str
) -> None:
    write_run(tmp_path / "run", store)
    run = load_run(tmp_path / "run")
    plain, disturbed = (
        predict(run, PartReader("test", frames=f), batch_size=7, device="cpu").outputs
        for f in ("all", frames)
    )
    # Sums of at most 9 float32 numbers of size 1 in another order, weighted by some 10.
    np.testing.assert_allclose(disturbed, plain, atol=1e-5)


def test_a_net_that_reads_the_order_notices(tmp_path: Path, store: Path) -> None:
    write_run(tmp_path / "run", store, model="np-rnn")
    run = load_run(tmp_path / "run")
    plain, *others = (
        predict(run, PartReader("test", frames=f), batch_size=7, device="cpu").outputs
        for f in FRAMES
    )
    assert all(np.abs(other - plain).max() > 1e-2 for other in others)


@pytest.mark.parametrize("frames", DISTURBED)
def test_disturbed_scores_go_to_a_folder_of_their_own_and_say_so(
    tmp_path: Path, store: Path, frames: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", store, model="np-rnn")
    evaluate_runs([tmp_path / "run"])
    plain = tmp_path / "run" / "eval" / "test"
    before = {path: path.read_bytes() for path in plain.iterdir()}
    assert main(["--run", str(tmp_path / "run"), "--frames", frames]) == 0
    printed = capsys.readouterr().out
    assert {path: path.read_bytes() for path in plain.iterdir()} == before
    out = tmp_path / "run" / "eval" / f"test-{frames}"
    assert f"np-rnn (frames {frames})" in printed
    assert f"Frames {frames}: " in printed
    page, report = (out / "report.html").read_text(), json.loads((out / "report.json").read_text())
    assert f"np-rnn (frames {frames})" in page
    assert f"Frames {frames}: " in page
    assert report["rows"][0]["frames"] == frames
    assert read_predictions(out / "predictions.csv").frames == frames
    assert json.loads(before[plain / "report.json"])["rows"][0]["frames"] == "all"
    assert b"frames" not in before[plain / "predictions.csv"]


def test_files_of_both_stand_in_one_table_and_are_never_joined(tmp_path: Path, store: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), store, seed=seed, dropout=0.3)
        for frames in ("all", "first-half"):
            evaluate_runs([tmp_path / str(seed)], frames=frames)
    files = sorted(tmp_path.glob("[01]/eval/*/predictions.csv"))
    evaluation = evaluate_predictions(files, "test", out=tmp_path / "out")
    assert [row.name for row in evaluation.rows] == ["mean-pool", "mean-pool (frames first-half)"]
    assert [len(row.seeds) for row in evaluation.rows] == [2, 2]
    assert "NOT COMPARABLE" not in str(evaluation)


def test_reports_of_several_runs_have_a_folder_of_their_own_too(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(tmp_path / str(seed), store, seed=seed)
    pages = [
        evaluate_runs([tmp_path / "0", tmp_path / "1"], frames=f).page for f in ("all", "shuffled")
    ]
    assert pages[0] != pages[1]
    assert "test-shuffled" in str(pages[1])


def test_a_table_of_predictions_with_two_kinds_of_frames_is_refused(
    tmp_path: Path, store: Path
) -> None:
    write_run(tmp_path / "run", store)
    evaluate_runs([tmp_path / "run"], frames="reversed")
    path = tmp_path / "run" / "eval" / "test-reversed" / "predictions.csv"
    edit_sealed(path, ",reversed,", ",shuffled,")
    with pytest.raises(ValueError, match=r"as frames, found \['reversed', 'shuffled'\]"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "shufled"], "--frames: expected one of all, shuffled, .*Did you mean shuff"),
        (["--frames", "shuffled"], "of the task addition, whose inputs are no frames"),
        (["--frames", "all"], ""),
    ],
)
def test_what_has_no_frames_or_is_no_choice_is_refused(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toy_run(tmp_path / "run", toy_section("addition"))
    assert main(["--run", str(tmp_path / "run"), *options]) == (2 if message else 0)
    assert re.search(message, capsys.readouterr().err)


def test_files_of_predictions_take_no_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--predictions", "x.csv", "--out", str(tmp_path), "--frames", "all"]
    assert main(options) == 2
    assert "no --features or --frames" in capsys.readouterr().err
