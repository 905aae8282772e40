"""Finding and loading the optional C++ library of the recurrent kernel (csrc/), through ctypes.

Environment: `NPRNN_ISA` is portable, avx2 or avx512 (default: the best this processor has);
`NPRNN_LIBRARY` is another build of the library, for instance one with sanitizers.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

LIBRARY_NAME = "libsimple_rnn.so"
CELLS = ("relu", "tanh", "lstm", "gru")  # in the order of enum nprnn_cell
ISAS = ("portable", "avx2", "avx512")  # in the order of enum nprnn_isa
OPTIMIZERS = ("sgd", "rmsprop", "adam")  # in the order of enum nprnn_optimizer
SUFFIXES = {torch.float32: "f32", torch.float64: "f64"}
_ERRORS = {1: "out of memory", 2: "the library refused its arguments"}


def _struct(name: str, fields: str, *, doubles: str = "", pointers: str) -> type[ctypes.Structure]:
    """A mirror of a struct of csrc/abi.h: int64 fields, then doubles, then pointers."""
    kinds: list[tuple[str, type[Any]]] = [(field, ctypes.c_int64) for field in fields.split()]
    kinds += [(field, ctypes.c_double) for field in doubles.split()]
    kinds += [(field, ctypes.c_void_p) for field in pointers.split()]
    return type(name, (ctypes.Structure,), {"_fields_": kinds})


Pass = _struct(
    "Pass",
    "isa cell reads_all num_threads reads_half h0_stride batch steps inputs hidden",
    pointers="lengths features weight_ih weight_hh bias h0 c0 states output last_cell grad_output"
    " grad_last_cell grad_features grad_weight_ih grad_weight_hh grad_bias grad_h0 grad_c0",
)
BlockOfUpdates = _struct(
    "BlockOfUpdates",
    "isa cell optimizer num_before num_updates batch longest inputs hidden outputs"
    " is_classification is_mean reads_mean reads_half clips_values",
    doubles="learning_rate clip decay mean_decay epsilon",
    pointers="features steps lengths masks targets weight_ih weight_hh bias weight_out bias_out"
    " means squares losses gradient_norms",
)


_KINDS = {ctypes.c_int64: "i", ctypes.c_double: "d", ctypes.c_void_p: "p"}
# kMeaning of csrc/layout.h: bumped there and here when a function's arguments or a field's meaning
# change. Names, order and types need no hand: they are in the digest.
_MEANING = 2


def digest_layout(
    structs: Sequence[type[ctypes.Structure]] = (Pass, BlockOfUpdates), *, meaning: int = _MEANING
) -> int:
    """What `nprnn_layout` of a library with the same structs answers: FNV-1a, 64 bits."""
    content = _to_bytes(meaning)
    for struct in structs:
        for name, kind, *_ in struct._fields_:
            content += f"{name}{_KINDS[kind]}".encode() + _to_bytes(getattr(struct, name).offset)
    digest = 0xCBF29CE484222325
    for byte in content:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


def _to_bytes(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _library_path() -> Path:
    beside = Path(__file__).with_name(LIBRARY_NAME)
    return Path(os.environ.get("NPRNN_LIBRARY", beside))


@functools.cache
def load() -> ctypes.CDLL | str:
    """The library, or the reason why there is none, which is logged once."""
    path = _library_path()
    try:
        library = ctypes.CDLL(str(path))
        library.nprnn_layout.restype = ctypes.c_uint64
        found, expected = library.nprnn_layout(), digest_layout()
        if found == expected:
            return library
        reason = (
            f"{path} was built from other sources than these: its layout is {found:016x}, "
            f"expected {expected:016x}"
        )
    except (OSError, AttributeError) as error:
        reason = f"{path} cannot be loaded: {error}"
    reason += ".\nInstall again where a C++ compiler (GCC or Clang) is at hand: pip install -e ."
    logging.getLogger(__name__).warning(
        "The fused recurrent kernel is not there, torch's slower one is used: %s", reason
    )
    return reason


def is_available() -> bool:
    """Whether the functions of `fused.py` can be called."""
    return not isinstance(load(), str)


def unavailable_reason() -> str | None:
    """Why the library cannot be used, with what to do; None if it can."""
    found = load()
    return found if isinstance(found, str) else None


def _library() -> ctypes.CDLL:
    found = load()
    if isinstance(found, str):
        raise ValueError(found)
    return found


@functools.cache
def available_isas() -> tuple[str, ...]:
    """Instruction sets that this library can use on this processor, slowest first."""
    return ISAS[: _library().nprnn_best_isa() + 1]


def isa() -> str:
    """The instruction set in use. Raises ValueError if `NPRNN_ISA` names none that runs here."""
    available = available_isas()
    name = os.environ.get("NPRNN_ISA", available[-1])
    if name not in available:
        raise ValueError(f"NPRNN_ISA={name}, but here it can be: {', '.join(available)}")
    return name


@functools.cache
def row_length(cell: str, hidden: int, item_bytes: int) -> int:
    """The numbers that a pass keeps of each step."""
    sizes = map(ctypes.c_int64, (CELLS.index(cell), hidden, item_bytes))
    return int(_library().nprnn_row_length(*sizes))


def call(name: str, dtype: torch.dtype, struct: ctypes.Structure) -> None:
    """Run a function of the library, without Python's lock."""
    status = getattr(_library(), f"nprnn_{name}_{SUFFIXES[dtype]}")(ctypes.byref(struct))
    if status:
        raise RuntimeError(f"fused {name}: {_ERRORS[status]}")
