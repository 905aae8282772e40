"""The arrow of time: every clip in both directions, which no average can tell apart."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eval.predictions.predictions import read_predictions
from eval.report.evaluate import evaluate_runs
from eval.report.frames import NUM_FRAMES, list_videos, make_strips
from eval.study.study import study_runs
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NETS, NetSpec
from pipeline.sequences import make_loader
from pipeline.tasks import Task, make_task
from pipeline.tasks.arrow import BothDirections, find_clip
from pipeline.tasks.pixels import PixelSet
from tests.tiny_clips import write_clip
from tests.tiny_runs import edit_sealed, make_features, write_run, write_split, write_store


def make_both(tmp_path: Path, **store: object) -> tuple[Task, Task]:
    """The tasks arrow-of-time and clips of one store and split."""
    folder = write_store(tmp_path / "features" / "tiny", **store)  # type: ignore[arg-type]
    section = {"features": str(folder), "split": str(write_split(folder.parent))}
    arrow, clips = (make_task({"name": name, **section}) for name in ("arrow-of-time", "clips"))
    return arrow, clips


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_each_clip_of_a_part_appears_once_in_each_direction(tmp_path: Path, part: str) -> None:
    task, clips = make_both(tmp_path)
    assert task.labels == ("backwards", "forwards")
    sequences, use, features = task.sequences(part), task.use(part), make_features()
    places = list(range(len(sequences)))[::-1]  # any order of places, in a padded batch
    batch = sequences[places]
    seen = []
    for row, place in enumerate(batch.indices.tolist()):
        clip_id, direction = use.used[place].split(" ")
        expected = features[clip_id][:: -1 if direction == "backwards" else 1]
        found = batch.features[row, : int(batch.lengths[row])].numpy()
        np.testing.assert_array_equal(found, expected)
        assert not batch.features[row, int(batch.lengths[row]) :].any()
        assert task.labels[int(batch.targets[row])] == direction
        assert int(sequences.lengths[place]) == len(expected)
        seen.append((clip_id, direction))
    ids = clips.use(part).used
    assert sorted(seen) == sorted((i, d) for i in ids for d in ("backwards", "forwards"))


def test_both_directions_of_a_clip_have_its_source_and_its_condition(tmp_path: Path) -> None:
    clip = "v_run_g04_c01"
    task, clips = make_both(tmp_path, missing=[clip], truncated=["v_run_g05_c01"])
    use, of_clips = task.use("test"), clips.use("test")
    assert use.num_listed == 2 * of_clips.num_listed == 72
    assert use.missing == (f"{clip} backwards", f"{clip} forwards")
    assert use.truncated == ("v_run_g05_c01 backwards", "v_run_g05_c01 forwards")
    assert use.damaged == ()
    source_of = dict(zip(of_clips.used, clips.sources("test"), strict=True))
    assert [source_of[find_clip(i)[0]] for i in use.used] == list(task.sources("test"))
    assert task.origin == clips.origin
    assert task.places() == clips.places()


@pytest.mark.parametrize(
    ("sequence_id", "expected"),
    [
        ("v_a_g01_c01 backwards", ("v_a_g01_c01", True)),
        ("my clip forwards", ("my clip", False)),
        ("my clip", ("my clip", False)),
    ],
)
def test_the_clip_of_a_sequence_is_found(sequence_id: str, expected: tuple[str, bool]) -> None:
    assert find_clip(sequence_id) == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 30.0]))
def test_mean_pool_answers_exactly_half_of_drawn_sequences_rightly(seed: int, scale: float) -> None:
    """Its outputs in both directions differ by the rounding of a sum in another order alone."""
    generator = np.random.default_rng(seed)
    images = generator.integers(256, size=(40, 50)).astype(np.uint8)
    both = BothDirections(PixelSet(images, np.zeros(40, np.int64), unit=255))
    net = build_net(NetSpec("mean-pool", 1, 2), seed=seed).eval()
    weights = {name: scale * torch.randn(w.shape) for name, w in net.state_dict().items()}
    net.load_state_dict(weights)
    hits = 0
    for batch in make_loader(both, 7, seed=None):
        outputs = net(batch.features, batch.lengths)
        hits += int((outputs.argmax(dim=1) == batch.targets).sum())
    assert hits == 40


@pytest.mark.parametrize("seed", range(5))
def test_mean_pool_scores_exactly_one_half_and_no_more_is_claimed(
    tmp_path: Path, seed: int
) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    write_run(tmp_path / "run", store, seed=seed, task="arrow-of-time")
    (row,) = evaluate_runs([tmp_path / "run"], batch_size=5).rows
    score = row.scores[0]
    assert score.estimate.value == score.floor == 0.5
    assert score.estimate.low < 0.5 < score.estimate.high
    assert row.noun == "sequences"
    predictions = read_predictions(tmp_path / "run" / "eval" / "test" / "predictions.csv")
    assert len(set(predictions.sources)) == 18  # of 36 clips and 72 sequences
    page = (tmp_path / "run" / "eval" / "test" / "report.html").read_text()
    assert "count as one source" in page


def test_a_recurrent_net_learns_a_drift_that_mean_pool_cannot_see() -> None:
    generator = np.random.default_rng(0)
    rising = np.linspace(0, 200, 12) + generator.integers(0, 50, size=(64, 12))
    both = BothDirections(PixelSet(rising.astype(np.uint8), np.zeros(64, np.int64), unit=255))
    batch, found = both[range(128)], {}
    for name in ("np-rnn", "mean-pool"):
        size = {} if name == "mean-pool" else {"hidden_size": 16}
        net = build_net(NetSpec(name, 1, 2, dropout=0.0, **size), seed=0)  # type: ignore[arg-type]
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(150):
            outputs = net(batch.features, batch.lengths)
            loss = torch.nn.functional.cross_entropy(outputs, batch.targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found[name] = float((outputs.argmax(dim=1) == batch.targets).float().mean())
    assert found["np-rnn"] > 0.95
    assert found["mean-pool"] == 0.5


def test_the_pictures_of_a_clip_backwards_stand_backwards(tmp_path: Path) -> None:
    write_clip(tmp_path / "run" / "v_run_g01_c01.avi", num_frames=10)  # it brightens
    strips = make_strips(
        list_videos(tmp_path), ["v_run_g01_c01 backwards", "v_run_g01_c01 forwards", "lost"]
    )
    assert set(strips) == {"v_run_g01_c01 backwards", "v_run_g01_c01 forwards"}
    brightness = {}
    for name, uri in strips.items():
        jpeg = base64.b64decode(uri.partition(",")[2])
        picture = np.asarray(Image.open(io.BytesIO(jpeg)), dtype=float)
        frames = np.split(picture, NUM_FRAMES, axis=1)
        brightness[name.split(" ")[1]] = [frame.mean() for frame in frames]
    assert (np.diff(brightness["forwards"]) > 0).all()
    assert (np.diff(brightness["backwards"]) < 0).all()


def test_no_paper_numbers_stand_beside_the_arrow_of_time(tmp_path: Path) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    for name in ("arrow-of-time", "clips"):
        write_run(tmp_path / name / "run", store, model="np-rnn", task=name)
        edit_sealed(tmp_path / name / "run" / "config.yaml", "split: tiny", "split: ucf101-tiny")
    (arrow,), (clips,) = (study_runs(tmp_path / name).tasks for name in ("arrow-of-time", "clips"))
    assert (arrow.is_papers, clips.is_papers) == (False, True)


def test_every_net_reads_the_arrow_of_time(tmp_path: Path) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    folders = [tmp_path / name for name in NETS]
    for folder in folders:
        write_run(folder, store, model=folder.name, task="arrow-of-time")
    evaluation = evaluate_runs(folders, out=tmp_path / "out")
    assert evaluation.is_complete
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert {tuple(row["labels"]) for row in rows} == {("backwards", "forwards")}
