"""The notebooks run from their first cell to their last, and lie in git without outputs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documented import DOCS

NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))
_EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
"""


def execute(notebook: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all cells in `folder`; the process, which ends with 0 if none failed."""
    for module in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -c constraints.txt -e '.[docs]'")
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent), "MPLBACKEND": "agg"}
    words = [sys.executable, "-c", _EXECUTE, str(notebook)]
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    done = execute(notebook, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_notebook_whose_cell_fails_is_told(tmp_path: Path) -> None:
    content = json.loads(NOTEBOOKS[0].read_text())
    content["cells"] = [{**content["cells"][1], "source": "assert 1 == 2, 'so it is'"}]
    (tmp_path / "wrong.ipynb").write_text(json.dumps(content))
    done = execute(tmp_path / "wrong.ipynb", tmp_path)
    assert done.returncode != 0
    assert "so it is" in done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_no_outputs_and_no_long_lines(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    lines = [line.rstrip("\n") for cell in cells for line in cell["source"]]
    assert [line for line in lines if len(line) > 100] == []
