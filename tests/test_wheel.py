"""What is installed: one package and one command, which the working directory cannot break."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

import np_rnn
from eval.commands.serve import SERVE
from np_rnn.cli import COMMANDS, main
from pipeline.runs import load_net, load_run
from pipeline.versions import find_versions
from placing import PLACED, place_commands, place_imports
from tests.conftest import ROOT

TINY = (
    "task=addition", "task.length=10", "task.num_train=32", "task.num_val=16", "task.num_test=16",
    "schedule.phase_epochs=[1]", "schedule.cooling=null",
)  # fmt: skip
HOSTILE = ("train.py", "papers.py", "eval/__init__.py", "pipeline/__init__.py", "extract.py")


def list_absolute_imports(source: str) -> set[str]:
    """The first words of all absolute imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


# --- placing ---


@pytest.mark.parametrize(
    ("source", "placed"),
    [
        ("from train.fit import train_run\n", "from np_rnn.train.fit import train_run\n"),
        ("from pipeline import runs\n", "from np_rnn.pipeline import runs\n"),
        ("import pipeline as p\n", "import np_rnn.pipeline as p\n"),
        ("import os, eval.a as s, demo as d", "import os, np_rnn.eval.a as s, np_rnn.demo as d"),
        ("é = 'é'; from eval import x\n", "é = 'é'; from np_rnn.eval import x\n"),
        (
            "if x:\n    from papers import (\n  a,\n)",
            "if x:\n    from np_rnn.papers import (\n  a,\n)",
        ),
    ],
)
def test_an_import_of_ours_is_placed_below_the_one_package(source: str, placed: str) -> None:
    assert place_imports(source, "x.py") == placed


@pytest.mark.parametrize(
    "source",
    [
        "from trainer import fit\nimport evaluate, np_rnn.cli\n",
        "from . import train\nfrom .train import fit\n",
        "text = 'from train import x'\n# import eval\ntrain = eval('1')\n",
    ],
)
def test_what_is_no_import_of_ours_stays_as_it_is(source: str) -> None:
    assert place_imports(source, "x.py") == source


def test_an_import_whose_name_the_code_would_lose_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"x\.py, line 2: found `import train\.fit`"):
        place_imports("import os\nimport train.fit\n", "x.py")


def test_every_module_can_be_placed_and_then_imports_nothing_from_beside_the_package() -> None:
    paths = [path for name in (*PLACED, "np_rnn") for path in (ROOT / name).rglob("*.py")]
    assert len(paths) > 150
    for path in paths:
        source = path.read_text(encoding="utf-8")
        placed = place_imports(source, str(path))
        assert not list_absolute_imports(placed) & set(PLACED), path
        assert len(placed.splitlines()) == len(source.splitlines())


def test_a_hint_names_the_installed_command_and_keeps_the_columns_beside_it() -> None:
    text = "  python -m eval --run a    one\n  python -m eval            two\n" + " " * 28 + "three"
    placed = place_commands(text).splitlines()
    assert placed[0].startswith("  np-rnn eval --run a ")
    assert [
        line.index(word) for line, word in zip(placed, ("one", "two", "three"), strict=True)
    ] == [28] * 3
    assert place_commands("`python -m training`") == "`python -m training`"


def test_hints_in_a_wheel_name_the_packages_extra() -> None:
    placed = place_commands((ROOT / "eval/commands/serve.py").read_text())
    assert SERVE.epilog.endswith('pip install -c constraints.txt -e ".[serve]"')
    assert 'pip install "np-rnn[serve]\\"' in placed
    ast.parse(placed)


# --- the command ---


def test_an_unknown_command_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "error: np-rnn: expected one of extract, train, eval, demo, papers, found 'trian'. "
        "Did you mean train?\n"
    )
    assert main([]) == 2
    assert "expected a command, found none" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_the_python_api_is_imported_when_it_is_used() -> None:
    code = (
        "import sys, np_rnn; assert 'torch' not in sys.modules; np_rnn.Streamer; "
        "assert 'torch' in sys.modules; print(*sorted(set(np_rnn.__all__) - set(dir(np_rnn))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


def test_every_name_of_the_python_api_is_what_its_home_calls_so() -> None:
    assert set(np_rnn._HOMES) == set(np_rnn.__all__)
    assert all(getattr(np_rnn, name).__name__ == name for name in np_rnn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_nets'"):
        getattr(np_rnn, "load_nets")  # noqa: B009 - a type checker refuses the name


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from nothing but an sdist."""
    if not find_versions(["pip"]):
        pytest.skip("needs pip in this environment: python -m ensurepip")
    folder = tmp_path_factory.mktemp("built")
    run_python("setup.py", "-q", "egg_info", "-e", folder, "sdist", "-d", folder, cwd=ROOT)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / source.name.removesuffix(".tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run_python("-m", "pip", "wheel", "-q", *offline, "-w", folder, unpacked, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`np-rnn` of an environment with the wheel and this one's libraries, without the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    _make_repository(folder)
    run_python("-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    # Folders named by a .pth are searched, but the .pth files in them are not read: those of an
    # editable installation have no say.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    quiet = ("-q", "--no-deps", "--no-index", "--disable-pip-version-check")
    run_python("-m", "pip", "--python", python, "install", *quiet, wheel, cwd=folder)
    return folder / "bin" / "np-rnn"


def _make_repository(folder: Path) -> None:
    """Environments often lie within somebody's repository, whose commit is none of ours."""
    if git := shutil.which("git"):
        subprocess.run([git, "init", "-q", folder], check=True)
        author = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        words = (*author, "commit", "-q", "--allow-empty", "-m", "Theirs")
        subprocess.run([git, "-C", folder, *words], check=True)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with files and folders named like our packages, none of them ours."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in HOSTILE:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('the working directory was imported')\n")
    return folder


def run_python(*words: str | Path, cwd: Path) -> None:
    """Run this Python; what it says is shown where it fails."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_command(command: Path, *words: str, cwd: Path) -> str:
    """The standard output of the installed command, which must end with 0."""
    env: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [command, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_one_package_with_all_its_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = f"np_rnn-{wheel.name.split('-')[1]}.dist-info"
    assert {name.split("/")[0] for name in names} == {"np_rnn", information}
    expected = {
        f"np_rnn/{path.relative_to(ROOT)}"
        for folder in PLACED
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "csrc" not in path.parts
        and path.suffix not in {".pyc", ".so"}
        and path.name != ".lock"
    }
    expected |= {f"np_rnn/{name}" for name in ("__init__.py", "__main__.py", "cli.py", "py.typed")}
    library = Path("pipeline/recurrent/libsimple_rnn.so")
    if (ROOT / library).is_file():  # where there is a compiler
        expected.add(f"np_rnn/{library}")
    assert {name for name in names if name.startswith("np_rnn/")} == expected


def test_no_text_names_a_module_by_the_name_that_a_checkout_alone_has() -> None:
    named = re.compile(rf"({'|'.join(PLACED)})(\.[a-z_]+)+")
    files = [path for folder in PLACED for path in (ROOT / folder).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and named.fullmatch(node.value)
    ]
    assert files
    assert found == []


def test_the_installed_command_trains_and_scores_beside_files_of_its_modules_names(
    command: Path, hostile: Path
) -> None:
    assert "usage: np-rnn COMMAND" in run_command(command, "--help", cwd=hostile)
    assert "usage: np-rnn eval" in run_command(command, "eval", "--help", cwd=hostile)
    trained = run_command(command, "train", *TINY, cwd=hostile)
    (folder,) = (hostile / "runs").iterdir()
    assert f"Next: np-rnn eval --run runs/{folder.name}\n" in trained
    scored = run_command(command, "eval", "--run", f"runs/{folder.name}", cwd=hostile)
    assert "share with error" in scored
    assert (folder / "eval" / "test" / "report.html").is_file()
    run = load_run(folder)  # as a checkout reads it
    assert run.config.task.name == "addition"
    assert run.provenance.sessions[0].git_commit == ""
    load_net(run)


def test_the_installed_api_is_found_without_the_checkout(command: Path, hostile: Path) -> None:
    code = (
        "import np_rnn; from np_rnn.pipeline.recurrent import library; "
        "print(np_rnn.load_run.__module__, library.is_available())"
    )
    python = command.with_name("python")
    done = subprocess.run(
        [python, "-P", "-c", code], cwd=hostile, capture_output=True, text=True, check=True
    )
    has_library = (ROOT / "pipeline/recurrent/libsimple_rnn.so").is_file()
    assert done.stdout == f"np_rnn.pipeline.runs.folder {has_library}\n"


# --- what stands beside the packages ---


def test_the_citation_is_of_this_version_and_names_both_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    papers = {paper["identifiers"][0]["value"] for paper in citation["references"]}
    assert papers == {"arXiv:1511.03771", "arXiv:1504.00941"}
    addresses = {paper["url"] for paper in citation["references"]}
    assert addresses == set(project["urls"].values())


def test_the_container_serves_with_words_that_the_command_takes() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["serve"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    stage = dockerfile.split(f" AS {service['build']['target']}\n")[1].split("\nFROM")[0]
    words = json.loads(re.findall(r"^CMD (.*)$", stage, re.MULTILINE)[0])
    assert words[:2] == ["eval", "serve"]
    assert SERVE.make_parser().parse_args(words[2:]).port == 8000
    assert service["ports"] == ["127.0.0.1:8000:8000"]
