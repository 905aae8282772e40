"""What every task tells the trainer and the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.features import FeatureSpec

if TYPE_CHECKING:  # names and options of tasks are read without torch
    from pipeline.sequences import SequenceSet

CLASSIFICATION = "classification"
REGRESSION = "regression"
LANGUAGE = "language"
NOT_SCORED = -100
"""The target of a step whose answer does not count; PyTorch's cross entropy leaves it out."""


@dataclass(frozen=True)
class PartUse:
    """How much of a part of a split is there: ids of clips, or the numbers of other sequences."""

    num_listed: int
    used: Sequence[str]
    missing: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()
    """Clips used although fewer frames were decoded than the file's header says."""
    damaged: tuple[str, ...] = ()
    """Clips used although some of their frames, which are all there, did not decode cleanly."""

    def __str__(self) -> str:
        text = f"{len(self.used)} of {self.num_listed} sequences"
        text += f", {len(self.truncated)} truncated" if self.truncated else ""
        return text + (f", {len(self.damaged)} damaged" if self.damaged else "")


@dataclass(frozen=True)
class Origin:
    """What a task's sequences come from: the features of a store, or what draws or holds others.

    `sequences` holds names, numbers and digests, as config.yaml does; beside `features` what was
    found in their train part. Runs of unlike origins learned from unlike data: they are never
    joined, and evaluated on their own origin alone.
    """

    features: FeatureSpec | None = None
    sequences: Mapping[str, Any] = field(default_factory=dict)

    def learned(self) -> dict[str, Any]:
        """What decides what is learned, as plain names and numbers."""
        if self.features is None:
            return {"sequences": dict(self.sequences)}
        return {"features": self.features.learned(), **self._found()}

    def _found(self) -> dict[str, Any]:
        return {"sequences": dict(self.sequences)} if self.sequences else {}

    def differences(self, other: Origin) -> list[str]:
        """`name=mine, not theirs` for what differs in `learned`."""
        if self.features is not None and other.features is not None:
            differing = self.features.differences(other.features, with_versions=False)
            names = sorted({*self.sequences, *other.sequences})
            unlike = (n for n in names if self.sequences.get(n) != other.sequences.get(n))
            return [*differing, *(f"another {name}" for name in unlike)]
        if self.learned() == other.learned():
            return []
        return [f"sequences={dict(self.sequences)}, not {dict(other.sequences)}"]

    def to_dict(self) -> dict[str, Any]:
        """What config.yaml holds: `learned` and, for people, versions and the weights' name."""
        if self.features is None:
            return self.learned()
        return {"features": asdict(self.features), **self._found()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Origin:
        """What `to_dict` wrote; TypeError or ValueError for anything else."""
        features = content.get("features")
        return cls(
            features=None if features is None else FeatureSpec.from_dict(features),
            sequences=content.get("sequences", {}),
        )


class Task(Protocol):
    """Sequences with targets, in three parts."""

    @property
    def kind(self) -> str:
        """What the targets are.

        CLASSIFICATION: classes, (B,) int64, or (B, T) for an answer at every step, NOT_SCORED at
        those that do not count; REGRESSION: numbers, (B, C) float32; LANGUAGE: the next token of
        each step, (B, T) int64, NOT_SCORED in the padding, where features are token numbers.
        """

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the outputs; () where the targets are no classes."""

    @property
    def input_size(self) -> int:
        """D, the numbers of a step."""

    @property
    def num_outputs(self) -> int:
        """C, the numbers of an answer."""

    def sequences(self, part: str) -> SequenceSet:
        """The sequences of `train`, `val` or `test`."""

    def use(self, part: str) -> PartUse:
        """What of the part is there; `used` names the sequences in their order."""

    def sources(self, part: str) -> Sequence[str]:
        """For every sequence what it was cut from: those of one source are not independent."""

    @property
    def origin(self) -> Origin:
        """What the sequences come from."""

    def places(self) -> Mapping[str, tuple[Path, str]]:
        """The paths among the options, and of features made with the `weights` of a file that file;
        each with a digest of what lies there, "" for none."""

    def kept(self) -> Mapping[str, str]:
        """Texts that a run keeps beside its config, by the names of their files."""
