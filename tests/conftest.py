"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# Two cores are few: threads that wait for each other are slower than none.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real clips, weights and lists; tests that ask for it are skipped without it.

    It is `NPRNN_DATA`, or else `../shared/data` beside the checkout.
    """
    folder = Path(os.environ.get("NPRNN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "INDEX.md").is_file():
        pytest.skip(f"real data not found at {folder}: set NPRNN_DATA to the folder that holds it")
    return folder
