"""Runs of toy tasks to scores: regression, answers at many steps, and what their pages say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from eval.__main__ import main
from eval.predictions.predict import summarize_steps
from eval.predictions.predictions import (
    Predictions,
    is_same_test,
    read_predictions,
    write_predictions,
)
from eval.report.evaluate import evaluate_predictions, evaluate_runs
from pipeline.runs import save_weights
from pipeline.tasks import NOT_SCORED, PartUse, make_task
from tests.test_report import find_addresses
from tests.tiny_runs import toy_section, write_toy_run

CSV = Path("eval") / "test" / "predictions.csv"


@pytest.mark.parametrize("name", ["addition", "multiplication"])
def test_a_marked_sum_is_scored_by_its_share_within_tolerance_and_its_square_error(
    tmp_path: Path, name: str
) -> None:
    section = toy_section(name, num=4000)
    net = write_toy_run(tmp_path / "run", section)
    (row,) = evaluate_runs([tmp_path / "run"]).rows
    share, mse = row.scores
    test = make_task(section).sequences("test")
    batch = test[list(range(4000))]
    errors = (net(batch.features, batch.lengths) - batch.targets).detach().double().numpy()
    assert share.estimate.value == pytest.approx((abs(errors) < 0.04).mean(), abs=1e-3)
    assert mse.estimate.value == pytest.approx((errors**2).mean(), rel=1e-4)
    # The exact floors: within 0.04 of 1, and of 0.04; the variances 1/6 and 7/144. 4,000 sequences
    # know a share near 0.08 to 0.004 and one near 0.28 to 0.007 (one sd), and the best constant of
    # a draw is a little better than that of the law.
    within, variance = {"addition": (0.0784, 1 / 6), "multiplication": (0.2821, 7 / 144)}[name]
    assert share.floor == pytest.approx(within, abs=0.025)
    assert mse.floor == pytest.approx(variance, rel=0.1)


def test_a_toy_tasks_page_speaks_of_sequences_and_shows_work_and_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = toy_section("addition", num=200)
    for model in ("np-rnn", "lstm"):
        write_toy_run(tmp_path / model, section, model=model, budget=0.1)
    runs = [str(tmp_path / model) for model in ("np-rnn", "lstm")]
    assert main(["--run", *runs, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "np-rnn (budget 0.1)" in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "multiply-adds a step" in lines["model"]
    assert "sequences" in lines["model"]
    # One gate of 8 (2 + 8), and four of them.
    assert " 80 " in lines["np-rnn"]
    assert " 320 " in lines["lstm"]
    text = (tmp_path / "out" / "report.html").read_text()
    assert "budget 0.1" in text
    assert "clips" not in text.partition("</style>")[2].replace('class="clips"', "")
    assert find_addresses(text) == []
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["multiply_adds_per_step"] for row in report["rows"]] == [80, 320]


def test_copying_is_scored_over_the_recalled_symbols_alone(tmp_path: Path) -> None:
    section = toy_section("copying", num=60)
    net = write_toy_run(tmp_path / "run", section)
    (row,) = evaluate_runs([tmp_path / "run"], batch_size=7).rows
    batch = make_task(section).sequences("test")[list(range(60))]
    outputs = net(batch.features, batch.lengths).detach()
    shares, entropies = [], []
    for of_sequence, targets in zip(outputs, batch.targets, strict=True):
        recalled = [(s, int(t)) for s, t in zip(of_sequence, targets, strict=True) if t >= 0]
        assert len(recalled) == 10
        shares.append(np.mean([int(s.argmax()) == t for s, t in recalled]))
        entropies.append(-np.mean([float(s.log_softmax(0)[t]) for s, t in recalled]))
    share, entropy = row.scores
    assert share.estimate.value == pytest.approx(np.mean(shares))
    assert 0 < np.mean(shares) < 1
    assert entropy.estimate.value == pytest.approx(np.mean(entropies), rel=1e-5)
    counts = np.bincount(batch.targets[batch.targets >= 0].numpy(), minlength=8)
    assert share.floor == pytest.approx(counts.max() / counts.sum())
    assert entropy.floor == pytest.approx(stats.entropy(counts))
    text = (tmp_path / "run" / "eval" / "test" / "report.html").read_text()
    assert "Those with the fewest steps answered rightly." in text
    assert "Confusion" not in text


def test_the_file_of_answers_at_many_steps_does_not_grow_with_their_number(tmp_path: Path) -> None:
    for length in (5, 500):
        section = toy_section("copying", length=length, num=5)
        write_toy_run(tmp_path / str(length), section)
        evaluate_runs([tmp_path / str(length)])
        with (tmp_path / str(length) / CSV).open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0][3:-1] == [  # the last is the checksum
            *(f"share:{symbol}" for symbol in range(8)),
            "output:right",
            "output:log-probability",
        ]
        assert len(rows) == 6


def test_answers_at_many_steps_read_back_exactly_and_give_the_same_table(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "run", toy_section("copying"))
    first = evaluate_runs([tmp_path / "run"])
    found = read_predictions(tmp_path / "run" / CSV)
    write_predictions(tmp_path / "again.csv", found)
    again = read_predictions(tmp_path / "again.csv")
    assert is_same_test(found, again)
    assert again.is_by_step
    np.testing.assert_array_equal(again.outputs, found.outputs, strict=True)
    np.testing.assert_array_equal(again.targets, found.targets, strict=True)
    second = evaluate_predictions([tmp_path / "run" / CSV], "test", out=tmp_path / "out")
    assert str(second) == str(first)


def test_a_tie_between_symbols_is_no_hit_and_nan_is_no_answer() -> None:
    outputs = torch.zeros(2, 3, 4)
    outputs[0, 1, 2] = 1
    outputs[1, 1] = torch.nan
    targets = torch.tensor([[NOT_SCORED, 2, 0], [NOT_SCORED, 1, NOT_SCORED]])
    kept, shares = summarize_steps(outputs, targets)
    assert kept[:, 0].tolist() == [0.5, 0]
    assert shares.tolist() == [[0.5, 0, 0.5, 0], [0, 1, 0, 0]]
    predictions = Predictions(
        tuple("abcd"), kept.numpy(), shares.numpy(), ("x", "y"), PartUse(2, ("x", "y")),
        is_by_step=True,
    )  # fmt: skip
    assert predictions.num_not_finite == 1


def test_a_net_that_answers_every_step_of_a_task_with_one_target_is_refused() -> None:
    with pytest.raises(ValueError, match="readout=all.*Train with readout=last"):
        summarize_steps(torch.zeros(2, 3, 4), torch.tensor([1, 2]))


def test_a_diverged_toy_run_has_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("addition", "copying"):
        net = write_toy_run(tmp_path / name, toy_section(name))
        with torch.no_grad():
            net.readout.bias.fill_(torch.nan)
        save_weights(tmp_path / name, net)
        assert main(["--run", str(tmp_path / name)]) == 1
        assert "no score, diverged: 40 of 40 answers are NaN" in capsys.readouterr().out


def test_ten_thousand_sequences_are_written_and_reported_in_seconds(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "run", toy_section("addition", num=10_000))
    evaluation = evaluate_runs([tmp_path / "run"])
    assert len(read_predictions(tmp_path / "run" / CSV).ids) == 10_000
    assert evaluation.page.stat().st_size < 200_000
    report = json.loads((tmp_path / "run" / "eval" / "test" / "report.json").read_text())
    assert len(report["rows"][0]["worst"]) == 10


def test_runs_that_differ_in_their_budget_alone_are_told_apart_and_never_joined(
    tmp_path: Path,
) -> None:
    section = toy_section("addition")
    for seed, budget in enumerate((1.0, 0.1)):
        write_toy_run(tmp_path / str(seed), section, seed=seed, budget=budget)
    rows = evaluate_runs([tmp_path / "0", tmp_path / "1"], out=tmp_path / "out").rows
    assert [row.name for row in rows] == ["np-rnn", "np-rnn (budget 0.1)"]
