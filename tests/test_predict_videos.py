"""Answers to raw videos: as from stored features, and a clear word on every bad file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import nn

from eval.__main__ import main
from eval.predictions.calibration import Calibration
from eval.videos.decoding import VideoFailure, decode_video, find_videos
from eval.videos.videos import Classifier, VideoAnswer, read_video, read_videos
from pipeline.backbones import Backbone
from pipeline.backbones.encoder import Encoder
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.features import FeatureSpec
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NetSpec
from pipeline.recurrent.stepper import Stepper
from pipeline.runs import Provenance, Run
from pipeline.tasks import make_task
from pipeline.video import frames as video
from pipeline.video import read_frames, write_video
from tests.tiny_clips import write_clip
from tests.tiny_runs import make_config, toy_section, write_run, write_store

LABELS = ("red", "green", "blue")


class MeanColour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def make_encoder(*, stride: int = 1) -> Encoder:
    steps = Preprocessing("squash", (8, 8), (8, 8), "bilinear", (0.0,) * 3, (255.0,) * 3)
    backbone = Backbone("mean colour", MeanColour(), 3, "", "digest", steps, batch_frames=4)
    spec = FeatureSpec(
        "mean colour", 3, weights_digest="digest", preprocessing=str(steps), stride=stride
    )
    return Encoder(backbone, spec)


def make_net() -> SequenceNet:
    """A mean-pool that answers the strongest colour."""
    net = build_net(NetSpec("mean-pool", 3, 3), seed=0)
    net.load_state_dict({"readout.weight": 40 * torch.eye(3), "readout.bias": torch.zeros(3)})
    return net.eval()


def make_classifier(
    *, stride: int = 1, net: SequenceNet | None = None, threshold: float | None = None
) -> Classifier:
    section = toy_section("addition")
    spec, task = NetSpec("mean-pool", 3, 3), make_task(section)
    config = make_config(task, section, spec, seed=0, optimizer="sgd", lr=1.0)
    run = Run(Path("runs/tiny"), replace(config, labels=LABELS), Provenance(0, 0))
    stepper = Stepper(net or make_net())
    calibration = Calibration(reason="tiny")
    return Classifier(run, stepper, make_encoder(stride=stride), LABELS, calibration, threshold)


def write_colours(path: Path, colours: str, *, num_frames: int = 10, fps: float = 25.0) -> Path:
    """A video that shows each colour of "rgb..." for `num_frames`."""
    frames = []
    for colour in colours:
        frame = np.full((32, 48, 3), 30, np.uint8)
        frame[:, :, "rgb".index(colour)] = 200
        frames += [frame] * num_frames
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=fps)
    return path


def answer(path: Path, **more: Any) -> VideoAnswer:
    found = read_video(make_classifier(**more), path, decode_video(path, make_encoder(**more)))
    assert isinstance(found, VideoAnswer), found
    return found


def test_large_frames_come_in_full_batches_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_colours(tmp_path / "a.avi", "rgb")
    monkeypatch.setattr(video, "_MAX_CHUNK_BYTES", 1)  # so each is decoded on its own
    messages = list(decode_video(path, make_encoder()))
    crops = [message for message in messages if isinstance(message, torch.Tensor)]
    assert [len(message) for message in crops] == [4] * 7 + [2]
    brightest = torch.cat(crops).float().mean(dim=(2, 3)).argmax(dim=1)
    assert brightest.tolist() == [0] * 10 + [1] * 10 + [2] * 10


@pytest.mark.parametrize("stride", [1, 4])
def test_a_video_gets_the_outputs_of_its_stored_features(tmp_path: Path, stride: int) -> None:
    path = write_clip(tmp_path / "a.avi", num_frames=23)
    net = build_net(NetSpec("np-rnn", 3, 3, hidden_size=10), seed=1).eval()
    classifier = make_classifier(stride=stride, net=net)
    (found,) = read_videos(classifier, [path])
    frames = np.concatenate(list(read_frames(path, stride=stride)))
    features = torch.from_numpy(classifier.encoder.encode(frames)).float()
    with torch.inference_mode():
        outputs = net(features[None], torch.tensor([len(features)]))[0]
    assert isinstance(found, VideoAnswer)
    np.testing.assert_allclose(found.probabilities, outputs.softmax(0).numpy(), atol=1e-6)
    assert (found.num_frames, found.num_steps) == (23, len(features))


def test_all_readings_of_several_videos_come_in_order_with_the_broken_named(
    tmp_path: Path,
) -> None:
    paths = [write_colours(tmp_path / f"{c}.avi", c) for c in "rgb"]
    (tmp_path / "broken.mp4").write_text("no video")
    paths.insert(1, tmp_path / "broken.mp4")
    found = list(read_videos(make_classifier(), paths, num_workers=2))
    assert [item.path for item in found] == paths
    assert found[1] == VideoFailure(paths[1], "not a video")
    tops = [LABELS[item.top(1)[0]] for item in found if isinstance(item, VideoAnswer)]
    assert tops == ["red", "green", "blue"]


def test_an_unfinished_reading_ends_its_decoding_threads(tmp_path: Path) -> None:
    paths = [write_colours(tmp_path / f"{i}.avi", "rgb", num_frames=200) for i in range(3)]
    reading = read_videos(make_classifier(), paths, num_workers=2)
    next(reading)
    assert isinstance(reading, Iterator)
    reading.close()  # type: ignore[attr-defined]  # would hang if a thread waited for its queue


def make_rotated(path: Path) -> None:
    """A video whose left half is bright, stored lying with a display matrix of 90 degrees."""
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :, 2] = 200
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    content = bytearray(path.read_bytes())
    place = content.rindex(b"\x00\x01\x00\x00" + bytes(12) + b"\x00\x01\x00\x00" + bytes(12) + b"@")
    turn = [0, 0x10000, 0, -0x10000 & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000]
    content[place : place + 36] = b"".join(number.to_bytes(4, "big") for number in turn)
    path.write_bytes(content)


def test_a_rotated_phone_video_is_read_upright(tmp_path: Path) -> None:
    make_rotated(tmp_path / "phone.mp4")
    (frames,) = list(read_frames(tmp_path / "phone.mp4"))
    assert frames.shape[1:3] == (64, 32)
    assert LABELS[answer(tmp_path / "phone.mp4").top(1)[0]] == "blue"


@pytest.mark.parametrize("fps", [7.5, 23.976, 59.94, 120.0])
def test_odd_frame_rates_give_the_right_seconds(tmp_path: Path, fps: float) -> None:
    found = answer(write_colours(tmp_path / "a.avi", "rg", num_frames=15, fps=fps))
    assert found.seconds == pytest.approx(30 / fps, rel=1e-4)


def write_ten_bit(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        for _ in range(4):
            frame = np.full((48, 64, 3), 30, np.uint8)
            frame[:, :, 1] = 200
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def test_ten_bits_a_colour_are_read(tmp_path: Path) -> None:
    write_ten_bit(tmp_path / "ten.mp4")
    found = answer(tmp_path / "ten.mp4")
    assert (LABELS[found.top(1)[0]], found.num_frames) == ("green", 4)


def test_folders_give_their_videos_at_any_depth_once(tmp_path: Path) -> None:
    for name in ("a.avi", "sub/b.MP4", "sub/x.mp4/c.mkv", ".hidden/d.avi", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    videos, failures = find_videos([tmp_path, tmp_path / "a.avi"])
    assert [str(v.relative_to(tmp_path)) for v in videos] == [
        "a.avi",
        "sub/b.MP4",
        "sub/x.mp4/c.mkv",
    ]
    assert failures == [VideoFailure(tmp_path / "sub" / "x.mp4", "a directory, not a file")]


def run_main(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The command with a run that needs no files."""
    monkeypatch.setattr("pipeline.runs.load_run", lambda folder: None)
    monkeypatch.setattr(
        "eval.videos.videos.load_classifier",
        lambda run, threshold, **more: make_classifier(
            threshold=None if threshold == "auto" else threshold
        ),
    )
    return main(["predict", "--run", "runs/tiny", *arguments])


def test_the_csv_holds_the_top_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_colours(tmp_path / "a, b.avi", "b")
    assert run_main([str(path), "--csv", "--top", "2"], monkeypatch) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["video"], row["rank"]) for row in rows] == [(str(path), "1"), (str(path), "2")]
    assert rows[0]["label"] == "blue"


def test_the_videos_of_a_folder_are_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_colours(tmp_path / "videos" / "a.avi", "r")
    assert run_main([str(tmp_path / "videos"), "--top", "1", "--segments"], monkeypatch) == 0
    captured = capsys.readouterr()
    assert "a.avi  (10 frames, 0.4 s)" in captured.out
    assert "0.0 s  0.4 s  red" in captured.out
    assert "recurrent step" in captured.err


def test_a_video_of_none_of_the_labels_is_said_to_be_so_in_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_colours(tmp_path / "a.avi", "rgb"))  # on average grey: a third each
    asked = [path, "--threshold", "0.9", "--top", "1"]
    assert run_main(asked, monkeypatch) == 0
    captured = capsys.readouterr()
    assert re.search(r"none of these; the nearest:\n.*\n.*\n  (red|green|blue) ", captured.out)
    assert "none of these where no label reaches a probability of 0.9" in captured.err
    run_main([*asked, "--csv"], monkeypatch)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (rows[0]["rank"], rows[0]["label"]) == ("1", "none of these")
    assert (rows[0]["probability"], rows[1]["rank"]) == ("", "2")
    assert rows[1]["label"] in LABELS
    run_main([*asked, "--json"], monkeypatch)
    told = json.loads(capsys.readouterr().out)
    (video,) = told["videos"]
    assert (told["threshold"], video["label"], video["is_known"]) == (0.9, "none of these", False)
    assert video["top"][0]["label"] in LABELS


def test_without_a_threshold_and_above_it_a_video_gets_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = str(write_colours(tmp_path / "a.avi", "rgb"))
    red = str(write_colours(tmp_path / "b.avi", "r"))
    for arguments in ([mixed, "--threshold", "none"], [red, "--threshold", "0.9"]):
        run_main([*arguments, "--json"], monkeypatch)
        (video,) = json.loads(capsys.readouterr().out)["videos"]
        assert video["is_known"]
        assert video["label"] == video["top"][0]["label"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "--window", "2"], "add --segments"),
        (["a.mp4", "--carry"], "add --segments"),
        (["a.mp4"], "a.mp4: no such file"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_main(arguments, monkeypatch) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "--top", "0"], "--top: expected 1 or more, found 0"),
        (["a.mp4", "--segments", "--window", "nan"], "--window: expected seconds above 0"),
        (["a.mp4", "--json", "--csv"], "not allowed with"),
        (["a.mp4", "--threshold", "1.5"], "expected auto, none, or a probability from 0 to 1"),
        (["a.mp4", "--threshold", "nan"], "found 'nan'"),
        (["a.mp4", "--threshold", "non"], "found 'non'"),
        (["a.mp4", "--part", "val"], "unrecognized arguments: --part"),
        ([], "PATH"),
    ],
)
def test_options_that_cannot_be_end_the_command_with_their_name(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        run_main(arguments, monkeypatch)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_bidirectional_run_reads_no_videos_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    write_run(tmp_path / "run", store, model="gru", bidirectional=True)
    (tmp_path / "my.mp4").write_bytes(b"")
    assert main(["predict", "--run", str(tmp_path / "run"), str(tmp_path / "my.mp4")]) == 2
    said = capsys.readouterr().err
    assert "this gru reads a sequence from its end, too" in said
    assert "Train one with model.bidirectional=false." in said
    assert "Traceback" not in said
