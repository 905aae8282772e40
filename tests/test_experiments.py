from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.predictions.predict import PartReader
from papers.np_rnn.protocols import PRINTED, TABLE_3
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NETS, NetKind, NetSpec
from pipeline.runs import OptimizerSpec, ScheduleSpec, load_run
from pipeline.tasks import make_task
from pipeline.tasks.options import ANSWERED_AT_EVERY_STEP
from pipeline.tasks.table import TASKS
from train.config import compose_config
from train.experiments import PROTOCOLS, expand_experiments
from train.fit import train_run
from train.groups import join_task

ROOT = Path(__file__).resolve().parent.parent
# Input and output sizes that stand for those of tasks that read files.
SIZES = {
    "clips": (1024, 101), "arrow-of-time": (1024, 2), "mnist": (1, 10), "permuted-mnist": (1, 10),
    "words": (1, 10_000),
    "speech-frames": (123, 61),
}  # fmt: skip


def compose(*arguments: str) -> dict[str, Any]:
    return compose_config(expand_experiments(arguments))


def make_spec(config: dict[str, Any]) -> NetSpec:
    name = config["task"]["name"]
    if name in SIZES:
        sizes = SIZES[name]
    else:
        task = make_task(join_task(config))
        sizes = task.input_size, task.num_outputs
    return NetSpec(input_size=sizes[0], num_outputs=sizes[1], **config["model"])


def test_help_lists_every_net_task_and_protocol_without_torch() -> None:
    program = (
        "import runpy, sys\n"
        "sys.argv = ['train', '--help']\n"
        "try:\n"
        "    runpy.run_module('train', run_name='__main__')\n"
        "finally:\n"
        "    print('torch is loaded:', 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert f"model: {', '.join(sorted(NETS))}" in lines
    assert f"task: {', '.join(sorted(TASKS))}" in lines
    assert f"experiment: {', '.join(sorted(PROTOCOLS))}" in lines
    assert lines[-1] == "torch is loaded: False"


_RECURRENT = {
    "hidden_size": 100,
    "readout": "last",
    "h0": "zero",
    "layers": 1,
    "bidirectional": False,
    "embedding_size": 0,
    "tied": False,
    "softmax": "full",
}


@pytest.mark.parametrize("name", NETS)
def test_the_section_of_a_net_is_its_row_and_the_options_that_act_on_it(name: str) -> None:
    section = compose(f"model={name}")["model"]
    of_cell = {
        "simple": {**_RECURRENT, "input_scale": "fan-in"},
        "lstm": {**_RECURRENT, "forget_bias": 1.0},
        "none": {},
    }.get(NETS[name].cell, _RECURRENT)
    assert section == {"name": name, **of_cell, "dropout": 0.5, "dropout_means": "dropped"}


def test_a_new_row_is_a_new_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETS, "orthogonal-tanh-rnn", NetKind("simple", "tanh", "orthogonal"))
    config = compose("model=orthogonal-tanh-rnn", "model.hidden_size=7", "task=digits")
    net = build_net(make_spec(config), seed=0)
    weight = net.state_dict()["recurrent.weight_hh_l0"]
    torch.testing.assert_close(weight @ weight.T, torch.eye(7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("task", TASKS)
def test_every_net_on_every_task_is_one_override_away(task: str) -> None:
    for model in NETS:
        if (
            model == "mean-pool" and task in ANSWERED_AT_EVERY_STEP
        ):  # its answer at every step is the same
            with pytest.raises(
                ValueError,
                match="readout is 'all', which has no effect on mean-.*choose another model",
            ):
                compose(f"model={model}", f"task={task}")
            continue
        config = compose(f"model={model}", f"task={task}")
        assert (config["model"]["name"], config["task"]["name"]) == (model, task)
        assert make_spec(config).readout == ("all" if task in ANSWERED_AT_EVERY_STEP else "last")


@pytest.mark.parametrize("name", [*PROTOCOLS, "addition-lstm-250", "permuted-mnist-irnn-10"])
def test_a_preset_composes_into_valid_sections(name: str) -> None:
    config = compose(f"+experiment={name}")
    spec = make_spec(config)
    OptimizerSpec(**config["optimizer"])
    schedule = config["schedule"]
    ScheduleSpec(tuple(schedule["phase_epochs"]), schedule["cooling"])
    is_of_words = config["task"]["name"] == "words"
    assert spec.hidden_size == (200 if is_of_words else 100)
    is_of_store = name.startswith(("ucf101", "arrow-of-time", "speech-frames"))
    assert spec.dropout == (0.5 if is_of_store else 0.2 if is_of_words else 0.0)
    assert config["trainer"]["keep"] == ("best" if is_of_store or is_of_words else "last")


def test_a_protocol_of_words_says_how_they_are_read_and_answered() -> None:
    config = compose("+experiment=sentences-irnn-9", "task.root=x")
    assert (config["task"]["protocol"], config["model"]["softmax"]) == ("sentences", "adaptive")
    assert config["schedule"] == {"phase_epochs": [4, 5], "cooling": 0.2}
    assert config["model"]["name"] == "irnn"
    assert compose("+experiment=ptb-words")["task"]["protocol"] == "stream"


@pytest.mark.parametrize(
    ("name", "optimizer", "lr", "phases", "batch_size"),
    [
        ("addition", "sgd", 1e-3, [10], 1),
        ("multiplication", "sgd", 2e-4, [33, 33, 34], 16),
        ("mnist-np-rnn", "sgd", 1e-4, [33, 33, 34], 16),
        ("mnist-irnn", "rmsprop", 1e-6, [100], 16),
        ("permuted-mnist", "sgd", 1e-4, [33, 33, 34], 16),
        ("ucf101", "rmsprop", 1e-3, [25, 30, 15], 256),
    ],
)
def test_a_protocol_of_the_paper_has_its_numbers(
    name: str, optimizer: str, lr: float, phases: list[int], batch_size: int
) -> None:
    config = compose(f"+experiment={name}")
    assert config["optimizer"]["name"] == optimizer
    assert config["optimizer"]["lr"] == lr
    assert (config["optimizer"]["clip"], config["optimizer"]["clip_by"]) == (10.0, "norm")
    assert config["schedule"] == {
        "phase_epochs": phases,
        "cooling": 0.1 if len(phases) > 1 else None,
    }
    assert config["trainer"]["batch_size"] == batch_size
    assert config["trainer"]["loss_over_batch"] == ("mean" if name == "ucf101" else "sum")
    if name in ("addition", "multiplication"):
        sizes = [config["task"][f"num_{part}"] for part in ("train", "val", "test")]
        assert sizes == [100_000, 10_000, 10_000]
        assert config["task"]["marks"] == "halves"
    if "mnist" in name:
        assert config["task"]["num_val"] == 5000


def test_every_bar_and_row_of_the_paper_has_a_name() -> None:
    by_place = [row.place for row in PRINTED.values()]
    # 7 nets at 5 lengths; 5 nets at 3; 2 nets at 100 and 500 epochs; 4 nets.
    assert by_place.count("Figure 3") == 35
    assert by_place.count("Figure 4") == 15
    assert sum("Table 2" in place for place in by_place) == 4
    assert sum("Figure 5" in place for place in by_place) == 2
    assert by_place.count("Table 3") == 4
    assert PRINTED["mnist-np-rnn-500"].test == 0.968
    assert PRINTED["ucf101-scaled-irnn"].test == 0.566
    assert PRINTED["addition-o-rnn-150"].test is None


def test_a_bar_or_row_of_the_paper_is_its_protocol_with_a_net_and_a_number() -> None:
    for name in PRINTED:
        expanded = expand_experiments([f"+experiment={name}"])
        values = dict(argument.removeprefix("+").split("=") for argument in expanded)
        words = [values["experiment"]]
        words += [values["model"]] if "model" in values else []
        words += [values["task.length"]] if "task.length" in values else []
        if "mnist" in name:
            phases = values["schedule.phase_epochs"].strip("[]").split(",")
            words.append(str(sum(map(int, phases))))
        assert "-".join(words) == name


@pytest.mark.parametrize(
    "name",
    [name for name in PRINTED if not name.endswith(("00", "150"))]
    + ["addition-o-rnn-500", "mnist-irnn-500"],
)
def test_a_bar_or_row_of_the_paper_composes(name: str) -> None:
    config = compose(f"+experiment={name}")
    assert config["model"]["name"] in name
    assert config["task"]["name"].replace("clips", "ucf101") in name
    assert name.endswith(str(config["task"].get("length", ""))) or "mnist" in name
    assert config["budget"] == 1.0


def settings(*arguments: str) -> tuple[float, float]:
    config = compose(*arguments)
    return config["optimizer"]["lr"], config["model"]["dropout"]


@pytest.mark.parametrize("net", NETS)
def test_a_net_in_an_experiments_name_or_beside_it_gives_the_same_config(net: str) -> None:
    expected = compose(f"+experiment=ucf101-{net}")
    assert expected["model"]["name"] == net
    assert compose("+experiment=ucf101", f"model={net}") == expected


def test_the_settings_of_table_3_belong_to_the_net_that_is_chosen() -> None:
    learning_rates = {"scaled-irnn": 1e-3, "irnn": 1e-2, "np-rnn": 1e-3, "lstm": 1e-3}
    assert {net: row.learning_rate for net, row in TABLE_3.items()} == learning_rates
    for net in NETS:
        expected = learning_rates.get(net, 1e-3), 0.5
        assert settings("+experiment=ucf101", f"model={net}") == expected
    assert settings("+experiment=ucf101-irnn", "model=lstm") == (1e-3, 0.5)
    assert settings("model=irnn") == (1e-3, 0.5)


@pytest.mark.parametrize(
    "preset", [["+experiment=ucf101-irnn"], ["+experiment=ucf101", "model=irnn"]]
)
def test_a_setting_given_explicitly_wins_over_table_3(preset: list[str]) -> None:
    assert settings(*preset, "optimizer.lr=0.5") == (0.5, 0.5)
    assert settings("model.dropout=0.3", *preset) == (1e-2, 0.3)


def test_in_a_sweep_over_nets_each_has_its_own_settings(tmp_path: Path) -> None:
    program = (
        "import hydra, train.config as config\n"
        "config.register_groups()\n"
        "@hydra.main(version_base='1.3', config_path='pkg://train.conf', config_name='train')\n"
        "def main(composed):\n"
        "    found = config.resolve_config(composed)\n"
        "    print(found['model']['name'], found['optimizer']['lr'])\n"
        "main()\n"
    )
    arguments = ["-m", "+experiment=ucf101", "model=np-rnn,irnn,gru", f"hydra.sweep.dir={tmp_path}"]
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["np-rnn 0.001", "irnn 0.01", "gru 0.001"]


def test_a_long_name_is_the_protocol_and_its_overrides() -> None:
    expanded = expand_experiments(["seed=1", "+experiment=addition-np-rnn-400", "budget=0.1"])
    assert expanded == [
        "seed=1", "+experiment=addition", "model=np-rnn", "task.length=400", "budget=0.1",
    ]  # fmt: skip
    assert expand_experiments(expanded) == expanded
    assert expand_experiments(["-m", "+experiment=addition,digits"])[1] == (
        "+experiment=addition,digits"
    )
    assert expand_experiments(["--help", "model=irnn"]) == ["--help", "model=irnn"]


@pytest.mark.parametrize("is_first", [True, False])
def test_what_is_set_explicitly_wins_over_a_long_name_on_either_side(is_first: bool) -> None:
    mine = ["task.length=30", "model=irnn", "optimizer.lr=0.5", "model.dropout=0.3", "budget=0.1"]
    preset = ["+experiment=addition-np-rnn-400"]
    config = compose(*(mine + preset if is_first else preset + mine))
    assert config["task"]["length"] == 30
    assert config["model"]["name"] == "irnn"
    assert config["optimizer"]["lr"] == 0.5
    assert config["model"]["dropout"] == 0.3
    assert config["budget"] == 0.1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("addtion", "addition"),
        ("addition-npp-rnn-400", "addition-np-rnn-400"),
        ("addition-np-rnn-", "addition-np-rnn-"),
        ("mnist-np-rnn-lstm-100", "mnist-np-rnn-100"),
        ("digits-5", "digits"),
        ("mnist", "mnist-irnn"),
    ],
)
def test_an_unknown_experiment_is_refused_with_the_protocols_and_the_nearest(
    name: str, nearest: str
) -> None:
    listed = ", ".join(PROTOCOLS)
    with pytest.raises(ValueError, match=f"expected one of {listed}, or .*Did you mean {nearest}"):
        expand_experiments([f"+experiment={name}"])


def test_a_sweep_over_long_names_is_refused_with_the_way_to_sweep() -> None:
    with pytest.raises(ValueError, match="Sweep over nets and lengths instead"):
        expand_experiments(["-m", "+experiment=addition-irnn-150,addition-np-rnn-150"])


GENERATED = ["task.num_train=24", "task.num_val=5", "task.num_test=5", "task.length=6"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["+experiment=addition-np-rnn-400", *GENERATED],
        ["+experiment=multiplication", "model=lstm", *GENERATED],
        ["+experiment=copying", "model=irnn", *GENERATED],
        # Settings with which simple nets train in blocks, which these cannot.
        ["+experiment=addition", "model=ind-rnn", *GENERATED],
        ["+experiment=addition", "model=orthogonal-rnn", *GENERATED],
        ["+experiment=addition", "model=min-gru", *GENERATED],
        ["+experiment=addition", "model=co-rnn", *GENERATED],
        ["+experiment=addition", "model=lru", *GENERATED],
        ["+experiment=digits", "model=np-tanh-rnn", "task.num_val=1000", "task.num_test=700"],
    ],
)
def test_a_preset_trains_to_a_complete_run(tmp_path: Path, arguments: list[str]) -> None:
    small = ["schedule.phase_epochs=[1,1]", "trainer.accelerator=cpu", f"out={tmp_path}"]
    folder = train_run(compose(*arguments, *small))
    run = load_run(folder)
    assert run.is_complete
    task, _ = PartReader("test").read(run)
    assert run.config.labels == task.labels


def test_mnist_trains_to_a_complete_run(tmp_path: Path, data_root: Path) -> None:
    small = ["task.num_val=59980", "schedule.phase_epochs=[1]", "trainer.accelerator=cpu"]
    root = f"task.root={data_root / 'mnist'}"
    config = compose(
        "+experiment=permuted-mnist", root, *small, "model=mean-pool", f"out={tmp_path}"
    )
    assert load_run(train_run(config)).is_complete
