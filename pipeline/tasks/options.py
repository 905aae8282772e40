"""The options of each task with their defaults, each checked once; reading them needs no torch.

A field whose metadata is NOT_LEARNED says where the sequences lie or how they are held, and so
changes nothing of what a net learns; every other field does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.choices import check_choice
from pipeline.fields import ADDED, hold_fields

CACHES = ("auto", "memory", "disk")
CLASSES = ("listed", "present")
MARKS = ("halves", "anywhere")
PIXELS = ("unit", "bytes")
SPEAKERS = ("auto", "timit", "draw")
FOLD = ("auto", "timit", "none")
UNITS = ("word", "character")
PROTOCOLS = ("sentences", "stream")
_STEPS = 35
# Options that are written without `task.` before them: they stand beside the task's section.
TOP_OPTIONS = ("features", "split")
_LIMIT = 2**63  # of the numbers of torch
NOT_LEARNED: Mapping[str, bool] = MappingProxyType({"learned": False})


@dataclass(frozen=True)
class ClipsOptions:
    """Clips of a feature store under a split.

    `features`: the store's folder; None: the only one in `features/`. `split`: ucf101-split1, 2 or
    3, groups-split1, draw, or the path of a split file; `split_seed` draws split=draw, and a
    validation part out of train. `classes`: with `listed` the split's classes must all have clips
    in the store, with `present` those that have none are left out. `cache`: features are held in
    memory or read from disk while training; `auto`: in memory if they fit.
    """

    features: str | None = field(default=None, metadata=NOT_LEARNED)
    split: str = "ucf101-split1"
    split_seed: int = 0
    classes: str = "listed"
    cache: str = field(default="auto", metadata=NOT_LEARNED)

    def __post_init__(self) -> None:
        _hold(self)
        for name in TOP_OPTIONS:
            if getattr(self, name) == "":
                raise ValueError(f"{name}: expected a name or a path, found ''.")
        check_whole("split_seed", self.split_seed, least=0)
        check_choice("task.classes", self.classes, CLASSES)
        check_choice("task.cache", self.cache, CACHES)


@dataclass(frozen=True)
class MarkedOptions:
    """Sequences of `length` steps with two marked numbers; here of the addition problem.

    `marks`: one in the first half and one in the second (`halves`), or `anywhere`; the paper leaves
    it open. `num_val` is for choosing settings, the paper has none. `seed` is the data's own.
    """

    length: int = 150
    marks: str = "halves"
    num_train: int = 100_000
    num_val: int = 10_000
    num_test: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        _hold(self)
        check_whole("length", self.length, least=2)
        check_choice("task.marks", self.marks, MARKS)
        check_whole("seed", self.seed, least=0)
        _check_sizes(self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of sequences of each part."""
        return {"train": self.num_train, "val": self.num_val, "test": self.num_test}


@dataclass(frozen=True)
class MultiplicationOptions(MarkedOptions):
    """As of the addition problem, with the shortest length of the paper's figure 4."""

    length: int = 50


@dataclass(frozen=True)
class CopyingOptions:
    """Sequences of `length` steps to wait and 20 more; `seed` is the data's own."""

    length: int = 100
    num_train: int = 100_000
    num_val: int = 10_000
    num_test: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        _hold(self)
        check_whole("length", self.length, least=1)
        check_whole("seed", self.seed, least=0)
        _check_sizes(self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of sequences of each part."""
        return {"train": self.num_train, "val": self.num_val, "test": self.num_test}


@dataclass(frozen=True)
class MnistOptions:
    """MNIST: `root` is the folder of the four idx files, raw or gzip, and must be given.

    `num_val`: the last of the 60,000 training images; the paper held out none. `pixels`: numbers in
    [0, 1] (`unit`), or the files' own from 0 to 255 (`bytes`); the papers leave it open.
    """

    root: str | None = field(default=None, metadata=NOT_LEARNED)
    num_val: int = 5000
    pixels: str = field(default="unit", metadata=ADDED)

    def __post_init__(self) -> None:
        _hold(self)
        _check_sizes({"val": self.num_val})
        check_choice("task.pixels", self.pixels, PIXELS)


@dataclass(frozen=True)
class PermutedMnistOptions(MnistOptions):
    """MNIST with its pixels in the one order that `permutation_seed` draws."""

    permutation_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("permutation_seed", self.permutation_seed, least=0)


@dataclass(frozen=True)
class DigitsOptions:
    """`num_val` and `num_test` of the 1,797 images; `seed` draws the parts."""

    num_val: int = 360
    num_test: int = 360
    seed: int = 0

    def __post_init__(self) -> None:
        _hold(self)
        check_whole("seed", self.seed, least=0)
        _check_sizes({"val": self.num_val, "test": self.num_test})


@dataclass(frozen=True)
class SpeechOptions:
    """Utterances of a store of speech, whose every frame has a phone.

    `features` and `cache` as of clips. `speakers` says which are for what: with `timit` the 462 of
    TRAIN, the 50 of the development set and the 24 of the core test set; with `draw` those of TRAIN
    but for `num_val` (null: a tenth), which `split_seed` draws, and all of TEST; `auto`: timit
    where the store has all of these, else draw. `fold`: whether TIMIT's phones are also scored in
    their 48 and 39 classes (`timit`) or another corpus' are taken as they are (`none`); `auto`:
    timit where the phones are TIMIT's 61.
    """

    features: str | None = field(default=None, metadata=NOT_LEARNED)
    speakers: str = "auto"
    num_val: int | None = None
    split_seed: int = 0
    fold: str = "auto"
    cache: str = field(default="auto", metadata=NOT_LEARNED)

    def __post_init__(self) -> None:
        _hold(self)
        if self.features == "":
            raise ValueError("features: expected a name or a path, found ''.")
        check_choice("task.speakers", self.speakers, SPEAKERS)
        check_choice("task.fold", self.fold, FOLD)
        check_choice("task.cache", self.cache, CACHES)
        check_whole("split_seed", self.split_seed, least=0)
        if self.num_val is not None:
            check_whole("num_val", self.num_val, least=1)
        if self.speakers == "timit" and (self.num_val is not None or self.split_seed):
            raise ValueError(
                "task.num_val and task.split_seed draw speakers, which has no effect with "
                "task.speakers=timit: leave them out."
            )


@dataclass(frozen=True)
class WordsOptions:
    """A text: `root` is the folder of its parts, or one file that is cut, and must be given.

    `unit`: what a token is. `vocabulary`: how many of them are told apart, the most frequent of
    train, `<unk>` and a line's end among them; all others are `<unk>`. `protocol`: each line by
    itself (`sentences`), or one long text (`stream`) in as many streams as trainer.batch_size,
    which are cut after every `steps` tokens and carry the net's state over. `held_out`: the share
    of a text that val, and of one file test, takes where it has no file; null: 0.05. `tokens`: the
    folder in which the token numbers of texts above 64 MB are kept.
    """

    root: str | None = field(default=None, metadata=NOT_LEARNED)
    unit: str = "word"
    vocabulary: int = 10_000
    protocol: str = "stream"
    steps: int = _STEPS
    held_out: float | None = None
    tokens: str = field(default="tokens", metadata=NOT_LEARNED)

    def __post_init__(self) -> None:
        _hold(self)
        check_choice("task.unit", self.unit, UNITS)
        check_choice("task.protocol", self.protocol, PROTOCOLS)
        check_whole("vocabulary", self.vocabulary, least=3)
        check_whole("steps", self.steps, least=1)
        if self.protocol == "sentences" and self.steps != _STEPS:
            raise ValueError(
                f"task.steps is {self.steps}, which has no effect: task.protocol=sentences reads "
                f"whole sentences. Leave it out, or pass task.protocol=stream."
            )
        if self.held_out is not None and not 0 < self.held_out < 0.5:
            raise ValueError(
                f"task.held_out: expected a share in (0, 0.5), found {self.held_out:g}."
            )


TaskOptions = (
    ClipsOptions
    | MarkedOptions
    | CopyingOptions
    | MnistOptions
    | DigitsOptions
    | SpeechOptions
    | WordsOptions
)

TASK_OPTIONS: dict[str, type[TaskOptions]] = {
    "clips": ClipsOptions,
    "arrow-of-time": ClipsOptions,
    "addition": MarkedOptions,
    "multiplication": MultiplicationOptions,
    "mnist": MnistOptions,
    "permuted-mnist": PermutedMnistOptions,
    "copying": CopyingOptions,
    "digits": DigitsOptions,
    "speech-frames": SpeechOptions,
    "words": WordsOptions,
}

# Tasks that are scored at single steps of a sequence, so that a net answers at all of them.
ANSWERED_AT_EVERY_STEP = ("copying", "speech-frames", "words")
# Of these, tasks whose score is over all steps alike, so that a longer sequence counts for more.
COUNTED_BY_STEPS = ("speech-frames",)
# Tasks whose inputs are token numbers, with the size of the embedding that they pass through.
EMBEDDING_SIZES = {"words": 100}


def _hold(options: object) -> None:
    hold_fields(options, "task", bare=TOP_OPTIONS)


def check_whole(name: str, found: int, *, least: int) -> None:
    """Raise ValueError for a number below `least`, or of 2^63 up."""
    if not least <= found < _LIMIT:
        raise ValueError(
            f"task.{name}: expected a whole number from {least} up, below 2^63, found {found}."
        )


def _check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise ValueError unless every part has a sequence."""
    for part, size in sizes.items():
        check_whole(f"num_{part}", size, least=1)
