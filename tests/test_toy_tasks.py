from __future__ import annotations

import hashlib
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from pipeline import metrics
from pipeline.sequences import SequenceBatch, make_loader
from pipeline.tasks import CLASSIFICATION, NOT_SCORED, REGRESSION, Origin, Task, make_task
from pipeline.tasks.draws import draw_bits
from pipeline.tasks.marked import place_marks

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("train", "val", "test")
MARKED: dict[str, Any] = {
    "name": "addition", "length": 20, "marks": "halves",
    "num_train": 500, "num_val": 300, "num_test": 200, "seed": 0,
}  # fmt: skip
COPYING = {
    "name": "copying", "length": 7,
    "num_train": 500, "num_val": 300, "num_test": 200, "seed": 0,
}  # fmt: skip
DIGITS = {"name": "digits", "num_val": 360, "num_test": 300, "seed": 0}
GENERATED = [MARKED, {**MARKED, "name": "multiplication", "marks": "anywhere"}, COPYING]


def read_part(task: Task, part: str) -> SequenceBatch:
    sequences = task.sequences(part)
    return sequences[list(range(len(sequences)))]


def digest(batch: SequenceBatch) -> str:
    content = batch.features.numpy().tobytes() + batch.targets.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("marks", ["halves", "anywhere"])
@pytest.mark.parametrize(("name", "start"), [("addition", 0.0), ("multiplication", 1.0)])
def test_a_target_is_the_sum_or_product_of_the_marked_numbers(
    name: str, start: float, marks: str
) -> None:
    task = make_task({**MARKED, "name": name, "marks": marks})
    assert (task.kind, task.labels, task.input_size, task.num_outputs) == (REGRESSION, (), 2, 1)
    for part in PARTS:
        batch = read_part(task, part)
        assert batch.features.shape == (MARKED[f"num_{part}"], 20, 2)
        assert batch.targets.shape == (MARKED[f"num_{part}"], 1)
        assert batch.features.dtype == batch.targets.dtype == torch.float32
        assert batch.lengths.tolist() == [20] * len(batch.lengths)
        for sequence, target in zip(batch.features.tolist(), batch.targets.tolist(), strict=True):
            expected = start
            for number, mark in sequence:
                if mark == 1:
                    expected = expected + number if name == "addition" else expected * number
            assert target[0] == pytest.approx(expected, abs=1e-6)  # float32 against Python's


@pytest.mark.parametrize("length", [2, 3, 20, 151])
def test_one_mark_is_in_each_half(length: int) -> None:
    batch = read_part(make_task({**MARKED, "length": length}), "train")
    mask = batch.features[:, :, 1]
    assert ((mask == 0) | (mask == 1)).all()
    assert (mask[:, : length // 2].sum(dim=1) == 1).all()
    assert (mask[:, length // 2 :].sum(dim=1) == 1).all()
    if length <= 20:
        assert (mask.sum(dim=0) > 0).all()  # every step is marked in some sequence


def test_two_marks_anywhere_are_at_any_two_steps_as_often() -> None:
    bits = draw_bits(0, range(30_000), width=2, stream="train")
    first, second = place_marks(bits, 4, marks="anywhere")
    pairs = Counter(zip(first.tolist(), second.tolist(), strict=True))
    assert set(pairs) == {(a, b) for a in range(4) for b in range(4) if a != b}
    assert stats.chisquare(list(pairs.values())).pvalue > 1e-3
    task = make_task({**MARKED, "marks": "anywhere"})
    mask = read_part(task, "train").features[:, :, 1]
    assert (mask.sum(dim=1) == 2).all()
    assert (mask[:, :10].sum(dim=1) == 2).any()  # both in one half


def test_numbers_and_marks_are_independent() -> None:
    batch = read_part(make_task({**MARKED, "num_train": 20_000}), "train")
    numbers, mask = batch.features[:, :, 0].numpy(), batch.features[:, :, 1].numpy().astype(bool)
    # Five standard deviations of the mean of as many uniform numbers.
    assert abs(numbers[mask].mean() - 0.5) < 5 * (1 / 12 / mask.sum()) ** 0.5
    assert stats.kstest(numbers[mask], "uniform").pvalue > 1e-3
    steps = mask.argmax(axis=1)
    assert abs(np.corrcoef(steps, numbers[np.arange(20_000), steps])[0, 1]) < 5 / 20_000**0.5


@pytest.mark.parametrize(
    ("name", "mse", "within"),
    [
        ("addition", 1 / 6, 1 - 0.96**2),  # P(|x + y - 1| < .04)
        ("multiplication", 7 / 144, 0.08 * (1 - np.log(0.08))),  # P(xy < .08), constant 0.04
    ],
)
def test_the_floors_of_the_test_part_are_the_exact_ones(
    name: str, mse: float, within: float
) -> None:
    task = make_task({**MARKED, "name": name, "length": 50, "num_test": 10_000})
    targets = read_part(task, "test").targets.numpy()[:, 0]
    # Four standard deviations at 10,000 sequences.
    assert float(targets.var()) == pytest.approx(mse, abs=4 * 0.25 / 100)
    hits = np.abs(targets - (1.0 if name == "addition" else 0.04)) < metrics.WITHIN
    assert hits.mean() == pytest.approx(within, abs=4 * 0.45 / 100)
    assert metrics.constant_within_floor(targets) >= hits.mean() - 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "task.length: expected a whole number from 2 up, below 2^63, found 1"),
        ({"length": 2.5}, "task.length: expected a whole number, found 2.5"),
        ({"marks": "ends"}, "task.marks: expected one of halves, anywhere, found 'ends'"),
        ({"num_val": 0}, "task.num_val: expected a whole number from 1 up, below 2^63, found 0"),
        ({"seed": -1}, "task.seed: expected a whole number from 0 up, below 2^63, found -1"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make_task({**MARKED, **options})


@pytest.mark.parametrize("section", GENERATED, ids=lambda s: str(s["name"]))
def test_a_sequence_depends_on_its_index_and_not_on_its_batch(section: dict[str, Any]) -> None:
    whole = read_part(make_task(section), "train")
    again = make_task(section).sequences("train")
    for indices in ([3], [499, 3, 3, 0], list(range(499, -1, -7))):
        batch = again[indices]
        assert torch.equal(batch.features, whole.features[indices])
        assert torch.equal(batch.targets, whole.targets[indices])
        assert batch.indices.tolist() == indices


@pytest.mark.parametrize("section", GENERATED, ids=lambda s: str(s["name"]))
def test_two_epochs_of_a_loader_hold_the_same_sequences(section: dict[str, Any]) -> None:
    sequences = make_task(section).sequences("val")
    loader = make_loader(sequences, 32, seed=5)
    epochs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = list(loader)
        order = torch.argsort(torch.cat([batch.indices for batch in batches]))
        targets = torch.cat([batch.targets for batch in batches])
        assert not torch.equal(order, torch.arange(300))
        epochs.append((targets[order], torch.cat([b.features for b in batches])[order]))
    assert torch.equal(epochs[0][0], epochs[1][0])
    assert torch.equal(epochs[0][1], epochs[1][1])


def test_another_process_makes_the_same_sequences() -> None:
    program = (
        "from pipeline.tasks import make_task\n"
        f"for section in {GENERATED!r}:\n"
        "    batch = make_task(section).sequences('test')[list(range(200))]\n"
        "    content = batch.features.numpy().tobytes() + batch.targets.numpy().tobytes()\n"
        "    print(__import__('hashlib').sha256(content).hexdigest())\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    here = [digest(read_part(make_task(section), "test")) for section in GENERATED]
    assert result.stdout.split() == here
    assert len(set(here)) == len(here)


@pytest.mark.parametrize("section", GENERATED, ids=lambda s: str(s["name"]))
def test_parts_and_seeds_share_no_sequence(section: dict[str, Any]) -> None:
    section = {**section, "length": 20}
    batches = [read_part(make_task(section), part) for part in PARTS]
    batches.append(read_part(make_task({**section, "seed": 1}), "train"))
    # 10 symbols of 8 are alike by chance in 1 of 10^9 pairs, of which there are about 10^6.
    rows = [row.numpy().tobytes() for batch in batches for row in batch.features[:, :, :-1]]
    assert len(set(rows)) == len(rows) == 1500


@pytest.mark.parametrize("section", [*GENERATED, DIGITS], ids=lambda s: str(s["name"]))
def test_sequences_are_numbered_each_its_own_source_and_can_go_to_a_worker(
    section: dict[str, Any],
) -> None:
    task = make_task(section, labels=["as", "config.yaml", "holds"])
    use, sequences = task.use("val"), task.sequences("val")
    assert use.used[:2] == ("00000", "00001")
    assert len(sequences) == len(use.used) == use.num_listed == section["num_val"]
    assert list(task.sources("val")) == list(use.used)
    assert str(use) == f"{section['num_val']} of {section['num_val']} sequences"
    assert sequences.is_in_memory
    there = pickle.loads(pickle.dumps(sequences))
    assert torch.equal(there[[5, 1]].features, sequences[[5, 1]].features)


@pytest.mark.parametrize("section", [*GENERATED, DIGITS], ids=lambda s: str(s["name"]))
def test_sequences_of_another_origin_are_told_apart(section: dict[str, Any]) -> None:
    origin = make_task(section).origin
    assert origin.differences(Origin.from_dict(origin.to_dict())) == []
    for other in (Origin(), Origin(sequences={**origin.sequences, "draws": "another"})):
        (difference,) = origin.differences(other)
        assert difference.startswith("sequences={")


def test_copying_shows_symbols_waits_and_asks_for_them_in_order() -> None:
    task = make_task(COPYING)
    assert (task.kind, task.input_size, task.num_outputs) == (CLASSIFICATION, 10, 8)
    assert len(task.labels) == 8
    batch = read_part(task, "train")
    assert batch.features.shape == (500, 27, 10)
    assert batch.targets.shape == (500, 27)
    assert batch.targets.dtype == torch.int64
    assert (batch.lengths == 27).all()
    assert (batch.features.sum(dim=2) == 1).all()
    blank, delimiter = 8, 9
    shown = batch.features.argmax(dim=2).tolist()
    for inputs, targets in zip(shown, batch.targets.tolist(), strict=True):
        symbols = inputs[:10]
        assert max(symbols) < 8
        assert inputs[10:16] == [blank] * 6  # 7 steps of waiting, the last of them the delimiter
        assert inputs[16] == delimiter
        assert inputs[17:] == [blank] * 10
        assert targets == [NOT_SCORED] * 17 + symbols


def test_copying_symbols_are_drawn_evenly_so_that_the_floor_is_an_eighth() -> None:
    task = make_task({**COPYING, "num_test": 10_000})
    targets = read_part(task, "test").targets[:, -10:]
    counts = np.stack([np.bincount(targets[:, step], minlength=8) for step in range(10)])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_pytorchs_cross_entropy_leaves_out_the_steps_that_do_not_count() -> None:
    targets = make_task(COPYING).sequences("val")[[0, 1]].targets
    outputs = torch.zeros(2, 27, 8)
    losses = F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")
    assert (losses[targets == NOT_SCORED] == 0).all()
    assert losses.sum().item() == pytest.approx(20 * np.log(8), rel=1e-5)
