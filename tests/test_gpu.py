"""What differs on a GPU, against the CPU: features, trainings, copies, answers to videos.

`pytest -m gpu`; without a GPU these tests are skipped, and with NPRNN_REQUIRE_GPU=1 they fail.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eval.report.evaluate import evaluate_runs
from eval.videos.videos import VideoAnswer, load_classifier, read_videos
from extract.__main__ import main as extract
from extract.encode import BatchEncoder
from pipeline.backbones import load_backbone, prepare
from pipeline.console import OK
from pipeline.features import FeatureStore
from pipeline.runs import load_run
from pipeline.sequences import make_loader
from pipeline.tasks import make_task
from tests.test_train import read_log
from tests.tiny_clips import write_clips
from tests.tiny_runs import toy_section, write_split, write_store
from train.callbacks import EpochLog
from train.config import compose_config
from train.devices import PRECISIONS
from train.fit import train_run

pytestmark = pytest.mark.gpu

# cuDNN adds in another order, and multiplies in TF32: 10 bits of mantissa.
LEAST_COSINE = 0.999


def extract_on(device: str, clips: Path, out: Path, *options: str) -> FeatureStore:
    words = ["--videos", str(clips), "--weights", "random", "--device", device, "--out", str(out)]
    assert extract([*words, *options]) == OK
    return FeatureStore(out)


def least_cosine(found: FeatureStore, expected: FeatureStore) -> float:
    """Over all frames of all clips."""
    assert found.records.keys() == expected.records.keys()
    return min(
        float(
            torch.cosine_similarity(
                torch.from_numpy(found.read(name).astype(np.float32)),
                torch.from_numpy(expected.read(name).astype(np.float32)),
            ).min()
        )
        for name in expected.records
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_of_a_gpu_are_those_of_the_cpu_and_so_are_their_scores(
    tmp_path: Path, gpu: str, dtype: str
) -> None:
    clips = write_clips(tmp_path / "clips", num=12)
    options = ["--dtype", dtype]
    on_cpu = extract_on("cpu", clips, tmp_path / "cpu", *options)
    on_gpu = extract_on(gpu, clips, tmp_path / "gpu", *options)
    assert least_cosine(on_gpu, on_cpu) > LEAST_COSINE
    run = train_run(
        compose_config([
            f"features={tmp_path / 'cpu'}", "split=draw", f"out={tmp_path / 'runs'}",
            "trainer.accelerator=cpu", "schedule.phase_epochs=[8]", "trainer.batch_size=4",
        ])
    )  # fmt: skip
    drawn = next((tmp_path / "cpu").glob("split-draw-*.csv"))
    (tmp_path / "gpu" / drawn.name).write_bytes(drawn.read_bytes())
    shown = [
        evaluate_runs([run], out=tmp_path / name, features=str(tmp_path / name)).rows[0].scores[0]
        for name in ("cpu", "gpu")
    ]
    assert shown[0].estimate.value == shown[1].estimate.value


def list_overrides(tmp_path: Path, *overrides: str) -> list[str]:
    return [
        f"features={write_store(tmp_path / 'store')}", f"split={write_split(tmp_path)}",
        "schedule.phase_epochs=[2,1]", "trainer.batch_size=5", "model.dropout=0",
        "model.hidden_size=20", *overrides,
    ]  # fmt: skip


@pytest.mark.parametrize("net", ["np-rnn", "lstm", "gru"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains_on_a_gpu_as_float32_on_the_cpu_but_for_rounding(
    tmp_path: Path, gpu: str, net: str, precision: str
) -> None:
    optimizer = ["optimizer=sgd", "optimizer.lr=1e-2", "optimizer.clip=1"]
    data = list_overrides(tmp_path, f"model={net}", *optimizer)
    on_cpu, on_gpu = (
        train_run(compose_config([*data, *more, f"out={tmp_path / more[0][-3:]}"]))
        for more in (
            ("trainer.accelerator=cpu",),
            ("trainer.accelerator=gpu", f"trainer.precision={precision}"),
        )
    )
    losses = [[float(row["val_loss"]) for row in read_log(folder)] for folder in (on_cpu, on_gpu)]
    assert all(math.isfinite(loss) for loss in losses[1])
    tolerance = 5e-2 if "16" in precision else 2e-3
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)


@pytest.mark.parametrize(("first", "then"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_training_goes_on_on_the_other_device(
    tmp_path: Path, gpu: str, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    class Stop(BaseException):
        pass

    def stop(self: EpochLog, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 2:
            raise Stop

    data = list_overrides(tmp_path)
    whole = train_run(
        compose_config([*data, f"out={tmp_path / 'whole'}", "trainer.accelerator=cpu"])
    )
    data = [*data, f"out={tmp_path / 'stopped'}"]
    with monkeypatch.context() as context:
        context.setattr(EpochLog, "on_train_batch_end", stop)
        with pytest.raises(Stop):
            train_run(compose_config([*data, f"trainer.accelerator={first}"]))
    folder = train_run(compose_config([*data, f"trainer.accelerator={then}"]))
    devices = [session.device for session in load_run(folder).provenance.sessions]
    assert len(devices) == 2
    assert [device.startswith("cuda") for device in devices] == [d == "gpu" for d in (first, then)]
    expected = load_file(whole / "weights.safetensors")
    for name, tensor in load_file(folder / "weights.safetensors").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-2, atol=1e-3)


def test_several_gpus_train_what_one_trains(tmp_path: Path, gpu: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("torch finds one GPU only")
    data = list_overrides(tmp_path, "trainer.accelerator=gpu")
    one, two = (
        train_run(compose_config([*data, f"out={tmp_path / name}", *more]))
        for name, more in (
            ("one", []),
            ("two", ["trainer.devices=2", "trainer.strategy=ddp_spawn"]),
        )
    )
    losses = [[float(row["val_loss"]) for row in read_log(folder)] for folder in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_batches_come_from_pinned_memory(gpu: str) -> None:
    sequences = make_task(toy_section("addition")).sequences("train")
    for batch in make_loader(sequences, 8, seed=0):
        assert batch.features.is_pinned()
        assert torch.equal(batch.to(gpu, non_blocking=True).features.cpu(), batch.features)


def test_frames_copied_beside_the_computing_give_the_features_of_one_copy(gpu: str) -> None:
    """Four threads, each with a stream of its own, and pinned batches."""
    backbone = prepare(load_backbone("googlenet", weights="random"), device=gpu, batch_frames=8)
    frames = np.random.default_rng(0).integers(0, 256, (203, 60, 80, 3), dtype=np.uint8)
    expected = backbone.encode(torch.from_numpy(frames)).cpu().numpy()
    with BatchEncoder(backbone) as encoder:
        rows = [rows for chunk in np.array_split(frames, 9) for rows in encoder.add(chunk)]
        rows += encoder.flush()
    assert np.array_equal(np.concatenate(rows), expected)


def test_videos_are_answered_on_a_gpu_as_on_the_cpu(tmp_path: Path, gpu: str) -> None:
    clips = write_clips(tmp_path / "clips", num=12)
    extract_on("cpu", clips, tmp_path / "store", "--dtype", "float32")
    run = load_run(
        train_run(
            compose_config([
                f"features={tmp_path / 'store'}", "split=draw", f"out={tmp_path / 'runs'}",
                "trainer.accelerator=cpu", "schedule.phase_epochs=[8]", "trainer.batch_size=4",
            ])
        )
    )  # fmt: skip
    videos = sorted(clips.rglob("*.avi"))
    answers = []
    for device in ("cpu", gpu):
        found = list(read_videos(load_classifier(run, device=device), videos))
        assert all(isinstance(answer, VideoAnswer) for answer in found)
        answers.append(np.stack([a.probabilities for a in found if isinstance(a, VideoAnswer)]))
    assert np.abs(answers[1] - answers[0]).max() < 0.02
