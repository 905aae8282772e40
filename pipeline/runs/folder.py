"""The run folder: one training, its config, weights, log and provenance.

Everything a later stage needs is in `config.yaml` and `weights.safetensors`; loading them executes
nothing. `config.yaml` is written last when a run begins: a folder that holds it is a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from safetensors import SafetensorError, safe_open

from pipeline.features import FeatureSpec
from pipeline.files import write_bytes, write_text
from pipeline.runs.archive import is_archive, unpack_run
from pipeline.runs.config import RunConfig
from pipeline.runs.legacy import is_legacy, upgrade_config, upgrade_provenance
from pipeline.runs.names import CONFIG, DIVERGED, KEPT, PROVENANCE, WEIGHTS
from pipeline.runs.provenance import Provenance
from pipeline.seals import BLANK, KEY, check_seal, load_sealed, seal

if TYPE_CHECKING:  # what a run says of itself is read without torch
    from torch import Tensor

    from pipeline.recurrent.classifier import SequenceNet

_DIGEST = "digest"


@dataclass(frozen=True)
class Run:
    """A run folder that was read."""

    folder: Path
    config: RunConfig
    provenance: Provenance

    @property
    def features(self) -> FeatureSpec | None:
        """How its features were made; None of a task without features."""
        return self.config.origin.features

    @property
    def is_complete(self) -> bool:
        """Weights appear when training ends; a run that diverged has none."""
        return (self.folder / WEIGHTS).is_file()

    @property
    def divergence(self) -> str:
        """What was said when the run diverged, or ""."""
        path = self.folder / DIVERGED
        return path.read_text().strip() if path.is_file() else ""


def begin_run(
    folder: Path,
    config: RunConfig,
    provenance: Provenance,
    *,
    kept: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Make a run folder, or say of one what is known now; `kept` are texts by their files' names.

    Whatever stops this, the folder is either no run yet or one that can be read.
    """
    for name, text in kept.items():
        write_text(folder / name, text)
    if is_run(folder):
        # One of an earlier version needs both files to be read: the config first, which the
        # provenance of either form goes with.
        _write_config(folder, config)
        write_provenance(folder, provenance)
    else:
        write_provenance(folder, provenance)
        _write_config(folder, config)


def _write_config(folder: Path, config: RunConfig) -> None:
    content = {**config.to_dict(), KEY: BLANK}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_text(folder / CONFIG, seal(text))


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write provenance.json, whole or not at all."""
    write_text(folder / PROVENANCE, provenance.to_json())


def save_weights(folder: Path, net: SequenceNet) -> None:
    """Write weights.safetensors, whole or not at all."""
    from safetensors.torch import save  # noqa: PLC0415

    tensors = {
        name: tensor.detach().contiguous().cpu() for name, tensor in net.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, save(tensors, metadata={_DIGEST: _digest_tensors(tensors)}))


def _digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """32 hex digits of the tensors' names, types, shapes and numbers."""
    import torch  # noqa: PLC0415

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, compared with their digest, which runs of before have not."""
    from safetensors.torch import load_file  # noqa: PLC0415

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        expected = (file.metadata() or {}).get(_DIGEST)
    if expected not in (None, found := _digest_tensors(tensors)):
        raise ValueError(f"its numbers have the digest {found}, but it says {expected}")
    return tensors


def read_kept(run: Run) -> dict[str, str]:
    """The texts that the run keeps, by the names of their files; ValueError for damage."""
    paths = [run.folder / name for name in KEPT if (run.folder / name).is_file()]
    texts = {}
    for path in paths:
        with _naming(path), path.open(encoding="utf-8", newline="") as file:
            texts[path.name] = file.read()
            check_seal(texts[path.name])
    return texts


def is_run(folder: Path) -> bool:
    """Whether a run was begun in this folder."""
    return (folder / CONFIG).is_file()


def load_run(folder: Path | str) -> Run:
    """The run in `folder`, or in a zip of one; ValueError where it is none, or damaged.

    A zip is unpacked to a temporary folder, which is gone when the process ends.
    """
    folder = Path(folder)
    if is_archive(folder):
        folder = unpack_run(folder)
    if not is_run(folder):
        what = "a file that is no zip" if folder.exists() else "no such folder"
        what = f"no {CONFIG}" if folder.is_dir() else what
        raise ValueError(
            f"{folder}: expected a run folder, found {what}.\n"
            f"Runs are made by `python -m train`; each holds {CONFIG} and {WEIGHTS}."
        )
    if not (folder / PROVENANCE).is_file():
        raise ValueError(
            f"{folder} holds no {PROVENANCE}.\n"
            f"Delete {folder / CONFIG} and run the same `python -m train` again: it goes on from "
            f"the checkpoints."
        )
    with _naming(folder / CONFIG):
        written = _read_config(folder / CONFIG)
        # Of an upgrade that was stopped, only the config is of today's form.
        of_legacy = written if is_legacy(written) else {}
    with _naming(folder / PROVENANCE):
        told = load_sealed((folder / PROVENANCE).read_text(encoding="utf-8"))
        is_old = is_legacy(told)
        provenance = upgrade_provenance(told, of_legacy) if is_old else Provenance.from_dict(told)
    with _naming(folder / CONFIG):
        config = upgrade_config(written, told) if of_legacy else RunConfig.from_dict(written)
    return Run(folder, config, provenance)


def _read_config(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    check_seal(text)
    content = yaml.safe_load(text)
    return {k: v for k, v in content.items() if k != KEY} if isinstance(content, dict) else content


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of reading a run's file as one that names it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"{path} is damaged or not of a run of this program "
            f"({type(error).__name__}: {error}).\n"
            f"Delete {path.with_name(CONFIG)} and run the same `python -m train` again: it goes on "
            f"from the checkpoints."
        ) from error


def load_net(run: Run) -> SequenceNet:
    """The trained net of a complete run, in evaluation mode."""
    from pipeline.recurrent.classifier import build_net  # noqa: PLC0415

    if run.divergence:
        raise ValueError(f"{run.folder} diverged and has no net: {run.divergence}")
    path = run.folder / WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"{run.folder} is not complete: {WEIGHTS} appears when training ends.\n"
            f"Run the same `python -m train` again: it goes on where it stopped."
        )
    net = build_net(run.config.net, seed=0)
    try:
        net.load_state_dict(_read_tensors(path))
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()
        raise ValueError(
            f"{path} is damaged, or does not hold the weights of {run.folder / CONFIG}: "
            f"{' '.join(reason[:3])}.\n"
            f"Delete it and run the same `python -m train` again: it is made from the checkpoints."
        ) from error
    return net.eval()


def find_runs(root: Path) -> list[Path]:
    """The run folders below `root`, newest first."""
    folders = [path.parent for path in root.glob(f"**/{CONFIG}")]
    return sorted(folders, key=lambda f: (f / CONFIG).stat().st_mtime_ns, reverse=True)
