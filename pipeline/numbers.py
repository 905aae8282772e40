"""Numbers of a config, in the type that their field has."""

from __future__ import annotations


def hold_floats(spec: object, *names: str) -> None:
    """Make these fields of a frozen dataclass floats: 10 and 10.0 are one setting, and one run."""
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(spec, name, float(value))
