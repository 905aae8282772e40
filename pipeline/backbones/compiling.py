"""What compiling a backbone for a CPU needs, and where its code is kept."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

from pipeline.versions import name_processor

CODE_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The environment's name for it, torch's own."""


def has_compiler() -> bool:
    """Whether there is the C++ compiler that compiling a backbone for a CPU needs."""
    found = [os.environ.get("CXX"), "g++", "clang++", "cl"]
    return any(shutil.which(name) for name in found if name)


def check_compiler() -> None:
    """Raise ValueError where there is none."""
    if not has_compiler():
        raise ValueError(
            "Compiling the backbone needs a C++ compiler, and none was found (CXX, g++, clang++).\n"
            "Install one, or run without compilation."
        )


def keep_code() -> None:
    """Have torch keep compiled code in the user's cache folder, for this machine's processor.

    By itself it takes a folder in /tmp, which does not outlive a restart. A folder that the
    environment names stays, and so does torch's where none can be made.
    """
    if os.environ.get(CODE_FOLDER):
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        folder = find_code_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            os.environ[CODE_FOLDER] = str(folder)


def find_code_folder() -> Path:
    """The folder below the user's cache folder (XDG_CACHE_HOME, or ~/.cache).

    Its name has the processor and the C library: hosts may share a home, and code that was
    compiled for the one's instructions can crash on another.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = cache if cache.is_absolute() else Path.home() / ".cache"
    machine = f"{name_processor()} {_read_instructions()} {platform.libc_ver()}"
    return cache / "np-rnn" / f"compiled-{hashlib.sha256(machine.encode()).hexdigest()[:12]}"


def _read_instructions() -> str:
    """The first processor's instruction sets, as Linux tells them."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
