"""Where lies what a store was made from: its clips' videos, its encoder or that one's weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pipeline.features.spec import INT8_FILE, FeatureSpec
from pipeline.files import digest_file, write_text
from pipeline.places import Place
from pipeline.seals import dump_sealed, load_sealed

WEIGHTS_PLACE = "weights.json"
VIDEOS_PLACE = "videos.json"


def write_weights_place(folder: Path, weights: Path) -> None:
    """Note in the store where its encoder's weights lie, and a digest of their file."""
    _write_place(folder / WEIGHTS_PLACE, Place.of(weights, folder, digest=digest_file(weights)))


def read_weights_place(folder: Path) -> Place | None:
    """What `write_weights_place` noted, None where nothing was; ValueError for damage."""
    return _read_place(folder / WEIGHTS_PLACE)


def write_videos_place(folder: Path, videos: Path) -> None:
    """Note in the store the folder that its clips' paths start from."""
    _write_place(folder / VIDEOS_PLACE, Place.of(videos, folder))


def read_videos_place(folder: Path) -> Place | None:
    """What `write_videos_place` noted, None where nothing was; ValueError for damage."""
    return _read_place(folder / VIDEOS_PLACE)


def check_encoder(folder: Path, spec: FeatureSpec) -> None:
    """Raise ValueError where an 8-bit encoder lies in the store that its features are not of."""
    path = folder / INT8_FILE
    if spec.is_int8 and path.is_file() and name_encoder(path) not in spec.compute:
        raise ValueError(
            f"{path} is damaged, or not the encoder of {folder} ({spec.compute}).\n"
            f"Delete it and run the same `python -m extract` again: of the same videos the same is "
            f"made."
        )


def name_encoder(path: Path) -> str:
    """What names an 8-bit encoder in the spec of its features: 16 hex digits of its bytes."""
    return digest_file(path)[:16]


def _write_place(path: Path, place: Place) -> None:
    write_text(path, dump_sealed(asdict(place)))


def _read_place(path: Path) -> Place | None:
    if not path.is_file():
        return None
    try:
        return Place(**load_sealed(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): run the same `python -m extract` again."
        ) from error
