"""Utterances of a store of speech: which phone is spoken in each frame?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clips import PARTS, Clip, Split
from pipeline.features import DAMAGED, TRUNCATED, FeatureStore, split_labels
from pipeline.memory import RecycledMemory
from pipeline.sequences import SequenceBatch, SequenceSet
from pipeline.tasks.clips import ClipSet, find_store, fits_in_memory
from pipeline.tasks.options import SpeechOptions
from pipeline.tasks.task import CLASSIFICATION, NOT_SCORED, Origin, PartUse
from pipeline.tasks.timit import CORE_TEST, DEVELOPMENT, PHONES

_TRAIN, _TEST = "train", "test"
_VAL_SHARE = 0.1
# Significant digits of the statistics: those of the last ones depend on the machine's sums.
_DIGITS = 6


class SpeechTask:
    """The utterances of a store, their features normalised by the train part's mean and deviation.

    `labels` are the phones, and `found` the statistics and choices, of an earlier training.
    """

    kind = CLASSIFICATION

    def __init__(
        self,
        options: SpeechOptions,
        *,
        labels: tuple[str, ...] | None = None,
        found: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = FeatureStore(options.features or find_store())
        self._cache = options.cache
        records = self.store.records
        _refuse_unlabelled(self.store)
        self._labels_of = {name: split_labels(record.labels) for name, record in records.items()}
        self.split = split_speakers([record.clip for record in records.values()], options)
        phones = tuple(sorted({p for found in self._labels_of.values() for p in found} - {""}))
        self.labels = labels or phones
        self._refuse_other_phones(phones)
        self.input_size = self.store.spec.dim
        self.num_outputs = len(self.labels)
        self._found = found or {
            "fold": find_fold(options.fold, self.labels),
            "speakers": self.split.name,
            **self._measure(),
        }

    def _refuse_other_phones(self, phones: Sequence[str]) -> None:
        other = sorted(set(phones) - set(self.labels))
        if other:
            raise ValueError(
                f"{self.store.folder} has {len(other)} phones that the run was not trained on: "
                f"{', '.join(other[:5])}{' ...' if len(other) > 5 else ''}.\n"
                f"Pass --features with the features the run was trained on."
            )

    def find_absent(self, part: str) -> tuple[str, ...]:
        """The phones without a frame in this part."""
        there = {p for clip in self.split.part(part) for p in self._labels_of[clip.id]}
        return tuple(label for label in self.labels if label not in there)

    def _measure(self) -> dict[str, list[float]]:
        """The mean and deviation of each feature over all frames of the train part."""
        num, total, squares = 0, np.zeros(self.input_size), np.zeros(self.input_size)
        for clip in self.split.train:
            frames = self.store.read(clip.id).astype(np.float64)
            num += len(frames)
            total += frames.sum(axis=0)
            squares += (frames * frames).sum(axis=0)
        mean = total / num
        deviation = np.sqrt(np.maximum(squares / num - mean * mean, 0))
        deviation[deviation < 1e-5] = 1.0  # a feature that never changes stays 0
        return {"mean": _round(mean), "deviation": _round(deviation)}

    def sequences(self, part: str) -> SequenceSet:
        clips = self.split.part(part)
        inner = ClipSet(self.store, clips, PARTS, is_in_memory=self._fits_in_memory)
        targets = [self._place_labels(self._labels_of[clip.id]) for clip in clips]
        mean, deviation = (np.array(self._found[n], np.float32) for n in ("mean", "deviation"))
        return SpeechSet(inner, targets, mean=mean, deviation=deviation)

    def _place_labels(self, labels: Sequence[str]) -> NDArray[np.int64]:
        place_of = {**{label: i for i, label in enumerate(self.labels)}, "": NOT_SCORED}
        return np.array([place_of[label] for label in labels], dtype=np.int64)

    @cached_property
    def _fits_in_memory(self) -> bool:
        return fits_in_memory(self.store, self._cache)

    def use(self, part: str) -> PartUse:
        clips = self.split.part(part)
        ids = tuple(clip.id for clip in clips)
        conditions = {name: self.store.records[name].condition for name in ids}
        return PartUse(
            num_listed=len(ids),
            used=ids,
            truncated=tuple(name for name in ids if conditions[name] == TRUNCATED),
            damaged=tuple(name for name in ids if conditions[name] == DAMAGED),
        )

    def sources(self, part: str) -> Sequence[str]:
        return [clip.group for clip in self.split.part(part)]

    @property
    def origin(self) -> Origin:
        return Origin(features=self.store.spec, sequences=self._found)

    def places(self) -> Mapping[str, tuple[Path, str]]:
        return {"features": (self.store.folder, self.store.digest)}

    def kept(self) -> Mapping[str, str]:
        return {}


class SpeechSet:
    """The normalised sequences of some utterances, with a phone for each step: a SequenceSet."""

    def __init__(
        self,
        inner: ClipSet,
        targets: Sequence[NDArray[np.int64]],
        *,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
    ) -> None:
        self.is_in_memory = inner.is_in_memory
        self.lengths = inner.lengths
        self._inner = inner
        self._targets = targets
        self._mean = mean
        self._deviation = deviation
        self._memory = RecycledMemory()

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        batch = self._inner[indices]
        stored = batch.features.numpy()
        features = self._memory.empty(stored.shape, np.float32)  # (B, T, D)
        np.subtract(stored, self._mean, out=features)
        features /= self._deviation
        targets = np.full(stored.shape[:2], NOT_SCORED, dtype=np.int64)
        for row, place in enumerate(indices):
            found = self._targets[place]
            features[row, len(found) :] = 0
            targets[row, : len(found)] = found
        return SequenceBatch(
            torch.from_numpy(features), batch.lengths, torch.from_numpy(targets), batch.indices
        )


def _round(numbers: NDArray[np.float64]) -> list[float]:
    return [float(f"{number:.{_DIGITS}g}") for number in numbers]


def _refuse_unlabelled(store: FeatureStore) -> None:
    without = [name for name, record in store.records.items() if not record.labels]
    if without or not store.records:
        raise ValueError(
            f"{store.folder}: expected a phone for every frame, found "
            f"{len(without)} of {len(store.records)} clips without any.\n"
            f"Make a store of speech with python -m extract --speech DIR, or pass task=clips."
        )


def find_fold(asked: str, phones: Sequence[str]) -> str:
    """`timit` or `none`, of what was asked; ValueError where these phones cannot be folded."""
    foreign = sorted(set(phones) - set(PHONES))
    if asked == "timit" and foreign:
        raise ValueError(
            f"task.fold=timit: expected TIMIT's 61 phones, found others: {', '.join(foreign[:5])}"
            f"{' ...' if len(foreign) > 5 else ''}.\nPass task.fold=none."
        )
    if asked == "auto":
        return "timit" if set(phones) == set(PHONES) else "none"
    return asked


def split_speakers(clips: Sequence[Clip], options: SpeechOptions) -> Split:
    """The split by speakers that the options ask for, whose name is `timit` or `draw`."""
    of_part: dict[str, set[str]] = {_TRAIN: set(), _TEST: set()}
    for clip in clips:
        of_part.setdefault(clip.label, set()).add(clip.group.upper())
    if shared := sorted(of_part[_TRAIN] & of_part[_TEST]):
        raise ValueError(
            f"{len(shared)} speakers are in both TRAIN and TEST, such as {shared[0]}: a net would "
            f"be tested on voices that it was trained on.\nGive each speaker one name, in one part."
        )
    named = {*CORE_TEST, *DEVELOPMENT}
    kind = options.speakers
    if kind == "auto":
        kind = "timit" if named <= of_part[_TEST] else "draw"
    if kind == "timit":
        if absent := sorted(named - of_part[_TEST]):
            raise ValueError(
                f"task.speakers=timit: expected the 74 speakers of TIMIT's development and core "
                f"test sets in TEST, found none of {', '.join(absent[:5])}"
                f"{' ...' if len(absent) > 5 else ''}.\nPass task.speakers=draw."
            )
        val, test = set(DEVELOPMENT), set(CORE_TEST)
    else:
        val, test = _draw_speakers(sorted(of_part[_TRAIN]), options), of_part[_TEST]
    train = of_part[_TRAIN] - val
    if not train or not test:
        raise ValueError(
            f"The store has {len(train)} speakers for training and {len(test)} for testing: "
            f"expected some of each.\nExtract TRAIN and TEST."
        )
    speakers = {"train": train, "val": val, "test": test}
    return Split(kind, **{
        part: tuple(sorted((c for c in clips if c.group.upper() in names), key=lambda c: c.path))
        for part, names in speakers.items()
    })  # fmt: skip


def _draw_speakers(speakers: Sequence[str], options: SpeechOptions) -> set[str]:
    """The speakers of TRAIN that are for validation, by names whose case plays no part."""
    num = options.num_val or max(1, round(_VAL_SHARE * len(speakers)))
    if num >= len(speakers):
        raise ValueError(
            f"task.num_val: expected fewer than the {len(speakers)} speakers of TRAIN, of whom "
            f"they are drawn, found {num}."
        )
    return set(random.Random(options.split_seed).sample(list(speakers), num))
