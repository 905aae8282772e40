"""The numbers of a frozen net: read from a file or drawn from a seed, and named by a digest."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

NO_FILES = ("imagenet", "random")
"""Weights that are named by a word and not by a path."""


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed`; outside, its generator is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def draw(module: nn.Module, seed: int) -> None:
    """Fill `module` with random weights that keep the signal's size through the depth (He 2015).

    torchvision's own draw, of width 0.01, lets it vanish.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def existing_file(file: str) -> Path:
    """The path of `file`, which must exist."""
    path = Path(file)
    if not path.is_file():
        raise ValueError(
            f"weights: there is no file {file}.\nPass imagenet, random, or the path of a file."
        )
    return path


def read_state(file: str) -> Mapping[str, Tensor]:
    """The state dict in a .safetensors or a .pth file; nothing in it is executed."""
    path = existing_file(file)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{file} is neither a state dict (.pth) nor .safetensors: {error}"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(tensor, Tensor) for tensor in state.values()
    ):
        raise ValueError(f"{file}: expected a state dict, names with tensors, found {type(state)}.")
    return state


def fill(
    module: nn.Module, state: Mapping[str, Tensor], *, source: str, ignored: tuple[str, ...]
) -> None:
    """Load `state` less the names that start with one of `ignored`; all else must fit."""
    given = {name: tensor for name, tensor in state.items() if not name.startswith(ignored)}
    wanted = module.state_dict()
    # Files older than torch 0.4.1 lack these counters, which a frozen net never reads.
    missing = [n for n in wanted if n not in given and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in wanted]
    wrong = [n for n in given if n in wanted and given[n].shape != wanted[n].shape]
    if missing or unexpected or wrong:
        lacks = [
            f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("shape", wrong))
            if names
        ]
        raise ValueError(
            f"{source} does not fit {type(module).__name__}: {'; '.join(lacks)}.\n"
            "Pass the weights of that very network, or another --backbone."
        )
    module.load_state_dict(given, strict=False)


def digest(module: nn.Module) -> str:
    """32 hex digits that name the weights: their names and bytes, in order of name."""
    hashed = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            hashed.update(name.encode())
            hashed.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return hashed.hexdigest()
