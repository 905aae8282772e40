"""Segments: what is seen when, with the state reset or carried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.predictions.calibration import Calibration
from eval.videos.decoding import decode_video
from eval.videos.segments import SegmentReader
from eval.videos.videos import VideoAnswer, Wanted, read_video
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NetSpec
from pipeline.recurrent.stepper import Stepper
from tests.test_predict_videos import LABELS, make_classifier, make_encoder, write_colours


def test_segments_name_what_is_seen_when(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "rrgb", num_frames=25)
    found = read_with(path, Wanted(window_seconds=0.5))
    assert [(s.start_seconds, s.end_seconds, s.label) for s in found.segments] == [
        (0.0, 2.0, "red"), (2.0, 3.0, "green"), (3.0, 4.0, "blue"),
    ]  # fmt: skip


def test_a_carried_state_remembers_what_a_reset_one_forgets(tmp_path: Path) -> None:
    path = write_colours(tmp_path / "a.avi", "rrgb", num_frames=25)
    found = read_with(path, Wanted(window_seconds=0.5, carries=True))
    assert [segment.label for segment in found.segments] == ["red"]  # the mean of all so far


def test_windows_below_the_threshold_are_one_segment_of_none() -> None:
    """Outputs are the features themselves: sure, twice unsure of different labels, sure."""
    net = build_net(NetSpec("mean-pool", 3, 3), seed=0).eval()
    net.load_state_dict({"readout.weight": torch.eye(3), "readout.bias": torch.zeros(3)})
    reader = SegmentReader(
        Stepper(net), LABELS, calibration=Calibration(), threshold=0.6, num_steps=1, carries=False
    )
    for row in ([4.0, 0, 0], [0.2, 0, 0], [0, 0.5, 0], [0, 0, 4.0]):
        reader.add(np.array(row, np.float32))
    found = reader.finish(step_seconds=1.0, end_seconds=4.0)
    assert [(s.start_seconds, s.end_seconds, s.label, s.nearest, s.is_known) for s in found] == [
        (0.0, 1.0, "red", "red", True),
        (1.0, 3.0, "none of these", "green", False),
        (3.0, 4.0, "blue", "blue", True),
    ]
    unsure = torch.tensor([[0.2, 0, 0], [0, 0.5, 0]]).softmax(dim=1)
    assert found[1].probability == pytest.approx(float(unsure[:, 1].mean()), abs=1e-6)


def read_with(path: Path, wanted: Wanted) -> VideoAnswer:
    found = read_video(make_classifier(), path, decode_video(path, make_encoder()), wanted=wanted)
    assert isinstance(found, VideoAnswer)
    return found


def test_a_reset_window_is_answered_as_its_frames_alone() -> None:
    net = build_net(NetSpec("np-rnn", 3, 3, hidden_size=10), seed=1).eval()
    features = np.random.default_rng(0).random((17, 3), dtype=np.float32)
    for carries in (False, True):
        reader = SegmentReader(
            Stepper(net), LABELS, calibration=Calibration(), num_steps=5, carries=carries
        )
        for row in features:
            reader.add(row)
        segments = reader.finish(step_seconds=1.0, end_seconds=17.0)
        expected = []
        for start, end in ((0, 5), (5, 10), (10, 15), (15, 17)):
            rows = torch.from_numpy(features[0 if carries else start : end])
            with torch.inference_mode():
                shares = net(rows[None], torch.tensor([len(rows)]))[0].softmax(0)
            expected.append((end, LABELS[int(shares.argmax())], float(shares.max())))
        found = [
            next(s for s in segments if s.start_seconds < end <= s.end_seconds)
            for end, _, _ in expected
        ]
        assert [s.label for s in found] == [label for _, label, _ in expected]
        for segment in segments:
            shares_of = [p for end, _, p in expected
                         if segment.start_seconds < end <= segment.end_seconds]  # fmt: skip
            assert segment.probability == pytest.approx(np.mean(shares_of), abs=1e-6)
