"""scikit-learn's 8×8 handwritten digits, pixel by pixel: a real task without a download."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.draws import DRAWS, draw_permutation
from pipeline.tasks.numbered import NumberedTask, hold_out
from pipeline.tasks.options import DigitsOptions
from pipeline.tasks.pixels import DIGITS, PixelSet
from pipeline.tasks.task import CLASSIFICATION, Origin

NUM_IMAGES = 1797
_WHITE = 16


def digits_task(options: DigitsOptions) -> NumberedTask:
    """Sequences (64, 1) of the 1,797 images, in parts that the data's own `seed` draws.

    The original has a test set of other writers; scikit-learn ships only that set, without the
    writers' names. So writers are in several parts, and scores say nothing of new writers.
    """
    sizes = hold_out(NUM_IMAGES, val=options.num_val, test=options.num_test)
    images, classes = read_digits()
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    places = draw_permutation(options.seed, NUM_IMAGES)
    bounds = np.cumsum([sizes["train"], sizes["val"]])
    of_part = dict(zip(sizes, np.split(places, bounds), strict=True))
    return NumberedTask(
        kind=CLASSIFICATION,
        labels=DIGITS,
        input_size=1,
        num_outputs=len(DIGITS),
        sizes=sizes,
        make=lambda part: PixelSet(images[of_part[part]], classes[of_part[part]], unit=_WHITE),
        origin=Origin(sequences={"draws": DRAWS, "images_sha256": digest}),
    )


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (1797, 64), scanline order, whole numbers from 0 to 16, and their digits (1797,)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, for this task only

    found = load_digits()
    assert found.data.shape == (NUM_IMAGES, 64)
    return found.data.astype(np.uint8), found.target.astype(np.int64)
