"""From a run and a part of its split to predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eval.predictions.frames import ALL, DisturbedSet
from eval.predictions.language import Counted, count_part, sum_logs
from eval.predictions.predictions import Predictions
from pipeline.features import read_spec
from pipeline.places import Place, find_place
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import WEIGHTS, Run, load_net, read_kept
from pipeline.sequences import SequenceSet, make_loader
from pipeline.tasks import NOT_SCORED, PartUse, Task, make_task
from pipeline.tasks.options import COUNTED_BY_STEPS
from pipeline.tasks.timit import find_folds, place_folds
from pipeline.tasks.words import WordsTask

_WHAT = {
    "features": "the feature store it was trained on",
    "root": "the folder of its images or texts",
    "split": "its split file",
}
_FIXES = {
    "features": "Pass --features DIR with that store, wherever it is now.",
    "root": "Put the folder back, or train the run again with task.root=FOLDER.",
    "split": "Put the file back where it was.",
}


@dataclass
class PartReader:
    """One part of the tasks of several runs; runs of the same task share what was read.

    `features` is a store that stands in for the one that the runs were trained on; `frames` a key
    of FRAMES, which of each clip's frames are read.
    """

    part: str
    features: str | None = None
    frames: str = ALL
    _read: dict[str, tuple[Task, SequenceSet]] = field(default_factory=dict)
    _counted: dict[int, Counted] = field(default_factory=dict)

    def read(self, run: Run) -> tuple[Task, SequenceSet]:
        """The run's task, checked to be of the kind it was trained on, and the part's sequences."""
        options = {**run.config.task.learned(), **self._find_places(run)}
        section = {"name": run.config.task.name, **options}
        labels = run.config.labels
        origin = run.config.origin
        key = json.dumps([section, labels, origin.learned()], sort_keys=True)
        if key not in self._read:
            task = make_task(
                section, labels=labels or None, origin=origin, kept=read_kept(run) or None
            )
            self._read[key] = task, self._choose_frames(task)
        task, sequences = self._read[key]
        _check_task(run, task)
        _refuse_leak(run, task, self.part)
        return task, sequences

    def count(self, task: WordsTask) -> Counted:
        """What counting says of the part of a text; runs of the same task share it."""
        if id(task) not in self._counted:
            self._counted[id(task)] = count_part(task, self.part)
        return self._counted[id(task)]

    def _choose_frames(self, task: Task) -> SequenceSet:
        sequences = task.sequences(self.part)
        if self.frames == ALL:
            return sequences
        return DisturbedSet(sequences, task.use(self.part).used, self.frames)

    def _find_places(self, run: Run) -> dict[str, str]:
        """The options of the run's task that are paths, as they are now."""
        if self.features is not None and run.features is None:
            raise ValueError(
                f"--features has no effect on {run.folder}: its task, {run.config.task.name}, "
                f"reads no features. Leave it out."
            )
        given = {} if self.features is None else {"features": self.features}
        places = {
            name: place
            for name, place in run.provenance.places.items()
            if name in _WHAT and name not in given
        }
        return {**given, **{name: str(_find(name, place, run)) for name, place in places.items()}}


def _find(name: str, place: Place, run: Run) -> Path:
    def refuse(path: Path) -> str:
        if name == "features":
            return _refuse_store(path, run)
        # HMDB-51's lists are named by a folder and a split of which it holds a file for each class.
        is_there = path.exists() or any(path.parent.glob(f"*_test_{path.name}.txt"))
        return "" if is_there else "nothing there"

    return find_place(place, run.folder, refuse=refuse, what=_WHAT[name], fix=_FIXES[name])


def _refuse_store(path: Path, run: Run) -> str:
    """Why the folder is not the run's feature store, or ""."""
    assert run.features is not None
    try:
        differences = read_spec(path).differences(run.features, with_versions=False)
    except ValueError as error:
        return str(error).splitlines()[0].removeprefix(f"{path}: ")
    return f"it was made with {'; '.join(differences)}" if differences else ""


def _check_task(run: Run, task: Task) -> None:
    differences = task.origin.differences(run.config.origin)
    if differences:
        raise ValueError(
            f"{run.folder} was trained on other sequences: these are of {'; '.join(differences)}.\n"
            + (
                "Pass --features with the features the run was trained on."
                if run.features is not None
                else "Train the run again."
            )
        )
    spec = run.config.net
    if (spec.input_size, spec.num_outputs) != (task.input_size, task.num_outputs):
        raise ValueError(
            f"{run.folder} holds a net for {spec.input_size} features a step and "
            f"{spec.num_outputs} outputs, but its task gives {task.input_size} features a step and "
            f"asks for {task.num_outputs} outputs.\n"
            f"Pass --features with the features the run was trained on."
        )


def _refuse_leak(run: Run, task: Task, part: str) -> None:
    """Another store, or a list that was changed, may hold other clips in this part than before."""
    seen = {
        source
        for other, sources in run.provenance.sources.items()
        for source in sources
        if part not in ("train", other)
    }
    leaked = sorted(seen & set(task.sources(part)))
    if leaked:
        raise ValueError(
            f"{run.folder}: {len(leaked)} groups of the {part} part were trained or validated on, "
            f"among them {leaked[0]}.\n"
            f"Evaluate on the features and the split of the training. A drawn split is kept in "
            f"split-draw-*.csv of its feature store: copy it to another store of these clips."
        )


def find_state(run: Run) -> str:
    """Why the run has no net, or ""."""
    if run.divergence:
        said = run.divergence.splitlines()[0].removeprefix("Training ").rstrip(".")
        return said if said.startswith("diverged") else f"diverged: {said}"
    return "" if run.is_complete else f"not complete: {WEIGHTS} appears when training ends"


def predict(run: Run, reader: PartReader, *, batch_size: int, device: str) -> Predictions:
    """What the run's net answers on the reader's part. ValueError where the run has no net."""
    net = load_net(run)
    task, sequences = reader.read(run)
    if isinstance(task, WordsTask):
        return _predict_language(net, task, reader, batch_size=batch_size, device=device)
    folds = find_folds(task.origin)
    places = [place_folds(task.labels, fold) for fold in folds]
    found = compute_outputs(net, sequences, batch_size=batch_size, device=device, folds=places)
    return Predictions(
        labels=_label_outputs(task, spec=run.config.net),
        is_by_step=run.config.net.readout == "all",
        outputs=found.outputs,
        targets=found.targets,
        sources=tuple(task.sources(reader.part)),
        use=task.use(reader.part),
        frames=reader.frames,
        num_scored=found.num_scored if run.config.task.name in COUNTED_BY_STEPS else None,
        folds=folds,
    )


def _predict_language(
    net: SequenceNet, task: WordsTask, reader: PartReader, *, batch_size: int, device: str
) -> Predictions:
    sequences, counted = task.sequences(reader.part), reader.count(task)
    logs = sum_logs(net, sequences, batch_size=batch_size, device=device)
    names = tuple(task.use(reader.part).used)
    return Predictions(
        labels=(),
        outputs=np.concatenate([logs[:, None], counted.logs], axis=1),
        targets=counted.targets,
        sources=names,
        use=PartUse(len(names), names),
        unit=task.options.unit,
        floors=counted.floors,
    )


def _label_outputs(task: Task, *, spec: NetSpec) -> tuple[str, ...]:
    if spec.readout == "all" and not task.labels:
        return tuple(str(place) for place in range(spec.num_outputs))
    return task.labels


class Outputs(NamedTuple):
    """Of N sequences `outputs` (N, C) and `targets`; of classified steps what `Predictions` keeps.

    `num_scored` (N,): the steps of each sequence that have a label; None where it has one label.
    """

    outputs: NDArray[np.float32]
    targets: NDArray[Any]
    num_scored: NDArray[np.int64] | None


@torch.inference_mode()
def compute_outputs(
    net: SequenceNet,
    sequences: SequenceSet,
    *,
    batch_size: int,
    device: str,
    folds: Sequence[Sequence[int]] = (),
) -> Outputs:
    """What the net answers on all sequences, in the order of the set; `folds` by `place_folds`."""
    net = net.to(device).eval()
    outputs, targets, counts, places = [], [], [], []
    for batch in make_loader(sequences, batch_size, seed=None):
        batch_on_device = batch.to(device)
        found, wanted = net(batch_on_device.features, batch_on_device.lengths), batch.targets
        found = found.float().cpu()
        if found.ndim == 3:
            counts.append(count_scored(wanted))
            found, wanted = summarize_steps(found, wanted, folds)
        outputs.append(found)
        targets.append(wanted)
        places.append(batch.indices)
    order = torch.argsort(torch.cat(places))

    def join(found: Sequence[Tensor]) -> NDArray[Any]:
        return torch.cat(list(found))[order].numpy()

    return Outputs(join(outputs), join(targets), join(counts) if counts else None)


def count_scored(targets: Tensor) -> Tensor:
    """(B,) the steps of targets (B, T) that have a label."""
    return (targets != NOT_SCORED).sum(dim=1)


def summarize_steps(
    outputs: Tensor, targets: Tensor, folds: Sequence[Sequence[int]] = ()
) -> tuple[Tensor, Tensor]:
    """What `Predictions` keeps of outputs (B, T, C) with targets (B, T), NOT_SCORED where none.

    (B, 2 + F): share right, mean log probability of the target, and share right of each of F folds,
    which give the place of each label's class, -1 for one left out; (B, C): each label's share. As
    in `metrics.top_k_hits` a tie is no hit, also one between labels of one class.
    """
    if targets.ndim != 2 or targets.is_floating_point():
        raise ValueError(
            f"The net answers every step (readout=all), but the targets are "
            f"{tuple(targets.shape)}: expected one class a step, (B, T). Train with readout=last."
        )
    scored = targets != NOT_SCORED  # (B, T)
    num = scored.sum(dim=1).clamp(min=1)  # (B,)
    places = targets.where(scored, torch.zeros_like(targets))
    of_target = outputs.gather(2, places[:, :, None])
    is_right = (
        ((outputs >= of_target).sum(dim=2) == 1) & torch.isfinite(outputs).all(dim=2) & scored
    )
    logs = outputs.log_softmax(dim=2).gather(2, places[:, :, None])[:, :, 0]
    mean_log = logs.where(scored, torch.zeros_like(logs)).sum(dim=1) / num
    counts = F.one_hot(places, outputs.shape[2]).mul(scored[:, :, None]).sum(dim=1)
    kept = [is_right.sum(dim=1) / num, mean_log]
    kept += [_share_right(outputs, places, scored, torch.tensor(fold)) for fold in folds]
    return torch.stack(kept, dim=1), counts / num[:, None]


def _share_right(outputs: Tensor, places: Tensor, scored: Tensor, fold: Tensor) -> Tensor:
    """(B,) the share of the steps whose answer has the target's class, of those that have one."""
    wanted = fold[places]
    counted = scored & (wanted >= 0)
    best = outputs.topk(2, dim=2).values
    is_clear = (best[:, :, 0] > best[:, :, 1]) & torch.isfinite(outputs).all(dim=2)
    is_right = (fold[outputs.argmax(dim=2)] == wanted) & is_clear & counted
    return is_right.sum(dim=1) / counted.sum(dim=1).clamp(min=1)
