"""The fields of a spec hold what they are declared to hold, whoever wrote the config."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# The metadata of a field that came when runs had digests already: at its default it leaves them.
ADDED: Mapping[str, bool] = MappingProxyType({"added": True})
_NAMES = {int: "a whole number", float: "a finite number", str: "text", NoneType: "null"}


def hold_fields(spec: object, section: str = "", *, bare: Collection[str] = ()) -> None:
    """Check each field of a frozen dataclass, and make ints of float fields floats.

    So 10 and 10.0 are one setting, and one run. Raises ValueError for a value of another type than
    its field's, and for NaN and infinity, with the name as the user writes it: `section.field`, or
    `field` alone of those in `bare`.
    """
    for name, declared in get_type_hints(type(spec)).items():
        value = getattr(spec, name)
        kinds = _list_kinds(declared)
        if not any(_fits(value, kind) for kind in kinds):
            key = name if name in bare or not section else f"{section}.{name}"
            expected = " or ".join(map(_describe, kinds))
            raise ValueError(f"{key}: expected {expected}, found {write_value(value)}.")
        if float in kinds and isinstance(value, int):
            object.__setattr__(spec, name, float(value))


def without_added(content: Mapping[str, Any], spec: DataclassInstance) -> dict[str, Any]:
    """The content without the fields of `spec` that are ADDED and stand at their defaults."""
    unchanged = {
        f.name
        for f in fields(spec)
        if f.metadata.get("added") and getattr(spec, f.name) == f.default
    }
    return {key: value for key, value in content.items() if key not in unchanged}


def write_value(value: object) -> str:
    """The value as it is written in a config."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return repr(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _list_kinds(declared: Any) -> tuple[Any, ...]:
    is_choice = get_origin(declared) in (Union, UnionType)
    return get_args(declared) if is_choice else (declared,)


def _fits(value: object, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in list(arguments)
    if origin in (tuple, list):
        return isinstance(value, origin) and all(_fits(item, arguments[0]) for item in value)
    if isinstance(value, bool):
        return kind in (bool, Any)
    if kind is float and isinstance(value, int | float):
        # NaN is below no number, and a whole number of any size is compared exactly.
        return abs(value) <= sys.float_info.max
    return kind is Any or isinstance(value, kind)


def _describe(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (tuple, list):
        return f"a list, each of it {_describe(arguments[0])}"
    return _NAMES.get(kind, str(kind))
