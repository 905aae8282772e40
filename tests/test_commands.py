"""The verbs of eval: what each takes, what help costs, and what an old spelling answers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eval.__main__ import VERBS, main
from eval.commands.scores import SCORES
from eval.commands.verb import PROGRAM, Verb
from tests.conftest import ROOT

ALL = (SCORES, *VERBS)


def parse(command: str) -> tuple[Verb, dict[str, object]]:
    """The verb of `python -m eval ...` and its options; SystemExit where it takes them not."""
    words = shlex.split(command)
    assert words[:3] == PROGRAM.split()
    by_name = {verb.name: verb for verb in VERBS}
    verb = by_name.get(words[3], SCORES) if len(words) > 3 else SCORES
    return verb, vars(verb.make_parser().parse_args(words[3 if verb is SCORES else 4 :]))


def find_commands(text: str) -> list[str]:
    """Every `python -m eval ...` of a help text, without what explains it."""
    found = re.findall(rf"{re.escape(PROGRAM)}\b[^\n]*", text)
    return [re.split(r"  +", line)[0] for line in found]


@pytest.mark.parametrize("verb", ALL, ids=lambda verb: verb.name or "scores")
def test_the_examples_of_a_help_are_commands_of_its_verb(verb: Verb) -> None:
    commands = find_commands(verb.epilog)
    assert commands
    assert {parse(command)[0].name for command in commands} == {verb.name}


@pytest.mark.parametrize("words", [[], *([verb.name] for verb in VERBS)])
def test_help_imports_no_library_that_takes_long(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from eval.__main__ import main\n"
        "try:\n    main([*sys.argv[1:], '--help'])\n"
        "finally:\n    print('imported:', *sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    text, imported = ended.stdout.split("imported: ")
    assert "argparse" in imported.split()
    assert not {"torch", "numpy", "matplotlib", "av", "onnx"} & set(imported.split())
    assert f"usage: {' '.join([PROGRAM, *words])} " in text


def test_the_help_of_the_program_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for verb in VERBS:
        assert re.search(rf"^  {verb.name} +{re.escape(verb.summary)}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pridict", "found 'pridict'. Did you mean predict?"),
        ("scores", "Scores need no verb: python -m eval [--run RUN]"),
    ],
)
def test_an_unknown_verb_is_answered_with_the_verbs(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--run", "a"]) == 2
    error = capsys.readouterr().err
    assert "predict, watch, serve, study, dynamics, unknown, export" in error
    assert message in error


OLD = {
    "--run a --videos my.mp4 other/ --top 5": "predict --run a my.mp4 other/ --top 5",
    "--run a --videos my.mp4": "predict --run a my.mp4",
    "--run a --videos one/ two/": "predict --run a one/ two/",
    "--videos clips/ --top 3": "predict clips/ --top 3",
    "--videos my.mp4 --json": "predict my.mp4 --json",
    "--videos my.mp4 --csv": "predict my.mp4 --csv",
    "--run=a --videos=my.mp4 --segments": "predict --run a my.mp4 --segments",
    "--run a --videos my.mp4 --segments --window 1 --carry": (
        "predict --run a my.mp4 --segments --window 1 --carry"
    ),
    "--run a --videos my.mp4 --page out.html": "predict --run a my.mp4 --page out.html",
    "--run a --videos my.mp4 --weights w.npz --features f --device cpu": (
        "predict --run a my.mp4 --weights w.npz --features f --device cpu"
    ),
    "--latest --camera 0": "watch --camera 0",
    "--run a --stream - --json --weights w.npz": "watch --run a --stream - --json --weights w.npz",
    "--run a --serve": "serve --run a",
    "--run a --serve --host 0.0.0.0 --port 80": "serve --run a --host 0.0.0.0 --port 80",
    "--study 'my grid' --out o --batch-size 8": "study 'my grid' --out o --batch-size 8",
    "--study=grid": "study grid",
    "--run a b --dynamics --out o": "dynamics --run a b --out o",
    "--run onnx --export onnx": "export --run onnx",
    "--run a --export onnx --with-backbone --weights w.npz": (
        "export --run a --with-backbone --weights w.npz"
    ),
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_spelling_answers_with_a_command_that_is_understood(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(old)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if PROGRAM in line] == [f"The command is: {PROGRAM} {OLD[old]}"]
    verb, options = parse(f"{PROGRAM} {OLD[old]}")
    assert verb.name == OLD[old].split()[0]
    words = shlex.split(OLD[old])
    if "--weights" in words:
        assert options["weights"] == Path("w.npz")
    if verb.name == "predict":
        paths = options["paths"]
        assert isinstance(paths, list)
        assert all(str(path) in old for path in paths)


def test_a_file_of_any_name_is_a_video_of_ones_own_and_a_list_of_clips_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("video", "clips.csv"):
        (tmp_path / name).write_text("path,label\n")
    assert main(["--videos", str(tmp_path / "video")]) == 2
    assert f"eval predict {tmp_path / 'video'}" in capsys.readouterr().err
    assert main(["--videos", str(tmp_path / "clips.csv")]) == 2
    assert "a row per clip" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "--run a b --part val --videos UCF101/ --out o --features f --device cpu --batch-size 8",
        "--predictions a.csv b.csv --out o",
        "--latest --videos clips.csv",
        "watch --stream URL --run a --features f --weights w --device cpu --json",
        "serve --run a --features f --weights w --device cpu --host h --port 1",
        "study grid --features f --device cpu --batch-size 8 --out o",
        "dynamics --run a b --features f --out o",
        "unknown --run a b --part val --features f --device cpu --batch-size 8",
        "export --run a b --features f --out o --with-backbone --weights w",
    ],
)
def test_each_verb_takes_what_has_an_effect_on_it(command: str) -> None:
    verb, options = parse(f"{PROGRAM} {command}")
    given = {word.removeprefix("--").replace("-", "_") for word in command.split() if "--" in word}
    default = vars(verb.make_parser().parse_args(_least(verb)))
    assert {name for name in options if options[name] != default[name]} >= given


def _least(verb: Verb) -> list[str]:
    return {"watch": ["--camera", "0"], "study": ["other"]}.get(verb.name, [])


def test_each_option_means_one_thing() -> None:
    """The same word takes the same kind of value under every verb; --run is one or several."""
    kinds: dict[str, set[object]] = {}
    for verb in ALL:
        for action in verb.make_parser()._actions:
            for word in action.option_strings:
                of_word = kinds.setdefault(word, set())
                of_word.add((action.type, action.metavar, type(action)))
    assert {word for word, kind in kinds.items() if len(kind) > 1} == set()
