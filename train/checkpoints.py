"""Checkpoints that replace each other whole."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from pipeline.files import write_bytes


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, then renames it.

    Lightning's own goes by way of the system's temporary folder. Where that is another file system,
    it is copied over the one it replaces, and a kill leaves half of it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        assert storage_options is None
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue(), is_locked=True)  # by the run's lock


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a training that was stopped goes on with, on the CPU; ValueError where it is damaged."""
    found = path.read_bytes()  # what the disk refuses is no damage
    try:
        content: dict[str, Any] = torch.load(
            io.BytesIO(found), weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.PickleError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} is damaged: expected a checkpoint, found {len(found):,} bytes that cannot be "
            f"read ({reason}).\n"
            f"Delete {path.parent} and run the same `python -m train` again: the run is trained "
            f"from its start."
        ) from error
    return content
