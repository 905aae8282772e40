"""Several devices train what one trains; what is not there is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pipeline.console import OK
from pipeline.runs import load_net, load_run
from pipeline.sequences import LengthGroupedBatches
from pipeline.tasks import make_task
from tests.test_train import read_log
from tests.tiny_runs import toy_section, write_split, write_store
from train.config import compose_config
from train.devices import count_cores, find_accelerator, find_devices, find_num_nodes
from train.fit import train_run
from train.module import FILLER
from train.ranks import ShareOfBatches, refusing_once
from train.training import check_config

ROOT = Path(__file__).resolve().parent.parent
NO_GROUP = ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")

needs_two_cores = pytest.mark.skipif(count_cores() < 2, reason="one core is one device")


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Overrides that train for four short epochs on a tiny store, without dropout."""
    return [
        f"features={write_store(tmp_path / 'store')}", f"split={write_split(tmp_path)}",
        "schedule.phase_epochs=[3,1]", "trainer.batch_size=5", "trainer.accelerator=cpu",
        "model.dropout=0", "model.hidden_size=20",
    ]  # fmt: skip


def start(*words: str, **variables: str) -> subprocess.Popen[str]:
    """A process with one thread, as here: threads add in another order."""
    environment = {name: value for name, value in os.environ.items() if name not in NO_GROUP}
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**environment, "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """The exit code, and the lines on standard output and standard error."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out.splitlines(), err.splitlines()


def assert_same_training(folder: Path, one: Path) -> None:
    """The weights and the log of `one`, but for rounding: some ten updates in float32."""
    expected = load_file(one / "weights.safetensors")
    weights = load_file(folder / "weights.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-6)
    logs = read_log(folder), read_log(one)
    assert len(logs[0]) == len(logs[1])
    for several, alone in zip(*logs, strict=True):
        numbers = [{k: float(v) for k, v in row.items() if v} for row in (several, alone)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def test_the_comparison_of_trainings_sees_another_weight_and_another_score(
    tmp_path: Path, data: list[str]
) -> None:
    one, other = (
        train_run(compose_config([*data, f"out={tmp_path / name}", f"optimizer.lr={lr}"]))
        for name, lr in (("one", "1e-3"), ("other", "1.01e-3"))
    )
    assert_same_training(one, one)
    with pytest.raises(AssertionError):
        assert_same_training(other, one)


@needs_two_cores
def test_a_killed_training_on_two_devices_goes_on_to_the_weights_of_one_and_speaks_once(
    tmp_path: Path, data: list[str]
) -> None:
    data = [*data, "schedule.phase_epochs=[12]"]
    one = train_run(compose_config([*data, f"out={tmp_path / 'one'}"]))
    runs = tmp_path / "two"
    command = ["train", *data, f"out={runs}", "trainer.devices=2"]
    process = start(*command)
    while not list(runs.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    (folder,) = runs.iterdir()
    code, out, err = finish(start(*command))
    assert code == OK, err
    assert_same_training(folder, one)
    assert load_run(folder).config.digest() == load_run(one).config.digest()
    assert sum(line.startswith("Next: ") for line in out) == 1
    assert "  2 processes, which share each batch of 5" in out
    assert all(line.startswith("epoch ") for line in err), err  # no warning, and no second line
    assert len(err) == len(set(err))


@needs_two_cores
def test_torchrun_with_more_processes_than_sequences_in_a_batch_trains_as_one_device(
    tmp_path: Path, data: list[str]
) -> None:
    # 24 sequences: the last batch has 2, for 3 processes. The validation part has 12.
    data = [
        *data, "trainer.batch_size=11", "trainer.loss_over_batch=sum", "trainer.keep=last",
        "optimizer=sgd", "optimizer.lr=1e-2", "optimizer.clip=1", "model=lstm",
    ]  # fmt: skip
    one = train_run(compose_config([*data, f"out={tmp_path / 'one'}"]))
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m"]
    code, out, err = finish(start(*torchrun, "train", *data, f"out={tmp_path / 'three'}"))
    assert code == OK, err
    (folder,) = (tmp_path / "three").iterdir()
    assert_same_training(folder, one)
    assert sum(line.startswith("Next: ") for line in out) == 1


def test_two_nodes_train_as_one_device_and_the_second_says_nothing(
    tmp_path: Path, data: list[str]
) -> None:
    one = train_run(compose_config([*data, f"out={tmp_path / 'one'}"]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = ["train", *data, f"out={tmp_path / 'two'}", "trainer.num_nodes=2"]
    nodes = [start(*words, **where, NODE_RANK=str(node)) for node in range(2)]
    (code, _, err), second = (finish(node) for node in nodes)
    assert code == OK, err
    assert second == (OK, [], [])
    (folder,) = (tmp_path / "two").iterdir()
    assert_same_training(folder, one)


@needs_two_cores
def test_a_training_that_diverges_in_spawned_processes_ends_as_on_one_device(
    tmp_path: Path, data: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    data = [*data, "optimizer.lr=1e30", "optimizer.clip=null", f"out={tmp_path / 'runs'}"]
    folder = train_run(compose_config([*data, "trainer.devices=2", "trainer.strategy=ddp_spawn"]))
    assert load_run(folder).divergence.startswith("Training diverged at update 1 in epoch 0")
    told = capfd.readouterr()
    assert told.out.count(str(folder)) == 1
    assert len(told.err.splitlines()) == 2, "the message, its advice, and nothing else"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 5))
def test_the_shares_of_all_ranks_are_each_batch_of_one_device_once(
    lengths: list[int], batch_size: int, num_ranks: int
) -> None:
    task = make_task(toy_section("addition", num=len(lengths)))
    sequences = task.sequences("train")
    for batch in LengthGroupedBatches(torch.tensor(lengths), batch_size, seed=0):
        shares = [ShareOfBatches(sequences, r, num_ranks)[batch] for r in range(num_ranks)]
        read = [index for share in shares for index in share.indices.tolist()]
        assert sorted(index for index in read if index != FILLER) == sorted(batch)
        sizes = [int((share.indices != FILLER).sum()) for share in shares]
        assert max(sizes) - min(sizes) <= 1


def test_the_number_of_devices_makes_no_other_run(
    data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.devices.count_cores", lambda: 8)
    one, several = (
        check_config(compose_config([*data, *more]))
        for more in ([], ["trainer.devices=4", "trainer.strategy=ddp"])
    )
    assert several.config.name == one.config.name
    assert several.compute.num_processes == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devices=99", r"devices=99 .*expected 1 to 2, as this machine has 2 cores"),
        ("trainer.devices=0", "devices=0 .*expected 1 to 2"),
        ("trainer.devices=x", "devices: expected auto, a number of devices, or a list .* 'x'"),
        ("trainer.devices=1.5", "devices: expected auto, a number of devices, or a list .* 1.5"),
        ("trainer.devices=[0]", r"devices=\[0\] .*expected numbers of GPUs, each once, of \[\]"),
        ("trainer.num_nodes=0", "num_nodes: expected auto, 1 or more, found 0"),
        ("trainer.num_nodes=2", "found no MASTER_ADDR and no MASTER_PORT and no NODE_RANK"),
        ("trainer.accelerator=mps", "accelerator=mps, but PyTorch finds no Apple GPU"),
        ("trainer.accelerator=cuda", "accelerator=cuda, but PyTorch finds no CUDA device"),
        ("trainer.accelerator=tpu", "accelerator: expected one of auto, cpu, gpu, cuda, mps"),
        ("trainer.strategy=fsdp", "strategy: expected one of auto, ddp, ddp_spawn"),
        ("trainer.precision=16-true", "precision=16-true needs a GPU(.|\n)*Pass .*=bf16-true"),
        ("trainer.precision=16-mixed", "precision=16-mixed needs a GPU(.|\n)*Pass .*=bf16-mixed"),
        ("trainer.precision=8", "precision: expected one of 32-true"),
    ],
)
def test_devices_and_precisions_that_are_not_there_are_refused(
    data: list[str], monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.setattr("train.devices.count_cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in NO_GROUP:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=message):
        check_config(compose_config([*data, override]))


def test_gpus_are_as_many_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert {name: find_accelerator(name) for name in ("auto", "gpu", "cuda", "cpu")} == {
        "auto": "cuda", "gpu": "cuda", "cuda": "cuda", "cpu": "cpu",
    }  # fmt: skip
    assert [find_devices(d, "cuda") for d in ("auto", 2, -1, [1])] == [1, 2, 2, [1]]
    for devices in (3, 0, True, [2], [0, 0], [], ["x"]):
        with pytest.raises(ValueError, match="trainer.devices"):
            find_devices(devices, "cuda")


def test_torchrun_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("TORCHELASTIC_RUN_ID", "1"),
        ("LOCAL_WORLD_SIZE", "3"),
        ("WORLD_SIZE", "6"),
    ):
        monkeypatch.setenv(name, value)
    assert (find_devices("auto", "cpu"), find_num_nodes("auto")) == (3, 2)
    with pytest.raises(ValueError, match="torchrun started 3 processes"):
        find_devices(1, "cpu")
    with pytest.raises(ValueError, match="torchrun started on 2"):
        find_num_nodes(1)


def test_of_the_processes_of_a_machine_the_first_says_why_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ValueError, match="why"), refusing_once():
        raise ValueError("why")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit, match="2"), refusing_once():
        raise ValueError("why")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)]
)
@pytest.mark.parametrize("model", ["np-rnn", "gru"])
def test_weights_of_16_and_64_bits_train(
    tmp_path: Path, data: list[str], precision: str, dtype: torch.dtype, model: str
) -> None:
    losses: dict[str, Any] = {}
    for name in (precision, "32-true"):
        words = [*data, f"model={model}", f"trainer.precision={name}", f"out={tmp_path / name}"]
        folder = train_run(compose_config(words))
        losses[name] = [float(row["train_loss"]) for row in read_log(folder)]
        weights = load_file(folder / "weights.safetensors").values()
        assert {w.dtype for w in weights} == {dtype if name == precision else torch.float32}
        load_net(load_run(folder))
    assert losses[precision][-1] < losses[precision][0]
    # bfloat16 has 8 bits: a loss of some twenty updates is right to a few percent.
    assert losses[precision] == pytest.approx(losses["32-true"], rel=0.1)


def test_what_cannot_be_computed_with_weights_of_16_bits_is_refused(
    data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*data, "model=lru", "trainer.precision=bf16-true"]
    with pytest.raises(ValueError, match="cannot compute lru with weights of 16 bits"):
        check_config(compose_config(words))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    words = [*data, "trainer.precision=16-true", "trainer.accelerator=gpu"]
    with pytest.raises(ValueError, match="optimizer=rmsprop: (.|\n)*or optimizer=sgd"):
        check_config(compose_config(words))
    check_config(compose_config([*words, "optimizer=sgd"]))
