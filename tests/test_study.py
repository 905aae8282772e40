"""A grid of runs to one table: chosen by validation, tested once, beside the paper's numbers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eval.__main__ import main
from eval.study.page import write_study
from eval.study.study import study_runs
from eval.study.table import format_study
from papers.np_rnn.protocols import TABLE_3
from pipeline.recurrent.classifier import SequenceNet
from tests.browsing import DESK, PHONE, Seen, is_too_wide
from tests.test_pictures import find_cut_words
from tests.test_report import PageReader, find_addresses
from tests.tiny_runs import (
    GROUPS,
    LABELS,
    edit_sealed,
    make_clips,
    make_features,
    toy_section,
    write_log,
    write_run,
    write_store,
    write_toy_run,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "features" / "tiny")


def _accuracy(net: SequenceNet, part: str) -> float:
    """Computed without eval: the share of the part's clips that a mean-pool answers rightly."""
    weight, features = net.readout.weight.detach().numpy(), make_features()
    clips = [clip for clip in make_clips() if clip.group in GROUPS[part]]
    answers = [LABELS[(weight @ features[clip.id].mean(axis=0)).argmax()] for clip in clips]
    return float(np.mean([clip.label == a for clip, a in zip(clips, answers, strict=True)]))


def _find_rivals(tmp_path: Path, store: Path) -> tuple[int, int]:
    """Bends of two nets: the first is better on validation, the second on test."""
    nets = {b: write_run(tmp_path / "tried" / str(b), store, bend=b) for b in range(20)}
    shutil.rmtree(tmp_path / "tried")
    scores = {b: (_accuracy(net, "val"), _accuracy(net, "test")) for b, net in nets.items()}
    return next(
        (a, b)
        for a in scores
        for b in scores
        if scores[a][0] > scores[b][0] and scores[a][1] < scores[b][1]
    )


@pytest.mark.parametrize("is_first_better", [True, False])
def test_validation_alone_chooses_even_where_test_says_otherwise(
    tmp_path: Path, store: Path, is_first_better: bool
) -> None:
    good_on_val, good_on_test = _find_rivals(tmp_path, store)
    rates = (1e-4, 1e-2) if is_first_better else (1e-2, 1e-4)
    grid = tmp_path / "grid"
    net = write_run(grid / "deep" / "a", store, lr=rates[0], bend=good_on_val)
    other = write_run(grid / "b", store, lr=rates[1], bend=good_on_test)
    (task,) = study_runs(grid).tasks
    (tested,) = task.nets
    assert tested.net.chosen is not None
    assert tested.net.chosen.score is not None
    assert tested.net.chosen.value("optimizer.lr") == rates[0]
    assert tested.net.chosen.score.estimate.value == pytest.approx(_accuracy(net, "val"))
    assert tested.row is not None
    assert tested.row.scores[0].estimate.value == pytest.approx(_accuracy(net, "test"))
    assert _accuracy(other, "test") > _accuracy(net, "test")
    # The test part is opened for the chosen run alone.
    assert (grid / "deep" / "a" / "eval" / "test" / "predictions.csv").is_file()
    assert not (grid / "b" / "eval" / "test").exists()
    assert (grid / "b" / "eval" / "val" / "predictions.csv").is_file()


def test_the_choice_is_by_the_mean_over_seeds_and_the_tested_seeds_are_joined(
    tmp_path: Path, store: Path
) -> None:
    nets = {
        (lr, seed): write_run(
            tmp_path / "grid" / f"{lr}-{seed}", store, lr=lr, seed=seed, bend=bend
        )
        for lr, seed, bend in [(1e-3, 0, 3), (1e-3, 1, 4), (1e-2, 0, 7), (1e-2, 1, 8)]
    }
    means = {
        lr: np.mean([_accuracy(nets[lr, seed], "val") for seed in (0, 1)]) for lr in (1e-3, 1e-2)
    }
    assert means[1e-3] != means[1e-2]
    (task,) = study_runs(tmp_path / "grid").tasks
    best = max(means, key=lambda lr: means[lr])
    (tested,) = task.nets
    assert tested.net.chosen is not None
    assert tested.net.chosen.value("optimizer.lr") == best
    assert tested.row is not None
    of_seeds = [_accuracy(nets[best, seed], "test") for seed in (0, 1)]
    assert tested.row.scores[0].of_seeds == pytest.approx(of_seeds)
    assert not any("fewer seeds" in note for note in task.notes)


def test_a_tie_goes_to_the_smaller_learning_rate_then_dropout(tmp_path: Path, store: Path) -> None:
    for place, (lr, dropout) in enumerate([(1e-2, 0.5), (1e-3, 0.7), (1e-3, 0.5), (1e-1, 0.1)]):
        write_run(tmp_path / "grid" / str(place), store, lr=lr, dropout=dropout, bend=0)
    study = study_runs(tmp_path / "grid")
    chosen = study.tasks[0].nets[0].net.chosen
    assert chosen is not None
    assert (chosen.value("optimizer.lr"), chosen.value("model.dropout")) == (1e-3, 0.5)
    assert "RMSprop, learning rate 0.001, dropout 0.5" in format_study(study)
    assert "Ties go to the smaller learning rate" in format_study(study)


def _write_grid(tmp_path: Path, store: Path) -> Path:
    """A grid of mean-pool with a run that diverged, one that was killed and one of NaN."""
    grid = tmp_path / "grid"
    for place, (lr, dropout) in enumerate([(a, b) for a in (1e-3, 1e-2) for b in (0.5, 0.7, 0.9)]):
        for seed in (0, 1):
            folder = grid / f"{place}-{seed}"
            write_run(folder, store, lr=lr, dropout=dropout, seed=seed, bend=place + 10 * seed)
    (grid / "0-0" / "weights.safetensors").unlink()
    (grid / "0-0" / "diverged.txt").write_text("Training diverged at step 7.\nTry.\n")
    (grid / "1-0" / "weights.safetensors").unlink()
    (grid / "2-0" / "config.yaml").write_text("{")
    weights = {"readout.weight": torch.full((6, 6), torch.nan), "readout.bias": torch.zeros(6)}
    save_file(weights, grid / "3-0" / "weights.safetensors")
    return grid


def test_runs_without_a_score_are_listed_and_settings_with_fewer_seeds_named(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = _write_grid(tmp_path, store)
    assert main(["study", str(grid)]) == 1
    printed = capsys.readouterr().out
    assert "4 runs without a score:" in printed
    assert f"{grid / '0-0'}: mean-pool, seed 0: diverged at step 7" in printed
    assert f"{grid / '1-0'}: mean-pool, seed 0: not complete" in printed
    assert f"{grid / '2-0' / 'config.yaml'} is damaged" in printed
    assert f"{grid / '3-0'}: mean-pool, seed 0: diverged: 12 of 12 answers are NaN" in printed
    assert "4 of 6 settings have a validation score for fewer seeds than others (2 at" in printed
    page = (grid / "study" / "study.html").read_text()
    assert "diverged at step 7" in page


def test_the_page_has_a_heat_map_over_learning_rate_and_dropout_and_no_address(
    tmp_path: Path, store: Path
) -> None:
    study = study_runs(_write_grid(tmp_path, store))
    text = write_study(tmp_path / "out", study).read_text()
    page = PageReader(text)
    assert find_addresses(text) == []
    assert all("scope" in th for th in page.all("th"))
    maps = [svg for svg in page.all("svg") if "heat map over dropout" in svg["aria-label"]]
    assert len(maps) == 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    report = json.loads((tmp_path / "out" / "study.json").read_text())
    (net,) = report["tasks"][0]["nets"]
    means = [setting["validation"]["value"] for setting in net["settings"]]
    for mean in means:
        assert f">{mean:.3f}</text>" in text
    assert [s["is_chosen"] for s in net["settings"]].index(True) == int(np.argmax(means))


def _write_two_nets(tmp_path: Path, store: Path) -> Path:
    grid = tmp_path / "grid"
    for model in ("np-rnn", "mean-pool"):
        for place, (lr, dropout) in enumerate([(a, b) for a in (1e-3, 1e-2) for b in (0.5, 0.7)]):
            folder = grid / f"{model}-{place}"
            write_run(folder, store, model=model, lr=lr, dropout=dropout, bend=place)
            write_log(folder)
    return grid


def test_one_comparison_leads_and_all_heat_maps_share_a_scale(tmp_path: Path, store: Path) -> None:
    study = study_runs(_write_two_nets(tmp_path, store))
    text = write_study(tmp_path / "out", study).read_text()
    tests = {net.net.model: net.row for net in study.tasks[0].nets}
    order = re.findall(r'<th scope="row">([^<]*)</th>', text[: text.index("</table>")])
    values = [row.scores[0].estimate.value for name in order if (row := tests[name]) is not None]
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    places = [text.index(mark) for mark in (
        'class="about"', "</table>", 'id="task-0-intervals-', 'id="task-0-learning-',
        "All nets on one scale", 'id="task-0-grid-0-', 'id="task-0-grid-1-', "<section",
    )]  # fmt: skip
    assert places == sorted(places)
    best = max(
        s.score.estimate.value for n in study.tasks[0].nets for s in n.net.settings if s.score
    )
    assert f"{best:.3f}</p>" in text
    assert not any("open" in details for details in PageReader(text).all("details"))


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_of_the_study_is_cut(
    tmp_path: Path, store: Path, open_page: Callable[..., Seen], size: dict[str, int]
) -> None:
    page = write_study(tmp_path / "out", study_runs(_write_two_nets(tmp_path, store)))
    seen = open_page(page.as_uri(), size=size)
    assert seen.page.locator("figure svg").count() == 4
    assert find_cut_words(seen) == []
    assert not is_too_wide(seen.page)
    widths = "e => [e.scrollWidth, e.clientWidth]"
    inner, outer = seen.page.locator(".wide").first.evaluate(widths)  # the comparison
    assert inner <= outer
    assert seen.problems == []


def test_a_grid_that_varies_in_one_of_the_two_alone_has_no_heat_map(
    tmp_path: Path, store: Path
) -> None:
    for place, lr in enumerate((1e-3, 1e-2)):
        write_run(tmp_path / "grid" / str(place), store, lr=lr, bend=place)
    text = write_study(tmp_path / "out", study_runs(tmp_path / "grid")).read_text()
    assert "heat map" not in text


def test_the_papers_numbers_stand_beside_ucf101_and_nowhere_else(
    tmp_path: Path, store: Path
) -> None:
    for model in ("np-rnn", "mean-pool"):
        write_run(tmp_path / "grid" / model, store, model=model)
    study = study_runs(tmp_path / "grid")
    assert "paper, test" not in format_study(study)
    for model in ("np-rnn", "mean-pool"):
        path = tmp_path / "grid" / model / "config.yaml"
        edit_sealed(path, "split: tiny", "split: ucf101-tiny")
    study = study_runs(tmp_path / "grid")
    printed = format_study(study)
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert lines["np-rnn"].endswith("0.786        0.752")
    assert TABLE_3["np-rnn"].test == 0.752
    write_study(tmp_path / "out", study)
    report = json.loads((tmp_path / "out" / "study.json").read_text())
    papers = {net["model"]: net["paper"] for net in report["tasks"][0]["nets"]}
    assert papers == {"np-rnn": {"validation": 0.786, "test": 0.752}, "mean-pool": None}
    assert "UCF-101 split one, all 101 classes" in printed
    assert "this study: ucf101-tiny, 6 classes" in printed


def test_tasks_of_one_study_are_never_mixed(tmp_path: Path) -> None:
    grid = tmp_path / "grid"
    for length in (12, 20):
        for model in ("np-rnn", "irnn"):
            section = toy_section("addition", length=length)
            write_toy_run(grid / f"{model}-{length}", section, model=model, budget=0.1)
    write_toy_run(grid / "copying", toy_section("copying"))
    study = study_runs(grid)
    names = [task.study.name for task in study.tasks]
    assert sorted(names) == ["addition (length=12)", "addition (length=20)", "copying"]
    printed = format_study(study)
    assert "np-rnn, budget 0.1" in printed
    assert "test sequences" in printed
    assert "NOT COMPARABLE" not in printed
    assert find_addresses(write_study(tmp_path / "out", study).read_text()) == []


@pytest.mark.parametrize("folder", ["absent", "."])
def test_a_folder_without_runs_is_refused(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(tmp_path / folder)]) == 2
    assert "expected runs in it or below, found none" in capsys.readouterr().err


def test_copies_of_a_run_are_no_seeds(tmp_path: Path, store: Path) -> None:
    write_run(tmp_path / "grid" / "a", store)
    shutil.copytree(tmp_path / "grid" / "a", tmp_path / "grid" / "b")
    with pytest.raises(ValueError, match="would count twice"):
        study_runs(tmp_path / "grid")
