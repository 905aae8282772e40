"""Configs of `python -m train`, right and wrong, and which of the two they are."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HUGE = str(10**18)
VALUES = (
    "abc", "null", "[1]", "1.5", "-1", "0", "nan", "inf", "true", HUGE, "", "{a:1}", "'1'",
)  # fmt: skip
"""What is tried for every key."""

_TINY = {
    "task.num_train": "8", "task.num_val": "4", "task.num_test": "4", "task.length": "6",
    "schedule.phase_epochs": "[1]", "trainer.batch_size": "4", "trainer.accelerator": "cpu",
    "out": "runs",
}  # fmt: skip
_SIZES = ("task.num_train", "task.num_val", "task.num_test", "task.length")
_OF_CLIPS = {
    **{key: value for key, value in _TINY.items() if key not in _SIZES},
    "features": "store",
    "split": "tiny.yaml",
}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "addition": {"task": "addition", "model": "np-rnn", "model.hidden_size": "4", **_TINY},
    "lstm": {"task": "copying", "model": "lstm", "model.hidden_size": "4", **_TINY},
    "clips": {"model": "mean-pool", **_OF_CLIPS},
}
"""Trainings of a moment, each right as it stands."""

_ANY_TEXT = {"abc", "'1'"}
RIGHT_VALUES: Mapping[str, Mapping[str, set[str]]] = {
    "addition": {
        "seed": {"0"},
        "budget": set(),
        "out": _ANY_TEXT,
        "task.length": set(),
        "task.marks": set(),
        "task.num_train": set(),
        "task.num_val": set(),
        "task.num_test": set(),
        "task.seed": {"0", HUGE},
        "model.hidden_size": set(),
        "model.input_scale": set(),
        "model.readout": set(),
        "model.h0": set(),
        "model.layers": set(),
        "model.bidirectional": {"true"},
        "model.dropout": {"0"},
        "model.dropout_means": set(),
        "optimizer.lr": {"1.5", HUGE},  # far too large, which training itself finds and says
        "optimizer.decay": {"0"},
        "optimizer.clip": {"null", "1.5", HUGE},
        "optimizer.clip_by": set(),
        "schedule.phase_epochs": {"[1]"},
        "schedule.cooling": {"null"},
        "trainer.batch_size": {HUGE},  # all sequences at once
        "trainer.loss_over_batch": set(),
        "trainer.keep": set(),
        "trainer.num_workers": {"0"},
        "trainer.updates_per_step": set(),
        "trainer.accelerator": set(),
        "trainer.precision": set(),
    },
    "lstm": {"model.forget_bias": {"1.5", "-1", "0", HUGE}, "task.length": set()},
    "clips": {
        "features": set(),
        "split": set(),
        "task.split_seed": {"0", HUGE},
        "task.classes": set(),
        "task.cache": set(),
        "model.hidden_size": set(),
        "model.layers": set(),
        "model.bidirectional": set(),
    },
}
"""Of every key the values among VALUES that are right."""

_CHOICES = {
    "model": ("np-rnn", "irnn", "lstm", "mean-pool"),
    "task": ("clips", "addition", "permuted-mnist", "digits"),
    "optimizer": ("rmsprop", "sgd", "adam"),
    "schedule": ("two-coolings",),
    "trainer": ("default",),
    "+experiment": ("addition", "mnist-irnn", "ucf101", "digits"),
}
_SINGLE = (
    # Keys that are none, in every spelling of Hydra's.
    "anything=1", "+anything=1", "++anything=1", "+trainer.max_epochs=5", "trainer.max_epochs=5",
    "++optimizer.lrr=1", "+model.depth=2", "task.foo.bar=1", "seed.a=1", "task.features=x",
    "+optimizer.lr=0.1", "Seed=0", "optimizer.LR=0.1", "optimizer.decay.x=1", "lr=0.1",
    "model.name=lstm2",
    # What is taken away.
    "~optimizer.lr", "~model", "~seed", "~optimizer", "~nothing", "~task.length",
    # Groups by other means.
    "model@x=np-rnn", "+model@x=np-rnn", "model=null", "task=null", "optimizer=null",
    "model=[np-rnn,irnn]",
    "model={name:np-rnn}", "optimizer={lr:1}", "task=5", "+experiment=null",
    "experiment=addition",
    "+experiment=", "trainer=[default]", "optimizer=", "model=rmsprop",
    # Several values without -m.
    "model=np-rnn,irnn", "optimizer.lr=0.1,0.2", "seed=range(0,3)", "optimizer.lr=interval(0,1)",
    "seed=choice(0,1)", "model=glob(*rnn)",
    # Syntax.
    "optimizer.lr=[1", "optimizer.lr=1]", "optimizer.lr={", "seed", "=1", "=", "seed==1", "'",
    "optimizer.lr='0.1", "seed =1,", "a b=1", "seed=$", "seed=${", "seed=${nope}", "seed=???",
    "out=${oc.env:NO_SUCH_VARIABLE}", "seed=${seed}", "seed=${where:}", "optimizer.lr=${oops:1}",
    "out=a,b", "optimizer..lr=1", ".lr=1", "optimizer.=1", "seed:1", "ünbekannt=1",
    "schedule.phase_epochs=[1,,2]",
    "schedule.phase_epochs=[[1]]", "schedule.phase_epochs=[]", "schedule.phase_epochs=[0]",
    "schedule.phase_epochs=[1.5]", "schedule.phase_epochs=[1,2", "schedule.phase_epochs=(1)",
    # Hydra's own options.
    "--no-such-flag", "--config-name=other", "--config-dir=nowhere", "--resolve", "--package=x",
    "hydra.nothing=1", "hydra/launcher=nothing", "hydra/sweeper=nothing", "hydra.run.dir=null",
    "-m --cfg=job",
    # Two keys that do not go together, and what is not on this machine.
    "task=mnist", "task=mnist task.root=nowhere", "trainer.accelerator=mps",
    "trainer.accelerator=gpus",
    "model.hidden_size=1000000000", "trainer.precision=31",
    "optimizer.clip_by=norm optimizer.clip=null",
    "schedule.cooling=0.5", "model=mean-pool task=copying", "model=mean-pool model.hidden_size=3",
    "optimizer=sgd optimizer.decay=0.9", "trainer.updates_per_step=8", "budget=0",
    "features=nowhere task=clips",
    "task.length=1000000000000", "trainer.num_workers=-1", "task=clips", "split=nowhere.yaml",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Arguments of `python -m train`; `is_right`: they should train, else be refused."""

    arguments: tuple[str, ...]
    is_right: bool
    nearest: str = ""
    """What the message should suggest."""
    changed: str = ""
    """The arguments that are tried: the others are of the setting."""


def make_cases(seed: int) -> list[Case]:
    """All cases, in an order and with misspellings that the seed draws."""
    rng = random.Random(seed)
    cases = [*_settings(), *_values(), *_misspelled(rng), *_singles()]
    rng.shuffle(cases)
    return cases


def _settings() -> Iterator[Case]:
    for name in SETTINGS:
        yield _change(name, {}, is_right=True)


def _values() -> Iterator[Case]:
    for name, keys in RIGHT_VALUES.items():
        for key, right in keys.items():
            for value in VALUES:
                yield _change(name, {key: value}, is_right=value in right)


def _misspelled(rng: random.Random) -> Iterator[Case]:
    for name, keys in RIGHT_VALUES.items():
        for key in keys:
            yield _change(name, {_misspell(key, rng): "1"}, is_right=False, nearest=key)
    for group, choices in _CHOICES.items():
        for choice in choices:
            wrong = _misspell(choice, rng)
            yield _change("addition", {group: wrong}, is_right=False, nearest=choice)
        yield _change("addition", {_misspell(group, rng): choices[0]}, is_right=False)


def _misspell(name: str, rng: random.Random) -> str:
    """The name with two neighbouring letters of its last word in the other order."""
    first = name.rfind(".") + 1 + name.startswith("+")
    places = [i for i in range(first, len(name) - 1) if name[i] != name[i + 1]]
    place = rng.choice(places)
    return f"{name[:place]}{name[place + 1]}{name[place]}{name[place + 2 :]}"


def _singles() -> Iterator[Case]:
    for line in _SINGLE:
        words = line.split(" ") if " " in line and line.count("=") > 1 else [line]
        keys = {word.split("=")[0] for word in words}
        kept = {k: v for k, v in SETTINGS["addition"].items() if k not in keys}
        if "task" in keys:
            kept = {k: v for k, v in kept.items() if k not in _SIZES}
        if "model" in keys and "mean-pool" in line:
            kept.pop("model.hidden_size", None)
        yield Case((*_join(kept), *words), is_right=False, changed=line)


def _change(setting: str, changes: Mapping[str, str], *, is_right: bool, nearest: str = "") -> Case:
    values = {**SETTINGS[setting], **changes}
    return Case(_join(values), is_right, nearest, " ".join(_join(changes)) or setting)


def _join(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in values.items())
