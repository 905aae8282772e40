"""Where the weights' file lies by which a run's features were made."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import digest_file
from pipeline.places import find_place
from pipeline.runs.folder import Run


def find_encoder_weights(run: Run) -> Path | None:
    """The weights' file of the encoder that made the run's features, as `load_encoder` takes it.

    None where it was none, or where the run or its store were made before it was noted. Raises
    ValueError where it is gone, or another file has taken its place.
    """
    place = run.provenance.places.get("weights")
    if place is None:
        return None

    def refuse(path: Path) -> str:
        if not path.is_file():
            return "nothing there"
        if (found := digest_file(path)) != place.digest:
            return f"another file, of digest {found}, not {place.digest}"
        return ""

    return find_place(
        place, run.folder, refuse=refuse, what="the weights' file of its encoder",
        fix="Pass --weights FILE with that file, wherever it is now.",
    )  # fmt: skip
