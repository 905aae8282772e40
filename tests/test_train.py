from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from safetensors.torch import load_file

from eval.predictions.predict import PartReader
from pipeline.recurrent import fused
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import OptimizerSpec, ScheduleSpec, load_net, load_run
from tests.tiny_runs import write_overrides, write_split, write_store
from train import fit
from train.callbacks import EpochLog
from train.checkpoints import WholeCheckpoints, read_checkpoint
from train.config import compose_config
from train.fit import RunInUseError, train_run
from train.module import SequenceModule
from train.optimizers import make_optimizer, make_scheduler
from train.training import check_config, find_folder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Overrides that train for six short epochs on a tiny store."""
    return write_overrides(tmp_path, phase_epochs="[3,2,1]")


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_the_defaults_are_the_papers_protocol_for_ucf101() -> None:
    config = compose_config()
    assert config["model"]["hidden_size"] == 100
    assert config["model"]["dropout"] == 0.5
    assert config["split"] == "ucf101-split1"
    assert config["optimizer"]["name"] == "rmsprop"
    assert config["trainer"]["batch_size"] == 256
    assert config["schedule"] == {"phase_epochs": [25, 30, 15], "cooling": 0.1}


def test_a_run_folder_holds_what_rebuilds_the_net(tmp_path: Path, data: list[str]) -> None:
    folder = train_run(compose_config(["model=irnn", "optimizer.lr=1e-2", *data]))
    run = load_run(folder)
    assert run.is_complete
    assert run.config.labels == ("bow", "climb", "dive", "jump", "run", "walk")
    assert run.provenance.num_parameters == 100 * (6 + 100 + 1) + 6 * 101
    net = load_net(run)
    _, sequences = PartReader("train").read(run)
    batch = sequences[list(range(24))]
    hits = net(batch.features, batch.lengths).argmax(dim=1) == batch.targets
    assert hits.float().mean() > 0.5  # the floor is 1 / 6; six epochs tell most of them apart
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml", "weights.safetensors", "metrics.csv", "provenance.json", "checkpoints",
    }  # fmt: skip
    rates = [float(row["lr"]) for row in read_log(folder)]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 2 + [1e-4])


def test_a_complete_run_is_not_trained_again(
    data: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config(data)
    folder = train_run(config)
    monkeypatch.setattr(fit, "_fit", lambda *_: pytest.fail("trained again"))
    assert train_run(config) == folder
    assert "is complete" in capsys.readouterr().out


def test_another_config_or_other_features_make_another_run(tmp_path: Path, data: list[str]) -> None:
    name = name_run(data)
    assert name_run(data) == name
    assert name_run([*data, "model.dropout=0.7"]) != name
    assert name_run([*data, "trainer.batch_size=6"]) != name
    assert name_run([*data, f"features={write_store(tmp_path / 'wide', dim=7)}"]) != name


def test_how_and_where_a_run_is_computed_makes_no_other_run(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_run(data)
    for override in (
        "trainer.num_workers=1", "trainer.updates_per_step=1", "trainer.devices=1",
        "trainer.accelerator=auto", "trainer.strategy=ddp", "trainer.threads=1", "task.cache=disk",
    ):  # fmt: skip
        assert name_run([*data, override]) == name, override
    shutil.copytree(tmp_path / "store", tmp_path / "moved")
    assert name_run([*data, f"features={tmp_path / 'moved'}"]) == name
    monkeypatch.chdir(tmp_path)
    assert name_run([*data, "features=store", "split=tiny.yaml"]) == name


@pytest.mark.parametrize(("threads", "expected"), [("1", 1), ("auto", 2)])
def test_a_training_computes_with_its_own_threads_and_leaves_the_caller_his(
    data: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    threads: str, expected: int,
) -> None:  # fmt: skip
    found: list[int] = []
    monkeypatch.setattr(
        SequenceModule, "on_fit_end", lambda _: found.append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        more = [f"trainer.threads={threads}", "trainer.updates_per_step=1"]
        train_run(compose_config([*data, *more]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found == [expected]
    assert f"  {expected} thread{'s' * (expected > 1)} on the CPU\n" in capsys.readouterr().out


def test_split_files_of_one_name_make_runs_of_their_own(tmp_path: Path, data: list[str]) -> None:
    name = name_run(data)
    other = write_split(tmp_path / "other")
    assert name_run([*data, f"split={other}"]) == name
    other.write_text(other.read_text().replace("g01, g02", "g02"))
    assert name_run([*data, f"split={other}"]) != name


def name_run(overrides: list[str]) -> str:
    return check_config(compose_config(overrides)).config.name


class Kill(Exception):  # noqa: N818 - stands for a kill, not for an error
    pass


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_training_stopped_and_resumed_equals_an_undisturbed_one(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    overrides = [*data, f"trainer.keep={keep}"]
    whole = train_run(compose_config([*overrides, f"out={tmp_path / 'whole'}"]))

    def stop(self: EpochLog, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 3 and trainer.global_step % 5 == 2:
            raise Kill

    stopped = compose_config([*overrides, f"out={tmp_path / 'stopped'}"])
    with monkeypatch.context() as context:
        context.setattr(EpochLog, "on_train_batch_end", lambda s, t, m, *_: stop(s, t, m))
        with pytest.raises(Kill):
            train_run(stopped)
    folder = train_run(stopped)
    assert read_log(folder) == read_log(whole)
    assert len(read_log(whole)) == 6
    for name, tensor in load_file(whole / "weights.safetensors").items():
        assert torch.equal(load_file(folder / "weights.safetensors")[name], tensor), name


def test_a_stopped_training_goes_on_after_its_last_whole_epoch_not_after_its_best(
    data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config([*data, "schedule.phase_epochs=[9]"])

    def get_worse(self: SequenceModule, *_: Any) -> None:
        self.log_dict({"val_loss": float(self.current_epoch), "val_accuracy": 0.0}, batch_size=1)

    monkeypatch.setattr(SequenceModule, "validation_step", get_worse)

    def stop(self: EpochLog, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 7:
            raise Kill

    with monkeypatch.context() as context:
        context.setattr(EpochLog, "on_train_batch_end", stop)
        with pytest.raises(Kill):
            train_run(config)
    folder = train_run(config)
    assert [float(row["val_loss"]) for row in read_log(folder)] == list(range(9))
    assert [s.first_epoch for s in load_run(folder).provenance.sessions] == [0, 7]


def test_a_checkpoint_that_is_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 3}, path)

    def write_half(self: Path, content: Any) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise Kill

    with monkeypatch.context() as context:
        context.setattr(Path, "write_bytes", write_half)
        with pytest.raises(Kill):
            WholeCheckpoints().save_checkpoint({"epoch": 4}, path)
    assert WholeCheckpoints().load_checkpoint(path, weights_only=True) == {"epoch": 3}


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.5, 0.99])
def test_a_checkpoint_that_cannot_be_read_is_refused_with_what_to_do(
    tmp_path: Path, share: float
) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 3, "weights": torch.ones(100_000)}, path)
    assert read_checkpoint(path)["epoch"] == 3
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(ValueError, match="is damaged: expected a checkpoint.*\n.*Delete"):
        read_checkpoint(path)


def test_a_training_writes_nothing_to_the_temporary_folder_of_the_system(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    monkeypatch.setattr(tempfile, "mkstemp", lambda *_, **__: pytest.fail("a temporary file"))
    train_run(compose_config([*data, "budget=0.2"]))


def test_a_training_that_is_refused_leaves_no_folder(data: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="readout"):
        train_run(compose_config([*data, "model.readout=all"]))
    assert not (tmp_path / "runs").exists()


def test_a_run_that_another_process_is_about_to_train_keeps_its_folder(
    data: list[str], tmp_path: Path
) -> None:
    config = compose_config(data)
    folder = find_folder(tmp_path / "runs", check_config(config).config)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        with pytest.raises(RunInUseError, match="another process"):
            train_run(config)
        assert (folder / ".lock").is_file()


def test_a_training_killed_at_the_command_line_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as here: threads add in another order
    overrides = ["model=lstm", *data, "schedule.phase_epochs=[60]"]
    command = [sys.executable, "-m", "train", *overrides]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    runs = tmp_path / "runs"
    while not list(runs.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None, "it ended without a checkpoint"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = runs.iterdir()
    assert not (folder / "weights.safetensors").exists()
    result = subprocess.Popen(  # a shell's background jobs ignore Ctrl-C, and so do their children
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    assert result.stdout is not None
    for line in result.stdout:
        if "going on from" in line:
            break
    result.send_signal(signal.SIGINT)
    rest = result.stdout.read()
    result.stdout.close()
    assert result.wait() == 130, rest
    assert not (folder / "weights.safetensors").exists()
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    whole = train_run(compose_config([*overrides, f"out={tmp_path / 'whole'}"]))
    assert read_log(folder) == read_log(whole)
    resumed, undisturbed = (load_file(run / "weights.safetensors") for run in (folder, whole))
    assert [name for name in undisturbed if not torch.equal(resumed[name], undisturbed[name])] == []


def test_a_diverging_run_ends_with_the_step_and_advice_and_has_no_weights(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["optimizer=rmsprop", "optimizer.lr=1e30", "optimizer.clip=null", *data]
    folder = train_run(compose_config(overrides))
    run = load_run(folder)
    assert not run.is_complete
    assert "Training diverged at update" in run.divergence
    assert "smaller optimizer.lr (now 1e+30) or optimizer.clip=10." in run.divergence
    assert "Training diverged" in capsys.readouterr().err
    with pytest.raises(ValueError, match="diverged and has no net"):
        load_net(run)


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=addition", "trainer.batch_size=1", "optimizer.lr=1e-2"],
        ["+experiment=addition", "model=lstm", "trainer.batch_size=2", "optimizer.lr=1e-2"],
        ["+experiment=multiplication", "trainer.batch_size=16", "optimizer.clip_by=value"],
        ["+experiment=digits", "model=np-rnn", "optimizer=sgd", "optimizer.lr=1e-3",
         "model.dropout=0.3", "model.readout=last", "trainer.batch_size=7", "budget=0.02"],
        ["+experiment=addition", "model=lstm", "optimizer=rmsprop", "trainer.batch_size=20"],
        ["+experiment=addition", "optimizer=adam", "trainer.batch_size=20"],
    ],
)  # fmt: skip
def test_blocks_of_updates_leave_the_weights_of_one_update_at_a_time(
    tmp_path: Path, overrides: list[str]
) -> None:
    small = ["task.length=12", "task.num_train=600", "task.num_val=50", "task.num_test=50"]
    small += ["schedule.phase_epochs=[1,1]"]
    if "+experiment=digits" in overrides:
        small = ["schedule.phase_epochs=[1]"]
    weights, logs = [], []
    for updates_per_step in ("1", "auto"):
        folder = train_run(
            compose_config(
                [*overrides, *small, f"trainer.updates_per_step={updates_per_step}",
                 f"out={tmp_path / updates_per_step}", "trainer.accelerator=cpu"]
            )
        )  # fmt: skip
        weights.append(load_file(folder / "weights.safetensors"))
        logs.append(read_log(folder))
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for name, tensor in weights[0].items():
        # float32 sums in another order, over some hundred updates
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4)
    for one, block in zip(*logs, strict=True):
        assert float(block["train_loss"]) == pytest.approx(float(one["train_loss"]), rel=1e-3)


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_training_goes_on_in_blocks_or_without_them_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    overrides = [
        "+experiment=addition", f"optimizer={optimizer}", "trainer.batch_size=4",
        "task.length=12", "task.num_train=42", "task.num_val=10", "task.num_test=10",
        "schedule.phase_epochs=[1,1]", "trainer.accelerator=cpu", "logger=none",
    ]  # fmt: skip
    whole = train_run(compose_config([*overrides, f"out={tmp_path / 'whole'}"]))

    def stop(self: EpochLog, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise Kill

    weights = load_file(whole / "weights.safetensors")
    for first, then in (("auto", "auto"), ("auto", "1"), ("1", "auto")):
        to = f"out={tmp_path / (first + then)}"
        with monkeypatch.context() as context:
            context.setattr(EpochLog, "on_train_batch_end", stop)
            with pytest.raises(Kill):
                train_run(compose_config([*overrides, f"trainer.updates_per_step={first}", to]))
        folder = train_run(compose_config([*overrides, f"trainer.updates_per_step={then}", to]))
        # float32 sums in another order; with blocks alone nothing differs.
        rtol, atol = (0, 0) if first == then else (1e-3, 1e-5)
        resumed = load_file(folder / "weights.safetensors")
        torch.testing.assert_close(resumed, weights, rtol=rtol, atol=atol)
        kept, expected = (
            read_checkpoint(run / "checkpoints" / "last.ckpt")["optimizer_states"]
            for run in (folder, whole)
        )
        torch.testing.assert_close(kept, expected, rtol=rtol, atol=atol)


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
@pytest.mark.parametrize("readout", ["last", "mean"])
def test_clips_with_dropout_train_in_blocks_as_one_update_at_a_time(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str], readout: str
) -> None:
    overrides = [*data, "model.dropout=0.5", f"model.readout={readout}", "trainer.batch_size=5"]
    one, blocks = (
        train_run(
            compose_config([*overrides, f"trainer.updates_per_step={num}", f"out={tmp_path / num}"])
        )
        for num in ("1", "3")
    )
    assert "3 consecutive updates at a time" in capsys.readouterr().out
    for name, tensor in load_file(one / "weights.safetensors").items():
        # float32 sums in another order
        found = load_file(blocks / "weights.safetensors")[name]
        torch.testing.assert_close(found, tensor, rtol=1e-4, atol=1e-5)
    for by_one, by_block in zip(read_log(one), read_log(blocks), strict=True):
        assert float(by_block["train_loss"]) == pytest.approx(float(by_one["train_loss"]), rel=1e-4)


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
def test_blocks_asked_for_where_they_cannot_be_made_are_refused(data: list[str]) -> None:
    with pytest.raises(ValueError, match="readout is last-and-mean, not last or mean"):
        train_run(
            compose_config([*data, "model.readout=last-and-mean", "trainer.updates_per_step=8"])
        )


DEEP = [
    "+experiment=addition", "model=irnn", "model.hidden_size=6", "task.length=12", "logger=none",
    "task.num_train=100", "task.num_val=50", "task.num_test=50", "schedule.phase_epochs=[1]",
    "trainer.batch_size=10", "trainer.accelerator=cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "reason"),
    [
        ("model.layers=2", "irnn has 2 layers, not one"),
        ("model.bidirectional=true", "irnn is bidirectional"),
    ],
)
def test_deep_nets_are_trained_without_blocks(tmp_path: Path, depth: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        train_run(compose_config([*DEEP, depth, "trainer.updates_per_step=8"]))
    run = load_run(train_run(compose_config([*DEEP, depth, f"out={tmp_path}"])))
    layers, directions = run.config.net.layers, run.config.net.num_directions
    assert layers * directions == 2
    weights = load_net(run).state_dict()
    start = build_net(run.config.net, seed=run.config.seed).state_dict()
    for place in ("0", "1"):  # both have learned
        name = f"recurrent.{place}.weight_hh_l0"
        assert not torch.equal(weights[name], start[name])
    card = (run.folder / "README.md").read_text()
    assert f"layers={layers}, bidirectional={directions == 2}" in card
    # By hand: D = 2, H = 6, one bias each; a second layer reads 6 numbers, a second direction 2;
    # the linear layer reads 6 or 12.
    of_second = (6 if layers == 2 else 2) * 6
    parameters = 12 + of_second + 2 * (36 + 6) + 6 * directions + 1
    assert f"{parameters} parameters, {12 + of_second + 72} multiply-adds" in card


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+experiment=copying", "model.readout=last"], "Pass model.readout=all"),
        (["+experiment=digits", "model.readout=all"], "Pass model.readout=last"),
    ],
)
def test_a_readout_that_does_not_fit_the_task_is_refused(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        train_run(compose_config([*overrides, f"out={tmp_path}"]))


def test_a_budget_shortens_training_and_is_written_down(tmp_path: Path, data: list[str]) -> None:
    assert ScheduleSpec((25, 30, 15), 0.1).scaled(0.1) == ScheduleSpec((2, 3, 2), 0.1, 1.0)
    assert ScheduleSpec((10,), None).scaled(0.01) == ScheduleSpec((1,), None, 0.1)
    folder = train_run(compose_config([*data, "budget=0.5"]))
    assert load_run(folder).config.budget == 0.5
    assert len(read_log(folder)) == 4
    with pytest.raises(ValueError, match=r"budget: expected a share in \(0, 1\]"):
        train_run(compose_config([*data, "budget=2"]))


def test_clips_that_moved_from_train_to_test_since_the_training_are_refused(
    tmp_path: Path, data: list[str]
) -> None:
    run = load_run(train_run(compose_config([*data, "schedule.phase_epochs=[1]"])))
    PartReader("test").read(run)
    path = tmp_path / "tiny.yaml"
    path.write_text(path.read_text().replace("g04", "g99").replace("g01", "g04"))
    PartReader("train").read(run)  # whoever asks for the training clips may have them
    path.write_text(path.read_text().replace("g99", "g01"))
    with pytest.raises(ValueError, match="6 groups of the test part were trained or validated on"):
        PartReader("test").read(run)


def test_the_learning_rate_cools_between_phases() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    spec = ScheduleSpec((2, 3, 1), 0.1)
    scheduler = make_scheduler(spec, optimizer)
    rates = []
    for _ in range(spec.num_epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=0"], "optimizer.lr: expected a number above 0, found 0"),
        (["optimizer.clip_by=size"], "optimizer.clip_by: expected norm or value or null"),
        (["schedule.phase_epochs=[]"], "schedule.phase_epochs: expected a list"),
        (
            ["schedule.phase_epochs=[3]", "schedule.cooling=0.5"],
            "schedule.cooling is 0.5, which",
        ),
        (["schedule.cooling=null"], "schedule.cooling: expected a factor in (0, 1], found None"),
        (["optimizer.clip=null", "optimizer.clip_by=value"], "optimizer.clip_by is 'value', which"),
        (["optimizer.clip_by=null"], "optimizer.clip_by: expected one of norm, value, found None"),
        (["trainer.keep=first"], "trainer.keep: expected one of best, last"),
        (["trainer.batch_size=0"], "trainer.batch_size: expected 1 or more"),
        (["model.readout=middle"], "model.readout: expected one of last, mean, last-and-mean, all"),
        (["split=ucf"], "split=ucf: expected groups-split1, ucf101-split1"),
        (["features=nowhere"], "nowhere: expected a feature store"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(
    data: list[str], overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        train_run(compose_config([*data, *overrides]))


@pytest.mark.parametrize(
    ("overrides", "schedule", "clipping"),
    [
        ([], {"phase_epochs": [25, 30, 15], "cooling": 0.1}, (10.0, "norm")),
        (["schedule.phase_epochs=[7]"], {"phase_epochs": [7], "cooling": None}, (10.0, "norm")),
        (["+experiment=addition"], {"phase_epochs": [10], "cooling": None}, (10.0, "norm")),
        (
            ["+experiment=addition", "schedule.phase_epochs=[5,5]", "optimizer.clip=null"],
            {"phase_epochs": [5, 5], "cooling": 0.1},
            (None, None),
        ),
    ],
)
def test_cooling_and_the_way_of_clipping_stand_only_where_they_have_an_effect(
    overrides: list[str], schedule: dict[str, Any], clipping: tuple[Any, Any]
) -> None:
    config = compose_config(overrides)
    assert config["schedule"] == schedule
    assert (config["optimizer"]["clip"], config["optimizer"]["clip_by"]) == clipping


@pytest.mark.parametrize(
    ("argument", "spelling"),
    [
        ("task.split=draw", "split=draw"),
        ("+task.features=features/x", "features=features/x"),
        ("task.split=draw,groups-split1", "split=draw,groups-split1"),
        ("~task.features", "features=..."),
    ],
)
def test_the_second_spelling_of_a_top_option_answers_with_the_one_there_is(
    argument: str, spelling: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{argument}: no such key. Pass {spelling}.")):
        compose_config([argument])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_refused(data: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Pass trainer\.accelerator=cpu"):
        train_run(compose_config([*data, "trainer.accelerator=gpu"]))


def test_gradients_are_clipped_by_norm_or_value() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    for spec, expected in (
        (OptimizerSpec("sgd", lr=1.0, clip=1.0, clip_by="value"), [1.0, -1.0]),
        (OptimizerSpec("sgd", lr=1.0, clip=1.0, clip_by="norm"), [0.6, -0.8]),
    ):
        module = SequenceModule(
            build_net(NetSpec("mean-pool", input_size=1, num_outputs=1), seed=0),
            kind="", optimizer=spec, schedule=ScheduleSpec((1,), None),
            loss_over_batch="mean", seed=0,
        )  # fmt: skip
        parameter.grad = torch.tensor([3.0, -4.0])
        module.configure_gradient_clipping(make_optimizer(spec, [parameter]))
        assert parameter.grad.tolist() == pytest.approx(expected)


def test_config_yaml_holds_names_and_numbers_only(data: list[str]) -> None:
    folder = train_run(compose_config(["model=mean-pool", *data]))
    text = (folder / "config.yaml").read_text()
    assert "!!" not in text
    assert "${" not in text
    assert set(yaml.safe_load(text)) == {
        "format", "seed", "budget", "task", "split_digest", "origin", "labels", "net", "optimizer",
        "schedule", "batch", "checksum",
    }  # fmt: skip
