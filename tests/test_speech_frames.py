"""task=speech-frames: parts by speakers, normalised by train, a phone at every frame, scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.predictions.predict import summarize_steps
from eval.predictions.predictions import Predictions, read_predictions, write_predictions
from eval.report.evaluate import evaluate_runs
from eval.scores.scores import score
from extract.__main__ import main as extract
from pipeline.backbones.encoder import load_encoder
from pipeline.clips import Clip
from pipeline.features import FeatureSpec, FeatureStore, FeatureWriter, split_labels
from pipeline.metrics import estimate_mean
from pipeline.runs import load_net, load_run
from pipeline.tasks import NOT_SCORED, PartUse, make_task
from pipeline.tasks.options import SpeechOptions
from pipeline.tasks.speech import SpeechTask, find_fold, split_speakers
from pipeline.tasks.timit import CORE_TEST, DEVELOPMENT, FOLDS, PHONES, place_folds
from tests.tiny_speech import SPEAKERS, TONES, write_corpus
from train.config import compose_config
from train.fit import train_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    words = ["--speech", str(write_corpus(folder / "corpus")), "--out", str(folder / "store")]
    assert extract(words) == 0
    return folder / "store"


def make(store: Path, **options: Any) -> SpeechTask:
    task = make_task({"name": "speech-frames", "features": str(store), **options})
    assert isinstance(task, SpeechTask)
    return task


def make_clips(speakers: dict[str, Any]) -> list[Clip]:
    return [
        Clip(f"{name}-SX{n}", part, name, f"{part}/{name}/SX{n}.WAV")
        for part, names in speakers.items()
        for name in names
        for n in range(2)
    ]


def test_each_feature_has_mean_0_and_deviation_1_over_the_frames_of_train_alone(
    store: Path,
) -> None:
    task = make(store)
    frames = {
        part: np.concatenate([
            batch.features[0, : batch.lengths[0]].numpy()
            for i in range(len(task.sequences(part)))
            if (batch := task.sequences(part)[[i]])
        ])
        for part in ("train", "val")
    }  # fmt: skip
    # Six digits are kept of the statistics.
    np.testing.assert_allclose(frames["train"].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(frames["train"].std(axis=0), 1, atol=1e-3)
    assert np.abs(frames["val"].mean(axis=0)).max() > 0.01


def test_targets_are_the_labels_of_the_store_and_padding_is_never_scored(store: Path) -> None:
    task, records = make(store), FeatureStore(store).records
    ids = task.use("train").used
    batch = task.sequences("train")[list(range(len(ids)))]
    for name, targets, length in zip(ids, batch.targets, batch.lengths, strict=True):
        labels = split_labels(records[name].labels)
        assert [task.labels[t] for t in targets[:length]] == labels
        assert (targets[length:] == NOT_SCORED).all()
    assert task.labels == tuple(sorted(TONES))


def test_validation_speakers_are_drawn_from_train_and_never_train_or_test(store: Path) -> None:
    task = make(store)
    parts = {part: set(task.sources(part)) for part in ("train", "val", "test")}
    assert parts["test"] == set(SPEAKERS["TEST"])
    assert parts["train"] | parts["val"] == set(SPEAKERS["TRAIN"])
    assert len(parts["val"]) == 1
    assert not parts["train"] & parts["val"]
    drawn = {make(store, split_seed=seed).sources("val")[0] for seed in range(12)}
    assert len(drawn) > 1


def test_names_in_lower_case_draw_the_same_speakers() -> None:
    names = {"train": [f"M{i:03d}" for i in range(30)], "test": ["F000"]}
    lower = {part: [name.lower() for name in some] for part, some in names.items()}
    split, other = (
        split_speakers(make_clips(some), SpeechOptions(num_val=4)) for some in (names, lower)
    )
    assert {c.group.lower() for c in split.val} == {c.group for c in other.val}


def test_timits_speakers_make_its_parts() -> None:
    train, others = [f"M{i:03d}" for i in range(20)], ["MXXX0"]
    clips = make_clips({"train": train, "test": [*CORE_TEST, *DEVELOPMENT, *others]})
    split = split_speakers(clips, SpeechOptions())
    assert split.name == "timit"
    for part, names in (("train", train), ("val", DEVELOPMENT), ("test", CORE_TEST)):
        assert {clip.group for clip in split.part(part)} == set(names)
    drawn = split_speakers(clips, SpeechOptions(speakers="draw"))
    assert {clip.group for clip in drawn.test} == {*CORE_TEST, *DEVELOPMENT, *others}


@pytest.mark.parametrize(
    ("speakers", "options", "expected"),
    [
        (
            {"train": ["A", "B"], "test": ["b"]},
            {},
            "1 speakers are in both TRAIN and TEST, such as B",
        ),
        ({"train": ["A", "B"], "test": ["C"]}, {"speakers": "timit"}, "expected the 74 speakers"),
        (
            {"train": ["A", "B"], "test": ["C"]},
            {"num_val": 2},
            "fewer than the 2 speakers of TRAIN",
        ),
        ({"train": ["A", "B"], "test": []}, {}, "1 speakers for training and 0 for testing"),
    ],
)
def test_speakers_that_make_no_parts_are_refused(
    speakers: dict[str, list[str]], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        split_speakers(make_clips(speakers), SpeechOptions(**options))


def test_61_phones_fold_to_48_and_39_classes_as_lee_and_hon_fold_them() -> None:
    assert len(PHONES) == 61
    sizes = [len(set(fold.values()) - {""}) for fold in FOLDS.values()]
    assert sizes == [48, 39]
    told = {
        "ao": ("ao", "aa"), "ax-h": ("ax", "ah"), "bcl": ("vcl", "sil"), "kcl": ("cl", "sil"),
        "h#": ("sil", "sil"), "epi": ("epi", "sil"), "ux": ("uw", "uw"), "q": ("", ""),
        "zh": ("zh", "sh"), "s": ("s", "s"), "nx": ("n", "n"), "el": ("el", "l"),
    }  # fmt: skip
    assert {phone: tuple(fold[phone] for fold in FOLDS.values()) for phone in told} == told
    # The 39 are joined from the 48: phones of one class stay together.
    first, second = FOLDS.values()
    assert len({(first[phone], second[phone]) for phone in PHONES}) == 49
    with pytest.raises(ValueError, match="found others: zz"):
        find_fold("timit", ["aa", "zz"])
    assert [find_fold("auto", p) for p in (PHONES, PHONES[1:], ["zz"])] == ["timit", "none", "none"]


def test_frames_right_by_folds_are_those_whose_class_is_right() -> None:
    labels = ("aa", "ao", "q", "s")
    fold = place_folds(labels, "39 phones")
    answers, targets = (
        torch.tensor([[0, 0, 1, 2, 3, 3]]),
        torch.tensor([[0, 1, 3, 2, 3, NOT_SCORED]]),
    )
    outputs = torch.nn.functional.one_hot(answers, 4).float()
    found, _ = summarize_steps(outputs, targets, [fold])
    # Of 5 phones the first, q and s; of 4 classes aa, aa (said for ao) and s.
    assert found[0, 0] == pytest.approx(3 / 5)
    assert found[0, 2] == pytest.approx(3 / 4)


def make_predictions(**changes: Any) -> Predictions:
    fields: dict[str, Any] = {
        "labels": ("aa", "ao", "q", "s"),
        "outputs": np.array([[0.5, -1.0, 0.75], [0.25, -2.0, 0.5], [1.0, -0.5, 1.0]], np.float32),
        "targets": np.array(
            [[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]], np.float32
        ),
        "sources": ("A", "A", "B"),
        "use": PartUse(3, ("x", "y", "z")),
        "is_by_step": True,
        "num_scored": np.array([100, 40, 20]),
        "folds": ("39 phones",),
        **changes,
    }
    return Predictions(**fields)


def test_the_frame_error_is_over_all_frames_with_the_floor_of_the_commonest_phone() -> None:
    error, folded, entropy = score([make_predictions()])
    wrong = 0.5 * 100 + 0.75 * 40 + 0.0 * 20
    assert error.name == "frame error"
    assert error.estimate.value == pytest.approx(wrong / 160)
    assert error.floor == pytest.approx(1 - (50 + 20) / 160)  # aa
    # Without q, and with ao among the aa: 100 + 20 + 20 frames, 25 + 10 of them wrong.
    assert folded.name == "frame error, 39 phones"
    assert folded.estimate.value == pytest.approx(35 / 140)
    assert folded.floor == pytest.approx(1 - (75 + 20) / 140)
    assert entropy.estimate.value == pytest.approx((100 + 2 * 40 + 0.5 * 20) / 160)


def test_the_interval_of_a_frame_error_covers_what_other_speakers_give() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        speakers = np.repeat(np.arange(8), 5)
        rate = np.clip(0.3 + 0.08 * generator.standard_normal(8), 0, 1)[speakers]
        num = generator.integers(100, 400, size=40)
        wrong = generator.binomial(num, rate) / num
        found = estimate_mean(wrong, list(map(str, speakers)), num / num.sum())
        covered += found.low <= 0.3 <= found.high
    # 95 %, of which 400 draws show 93 to 97 (two sd), and a ratio of few is a little too sure.
    assert 0.91 <= covered / 400 <= 0.98


def test_predictions_of_frames_read_back(tmp_path: Path) -> None:
    predictions = make_predictions()
    write_predictions(tmp_path / "a.csv", predictions)
    found = read_predictions(tmp_path / "a.csv")
    assert found.folds == ("39 phones",)
    for name in ("outputs", "targets", "num_scored"):
        np.testing.assert_array_equal(getattr(found, name), getattr(predictions, name))
    assert [s.estimate for s in score([found])] == [s.estimate for s in score([predictions])]


def train(store: Path, out: Path, *more: str) -> Path:
    words = [
        "model=gru", "task=speech-frames", f"features={store}", f"out={out}", "logger=none",
        "model.hidden_size=8", "schedule.phase_epochs=[12]", "trainer.batch_size=2",
        "model.dropout=0", "optimizer=adam", "optimizer.lr=0.02", *more,
    ]  # fmt: skip
    return train_run(compose_config(words))


def test_a_net_learns_which_tone_it_hears_and_is_scored_by_what_its_run_keeps(
    store: Path, tmp_path: Path
) -> None:
    folder = train(store, tmp_path)
    row, *_ = evaluate_runs([folder]).rows
    error, _ = row.scores
    assert error.estimate.value < 0.1 < error.floor
    run = load_run(folder)
    task = make(store)
    net, right, total = load_net(run), 0, 0
    for place in range(len(task.sequences("test"))):
        batch = task.sequences("test")[[place]]
        answers = net(batch.features, batch.lengths).argmax(dim=2)
        right += int((answers == batch.targets).sum())
        total += int((batch.targets != NOT_SCORED).sum())
    assert error.estimate.value == pytest.approx(1 - right / total, abs=1e-6)
    assert run.config.origin.sequences["mean"] == task.origin.sequences["mean"]


def test_evaluation_normalises_by_the_runs_statistics_not_by_those_of_another_store(
    store: Path, tmp_path: Path
) -> None:
    """A store of fewer training utterances stands in: its test part must read the same."""
    folder = train(store, tmp_path, "budget=0.1")
    other, whole = tmp_path / "other", FeatureStore(store)
    first, *_ = evaluate_runs([folder]).rows
    kept = [r for r in whole.records.values() if r.clip.label == "test" or "SX0" in r.clip.id]
    write_labelled(other, whole, [record.clip.id for record in kept])
    second, *_ = evaluate_runs([folder], features=str(other)).rows
    assert second.scores[0].estimate == first.scores[0].estimate


def write_labelled(
    folder: Path, whole: FeatureStore, ids: list[str], *, relabelled: str = ""
) -> None:
    from pipeline.features import ShardWriter, claim_store, write_index  # noqa: PLC0415

    claim_store(folder, whole.spec)
    with ShardWriter(folder, "shard-00000", whole.spec) as shard:
        for name in ids:
            shard.append(whole.read(name))
            record = whole.records[name]
            if name == relabelled:
                record = replace(record, labels=record.labels.replace("aa*", "new*"))
            shard.finish(record)
    write_index(folder, whole.spec, ["shard-00000"])


def test_a_run_of_speech_says_so_on_its_card_and_reads_no_video(
    store: Path, tmp_path: Path
) -> None:
    run = load_run(train(store, tmp_path, "budget=0.1"))
    card = (run.folder / "README.md").read_text()
    assert "pipeline_tag: audio-classification" in card
    assert "123 numbers of every frame, banks, energy and differences of mel filter banks" in card
    assert "Streamer" not in card
    with pytest.raises(ValueError, match="was trained on features of sound"):
        load_encoder(run.features)
    with pytest.raises(ValueError, match="whose inputs are no frames of clips"):
        evaluate_runs([run.folder], frames="shuffled")


def test_a_phone_that_train_never_heard_is_said_and_counts_as_wrong(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = FeatureStore(store)
    strange = tmp_path / "strange"
    with_new = next(name for name, r in whole.records.items() if r.clip.label == "test")
    write_labelled(strange, whole, list(whole.records), relabelled=with_new)
    folder = train(strange, tmp_path / "runs", "budget=0.1")
    assert "no training frame of 1 of 5 classes (new)" in capsys.readouterr().out
    error = evaluate_runs([folder]).rows[0].scores[0]
    predictions = read_predictions(folder / "eval" / "test" / "predictions.csv")
    share = predictions.targets[predictions.ids.index(with_new), predictions.labels.index("new")]
    assert 0.05 < share <= 1 - predictions.outputs[predictions.ids.index(with_new), 0]
    assert error.estimate.value > 0


def test_tasks_of_clips_and_of_speech_refuse_each_others_stores(
    store: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="is of speech.*\nPass task=speech-frames"):
        make_task({"name": "clips", "features": str(store), "split": "draw"})
    with FeatureWriter(tmp_path / "clips", FeatureSpec("mine", 3)) as writer:
        writer.write(Clip("a", "run", "g1", "run/a.avi"), np.ones((4, 3)))
    with pytest.raises(ValueError, match="expected a phone for every frame, found 1 of 1 clips"):
        make(tmp_path / "clips")


def test_a_net_that_answers_at_the_end_alone_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is scored at single steps.\nPass model.readout=all"):
        train(store, tmp_path / "out", "model.readout=last")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"speakers": "all"}, "task.speakers: expected one of auto, timit, draw"),
        ({"fold": "39"}, "task.fold: expected one of auto, timit, none"),
        ({"num_val": 0}, "task.num_val: expected a whole number from 1 up"),
        ({"speakers": "timit", "num_val": 3}, "which has no effect with task.speakers=timit"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        SpeechOptions(**options)
