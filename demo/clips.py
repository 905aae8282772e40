"""Generated clips for the demo: small real videos whose classes are known by how they were drawn.

Two pairs of classes differ only by the order of time: every clip of Shrinks shows the frames of a
clip of Grows backwards, every clip of Darkens those of a clip of Brightens. What looks at frames
without their order is right on half of such a pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.files import write_text
from pipeline.video import Frame, write_video

PAIRS = (("Grows", "Shrinks"), ("Brightens", "Darkens"))
"""Classes that differ only by the order of time: the second is the first backwards."""
ALONE = ("Spins",)
LABELS = tuple(sorted((*(label for pair in PAIRS for label in pair), *ALONE)))
ALL_GROUPS = tuple(range(1, 26))

_HEIGHT, _WIDTH = 240, 320
_FPS = 25.0
_SPEC = ".clips.json"
_Image = NDArray[np.float32]


@dataclass(frozen=True)
class ClipsSpec:
    """Which clips to draw: equal specs give equal frames."""

    seed: int = 0
    groups: tuple[int, ...] = ALL_GROUPS
    clips_per_group: int = 2
    num_frames: int = 32

    def __post_init__(self) -> None:
        if not self.groups or not all(1 <= group <= 99 for group in self.groups):
            raise ValueError(f"ClipsSpec.groups: expected some of 1 to 99, found {self.groups}.")
        for name, least in (("seed", 0), ("clips_per_group", 1), ("num_frames", 2)):
            if (found := getattr(self, name)) < least:
                raise ValueError(f"ClipsSpec.{name}: expected {least} or more, found {found}.")


@dataclass(frozen=True)
class _Look:
    """What the clips of a group share."""

    background: _Image  # (H, W, 3), 0 to 255
    colour: _Image  # (3,)
    radius_pixels: float
    is_round: bool


@dataclass(frozen=True)
class _State:
    """How the object is at one moment of a clip."""

    x: float
    y: float
    radius_pixels: float
    angle: float
    light: float
    """The share of the full light that falls on the scene."""


def write_clips(folder: Path, spec: ClipsSpec) -> int:
    """Write the clips that are not there yet, `<label>/v_<label>_gNN_cNN.avi`; how many these were.

    Raises ValueError if the folder holds clips of another spec.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, spec)
    return sum(
        _write_missing(folder, spec, labels, (group, number))
        for group in spec.groups
        for number in range(1, spec.clips_per_group + 1)
        for labels in (*PAIRS, *((label,) for label in ALONE))
    )


def _write_missing(
    folder: Path, spec: ClipsSpec, labels: tuple[str, ...], place: tuple[int, int]
) -> int:
    paths = [folder / make_path(label, *place) for label in labels]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        frames = draw_frames(spec, labels[0], *place)
        for path in missing:
            path.parent.mkdir(exist_ok=True)
            write_video(path, frames if path == paths[0] else frames[::-1], fps=_FPS)
    return len(missing)


def _claim(folder: Path, spec: ClipsSpec) -> None:
    wanted: dict[str, object] = json.loads(json.dumps(asdict(spec)))  # tuples as lists
    path = folder / _SPEC
    found = json.loads(path.read_text()) if path.is_file() else wanted
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        raise ValueError(
            f"{folder} holds generated clips with "
            f"{', '.join(f'{key}={found.get(key)}, not {wanted[key]}' for key in differing)}.\n"
            f"Pass another folder with --out, or delete this one."
        )
    write_text(path, json.dumps(wanted, indent=1))


def make_path(label: str, group: int, number: int) -> str:
    """`Grows/v_Grows_g08_c01.avi`, as in UCF-101."""
    return f"{label}/v_{label}_g{group:02d}_c{number:02d}.avi"


def draw_frames(spec: ClipsSpec, label: str, group: int, number: int) -> list[Frame]:
    """The frames (H, W, 3) of a clip of Grows, Brightens or Spins, before they are encoded."""
    look = _draw_look(np.random.default_rng([spec.seed, group]))
    generator = np.random.default_rng([spec.seed, group, number, LABELS.index(label)])
    states = _move(look, label, spec.num_frames, generator)
    return [_draw_frame(look, state, is_bar=label in ALONE) for state in states]


def _draw_look(generator: np.random.Generator) -> _Look:
    """Waves of two dark colours, and a bright object."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    wave = np.zeros((_HEIGHT, _WIDTH), dtype=np.float32)
    for _ in range(2):
        angle, length = generator.uniform(0, np.pi), generator.uniform(20, 120)
        along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
        wave += np.sin(2 * np.pi * along / length + generator.uniform(0, 2 * np.pi))
    first, second = generator.uniform(20, 100, size=(2, 3))
    share = ((wave + 2) / 4)[:, :, None]
    background = (first + share * (second - first)).astype(np.float32)
    colour = generator.uniform(150, 255, size=3).astype(np.float32)
    return _Look(background, colour, generator.uniform(18, 24), bool(generator.integers(2)))


def _move(
    look: _Look, label: str, num_frames: int, generator: np.random.Generator
) -> Iterator[_State]:
    """The object drifts; of size, angle and light, what the class is named after changes."""
    middle = np.array([_HEIGHT / 2, _WIDTH / 2])
    y, x = generator.uniform(middle - 20, middle + 20)
    dy, dx = generator.uniform(-15, 15, size=2)
    smallest = look.radius_pixels * generator.uniform(0.9, 1.1)
    growth, turn = generator.uniform(2.6, 3.2), generator.choice([-1, 1])
    darkest, light, size = generator.uniform([0.25, 0.8, 1.5], [0.35, 1.0, 2.5])
    for share in np.linspace(0.0, 1.0, num_frames):
        grown = growth**share if label == "Grows" else size
        angle = turn * np.pi * share if label == "Spins" else 0.0
        lit = darkest ** (1 - share) if label == "Brightens" else light
        yield _State(x + dx * (share - 0.5), y + dy * (share - 0.5), smallest * grown, angle, lit)


def _draw_frame(look: _Look, state: _State, *, is_bar: bool) -> Frame:
    y, x = np.ogrid[:_HEIGHT, :_WIDTH]
    right, down = (x - state.x).astype(np.float32), (y - state.y).astype(np.float32)
    if is_bar:
        cos, sin = np.float32(np.cos(state.angle)), np.float32(np.sin(state.angle))
        along, across = cos * right + sin * down, cos * down - sin * right
        distance = np.maximum(np.abs(along), 4 * np.abs(across))
    elif look.is_round:
        distance = np.hypot(right, down)
    else:
        distance = np.maximum(np.abs(right), np.abs(down))
    covered = np.clip(np.float32(state.radius_pixels + 0.5) - distance, 0, 1)[:, :, None]
    scene = look.background + covered * (look.colour - look.background)
    frame: Frame = (scene * np.float32(state.light)).astype(np.uint8)
    return frame
