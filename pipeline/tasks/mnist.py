"""MNIST pixel by pixel, from the four idx files in a folder."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.draws import DRAWS, draw_permutation
from pipeline.tasks.numbered import NumberedTask, hold_out
from pipeline.tasks.options import MnistOptions, PermutedMnistOptions
from pipeline.tasks.pixels import DIGITS, PixelSet
from pipeline.tasks.task import CLASSIFICATION, Origin

NUM_PIXELS = 28 * 28
# What a pixel is divided by.
_UNITS = {"unit": 255, "bytes": 1}
_NUM_TRAINING, _NUM_TEST = 60_000, 10_000
# Of the raw idx bytes: a .gz of the same bytes differs with the program that wrote it.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# torchvision puts the files in the second one.
_SUBFOLDERS = (".", "MNIST/raw", "raw")


def mnist_task(options: MnistOptions) -> NumberedTask:
    """Sequences (784, 1) in scanline order, in [0, 1] or [0, 255].

    The last `num_val` of the 60,000 training images are for validation; the test part is the
    10,000 test images.
    """
    return _make_task(options, order=None, origin={"sha256": SHA256})


def permuted_mnist_task(options: PermutedMnistOptions) -> NumberedTask:
    """MNIST with the pixels in one order for all images, drawn by `permutation_seed`."""
    order = draw_permutation(options.permutation_seed, NUM_PIXELS)
    return _make_task(options, order=order, origin={"draws": DRAWS, "sha256": SHA256})


def _make_task(
    options: MnistOptions, *, order: NDArray[np.int64] | None, origin: Mapping[str, Any]
) -> NumberedTask:
    folder = find_folder(options.root)
    files = MnistFiles(folder)
    sizes = {**hold_out(_NUM_TRAINING, val=options.num_val), "test": _NUM_TEST}

    def make(part: str) -> PixelSet:
        images, classes = files.read("t10k" if part == "test" else "train")
        places = {"train": slice(sizes["train"]), "val": slice(sizes["train"], None)}
        chosen = places.get(part, slice(None))
        return PixelSet(images[chosen], classes[chosen], unit=_UNITS[options.pixels], order=order)

    return NumberedTask(
        kind=CLASSIFICATION,
        labels=DIGITS,
        input_size=1,
        num_outputs=len(DIGITS),
        sizes=sizes,
        make=make,
        origin=Origin(sequences=origin),
        root=folder,
    )


class MnistFiles:
    """The images (N, 784) and classes (N,) of a folder, each file read and checked once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}

    def read(self, half: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The training images ("train") or the test images ("t10k")."""
        if half not in self._read:
            images = read_idx(self._folder, f"{half}-images-idx3-ubyte")
            labels = read_idx(self._folder, f"{half}-labels-idx1-ubyte")
            self._read[half] = images.reshape(-1, NUM_PIXELS), labels.astype(np.int64)
        return self._read[half]


def find_folder(root: str | None) -> Path:
    """The folder below `root` that holds all four files; ValueError where there is none."""
    how = (
        "Pass task.root=FOLDER with the four idx files, raw or .gz. To get them:\n"
        "  python -c \"import torchvision; torchvision.datasets.MNIST('data', download=True)\"\n"
        "and then task.root=data."
    )
    if root is None:
        raise ValueError(f"task.root: expected the folder of MNIST's files, found none.\n{how}")
    folders = [Path(root) / name for name in _SUBFOLDERS]
    absent = {folder: [name for name in SHA256 if not _find(folder, name)] for folder in folders}
    nearest = min(folders, key=lambda folder: len(absent[folder]))
    if absent[nearest]:
        names = ", ".join(absent[nearest])
        raise ValueError(f"{nearest}: expected MNIST's files, found no {names}.\n{how}")
    return nearest


def _find(folder: Path, name: str) -> Path | None:
    # Some programs write `train-images.idx3-ubyte`.
    names = [form + end for form in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """The numbers of an idx file: (N, 28, 28) or (N,); ValueError unless the bytes are MNIST's."""
    path = _find(folder, name)
    assert path is not None
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): get it again.") from error
    if hashlib.sha256(raw).hexdigest() != SHA256[name]:
        raise ValueError(
            f"{path}: expected MNIST's {name}, found {len(raw)} bytes of another content.\n"
            f"Get the file again; other data in the same form are not MNIST."
        )
    # The header: two zero bytes, the type (8: bytes), the number of sizes; then sizes, big-endian.
    num_sizes = raw[3]
    sizes = np.frombuffer(raw, dtype=">u4", count=num_sizes, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * num_sizes).reshape(sizes.tolist())
