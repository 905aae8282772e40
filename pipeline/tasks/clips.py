"""Clips of a feature store, to be told apart by their classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.clips import Clip, digest_split, is_split_file, read_split
from pipeline.features import DAMAGED, TRUNCATED, FeatureStore, read_weights_place
from pipeline.memory import RecycledMemory
from pipeline.sequences import SequenceBatch, SequenceSet, pad_sequences
from pipeline.tasks.options import ClipsOptions
from pipeline.tasks.task import CLASSIFICATION, Origin, PartUse

FEATURES_FOLDER = Path("features")
# Features in memory may take this share of what is free when they are first read.
_MEMORY_SHARE = 0.5


class ClipsTask:
    """The clips of a feature store under a split; `labels`: the classes of an earlier training."""

    kind = CLASSIFICATION

    def __init__(self, options: ClipsOptions, *, labels: tuple[str, ...] | None = None) -> None:
        self.store = FeatureStore(options.features or find_store())
        self._cache = options.cache
        self._split_name = options.split
        clips = [record.clip for record in self.store.records.values()]
        self._refuse_speech()
        self.split = read_split(
            options.split, clips, seed=options.split_seed, store=self.store.folder
        )
        if labels is not None:
            self.split = self.split.restricted_to(labels)
        elif options.classes == "present":
            self.split = self.split.restricted_to({clip.label for clip in clips})
        listed = (*self.split.train, *self.split.val, *self.split.test)
        self.labels = labels or tuple(sorted({clip.label for clip in listed}))
        self.input_size = self.store.spec.dim
        self.num_outputs = len(self.labels)
        self._refuse_class_without_training()

    def _refuse_speech(self) -> None:
        if any(record.labels for record in self.store.records.values()):
            raise ValueError(
                f"{self.store.folder} is of speech, with a label for every frame: its utterances "
                f"have no classes.\nPass task=speech-frames, or features= with a store of clips."
            )

    def _refuse_class_without_training(self) -> None:
        absent = self.find_absent("train")
        if absent:
            raise ValueError(
                f"Split {self.split.name}: {len(absent)} of {len(self.labels)} classes have no "
                f"clip in the train part of {self.store.folder}: {', '.join(absent[:3])}"
                f"{' ...' if len(absent) > 3 else ''}.\n"
                f"Extract their clips, or pass task.classes=present to leave out classes without "
                f"any clip, or another split."
            )

    def find_absent(self, part: str) -> tuple[str, ...]:
        """The classes without a clip in this part."""
        present = {clip.label for clip in self._present(part)}
        return tuple(label for label in self.labels if label not in present)

    def _present(self, part: str) -> list[Clip]:
        return [clip for clip in self.split.part(part) if clip.id in self.store.records]

    def sequences(self, part: str) -> SequenceSet:
        clips = self._present(part)
        if not clips:
            raise ValueError(
                f"Split {self.split.name}: none of the {len(self.split.part(part))} clips of the "
                f"{part} part is in {self.store.folder}.\n"
                f"Extract them, or choose another split."
            )
        return ClipSet(self.store, clips, self.labels, is_in_memory=self._fits_in_memory)

    @cached_property
    def _fits_in_memory(self) -> bool:
        return fits_in_memory(self.store, self._cache)

    def use(self, part: str) -> PartUse:
        present = self._present(part)
        ids = tuple(clip.id for clip in present)
        return PartUse(
            num_listed=len(self.split.part(part)),
            used=ids,
            missing=tuple(sorted({clip.id for clip in self.split.part(part)} - set(ids))),
            truncated=self._find_in_condition(ids, TRUNCATED),
            damaged=self._find_in_condition(ids, DAMAGED),
        )

    def _find_in_condition(self, ids: Sequence[str], condition: str) -> tuple[str, ...]:
        return tuple(i for i in ids if self.store.records[i].condition == condition)

    def sources(self, part: str) -> Sequence[str]:
        return [f"{clip.label}/{clip.group or clip.id}" for clip in self._present(part)]

    @property
    def origin(self) -> Origin:
        return Origin(features=self.store.spec)

    def places(self) -> Mapping[str, tuple[Path, str]]:
        places = {"features": (self.store.folder, self.store.digest)}
        if is_split_file(self._split_name):
            places["split"] = Path(self._split_name), digest_split(self._split_name)
        weights = read_weights_place(self.store.folder)
        if weights is not None:
            places["weights"] = weights.locate(self.store.folder), weights.digest
        return places

    def kept(self) -> Mapping[str, str]:
        return {}


class ClipSet:
    """The sequences of some clips: a SequenceSet."""

    def __init__(
        self,
        store: FeatureStore,
        clips: Sequence[Clip],
        labels: Sequence[str],
        *,
        is_in_memory: bool,
    ) -> None:
        self.is_in_memory = is_in_memory
        self._store = store
        self._memory = RecycledMemory()
        self._ids = [clip.id for clip in clips]
        self._targets = torch.tensor([labels.index(clip.label) for clip in clips])
        self.lengths = torch.tensor([store.records[i].num_steps for i in self._ids])

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, indices: Sequence[int]) -> SequenceBatch:
        ids = [self._ids[i] for i in indices]
        arrays = [self._in_memory[i] for i in indices] if self.is_in_memory else self._read(ids)
        features, lengths = pad_sequences(
            [torch.from_numpy(array) for array in arrays], memory=self._memory
        )
        places: Tensor = torch.tensor(indices)
        return SequenceBatch(features, lengths, self._targets[places], places)

    @cached_property
    def _in_memory(self) -> list[NDArray[Any]]:
        return self._read(self._ids)

    def _read(self, ids: Iterable[str]) -> list[NDArray[Any]]:
        ids = list(ids)
        arrays = [self._store.read(clip_id) for clip_id in ids]
        for clip_id, array in zip(ids, arrays, strict=True):
            if array.shape[1] != self._store.spec.dim or not _is_finite(array):
                raise ValueError(
                    f"{self._store.folder}, clip {clip_id}: expected finite features "
                    f"(T, {self._store.spec.dim}), found {array.shape} with "
                    f"{int((~np.isfinite(array)).sum())} numbers NaN or infinite.\n"
                    f"Make the features of this clip again."
                )
        return arrays


def fits_in_memory(store: FeatureStore, cache: str) -> bool:
    """Whether the store's features are to be held in memory, as `cache`, one of CACHES, says."""
    if cache != "auto":
        return cache == "memory"
    num_steps = sum(record.num_steps for record in store.records.values())
    num_bytes = num_steps * store.spec.dim * np.dtype(store.spec.dtype).itemsize
    return bool(num_bytes < _MEMORY_SHARE * psutil.virtual_memory().available)


def _is_finite(array: NDArray[Any]) -> bool:
    """Whether no number is NaN or infinite; numpy's own test of float16 takes ten times as long."""
    if array.dtype != np.float16:
        return bool(np.isfinite(array).all())
    exponents = array.view(np.uint16) & 0x7C00
    return bool((exponents != 0x7C00).all())


def find_store() -> Path:
    """The only feature store in `features/`; ValueError where there is none, or a choice."""
    stores = sorted(path.parent for path in FEATURES_FOLDER.glob("*/spec.json"))
    if len(stores) == 1:
        return stores[0]
    found = ", ".join(map(str, stores)) or "none"
    raise ValueError(
        f"features: expected exactly one feature store in {FEATURES_FOLDER}/, found {found}.\n"
        + (
            "Choose with features=" + str(stores[0])
            if stores
            else "Make one: python -m extract --videos VIDEOS, of speech --speech SPEECH"
        )
    )
