"""Small feature stores and run folders, made without training, for the tests of eval."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clips import Clip, digest_split, is_split_file
from pipeline.features import ClipRecord, FeatureSpec, ShardWriter, claim_store, write_index
from pipeline.places import Place
from pipeline.recurrent.classifier import SequenceNet, build_net, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import (
    BatchSpec,
    OptimizerSpec,
    Provenance,
    RunConfig,
    ScheduleSpec,
    TaskConfig,
    begin_run,
    save_weights,
)
from pipeline.seals import BLANK, seal
from pipeline.tasks import Task, make_task
from pipeline.tasks.options import ANSWERED_AT_EVERY_STEP

LABELS = ("bow", "climb", "dive", "jump", "run", "walk")
GROUPS = {"train": ("g01", "g02"), "val": ("g03",), "test": ("g04", "g05", "g06")}
NOISE = 0.45


def make_clips() -> tuple[Clip, ...]:
    """Two clips of each class and group."""
    groups = [group for part in GROUPS.values() for group in part]
    return tuple(
        Clip(f"v_{label}_{group}_c{number:02d}", label, group, f"{label}/{group}_{number}.avi")
        for label in LABELS
        for group in groups
        for number in (1, 2)
    )


def make_features(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """(T, 6) for each clip, T in [3, 9]: its class's unit vector and noise."""
    generator = np.random.default_rng(seed)
    features = {}
    for clip in make_clips():
        steps = int(generator.integers(3, 10))
        offset = np.eye(len(LABELS))[LABELS.index(clip.label)]
        look = NOISE * generator.normal(size=len(LABELS))
        rows = offset + look + 0.1 * generator.normal(size=(steps, len(LABELS)))
        features[clip.id] = rows.astype(np.float32)
    return features


def write_store(
    folder: Path,
    *,
    dim: int = 6,
    missing: Sequence[str] = (),
    truncated: Sequence[str] = (),
    damaged: Sequence[str] = (),
) -> Path:
    """A store of the clips; features wider than 6 repeat."""
    spec = FeatureSpec(backbone="tiny", dim=dim, dtype="float32")
    claim_store(folder, spec)
    features = make_features()
    with ShardWriter(folder, "shard-00000", spec) as shard:
        for clip in make_clips():
            if clip.id not in missing:
                rows = np.resize(features[clip.id], (len(features[clip.id]), dim))
                problem = "truncated" if clip.id in truncated else ""
                problem = "damaged" if clip.id in damaged else problem
                shard.append(rows)
                shard.finish(ClipRecord(clip, len(rows), len(rows), 25.0, problem=problem))
    write_index(folder, spec, ["shard-00000"])
    return folder


def write_split(folder: Path) -> Path:
    """A split file that lists every clip of `make_clips`, in the store or not."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = [group for part in GROUPS.values() for group in part]
    with (folder / "listed.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "name", *groups])
        writer.writerows([label, label, *(2 for _ in groups)] for label in LABELS)
    lines = [f"{part}: [{', '.join(groups)}]" for part, groups in GROUPS.items()]
    path = folder / "tiny.yaml"
    path.write_text("\n".join(["listed: listed.csv", *lines]) + "\n")
    return path


def write_overrides(folder: Path, *, phase_epochs: str) -> list[str]:
    """Overrides that train for a few short epochs on a tiny store, both in `folder`."""
    return [
        f"features={write_store(folder / 'store')}",
        f"split={write_split(folder)}",
        f"out={folder / 'runs'}",
        f"schedule.phase_epochs={phase_epochs}",
        "trainer.batch_size=5",
        "trainer.accelerator=cpu",
    ]


def write_run(
    folder: Path,
    store: Path,
    *,
    model: str = "mean-pool",
    seed: int = 0,
    has_weights: bool = True,
    dropout: float = 0.5,
    lr: float = 1e-3,
    bend: int | None = None,
    task: str = "clips",
    split: Path | None = None,
    **of_net: Any,
) -> SequenceNet:
    """A run folder whose mean-pool answers each clip's strongest feature, bent by `bend`.

    Without `bend`, by the seed; without `split`, on all clips. `of_net`: fields of other nets.
    """
    split = split or write_split(store.parent)
    section = {"name": task, "features": str(store), "split": str(split)}
    made = make_task(section)
    spec = NetSpec(model, made.input_size, made.num_outputs, dropout=dropout)
    if model != "mean-pool":
        spec = replace(spec, hidden_size=8, **of_net)
    net = build_net(spec, seed=seed)
    if model == "mean-pool":
        generator = torch.Generator().manual_seed(seed if bend is None else bend)
        sizes = (made.num_outputs, made.input_size)
        weight = 3 * torch.eye(*sizes) + torch.randn(*sizes, generator=generator)
        net.load_state_dict({"readout.weight": weight, "readout.bias": torch.zeros(sizes[0])})
    config = make_config(made, section, spec, seed=seed, optimizer="rmsprop", lr=lr)
    begin_run(folder, config, make_provenance(made, net, folder))
    if has_weights:
        save_weights(folder, net)
    return net.eval()


def write_toy_run(
    folder: Path,
    section: Mapping[str, Any],
    *,
    model: str = "np-rnn",
    seed: int = 0,
    hidden_size: int = 8,
    budget: float = 1.0,
    has_weights: bool = True,
    scale: float = 1.0,
) -> SequenceNet:
    """A run folder of a toy task with the weights of the start, all multiplied by `scale`."""
    task = make_task(section)
    readout = "all" if section["name"] in ANSWERED_AT_EVERY_STEP else "last"
    spec = NetSpec(model, task.input_size, task.num_outputs, readout=readout, dropout=0.0)
    if model != "mean-pool":
        spec = replace(spec, hidden_size=hidden_size)
    net = build_net(spec, seed=seed)
    net.load_state_dict({name: scale * weights for name, weights in net.state_dict().items()})
    config = make_config(task, section, spec, seed=seed, optimizer="sgd", lr=1e-3, budget=budget)
    begin_run(folder, config, make_provenance(task, net, folder))
    if has_weights:
        save_weights(folder, net)
    return net.eval()


def toy_section(name: str, *, length: int = 12, num: int = 40) -> dict[str, Any]:
    """The config's `task` section of a small addition, multiplication or copying problem."""
    sizes = {"num_train": num, "num_val": num, "num_test": num}
    marks = {} if name == "copying" else {"marks": "halves"}
    return {"name": name, "length": length, **marks, **sizes, "seed": 0}


def make_config(
    task: Task,
    section: Mapping[str, Any],
    spec: NetSpec,
    *,
    seed: int,
    optimizer: str,
    lr: float,
    budget: float = 1.0,
) -> RunConfig:
    """The config of a run of a task's section; a split file is named by its stem."""
    options = {key: value for key, value in section.items() if key not in ("name", "features")}
    split_digest = ""
    if "split" in options and is_split_file(options["split"]):
        split_digest = digest_split(options["split"])
        options["split"] = Path(options["split"]).stem
    decay = 0.9 if optimizer == "rmsprop" else None
    return RunConfig(
        seed=seed,
        budget=budget,
        task=TaskConfig.make(section["name"], options),
        split_digest=split_digest,
        origin=task.origin,
        labels=task.labels,
        net=spec,
        optimizer=OptimizerSpec(optimizer, lr, 10.0, "norm", decay),
        schedule=ScheduleSpec((2, 1), 0.1),
        batch=BatchSpec(256, "mean", "best", "32-true"),
    )


def make_provenance(task: Task, net: SequenceNet, folder: Path) -> Provenance:
    """What a run of 75 seconds knows of itself."""
    return Provenance(
        num_parameters=num_parameters(net),
        multiply_adds_per_step=multiply_adds_per_step(net.spec),
        places={
            name: Place.of(path, folder, digest=digest)
            for name, (path, digest) in task.places().items()
        },
        train_seconds=75.0,
    )


def write_log(folder: Path) -> None:
    """A log in the form of Lightning's: a number that was not logged at a step is a blank cell."""
    (folder / "metrics.csv").write_text(
        "epoch,step,train_loss,val_loss,val_accuracy\n"
        "0,1,2.0,,\n0,2,1.0,,\n0,2,,1.5,0.25\n1,4,0.5,,\n1,4,,nan,0.5\n"
    )


def edit_sealed(path: Path, old: str, new: str) -> None:
    """Put `new` in place of the first `old` in a text with a checksum, as if it was written so."""
    text = path.read_text()
    assert old in text
    path.write_text(seal(re.sub("crc32:[0-9a-f]{8}", BLANK, text.replace(old, new, 1))))
