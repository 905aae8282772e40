"""Linear classifiers beside nets that classify frames: what they read, and that they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.predictions.linear import join_frames
from eval.report.evaluate import evaluate_runs
from pipeline.clips import Clip
from pipeline.features import (
    ClipRecord,
    FeatureSpec,
    ShardWriter,
    claim_store,
    join_labels,
    write_index,
)
from tests.tiny_runs import write_toy_run

SPEC = FeatureSpec(backbone="tiny", dim=2, dtype="float32")
LAG = 3


def write_store(folder: Path) -> Path:
    """Speech whose phone is told by the sign of the first number, three frames before it.

    A frame alone tells nothing of it, and the 11 frames around it all.
    """
    generator = np.random.default_rng(0)
    claim_store(folder, SPEC)
    with ShardWriter(folder, "shard-00000", SPEC) as shard:
        for part, names in (("train", "ABCD"), ("test", "EF")):
            for speaker in names:
                for number in range(3):
                    rows = generator.standard_normal((60, 2)).astype(np.float32)
                    labels = np.where(np.roll(rows[:, 0], LAG) > 0, "up", "down").tolist()
                    labels[:LAG] = [""] * LAG
                    name = f"{speaker}-SX{number}"
                    clip = Clip(name, part, speaker, f"{part}/{speaker}/SX{number}.WAV")
                    shard.append(rows)
                    shard.finish(ClipRecord(clip, 60, 60, 100.0, labels=join_labels(labels)))
    write_index(folder, SPEC, ["shard-00000"])
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    section = {"name": "speech-frames", "features": str(write_store(tmp_path / "store"))}
    write_toy_run(tmp_path / "run", section)
    return tmp_path / "run"


def test_frames_around_a_frame_are_joined_in_their_order_and_ends_repeat() -> None:
    frames = np.arange(4, dtype=np.float32)[:, None]
    expected = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    np.testing.assert_array_equal(join_frames(frames, 2), expected)
    np.testing.assert_array_equal(join_frames(frames, 0), frames)


def test_eleven_frames_tell_what_the_frame_alone_does_not(run: Path) -> None:
    evaluation = evaluate_runs([run])
    net, alone, around = evaluation.rows
    assert [row.name for row in evaluation.rows[1:]] == ["linear, 1 frame", "linear, 11 frames"]
    assert around.scores[0].estimate.value < 0.1
    # Half of the 342 frames, which know a share to 0.027 (one sd).
    assert alone.scores[0].estimate.value == pytest.approx(0.5, abs=0.1)
    assert net.scores[0].floor == alone.scores[0].floor
    # Of the run alone there is more than its row.
    assert "cross entropy" in str(evaluation)
    assert "NOT COMPARABLE" not in str(evaluation)


def test_linear_answers_are_kept_with_the_features_and_read_the_second_time(run: Path) -> None:
    told: list[str] = []
    first = evaluate_runs([run], say=told.append)
    assert sum("fitting a linear classifier" in line for line in told) == 2
    told.clear()
    second = evaluate_runs([run], say=told.append)
    assert not [line for line in told if "fitting" in line]
    assert [row.scores for row in first.rows] == [row.scores for row in second.rows]
    assert len(list((run.parent / "store" / "linear").glob("*-test-*.csv"))) == 2


def test_a_run_on_other_features_has_linear_classifiers_of_its_own(run: Path) -> None:
    evaluate_runs([run])
    folder = run.parent / "store" / "linear"
    kept = set(folder.iterdir())
    evaluate_runs([run], "val")
    assert len(set(folder.iterdir()) - kept) == 2
