"""The house: imports go down, in one direction everywhere, and each heavy library has one home."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("extract", "train", "eval")
PACKAGES = ("papers", "pipeline", *STAGES, "demo", "np_rnn")
# A room is a module or a folder; the longest name that fits is a module's room. A room imports
# rooms of lower floors only; inside a room, modules import each other without a circle.
FLOORS = {
    "papers": 0,
    "pipeline": 0,
    "pipeline.allocation": 0,
    "pipeline.choices": 0,
    "pipeline.console": 0,
    "pipeline.fields": 0,
    "pipeline.files": 0,
    "pipeline.memory": 0,
    "pipeline.metrics": 0,
    "pipeline.places": 0,
    "pipeline.seals": 0,
    "pipeline.versions": 0,
    "pipeline.clips": 1,
    "pipeline.devices": 1,
    "pipeline.recurrent": 1,
    "pipeline.sequences": 1,
    "pipeline.sound": 1,
    "pipeline.texts": 1,
    "pipeline.video": 1,
    "pipeline.features": 2,
    "pipeline.backbones": 3,
    "pipeline.tasks": 3,
    "pipeline.runs": 4,
    "pipeline.streaming": 5,
    "extract": 6,
    "train": 6,
    "eval": 6,
    "eval.pages": 7,
    "eval.predictions": 7,
    "eval.dynamics": 8,
    "eval.export": 8,
    "eval.scores": 8,
    "eval.videos": 8,
    "eval.report": 9,
    "eval.serve": 9,
    "eval.study": 10,
    "eval.commands": 11,
    "eval.__main__": 12,
    "pipeline.__main__": 1,
    "demo": 13,
    "papers.reproduction": 13,
    "papers.__main__": 14,
    "np_rnn": 14,
}
# A roof's rooms have its package's name; nothing outside imports them.
ROOFS = ("demo", "papers.reproduction", "papers.__main__", "np_rnn")
HOMES = {
    "av": ("pipeline.sound", "pipeline.video"),
    "h5py": ("pipeline.features",),
    "huggingface_hub": ("pipeline.runs",),
    "hydra": ("train",),
    "jinja2": ("eval.pages",),
    "kaldi_native_fbank": ("extract.speech",),
    "matplotlib": ("eval",),
    "nncf": ("pipeline.backbones",),
    "omegaconf": ("train",),
    "onnx": ("eval.export",),
    "onnxruntime": ("eval.export",),
    "openvino": ("pipeline.backbones",),
    "pytorch_lightning": ("train",),
    "starlette": ("eval.serve",),
    "timm": ("pipeline.backbones",),
    "torchvision": ("pipeline.backbones",),
    "uvicorn": ("eval.serve",),
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


def find_own_imports(module: str, source: str, modules: set[str]) -> set[str]:
    """Our modules that a source imports; a package whose module is imported is not one of them."""
    names = find_imports(source) & modules
    return {n for n in names if not any(o.startswith(f"{n}.") for o in names)} - {module}


def is_within(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def find_room(module: str) -> str:
    """The room of a module; KeyError for one that stands outside of all."""
    rooms = [room for room in FLOORS if is_within(module, room)]
    if not rooms or (rooms == ["pipeline"] and module != "pipeline"):
        raise KeyError(f"{module} is in no room of FLOORS")
    return max(rooms, key=len)


def find_violations(module: str, source: str, modules: set[str]) -> list[str]:
    """What this module imports against the rules, one line each."""
    violations = []
    for name in sorted(find_imports(source)):
        homes = HOMES.get(name.split(".")[0])
        if homes and not any(is_within(module, home) for home in homes):
            violations.append(f"{module} imports {name}, whose home is {' and '.join(homes)}")
    mine = find_room(module)
    for name in sorted(find_own_imports(module, source, modules)):
        room = find_room(name)
        stages = {n.split(".")[0] for n in (module, name)} & set(STAGES)
        is_foreign = len(stages) == 2 and mine not in ROOFS
        is_roof = room in ROOFS and room.split(".")[0] != module.split(".", maxsplit=1)[0]
        if room != mine and (FLOORS[room] >= FLOORS[mine] or is_foreign or is_roof):
            violations.append(
                f"{module} (floor {FLOORS[mine]}) imports {name} (floor {FLOORS[room]})"
            )
    return violations


def find_circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, [] where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def read_sources() -> dict[str, str]:
    """The source of every module."""
    return {
        name_module(path, ROOT): path.read_text()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*.py")
    }


def test_modules_import_lower_floors_and_heavy_libraries_only_at_home() -> None:
    sources = read_sources()
    assert len(sources) > 20
    violations = [
        line
        for module, source in sources.items()
        for line in find_violations(module, source, set(sources))
    ]
    assert violations == []


def test_modules_never_import_each_other_in_a_circle() -> None:
    sources = read_sources()
    imports = {m: find_own_imports(m, source, set(sources)) for m, source in sources.items()}
    assert sum(map(len, imports.values())) > 200
    assert find_circle(imports) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.clips.clip", "import pipeline.recurrent.spec"),
        ("pipeline.files", "import pipeline.console"),
        ("pipeline.features.store", "from pipeline import runs"),
        ("pipeline.clips.splits", "from pipeline.features import FeatureStore"),
        ("pipeline.metrics", "def f():\n    from pipeline.clips import Clip"),
        ("extract.flow", "from train.fit import train_run"),
        ("eval.report.report", "import extract.plan"),
        ("pipeline.runs.folder", "from eval.report.report import write_report"),
        ("eval.scores.rows", "from eval.report.evaluate import evaluate_runs"),
        ("eval.scores.rows", "from eval.dynamics.dynamics import compute_dynamics"),
        ("eval.predictions.predict", "from eval.pages.text import align"),
        ("eval.videos.watch", "from eval.serve import app"),
        ("eval.study.study", "import eval.commands.predict"),
        ("eval.commands.predict", "from eval import __main__"),
        ("eval.commands.predict", "from demo.clips import PAIRS"),
        ("papers.np_rnn", "from pipeline.recurrent.spec import NETS"),
        ("papers.verdicts", "from papers.reproduction.lines import Line"),
        ("eval.pages.charts", "from papers.reproduction.lines import Line"),
        ("demo.__main__", "from papers.reproduction.lines import read_lines"),
        ("papers.np_rnn", "from pipeline.choices import check_choice"),
        ("demo.__main__", "from np_rnn.cli import main"),
        ("pipeline.streaming", "from np_rnn import load_run"),
        ("pipeline.clips.splits", "import h5py"),
        ("extract.decode", "import av"),
        ("extract.speech.flow", "import av"),
        ("pipeline.tasks.speech", "import kaldi_native_fbank"),
        ("extract.decode", "from av import open"),
        ("train.fit", "from torchvision.models import googlenet"),
        ("eval.predictions.predict", "import pytorch_lightning as pl"),
        ("eval.report.report", "from jinja2 import Environment"),
        ("train.fit", "import matplotlib.pyplot as plt"),
        ("pipeline.tasks.clips", "import hydra"),
        ("extract.setup", "from openvino import Core"),
    ],
)
def test_an_import_against_the_rules_is_found(module: str, source: str) -> None:
    assert find_violations(module, source, set(read_sources()))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.clips.splits", "from pipeline.clips.clip import Clip"),
        (
            "pipeline.features.writers",
            "import h5py\nfrom pipeline.features.spec import FeatureSpec",
        ),
        ("train.experiments", "from papers.np_rnn.protocols import PROTOCOLS"),
        ("papers.irnn", "from papers.book import Claim"),
        ("demo.__main__", "import extract.flow, train.fit, eval.report.report"),
        ("papers.__main__", "from papers.reproduction.lines import read_lines"),
        ("papers.reproduction.work", "import train.fit, eval.predictions.predict"),
        ("extract.flow", "from pipeline.features import FeatureSpec\nimport torch"),
        ("pipeline.runs.folder", "from pipeline.recurrent.classifier import build_net"),
        ("eval.report.report", "from eval.scores.rows import Row\nfrom eval.pages import text"),
    ],
)
def test_an_import_within_the_rules_passes(module: str, source: str) -> None:
    assert find_violations(module, source, set(read_sources())) == []


def test_a_module_outside_of_every_room_is_found() -> None:
    with pytest.raises(KeyError, match="pipeline.helpers is in no room"):
        find_room("pipeline.helpers")


def test_a_circle_of_imports_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
