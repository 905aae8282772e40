from __future__ import annotations

import platform
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import allocation

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_freed_memory_is_kept_for_the_next_allocation() -> None:
    # In a process of its own: it cannot be undone.
    code = """
import resource
import numpy as np
from pipeline.allocation import keep_freed_memory
keep_freed_memory()
np.ones(16 * 2**20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(16 * 2**20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert int(result.stdout) < 10 * 2**24 / 2**21  # less than one fault a huge page


@pytest.mark.parametrize("command", ["eval", "extract"])
def test_commands_that_encode_frames_keep_freed_memory(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(allocation, "keep_freed_memory", lambda: called.append(command))
    monkeypatch.delitem(sys.modules, f"{command}.__main__", raising=False)
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    assert called == [command]
