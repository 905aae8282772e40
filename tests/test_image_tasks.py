from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline import metrics
from pipeline.sequences import SequenceBatch
from pipeline.tasks import CLASSIFICATION, Origin, Task, make_task
from pipeline.tasks.draws import draw_permutation
from pipeline.tasks.mnist import SHA256, read_idx

PARTS = ("train", "val", "test")
DIGITS = {"name": "digits", "num_val": 360, "num_test": 300, "seed": 0}


def read_part(task: Task, part: str) -> SequenceBatch:
    sequences = task.sequences(part)
    return sequences[list(range(len(sequences)))]


def digest(batch: SequenceBatch) -> str:
    content = batch.features.numpy().tobytes() + batch.targets.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()


def test_digits_are_scikit_learns_images_pixel_by_pixel_each_in_one_part() -> None:
    task = make_task(DIGITS)
    assert (task.kind, task.input_size, task.num_outputs) == (CLASSIFICATION, 1, 10)
    batches = [read_part(task, part) for part in PARTS]
    assert [len(batch.lengths) for batch in batches] == [1137, 360, 300]
    found = Counter(
        ((row * 16).to(torch.int64).flatten().numpy().tobytes(), target)
        for batch in batches
        for row, target in zip(batch.features, batch.targets.tolist(), strict=True)
    )
    reference = load_digits()
    expected = Counter(
        (image.astype(np.int64).ravel().tobytes(), int(target))
        for image, target in zip(reference.images, reference.target, strict=True)
    )
    assert found == expected
    assert batches[0].features.shape == (1137, 64, 1)
    assert batches[0].features.min() == 0
    assert batches[0].features.max() == 1


def test_the_parts_of_digits_are_drawn_by_the_seed() -> None:
    first, again, other = (
        read_part(make_task({**DIGITS, "seed": seed}), "test").features for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match="expected fewer than the 1797 sequences"):
        make_task({**DIGITS, "num_val": 1500})


def mnist_section(root: Path | None, **more: Any) -> dict[str, Any]:
    return {"name": "mnist", "root": root and str(root), "num_val": 5000, **more}


def test_mnist_is_the_known_digits_pixel_by_pixel(data_root: Path) -> None:
    task = make_task(mnist_section(data_root / "mnist"))
    assert (task.kind, task.input_size, task.num_outputs) == (CLASSIFICATION, 1, 10)
    sets = [task.sequences(part) for part in PARTS]
    assert [len(s) for s in sets] == [55_000, 5_000, 10_000]
    assert [s[[0]].targets.item() for s in (sets[0], sets[2])] == [5, 7]
    raw = gzip.decompress((data_root / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data_root / "mnist" / "train-labels-idx1-ubyte.gz").read_bytes())
    for part, index, image in ((sets[0], 0, 0), (sets[0], 54_999, 54_999), (sets[1], 2, 55_002)):
        batch = part[[index]]
        pixels = raw[16 + 784 * image : 16 + 784 * (image + 1)]
        assert batch.features.shape == (1, 784, 1)
        assert batch.features.flatten().tolist() == pytest.approx([p / 255 for p in pixels])
        assert batch.targets.item() == labels[8 + image]
    counts = np.bincount(sets[2][list(range(10_000))].targets)
    assert metrics.constant_floor(np.repeat(np.arange(10), counts)) == pytest.approx(0.1135)


def test_pixels_as_bytes_are_255_times_those_of_the_unit_interval(data_root: Path) -> None:
    root = data_root / "mnist"
    for name in ("mnist", "permuted-mnist"):
        unit, bytes_ = (
            make_task(mnist_section(root, name=name, pixels=pixels)).sequences("test")[[0, 77]]
            for pixels in ("unit", "bytes")
        )
        assert bytes_.features.max() == 255
        # One rounding of the division and one of the product.
        torch.testing.assert_close(bytes_.features, 255 * unit.features, rtol=2e-7, atol=0)


def test_permuted_mnist_has_one_order_for_all_images_that_can_be_undone(data_root: Path) -> None:
    plain = make_task(mnist_section(data_root / "mnist")).sequences("test")
    section = mnist_section(data_root / "mnist", name="permuted-mnist")
    permuted = make_task({**section, "permutation_seed": 3}).sequences("test")
    other = make_task({**section, "permutation_seed": 4}).sequences("test")
    indices = list(range(0, 10_000, 501))
    inverse = np.argsort(draw_permutation(3, 784))
    assert torch.equal(permuted[indices].features[:, inverse], plain[indices].features)
    assert not torch.equal(permuted[indices].features, plain[indices].features)
    assert not torch.equal(permuted[indices].features, other[indices].features)
    assert torch.equal(permuted[indices].targets, plain[indices].targets)


def test_idx_files_are_the_same_raw_or_gzip_under_either_name(
    data_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in SHA256:
        packed = data_root / "mnist" / f"{name}.gz"
        if name.startswith("train"):
            (folder / f"{name}.gz").symlink_to(packed)
        else:
            (folder / name.replace("-idx", ".idx")).write_bytes(
                gzip.decompress(packed.read_bytes())
            )
    raw = read_part(make_task(mnist_section(tmp_path)), "test")
    packed_part = read_part(make_task(mnist_section(data_root / "mnist")), "test")
    assert digest(raw) == digest(packed_part)


def test_a_damaged_mnist_file_is_refused(data_root: Path, tmp_path: Path) -> None:
    name = "t10k-labels-idx1-ubyte"
    packed = (data_root / "mnist" / f"{name}.gz").read_bytes()
    raw = gzip.decompress(packed)
    assert read_idx(data_root / "mnist", name).shape == (10_000,)
    path = tmp_path / name
    for content in (raw[:-1], raw[:500] + bytes([raw[500] ^ 1]) + raw[501:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="(?s)expected MNIST's t10k-labels.*Get the file"):
            read_idx(tmp_path, name)
    path.unlink()
    flipped = packed[:2000] + bytes([packed[2000] ^ 255]) + packed[2001:]
    for content in (packed[:-100], flipped, raw):
        (tmp_path / f"{name}.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
            read_idx(tmp_path, name)


def test_without_its_files_mnist_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="(?s)task.root: expected .* found none.*torchvision"):
        make_task(mnist_section(None))
    (tmp_path / "train-images-idx3-ubyte").touch()
    with pytest.raises(ValueError, match="(?s)found no train-labels-idx1-ubyte, t10k.*Pass"):
        make_task(mnist_section(tmp_path))


def test_parts_or_pixels_drawn_in_another_way_are_another_origin(data_root: Path) -> None:
    permuted = mnist_section(data_root / "mnist", name="permuted-mnist", permutation_seed=0)
    for section in (DIGITS, permuted):
        origin = make_task(section).origin
        assert origin.differences(origin) == []
        assert origin.differences(Origin(sequences={**origin.sequences, "draws": "other"}))
    assert "draws" not in make_task(mnist_section(data_root / "mnist")).origin.sequences


def test_mnist_cannot_be_all_validation(data_root: Path) -> None:
    with pytest.raises(ValueError, match="task.num_val: expected fewer than the 60000"):
        make_task({**mnist_section(data_root / "mnist"), "num_val": 60_000})
