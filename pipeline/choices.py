"""A choice by name, and the error for a name that is none."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_MOST_LISTED = 30


def check_choice(what: str, found: object, choices: Collection[object]) -> None:
    """Raise ValueError unless `found` is one of `choices`: it lists them and the nearest one.

    `what` is the option as the user writes it: `model.readout`, `--device`.
    """
    if found in list(choices):  # of which a list is none, which has no hash
        return
    raise ValueError(
        f"{what}: expected one of {list_choices(choices)}, found {found!r}."
        f"{suggest(found, choices)}"
    )


def list_choices(choices: Collection[object]) -> str:
    """The names in one line; of very many the first and their number."""
    names = list(map(str, choices))
    if len(names) <= _MOST_LISTED:
        return ", ".join(names)
    return f"{len(names)} names ({', '.join(names[:3])}, ...)"


def suggest(found: object, choices: Collection[object]) -> str:
    """` Did you mean x?` with the nearest of the choices, or "" where none is near."""
    near = get_close_matches(str(found), list(map(str, choices)), n=1, cutoff=0.4)
    return f" Did you mean {near[0]}?" if near else ""
