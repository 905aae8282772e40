"""Runs to scores: what a command line user sees, checked against sums done by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eval.__main__ import main
from eval.predictions.predictions import read_predictions
from eval.report.evaluate import evaluate_predictions, evaluate_runs
from tests.tiny_runs import (
    GROUPS,
    LABELS,
    make_clips,
    make_features,
    write_log,
    write_run,
    write_store,
)

TEST_CLIPS = [clip for clip in make_clips() if clip.group in GROUPS["test"]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "features" / "tiny")


def _accuracy(net: torch.nn.Module, clips: list[str] | None = None) -> float:
    """Computed without eval: the share of test clips whose mean feature is answered rightly."""
    weight = net.get_parameter("readout.weight").detach().numpy()
    features = make_features()
    ids = [clip.id for clip in TEST_CLIPS if clips is None or clip.id in clips]
    answers = [LABELS[(weight @ features[i].mean(axis=0)).argmax()] for i in ids]
    labels = {clip.id: clip.label for clip in TEST_CLIPS}
    return float(np.mean([labels[i] == answer for i, answer in zip(ids, answers, strict=True)]))


def test_scores_and_outputs_are_those_of_the_nets_equation(tmp_path: Path, store: Path) -> None:
    net = write_run(tmp_path / "run", store)
    evaluation = evaluate_runs([tmp_path / "run"], batch_size=5)
    predictions = read_predictions(tmp_path / "run" / "eval" / "test" / "predictions.csv")
    assert predictions.ids == tuple(clip.id for clip in TEST_CLIPS)
    assert predictions.sources == tuple(f"{clip.label}/{clip.group}" for clip in TEST_CLIPS)
    weight, features = net.get_parameter("readout.weight").detach().numpy(), make_features()
    expected = np.stack([weight @ features[i].mean(axis=0) for i in predictions.ids])
    np.testing.assert_allclose(predictions.outputs, expected, atol=1e-5)  # float32 sums
    (row,) = evaluation.rows
    top_1, top_5, per_class = row.scores
    assert top_1.estimate.value == pytest.approx(_accuracy(net))
    assert 0.3 < top_1.estimate.value < 1.0  # so that the comparison can fail
    assert top_1.floor == pytest.approx(1 / 6)
    assert top_5.floor == pytest.approx(5 / 6)
    assert per_class.estimate.value == pytest.approx(top_1.estimate.value)  # equally many clips


@pytest.mark.parametrize("model", ["np-rnn", "lstm", "mean-pool"])
def test_batch_mates_and_padding_never_change_an_output(
    tmp_path: Path, store: Path, model: str
) -> None:
    write_run(tmp_path / "run", store, model=model)
    found = []
    for batch_size in (1, 5, 256):
        evaluate_runs([tmp_path / "run"], out=tmp_path / str(batch_size), batch_size=batch_size)
        found.append(read_predictions(tmp_path / str(batch_size) / "predictions.csv").outputs)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)  # float32, another order of sums
    np.testing.assert_allclose(found[2], found[0], atol=1e-5)


def test_seeds_of_one_config_are_joined_and_other_configs_are_not(
    tmp_path: Path, store: Path
) -> None:
    nets = [write_run(tmp_path / f"a{seed}", store, seed=seed) for seed in range(3)]
    write_run(tmp_path / "b", store, dropout=0.7)
    evaluation = evaluate_runs(
        [tmp_path / name for name in ("a0", "a1", "b", "a2")], out=tmp_path / "out"
    )
    joined, other = evaluation.rows
    accuracies = [_accuracy(net) for net in nets]
    assert len(set(accuracies)) > 1
    assert joined.scores[0].of_seeds == pytest.approx(accuracies)
    assert joined.scores[0].estimate.value == pytest.approx(np.mean(accuracies))
    assert joined.scores[0].spread == pytest.approx(np.std(accuracies, ddof=1))
    assert joined.name == "mean-pool (model.dropout=0.5)"
    assert other.name == "mean-pool (model.dropout=0.7)"
    assert len(other.seeds) == 1


def test_two_runs_of_one_config_and_seed_are_refused(tmp_path: Path, store: Path) -> None:
    write_run(tmp_path / "a", store)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(ValueError, match="would count twice"):
        evaluate_runs([tmp_path / "a", tmp_path / "copy"], out=tmp_path / "out")
    once = evaluate_runs([tmp_path / "a", tmp_path / "a"], out=tmp_path / "out")
    assert len(once.rows[0].seeds) == 1


def test_missing_truncated_and_damaged_clips_are_said_and_are_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, short, torn = (TEST_CLIPS[i].id for i in (0, 5, 7))
    store = write_store(tmp_path / "features", missing=[gone], truncated=[short], damaged=[torn])
    net = write_run(tmp_path / "run", store)
    assert main(["--run", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    said = "clips: 36 listed, 35 used, 1 missing; of the used 1 truncated, 1 damaged"
    assert said in printed
    assert "1 of the clips used are truncated." in printed
    assert "1 of the clips used are damaged." in printed
    assert gone in printed
    report = json.loads((tmp_path / "run" / "eval" / "test" / "report.json").read_text())
    clips = report["rows"][0]["clips"]
    assert clips == {
        "num_listed": 36, "num_used": 35,
        "missing": [gone], "truncated": [short], "damaged": [torn],
    }  # fmt: skip
    page = (tmp_path / "run" / "eval" / "test" / "report.html").read_text()
    assert "1 missing; of the used 1 truncated, 1 damaged" in page
    used = [clip.id for clip in TEST_CLIPS if clip.id != gone]
    scores = report["rows"][0]["scores"]
    assert scores["top-1 accuracy"]["value"] == pytest.approx(_accuracy(net, used))
    of_classes = [_accuracy(net, [i for i in used if f"_{label}_" in i]) for label in LABELS]
    found = scores["mean per-class accuracy"]["value"]
    assert found == pytest.approx(np.mean(of_classes))
    assert found != pytest.approx(scores["top-1 accuracy"]["value"])


def test_runs_tested_on_other_clips_are_never_compared_in_silence(
    tmp_path: Path, store: Path
) -> None:
    write_run(tmp_path / "a", store)
    other = write_store(tmp_path / "features" / "other", missing=[TEST_CLIPS[0].id])
    write_run(tmp_path / "b", other, seed=1)
    evaluation = evaluate_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out")
    assert len(evaluation.rows) == 2  # of equal settings, but not joined
    assert re.search(r"NOT COMPARABLE: .*35 clips.*36 clips", str(evaluation))
    assert "NOT COMPARABLE" in evaluation.page.read_text()


def test_incomplete_and_diverged_runs_have_a_row_and_no_score(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "good", store)
    write_run(tmp_path / "killed", store, model="irnn", has_weights=False)
    write_run(tmp_path / "lost", store, model="lstm", has_weights=False)
    (tmp_path / "lost" / "diverged.txt").write_text("Training diverged at step 7.\nTry.\n")
    net = write_run(tmp_path / "nan", store, model="np-rnn")
    weights = {k: torch.full_like(v, torch.nan) for k, v in net.state_dict().items()}
    save_file(weights, tmp_path / "nan" / "weights.safetensors")
    runs = [str(tmp_path / name) for name in ("good", "killed", "lost", "nan")]
    assert main(["--run", *runs, "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "irnn: no score, not complete" in printed
    assert "lstm: no score, diverged at step 7\n" in printed
    assert "np-rnn: no score, diverged: 36 of 36 answers are NaN" in printed
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert ["scores" in row for row in rows] == [True, False, False, False]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (lambda run: (run / "config.yaml").unlink(), "no config.yaml"),
    "config of another program": (
        lambda run: (run / "config.yaml").write_text("lr: 1\n"),
        "config.yaml is damaged or not of a run of this program",
    ),
    "config that is no YAML": (
        lambda run: (run / "config.yaml").write_text("{"),
        "config.yaml is damaged or not of a run of this program",
    ),
    "no provenance": (lambda run: (run / "provenance.json").unlink(), "no provenance.json"),
    "provenance of another program": (
        lambda run: (run / "provenance.json").write_text('{"features": {"colour": 1}}'),
        "provenance.json is damaged",
    ),
    "cut weights": (
        lambda run: _cut(run / "weights.safetensors"),
        "does not hold the weights",
    ),
    "weights of another net": (
        lambda run: save_file({"readout.weight": torch.zeros(2, 2)}, run / "weights.safetensors"),
        "does not hold the weights",
    ),
    "a log of another program": (
        lambda run: (run / "metrics.csv").write_text("a,b\n1,2\n"),
        "expected an epoch and numbers",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_or_foreign_run_gets_one_message_and_no_traceback(
    tmp_path: Path, store: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", store)
    change, expected = _DAMAGES[damage]
    change(tmp_path / "run")
    assert main(["--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert error.count("error: ") == 1


def test_features_of_another_width_are_refused(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", store)
    wide = write_store(tmp_path / "features" / "wide", dim=8)
    assert main(["--run", str(tmp_path / "run"), "--features", str(wide)]) == 2
    error = capsys.readouterr().err
    assert "dim=8, not 6" in error
    assert "--features" in error
    moved = shutil.move(store, tmp_path / "moved")
    assert main(["--run", str(tmp_path / "run"), "--features", str(moved)]) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--part", "tset"], "--part: expected one of val, test, found 'tset'. Did you mean test?"),
        (
            ["--device", "cuda"],
            "--device cuda: expected one that torch can use here, found only cpu",
        ),
        (["--device", "cuda:1"], "--device cuda:1: expected one that torch can use here"),
        (["--videos", "nowhere"], "--videos nowhere: expected a folder of videos or a CSV"),
    ],
)
def test_options_that_cannot_be_are_named(
    tmp_path: Path,
    store: Path,
    options: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_run(tmp_path / "run", store)
    assert main(["--run", str(tmp_path / "run"), *options]) == 2
    assert expected in capsys.readouterr().err


def test_what_is_no_run_among_several_paths_is_passed_over_and_said(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    write_run(runs / "a", store)
    write_run(runs / "grid" / "b", store, seed=1)
    (runs / "refused").mkdir()
    (runs / "multirun.yaml").write_text("x: 1")
    paths = sorted(map(str, runs.iterdir()))
    assert main(["--run", *paths, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert f"{runs / 'refused'} is no run, and was passed over.\n" in said.err
    assert f"{runs / 'multirun.yaml'} is no run, and was passed over.\n" in said.err
    assert f"passed over; for those below it give {runs / 'grid'}/*." in said.err
    assert len(json.loads((tmp_path / "out" / "report.json").read_text())["rows"]) == 1
    assert main(["--run", str(runs / "refused")]) == 2
    assert main(["--run", str(runs / "refused"), str(runs / "grid")]) == 2
    assert "expected run folders, found none among 2 paths" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--latest"]])
def test_the_newest_complete_run_is_taken_and_named(
    tmp_path: Path,
    store: Path,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(options) == 2
    assert "expected a complete run, found no run" in capsys.readouterr().err
    for age, (name, has_weights) in enumerate({"c": False, "b": True, "a": True}.items()):
        write_run(tmp_path / "runs" / name, store, seed=age, has_weights=has_weights)
        os.utime(tmp_path / "runs" / name / "config.yaml", (0, 1_000_000_000 - age))
    assert main(options) == 0
    error = capsys.readouterr().err
    assert f"The newest complete run is {Path('runs/b')}." in error
    assert f"{Path('runs/c')} is newer, but not complete." in error
    assert (tmp_path / "runs" / "b" / "eval" / "test" / "report.html").is_file()


def test_the_val_part_is_scored_on_its_own_clips(tmp_path: Path, store: Path) -> None:
    write_run(tmp_path / "run", store)
    evaluate_runs([tmp_path / "run"], "val")
    predictions = read_predictions(tmp_path / "run" / "eval" / "val" / "predictions.csv")
    assert {clip_id.split("_")[2] for clip_id in predictions.ids} == set(GROUPS["val"])


def test_files_of_predictions_give_the_same_table_without_nets_and_features(
    tmp_path: Path, store: Path
) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for seed, folder in enumerate(folders):
        write_run(folder, store, seed=min(seed, 1), model="mean-pool" if seed < 2 else "lstm")
        write_log(folder)
    first = evaluate_runs(folders, out=tmp_path / "all")
    for folder in folders:
        evaluate_runs([folder])
        (folder / "weights.safetensors").unlink()
    shutil.rmtree(store)
    files = [folder / "eval" / "test" / "predictions.csv" for folder in folders]
    again = evaluate_predictions(files, "test", out=tmp_path / "again")
    assert str(again) == str(first)
    assert len(again.rows) == 2
