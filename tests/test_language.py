"""A language model trained and scored: what a run keeps, predictions, scores, floors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from eval.__main__ import main as run_eval
from eval.predictions.predict import PartReader, predict
from eval.predictions.predictions import Predictions, read_predictions, write_predictions
from eval.report.evaluate import evaluate_runs
from eval.scores.notes import find_notes
from eval.scores.rows import describe_run, make_rows
from eval.scores.scores import score, score_floors
from pipeline.metrics import estimate_mean, estimate_ratio
from pipeline.recurrent.stepper import Stepper
from pipeline.runs import load_net, load_run
from pipeline.tasks import NOT_SCORED, PartUse
from tests.tiny_texts import write_texts
from train.callbacks import EpochLog
from train.config import compose_config
from train.fit import train_run


def list_overrides(folder: Path, *more: str) -> list[str]:
    root = folder / "texts"
    if not root.is_dir():
        write_texts(root, num_lines=120)
    return [
        "task=words", f"task.root={root}", "task.steps=8", "model.hidden_size=12",
        "model.embedding_size=8", "model.dropout=0.1", "optimizer=adam", "optimizer.lr=1e-2",
        "trainer.batch_size=4", "schedule.phase_epochs=[3]", "logger=none",
        f"out={folder / 'runs'}", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stream_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    return train_run(compose_config(list_overrides(folder, "model=irnn")))


def make_predictions(seed: int = 0, *, unit: str = "word") -> Predictions:
    draw = np.random.default_rng(seed)
    names = tuple(f"{place:05d}" for place in range(9))
    num = np.array([30, 3, 25, 40, 8, 17, 50, 21, 4])
    nats = draw.uniform(3, 5, (9, 3)) * num[:, None]
    return Predictions(
        labels=(), outputs=-nats.astype(np.float32),
        targets=np.stack([num, num // 5], axis=1).astype(np.float32),
        sources=names, use=PartUse(9, names), unit=unit, floors=("unigram", "kneser-ney-5"),
    )  # fmt: skip


def test_a_net_learns_and_its_perplexity_is_that_of_all_tokens_read_at_once(
    stream_run: Path,
) -> None:
    run = load_run(stream_run)
    reader = PartReader("test")
    predictions = predict(run, reader, batch_size=3, device="cpu")
    task, cuts = reader.read(run)
    text = task.sequences("test")[range(len(cuts))].targets
    numbers = text[text != NOT_SCORED]
    inputs = torch.cat([torch.ones(1, dtype=torch.int64), numbers[:-1]])[None, :, None].int()
    with torch.no_grad():
        outputs = load_net(run)(inputs, torch.tensor([len(numbers)]))[0]
    expected = math.exp(F.cross_entropy(outputs, numbers).item())
    found, beside = score([predictions])
    assert found.name == "perplexity"
    assert found.estimate.value == pytest.approx(expected, rel=1e-5)
    assert found.estimate.value < found.floor < len(task.kept()["vocabulary.txt"].splitlines())
    assert beside.floor == 1
    assert beside.estimate.value == pytest.approx(expected / score_floors(predictions)[1], rel=1e-4)


def test_sentences_are_scored_each_by_itself_in_any_batch(tmp_path: Path) -> None:
    overrides = list_overrides(tmp_path, "model=lstm", "task.steps=35", "task.protocol=sentences")
    run = load_run(train_run(compose_config(overrides)))
    net, reader = load_net(run), PartReader("test")
    sets = [predict(run, reader, batch_size=size, device="cpu") for size in (1, 7, 100)]
    _, sentences = reader.read(run)
    for place in range(len(sentences)):
        batch = sentences[[place]]
        with torch.no_grad():
            outputs = net(batch.features, batch.lengths)[0]
        expected = -F.cross_entropy(outputs, batch.targets[0], reduction="sum").item()
        assert [p.outputs[place, 0] for p in sets] == pytest.approx([expected] * 3, rel=1e-4)
    assert sets[0].targets[:, 0].tolist() == sentences.lengths.tolist()


def test_a_run_keeps_its_vocabulary_which_is_no_part_of_its_config(
    stream_run: Path, tmp_path: Path
) -> None:
    run = load_run(stream_run)
    assert run.config.labels == ()
    assert (stream_run / "vocabulary.txt").is_file()
    assert "cat" not in (stream_run / "config.yaml").read_text()
    text = (stream_run / "vocabulary.txt").read_text()
    try:
        (stream_run / "vocabulary.txt").write_text(text.replace("cat", "cap"))
        with pytest.raises(ValueError, match=r"vocabulary.txt is damaged"):
            PartReader("test").read(run)
    finally:
        (stream_run / "vocabulary.txt").write_text(text)


def test_a_training_on_a_stream_stopped_and_resumed_equals_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kill(BaseException):
        pass

    whole = train_run(compose_config(list_overrides(tmp_path, f"out={tmp_path / 'whole'}")))
    stopped = compose_config([*list_overrides(tmp_path), f"out={tmp_path / 'stopped'}"])

    def stop(self: EpochLog, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 1 and trainer.global_step % 7 == 3:
            raise Kill

    with monkeypatch.context() as context:
        context.setattr(EpochLog, "on_train_batch_end", stop)
        with pytest.raises(Kill):
            train_run(stopped)
    folder = train_run(stopped)
    weights = load_file(whole / "weights.safetensors")
    for name, tensor in load_file(folder / "weights.safetensors").items():
        assert torch.equal(weights[name], tensor), name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.embedding_size=0"], "model.embedding_size is 0, but the features of task=words"),
        (["model=mean-pool"], "model.hidden_size: not of the model that was chosen"),
        (["model.softmax=adaptive"], "model.softmax=adaptive: expected more than 1000 outputs"),
        (["model.bidirectional=true"], "reads a sequence from its end"),
        (["task.root=nowhere"], "nowhere: expected a folder of texts or one text, found nothing"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_run(compose_config([*list_overrides(tmp_path), *overrides]))
    assert not (tmp_path / "runs").exists()


def test_predictions_of_a_language_read_back(tmp_path: Path) -> None:
    for unit in ("word", "character"):
        given = make_predictions(unit=unit)
        write_predictions(tmp_path / "predictions.csv", given)
        found = read_predictions(tmp_path / "predictions.csv")
        assert (found.unit, found.floors, found.kind) == (unit, given.floors, "language")
        np.testing.assert_array_equal(found.outputs, given.outputs)
        np.testing.assert_array_equal(found.targets, given.targets)


def test_characters_are_scored_in_bits() -> None:
    given = make_predictions(unit="character")
    bits, beside = score([given])
    expected = -given.outputs.sum(axis=0) / given.targets[:, 0].sum() / math.log(2)
    assert bits.name == "bits a character"
    assert (bits.estimate.value, bits.floor) == pytest.approx(expected[:2], rel=1e-5)
    assert beside.estimate.value == pytest.approx(expected[0] - expected[2], rel=1e-4)
    assert beside.floor == 0


def test_seeds_share_a_score_and_spread_widens_its_interval() -> None:
    first, second = make_predictions(0), make_predictions(1)
    second = replace(second, targets=first.targets)
    joined, alone = score([first, second])[0], score([first])[0]
    assert joined.estimate.value == pytest.approx(math.sqrt(math.prod(joined.of_seeds)), rel=1e-6)
    assert alone.estimate.low < alone.estimate.value < alone.estimate.high
    assert joined.spread is not None


def test_a_ratio_of_equal_weights_is_a_mean() -> None:
    sums = np.array([[1.0, 2.0, 4.0, 8.0], [2.0, 2.0, 3.0, 9.0]])
    names = ["a", "b", "b", "c"]
    assert estimate_ratio(2 * sums, np.full(4, 2.0), names) == estimate_mean(sums, names)


def test_the_interval_of_a_ratio_covers_what_was_drawn_from() -> None:
    draw, hits = np.random.default_rng(0), 0
    for _ in range(400):
        weights = draw.integers(5, 50, 60).astype(float)
        found = estimate_ratio(
            weights * 4 + draw.normal(0, 2 * weights**0.5), weights, [str(i) for i in range(60)]
        )
        hits += found.low < 4 < found.high
    assert 0.92 < hits / 400 < 0.98  # 95 % with a standard error of 1.1 %


def test_the_report_tells_what_counting_reaches_and_how_many_words_are_unknown(
    stream_run: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_runs([stream_run], out=tmp_path, device="cpu")
    num = int(evaluation.rows[0].seeds[0].targets[:, 0].sum())
    (note,) = evaluation.notes
    assert note.startswith(f"{num:,} words predicted, ends of lines among them; 0 are <unk>.")
    assert "unigram" in note
    assert "kneser-ney-5" in note
    page = evaluation.page.read_text()
    assert "highest perplexity" in page
    assert "perplexity" in str(evaluation)


def test_rows_of_other_texts_are_not_comparable(stream_run: Path) -> None:
    run = load_run(stream_run)
    first, second = make_predictions(), make_predictions()
    second = replace(second, targets=second.targets + 1)
    rows = make_rows([describe_run(run, first), describe_run(run, second)])
    assert any("NOT COMPARABLE" in note for note in find_notes(rows, "test"))


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("dynamics", "found one that reads numbers of tokens"),
        ("export", "expected a net that gives a sequence one class, found the task words"),
    ],
)
def test_what_is_of_no_language_refuses_it(
    stream_run: Path, tmp_path: Path, verb: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_eval([verb, "--run", str(stream_run), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in told
    assert message in told
    assert not (tmp_path / "out").exists()


def test_a_net_of_tokens_has_no_steps_of_features(stream_run: Path) -> None:
    with pytest.raises(ValueError, match="reads token numbers"):
        Stepper(load_net(load_run(stream_run)))
