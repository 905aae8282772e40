"""The run folder: one training, its config, weights, log and provenance.

Everything a later stage needs is in `config.yaml` and `weights.safetensors`; loading them executes
nothing.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.files import replacing, write_text
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NetSpec

CONFIG = "config.yaml"
WEIGHTS = "weights.safetensors"
PROVENANCE = "provenance.json"
DIVERGED = "diverged.txt"
METRICS = "metrics.csv"
_PACKAGES = ("torch", "pytorch-lightning", "numpy", "h5py", "np-rnn")


@dataclass(frozen=True)
class Run:
    """A run folder that was read: `config` as resolved when it was trained."""

    folder: Path
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.config["model"]["name"])

    @property
    def task(self) -> Mapping[str, Any]:
        """The task's own section of the config."""
        section: Mapping[str, Any] = self.config["task"]
        return section

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def net_spec(self) -> NetSpec:
        return NetSpec(**self.config["net"])

    @property
    def is_complete(self) -> bool:
        """Weights appear when training ends; a run that diverged has none."""
        return (self.folder / WEIGHTS).is_file()

    @property
    def divergence(self) -> str:
        """What was said when the run diverged, or ""."""
        path = self.folder / DIVERGED
        return path.read_text().strip() if path.is_file() else ""


def write_config(folder: Path, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Begin a run folder: config.yaml and provenance.json."""
    write_text(folder / PROVENANCE, json.dumps(dict(provenance), indent=1, sort_keys=True) + "\n")
    write_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def describe_provenance(**more: Any) -> dict[str, Any]:
    """Versions, machine and git commit of this program, and whatever else is given."""
    versions = {name: metadata.version(name) for name in _PACKAGES if _is_installed(name)}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "processor": platform.processor() or platform.machine(),
        "git_commit": _git_commit(),
        **more,
    }


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _git_commit() -> str:
    """The commit of this checkout, with `+changes` where files differ from it; "" without git."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def save_weights(folder: Path, net: SequenceNet) -> None:
    """Write weights.safetensors, whole or not at all."""
    tensors = {
        name: tensor.detach().contiguous().cpu() for name, tensor in net.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as unfinished:
        save_file(tensors, unfinished)
        shutil.copymode(folder / CONFIG, unfinished)


def load_run(folder: Path | str) -> Run:
    """The run in `folder`; ValueError where it is none, or damaged."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        what = f"no {CONFIG}" if folder.is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: expected a run folder, found {what}.\n"
            f"Runs are made by `python -m train`; each holds {CONFIG} and {WEIGHTS}."
        )
    try:
        config = yaml.safe_load((folder / CONFIG).read_text())
        provenance = json.loads((folder / PROVENANCE).read_text())
        run = Run(folder, config, provenance)
        _ = (run.model, run.task["name"], run.seed, run.net_spec)
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no {PROVENANCE}: train it again.") from error
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"{folder} is damaged or not a run of this program ({type(error).__name__}: {error})."
        ) from error
    return run


def load_net(run: Run) -> SequenceNet:
    """The trained net of a complete run, in evaluation mode."""
    if run.divergence:
        raise ValueError(f"{run.folder} diverged and has no net: {run.divergence}")
    path = run.folder / WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"{run.folder} is not complete: {WEIGHTS} appears when training ends.\n"
            f"Run the same `python -m train` again: it goes on where it stopped."
        )
    net = build_net(run.net_spec, seed=0)
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()
        raise ValueError(
            f"{path} does not hold the weights of {run.folder / CONFIG}: {' '.join(reason[:3])}"
        ) from error
    return net.eval()


def find_runs(root: Path) -> list[Path]:
    """The run folders below `root`, newest first."""
    folders = [path.parent for path in root.glob(f"**/{CONFIG}")]
    return sorted(folders, key=lambda f: (f / CONFIG).stat().st_mtime_ns, reverse=True)


def net_section(spec: NetSpec) -> dict[str, Any]:
    """The config's `net` section: what rebuilds the net."""
    return asdict(spec)
