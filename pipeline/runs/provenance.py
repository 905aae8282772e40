"""How a run was computed and what it was given: nothing here decides what is learned."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.places import Place
from pipeline.seals import dump_sealed
from pipeline.versions import find_versions, name_processor

FORMAT = "provenance 2"
_PACKAGES = ("torch", "pytorch-lightning", "numpy", "h5py", "np-rnn")


@dataclass(frozen=True)
class Session:
    """A stretch of the training, from `first_epoch` on, without a stop.

    `compute` holds what the training was told of its machine: device, loading processes and so on.
    """

    first_epoch: int
    device: str
    compute: Mapping[str, str | int | None]
    versions: Mapping[str, str]
    processor: str
    git_commit: str


@dataclass(frozen=True)
class Provenance:
    """`use` counts the sequences of each part, `sources` names those of clips; `places` say where
    features, split file, images or the encoder's weights lay. A run that goes on adds a session.
    `train_seconds` are of all sessions, None before the end.
    """

    num_parameters: int
    multiply_adds_per_step: int
    use: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    sessions: tuple[Session, ...] = ()
    train_seconds: float | None = None

    def to_json(self) -> str:
        return dump_sealed({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Provenance:
        """What `to_json` wrote, without its seal; else KeyError, TypeError or ValueError."""
        rest = dict(content)
        if (found := rest.pop("format")) != FORMAT:
            raise ValueError(f"expected the format {FORMAT!r}, found {found!r}")
        return cls(
            sources={part: tuple(names) for part, names in rest.pop("sources").items()},
            places={name: Place(**place) for name, place in rest.pop("places").items()},
            sessions=tuple(Session(**session) for session in rest.pop("sessions")),
            **rest,
        )


def describe_session(
    *, first_epoch: int, device: str, compute: Mapping[str, str | int | None]
) -> Session:
    """This program on this machine, from an epoch on."""
    return Session(
        first_epoch=first_epoch,
        device=device,
        compute=compute,
        versions={"python": platform.python_version(), **find_versions(_PACKAGES)},
        processor=name_processor(),
        git_commit=_git_commit(),
    )


def _git_commit() -> str:
    """The commit of this checkout, with `+changes` where files differ from it.

    "" without git, and for an installed copy: the repository above it, if any, is another's.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
