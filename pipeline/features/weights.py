"""Where the weights' file lies that the encoder of a store was loaded from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pipeline.files import digest_file, write_text
from pipeline.places import Place
from pipeline.seals import dump_sealed, load_sealed

WEIGHTS_PLACE = "weights.json"


def write_weights_place(folder: Path, weights: Path) -> None:
    """Note in the store where its encoder's weights lie, and a digest of their file."""
    place = Place.of(weights, folder, digest=digest_file(weights))
    write_text(folder / WEIGHTS_PLACE, dump_sealed(asdict(place)))


def read_weights_place(folder: Path) -> Place | None:
    """What `write_weights_place` noted, None where nothing was; ValueError for damage."""
    path = folder / WEIGHTS_PLACE
    if not path.is_file():
        return None
    try:
        return Place(**load_sealed(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): run the same `python -m extract` again."
        ) from error
