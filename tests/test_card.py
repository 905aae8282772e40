"""A run's model card: what the Hub reads, what people read, and who may change it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from eval.report.evaluate import evaluate_runs
from pipeline.runs import CARD, CardScore, Run, load_run, write_card
from tests.tiny_runs import toy_section, write_run, write_store, write_toy_run
from train.config import compose_config
from train.fit import train_run

SCORES = [CardScore("test", "top-1 accuracy", 0.83333, 0.51599, 0.97913, 1 / 3, 12)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_run(tmp_path / "runs" / "a", write_store(tmp_path / "store"), model="np-rnn")
    return load_run(tmp_path / "runs" / "a")


def read_front(run: Run) -> dict[str, Any]:
    """The card's YAML, as PyYAML reads it."""
    text = (run.folder / CARD).read_text()
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match is not None
    content: dict[str, Any] = yaml.safe_load(match[1])
    return content


def test_the_hub_reads_of_a_card_the_scores_that_were_written(run: Run) -> None:
    assert write_card(run, SCORES)
    (result,) = read_front(run)["model-index"][0]["results"]
    assert result["dataset"] == {"name": "store", "type": "clips", "split": "test"}
    assert result["metrics"] == [
        {
            "type": "accuracy",
            "name": "top-1 accuracy",
            "value": 0.8333,
            "args": {"interval_95": [0.516, 0.9791], "floor": 0.3333, "sequences": 12},
        }
    ]
    card = ModelCard.load(run.folder / CARD)  # the Hub's own reader
    assert card.data.pipeline_tag == "video-classification"
    assert card.data.eval_results[0].metric_value == 0.8333
    assert "license" not in read_front(run)


def test_people_read_the_same_numbers_and_how_to_load_the_run(run: Run) -> None:
    write_card(run, SCORES)
    text = (run.folder / CARD).read_text()
    assert "| test | top-1 accuracy | 0.833 | [0.516, 0.979] | 0.333 | 12 |" in text
    assert f"{run.provenance.num_parameters:,} parameters" in text
    assert "6 labels: bow, climb, dive, jump, run, walk." in text
    assert f"Features `store`: 6 numbers of every frame, by {run.features.backbone}" in text  # type: ignore[union-attr]
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(program, CARD, "exec")


def test_a_card_says_nothing_of_where_it_was_made(run: Run, tmp_path: Path) -> None:
    write_card(run, SCORES)
    assert str(tmp_path) not in (run.folder / CARD).read_text()


def test_a_card_without_scores_says_how_to_get_them(run: Run) -> None:
    write_card(run)
    assert "model-index" not in read_front(run)
    assert "None yet: `python -m eval --run FOLDER`" in (run.folder / CARD).read_text()


def test_a_card_that_was_changed_by_hand_stays_as_it_is(run: Run) -> None:
    assert write_card(run)
    assert write_card(run, SCORES)
    changed = (run.folder / CARD).read_text().replace("## Data", "License: ours.\n\n## Data")
    (run.folder / CARD).write_text(changed)
    assert not write_card(run)
    assert (run.folder / CARD).read_text() == changed


def test_an_evaluation_adds_each_part_to_the_card_and_says_where_it_may_not(run: Run) -> None:
    evaluate_runs([run.folder])
    first = (run.folder / CARD).read_text()
    evaluation = evaluate_runs([run.folder], "val")
    results = read_front(run)["model-index"][0]["results"]
    assert {result["dataset"]["split"] for result in results} == {"test", "val"}
    values = {
        metric["name"]: metric["value"]
        for result in results
        if result["dataset"]["split"] == "val"
        for metric in result["metrics"]
    }
    scores = evaluation.rows[0].scores
    assert values == {s.name: pytest.approx(s.estimate.value, abs=5e-5) for s in scores}
    # An evaluation that goes elsewhere is none of the folder's.
    evaluate_runs([run.folder], out=run.folder.parent / "out", frames="reversed")
    assert len(read_front(run)["model-index"][0]["results"]) == len(results)
    (run.folder / CARD).write_text(first + "More.\n")
    said: list[str] = []
    evaluate_runs([run.folder], say=said.append)
    assert f"{run.folder / CARD} was changed by hand, and is left without these scores." in said


def test_training_ends_with_a_card(tmp_path: Path) -> None:
    sizes = [f"task.num_{part}=16" for part in ("train", "val", "test")]
    words = ["task=addition", "task.length=10", *sizes, f"out={tmp_path}", "model=irnn"]
    folder = train_run(compose_config([*words, "schedule.phase_epochs=[1,1,1]"]))
    run = load_run(folder)
    assert read_front(run)["tags"] == ["np-rnn", "recurrent-neural-network", "irnn", "addition"]
    assert "pipeline_tag" not in read_front(run)
    assert f"in {run.provenance.train_seconds:,.0f} s" in (folder / CARD).read_text()


def test_the_program_of_a_card_loads_the_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy_run(tmp_path / "FOLDER", toy_section("addition"))
    run = load_run(tmp_path / "FOLDER")
    write_card(run)
    (program,) = re.findall(r"```python\n(.*?)```", (run.folder / CARD).read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["run"].config == run.config
    assert names["net"].spec == run.config.net
