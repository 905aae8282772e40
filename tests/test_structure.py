"""The house: modules import lower floors only, and each heavy library has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("extract", "train", "eval")
# A module not named here is on floor 0. The roof may import everything.
FLOORS = {
    "pipeline.features": 1,
    "pipeline.backbones": 1,
    "pipeline.tasks": 2,
    "pipeline.runs": 2,
    "pipeline.streaming": 2,
    **dict.fromkeys(STAGES, 3),
    "demo": 4,
}
# On floor 0 a module imports only the names given here, or its own folder.
NEIGHBOURS = {
    "pipeline.sequences": {"pipeline.memory"},
}
HOMES = {
    "decord": ("pipeline.video",),
    "av": ("pipeline.video",),
    "torchvision": ("pipeline.backbones",),
    "timm": ("pipeline.backbones",),
    "h5py": ("pipeline.features",),
    "pytorch_lightning": ("train",),
    "hydra": ("train",),
    "omegaconf": ("train",),
    "matplotlib": ("eval",),
}


def name_module(path: Path, root: Path) -> str:
    """`pipeline.features.spec` of pipeline/features/spec.py; a package's own name of its init."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_imports(source: str) -> set[str]:
    """The modules that a source imports, anywhere in it; `from a import b` counts as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_within(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def find_floor(module: str) -> int:
    matches = [home for home in FLOORS if is_within(module, home)]
    return FLOORS[max(matches, key=len)] if matches else 0


def is_ours(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in ("pipeline", "demo", *STAGES)


def room_of(module: str) -> str:
    """The folder of pipeline, or the stage, that a module belongs to; the module itself if none."""
    parts = module.split(".")
    if parts[0] in (*STAGES, "demo"):
        return parts[0]
    is_folder = len(parts) > 1 and (ROOT / "pipeline" / parts[1]).is_dir()
    return ".".join(parts[:2]) if is_folder else module


def find_violations(module: str, source: str, modules: set[str]) -> list[str]:
    """What this module imports against the rules, one line each."""
    violations = []
    for name in sorted(find_imports(source)):
        homes = HOMES.get(name.split(".")[0])
        if homes and not any(is_within(module, home) for home in homes):
            violations.append(f"{module} imports {name}, whose home is {' and '.join(homes)}")
        if not is_ours(name) or name not in modules:
            continue
        if room_of(name) == room_of(module) or name in ("pipeline", "pipeline.console"):
            continue
        mine, theirs = find_floor(module), find_floor(name)
        is_neighbour = name in NEIGHBOURS.get(module, ())
        if theirs > mine or (theirs == mine and mine != 2 and not is_neighbour):
            violations.append(f"{module} (floor {mine}) imports {name} (floor {theirs})")
    return violations


def list_modules() -> dict[str, Path]:
    folders = ("pipeline", "demo", *STAGES)
    return {
        name_module(path, ROOT): path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }


def test_modules_import_lower_floors_and_heavy_libraries_only_at_home() -> None:
    modules = list_modules()
    assert len(modules) > 20
    violations = [
        line
        for module, path in modules.items()
        for line in find_violations(module, path.read_text(), set(modules))
    ]
    assert violations == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.clips.clip", "import pipeline.metrics"),
        ("pipeline.features.store", "from pipeline import runs"),
        ("pipeline.clips.splits", "from pipeline.features import FeatureStore"),
        ("pipeline.metrics", "def f():\n    from pipeline.clips import Clip"),
        ("extract.flow", "from train.fit import train_run"),
        ("eval.report.report", "import extract.plan"),
        ("pipeline.runs.folder", "from eval.report.report import write_report"),
        ("pipeline.clips.splits", "import h5py"),
        ("extract.decode", "import av"),
        ("extract.decode", "from decord import VideoReader"),
        ("train.fit", "from torchvision.models import googlenet"),
        ("eval.predictions.predict", "import pytorch_lightning as pl"),
        ("train.fit", "import matplotlib.pyplot as plt"),
        ("pipeline.tasks.clips", "import hydra"),
    ],
)
def test_an_import_against_the_rules_is_found(module: str, source: str) -> None:
    assert find_violations(module, source, set(list_modules()))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.clips.splits", "from pipeline.clips import Clip"),
        (
            "pipeline.features.writers",
            "import h5py\nfrom pipeline.features.spec import FeatureSpec",
        ),
        ("demo.__main__", "import extract.flow, train.fit, eval.report.report"),
        ("extract.flow", "from pipeline.features import FeatureSpec\nimport torch"),
        ("pipeline.runs.folder", "from pipeline.recurrent.classifier import build_net"),
    ],
)
def test_an_import_within_the_rules_passes(module: str, source: str) -> None:
    assert find_violations(module, source, set(list_modules())) == []
