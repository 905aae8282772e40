"""Every benchmark runs, and its report holds both sides of each ratio."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import texts, versions
from benchmarks.answers import __main__ as answers
from benchmarks.answers.setting import Setting, write_h264
from benchmarks.profiles import UPDATE, choose_shown, record_training
from benchmarks.report import Comparison, Side
from benchmarks.spans import Span, draw_timeline, own_cpu_seconds
from pipeline.recurrent import fused
from tests.test_predict_videos import make_classifier
from tests.tiny_clips import write_clips

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def _tiny_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder with 66 small clips and no weights."""
    write_clips(tmp_path / "data" / "ucf101", num=66, num_frames=6)
    (tmp_path / "data" / "INDEX.md").touch()
    monkeypatch.setenv("NPRNN_DATA", str(tmp_path / "data"))


def test_the_memory_of_reading_a_text_is_told_by_stages(tmp_path: Path) -> None:
    texts.write_shards(tmp_path, 5000, held_out=300)
    told = list(texts.measure(tmp_path, tmp_path / "tokens", seconds=0.1))
    stages = [line.split()[0] for line in told]
    assert stages == ["before", "counted", "numbered", "in", "least"]
    assert "5,200 tokens" in told[1]  # 25 words a line, and its end


def test_a_store_of_killed_parts_is_compared_with_that_of_one_process() -> None:
    command = [sys.executable, "-m", "benchmarks.parts", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.endswith(" 1 stores with the bytes of one process's\n")


def test_ratios_are_of_the_best_rounds_and_above_one_where_ours_is_better() -> None:
    ours, theirs = Side("ours", (2.0, 4.0, 3.0)), Side("theirs", (8.0, 6.0, 9.0))
    time = Comparison("", "s", "time", ours, theirs, target=3)
    assert (time.ratio, time.ratio_of_medians, time.is_met) == (3, 8 / 3, True)
    rate = Comparison("", "1/s", "rate", theirs, ours, target=3)
    assert (rate.ratio, rate.ratio_of_medians, rate.is_met) == (9 / 4, 8 / 3, False)
    share = Comparison("", "s", "share", ours, theirs, target=0.4)
    assert (share.ratio, share.is_met) == (3 / 8, True)


def test_every_stage_of_an_answer_stands_beside_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("time_starts", "time_loading"):  # they start processes, and read weights
        monkeypatch.setattr(answers, name, lambda *_, **__: [])
    names, more = ("short", "large", "small"), {}  # type: ignore[var-annotated]
    paths = [tmp_path / f"{name}.mp4" for name in names]
    videos = {path.stem: write_h264(path, height=48, width=64, num_frames=4) for path in paths}
    options = argparse.Namespace(rounds=1, frames=4)
    setting = Setting("float32", make_classifier(), None)
    found = {row.what: row for row in answers.measure(setting, videos, options, more)}
    stages = ["decode, large", "batch 1, float32: backbone", "resize, crop", "recurrent step",
              "answer as JSON", "predict, float32: a frame", "serve, float32: request to answer",
              "watch, float32, small: a frame read"]  # fmt: skip
    assert set(stages) <= set(found)
    assert all(row.ratio > 0 for row in found.values())
    assert [text.split(" frames read")[0] for text in more.values()] == ["4", "4"]


@pytest.mark.usefixtures("_tiny_data")
@pytest.mark.parametrize(
    ("name", "num_comparisons"),
    [
        ("kernel", 21),
        ("training", 5),
        ("loading", 5),
        ("extraction", 2),
    ],
)
def test_a_benchmark_writes_both_sides_of_its_ratios_and_a_picture(
    name: str, num_comparisons: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("kernel", "training") and not fused.is_available():
        pytest.skip(str(fused.unavailable_reason()))
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path)])
    module = "extraction.__main__" if name == "extraction" else name
    importlib.import_module(f"benchmarks.{module}").main()
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(report["comparisons"]) == num_comparisons
    for row in report["comparisons"]:
        assert row["ours"]["values"]
        assert row["theirs"]["values"]
        assert row["ratio"] > 0
        assert row["is_met"] is None  # a trial is held against no target
    assert {"processor", "versions"} <= set(report["machine"])
    assert (tmp_path / f"{name}.png").stat().st_size > 0


def test_cpu_seconds_of_a_part_are_without_those_of_parts_inside_it() -> None:
    spans = [
        Span("inner", "main", 2, 5, 3.0), Span("outer", "main", 0, 10, 9.0),
        Span("inner", "main", 6, 7, 0.5), Span("after", "main", 10, 11, 1.0),
    ]  # fmt: skip
    assert own_cpu_seconds(spans) == {"outer": 5.5, "inner": 3.5, "after": 1.0}


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
def test_a_profile_tells_the_products_of_each_call_of_the_kernel(tmp_path: Path) -> None:
    spans = record_training(
        ["+experiment=addition-np-rnn-150", "task.num_train=32", "task.num_val=8",
         "task.num_test=8", "trainer.batch_size=16", "trainer.updates_per_step=1"]
    )  # fmt: skip
    of_step = 16 * 150 * 100
    work = {
        part: {s.work for s in spans if s.part == part}
        for part in ("kernel, forward", "kernel, backward")
    }
    assert work == {
        "kernel, forward": {of_step * 102, of_step * 51},
        "kernel, backward": {of_step * 202},
    }
    assert {"readout and loss", "clipping and optimizer"} <= {span.part for span in spans}
    draw_timeline(choose_shown(spans, UPDATE), tmp_path / "a.svg")
    assert "kernel, backward" in (tmp_path / "a.svg").read_text()


def test_two_checkouts_train_by_turns() -> None:
    case = ["task=addition", "task.length=5", "task.num_train=4", "task.num_val=2"]
    (found,) = versions.compare(ROOT, {"addition": (case, 4)}, rounds=1)
    assert [len(side.values) for side in (found.ours, found.theirs)] == [1, 1]
    assert found.ratio > 0
