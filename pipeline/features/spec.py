"""How the features of a store were made, and what is known of each clip in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import groupby
from typing import Any

import numpy as np

from pipeline.clips import Clip, Problem

SPEECH = "mel-filter-banks"
"""The backbone's name where features are of sound, and so of no frames of a video."""

INT8 = "int8"
"""The first word of `compute` where the encoder computes in 8 bits."""
INT8_FILE = "encoder-int8.safetensors"
"""Such an encoder's name in the store."""


@dataclass(frozen=True)
class FeatureSpec:
    """How the features of a store were made: equal specs mean features that may be mixed.

    `dim` numbers per frame, stored as `dtype`; frames 0, stride, 2 * stride, ... were encoded.
    `compute` is the arithmetic of the encoder. `weights` is for people: the digest decides.
    """

    backbone: str
    dim: int
    features: str = "pool"
    weights: str = field(default="", compare=False)
    weights_digest: str = ""
    preprocessing: str = ""
    decoder: str = ""
    stride: int = 1
    dtype: str = "float16"
    compute: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dim < 1 or self.stride < 1:
            raise ValueError(
                f"FeatureSpec: expected dim and stride of 1 or more, "
                f"found dim={self.dim}, stride={self.stride}."
            )
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"FeatureSpec.dtype: expected float16 or float32, found {self.dtype}.")

    @property
    def frames(self) -> str:
        """Which frames were encoded, for people."""
        return "every frame" if self.stride == 1 else f"one frame of {self.stride}"

    @property
    def is_of_speech(self) -> bool:
        return self.backbone == SPEECH

    @property
    def is_int8(self) -> bool:
        """Whether the encoder is a file of the store, which holds its weights in 8 bits."""
        return self.compute.split(" ")[0] == INT8

    def differences(self, other: FeatureSpec, *, with_versions: bool = True) -> list[str]:
        """`name=mine, not theirs` for every field that differs; versions only if asked."""
        return [
            f"{f.name}={getattr(self, f.name)}, not {getattr(other, f.name)}"
            for f in fields(self)
            if f.compare and (with_versions or f.name != "versions")
            if getattr(self, f.name) != getattr(other, f.name)
        ]

    def digest(self) -> str:
        """16 hex digits that are equal when `differences(..., with_versions=False)` is empty."""
        text = json.dumps(self.learned(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def learned(self) -> dict[str, str | int]:
        """The fields that decide what a net learns from the features."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.compare and f.name != "versions"
        }

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, content: Any) -> FeatureSpec:
        """The spec of these fields; ValueError for anything else."""
        known = {f.name for f in fields(cls)}
        if (
            not isinstance(content, dict)
            or set(content) - known
            or not {"backbone", "dim"} <= set(content)
        ):
            raise ValueError(f"expected a feature spec with the keys {', '.join(sorted(known))}.")
        return cls(**content)


WHOLE, TRUNCATED, DAMAGED = "whole", "truncated", "damaged"
"""The conditions of a clip that gave features."""
# The first words of a problem, as pipeline.video says them, and what they mean for the clip.
_CONDITION_OF = {"truncated": TRUNCATED, "incomplete": TRUNCATED, "damaged": DAMAGED}


@dataclass(frozen=True)
class ClipRecord:
    """What a store knows of a clip beside its features.

    `num_frames` were decoded where the file's header promised `num_header_frames` (None: no
    promise); of these, every stride-th was encoded: `num_steps` rows. `problem` is "" for a whole
    clip. `num_bytes` and `digest` are of the video file, to see later whether it changed.
    `checksum` is of the features as they are stored; "" in stores that were written without.
    `labels` are those of the steps, as `join_labels` writes them; "" where steps have none.
    """

    clip: Clip
    num_steps: int
    num_frames: int
    fps: float
    num_header_frames: int | None = None
    decoder: str = ""
    problem: str = ""
    num_bytes: int = -1
    digest: str = ""
    checksum: str = ""
    labels: str = ""

    def __post_init__(self) -> None:
        if self.problem and self._first_word not in _CONDITION_OF:
            raise ValueError(
                f"ClipRecord.problem of {self.clip.id}: expected a line that starts with one of "
                f"{', '.join(_CONDITION_OF)}, found {self.problem!r}."
            )

    @property
    def condition(self) -> str:
        """How much of the clip its features show.

        TRUNCATED: fewer frames were decoded than the header promises, whatever became of the rest.
        DAMAGED: as many as it promises, or it promises none, but some of them did not decode
        cleanly. WHOLE: neither.
        """
        if not self.problem:
            return WHOLE
        if self.num_frames < (self.num_header_frames or 0):
            return TRUNCATED
        return _CONDITION_OF[self._first_word]

    @property
    def _first_word(self) -> str:
        return self.problem.partition(":")[0]

    def to_attributes(self) -> dict[str, str | int | float]:
        """Plain numbers and strings for HDF5; -1 stands for an unknown header count."""
        content = {**asdict(self.clip), **asdict(self)}
        del content["clip"]
        if not self.labels:  # of videos, whose frames have none
            del content["labels"]
        header = self.num_header_frames
        return {**content, "num_header_frames": -1 if header is None else header}

    @classmethod
    def from_attributes(cls, content: Mapping[str, Any]) -> ClipRecord:
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in content.items()}
        plain.pop("frame_indices", None)
        clip = Clip(**{f.name: plain.pop(f.name) for f in fields(Clip)})
        header = plain.pop("num_header_frames")
        return cls(clip=clip, num_header_frames=None if header < 0 else header, **plain)


def join_labels(labels: Sequence[str]) -> str:
    """The labels of a clip's steps in one line: `h#*20 p*12 l*4`.

    No label holds a space; that of a step without one is "".
    """
    assert not any(" " in label for label in labels)
    return " ".join(f"{label}*{len(list(same))}" for label, same in groupby(labels))


def split_labels(line: str) -> list[str]:
    """The labels that `join_labels` was given."""
    runs = (run.rpartition("*") for run in line.split(" ") if run)
    return [label for label, _, count in runs for _ in range(int(count))]


@dataclass(frozen=True)
class Failure:
    """A clip that gave no features, kept in its shard so that resuming knows it was tried."""

    clip: Clip
    reason: str
    num_bytes: int

    def as_problem(self) -> Problem:
        return Problem(self.clip.path, self.clip.id, self.clip.label, self.reason)
