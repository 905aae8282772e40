"""What the pages tell a reader to type is run on generated clips, or understood, as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from demo.clips import LABELS, ClipsSpec, write_clips
from pipeline.clips import find_clips, read_split
from tests.conftest import ROOT
from tests.documented import (
    DOCS,
    LANGUAGES,
    PAGES,
    READ_ONLY,
    Block,
    Shell,
    check_command,
    compose_all,
    find_blocks,
    find_codes,
    find_commands,
    find_lines,
    name_page,
)

QUICK = ClipsSpec(groups=(1, 2, 8, 9, 10, 25), clips_per_group=1, num_frames=6)
OVERRIDES = re.compile(r"(\+?[\w./]+=[^\s|=]+)( \+?[\w./]+=[^\s|=]+)*")
# What a test changes in a page: trained weights are a download, and few epochs will do.
SUBSTITUTES = {
    "--weights imagenet": "--weights random",
    " split=draw": " split=draw schedule.phase_epochs=[2,1,1]",
}
COPIED = ("demo", "eval", "extract", "np_rnn", "papers", "pipeline", "splits", "train")


def substitute(block: Block) -> Block:
    text = block.text
    for found, instead in SUBSTITUTES.items():
        text = text.replace(found, instead)
    return replace(block, text=text)


def run_page(page: str, shell: Shell) -> list[str]:
    """What each block of the page prints that is not only read."""
    blocks = find_blocks((DOCS / page).read_text())
    kinds = ("bash", "diff", "python")
    return [shell.run(substitute(b)) for b in blocks if b.is_run and b.language in kinds]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tutorial was carried out: videos/, a store, runs/x, my.mp4, other/."""
    shell = Shell(tmp_path_factory.mktemp("studio"), ROOT)
    write_clips(shell.folder / "videos", QUICK)
    clip = next((shell.folder / "videos").rglob("*.avi"))
    shutil.copy(clip, shell.folder / "my.mp4")
    (shell.folder / "other").mkdir()
    shutil.copy(clip, shell.folder / "other" / "two.avi")
    run_page("tutorial.md", shell)
    (run,) = (shell.folder / "runs").glob("np-rnn-*")
    shutil.copytree(run, shell.folder / "runs" / "x")
    return shell


def test_the_tutorial_ends_with_a_page_that_shows_the_video(studio: Shell) -> None:
    assert "<video" in (studio.folder / "seen.html").read_text()


@pytest.mark.parametrize("page", ["how-to/backbones.md", "how-to/own-videos.md", "how-to/time.md"])
def test_what_is_done_with_videos_and_runs_is_done(studio: Shell, page: str) -> None:
    assert run_page(page, studio)


def test_the_streaming_program_names_the_class_of_a_video(studio: Shell) -> None:
    (program,) = (
        block
        for block in find_blocks((DOCS / "how-to" / "own-videos.md").read_text())
        if block.language == "python"
    )
    assert studio.run(program).strip() in LABELS


def test_features_from_elsewhere_are_written_read_and_trained_on(tmp_path: Path) -> None:
    shell = Shell(tmp_path, ROOT)
    assert "50 clips" in "".join(run_page("how-to/features.md", shell))
    assert "(60, 512)" in "".join(run_page("reference/files.md", shell))


def test_a_text_is_learned_and_scored_in_bits(tmp_path: Path) -> None:
    assert "bits a character" in run_page("how-to/texts.md", Shell(tmp_path, ROOT))[-1]


@pytest.mark.parametrize(
    ("page", "name"), [("how-to/new-net.md", "half-rnn"), ("how-to/new-task.md", "subtraction")]
)
def test_what_is_added_to_a_table_is_trained_and_scored(
    tmp_path: Path, page: str, name: str
) -> None:
    source = tmp_path / "source"
    for folder in COPIED:
        shutil.copytree(ROOT / folder, source / folder)
    printed = run_page(page, Shell(tmp_path, source))
    assert name in printed[-1]


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_of_a_page_is_understood(monkeypatch: pytest.MonkeyPatch, page: Path) -> None:
    added = ("half-rnn", "subtraction")  # by the pages themselves, which are run
    for words in find_commands(page.read_text()):
        if not any(name in word for word in words for name in added):
            with monkeypatch.context() as patch:
                check_command(patch, words)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_block_is_of_a_language_that_is_tested_here(page: Path) -> None:
    found = {block.language for block in find_blocks(page.read_text())}
    assert found <= set(LANGUAGES)


def test_overrides_within_sentences_compose() -> None:
    codes = [code for page in PAGES for code in find_codes(page.read_text())]
    found = [code for code in codes if OVERRIDES.fullmatch(code) and "hydra" not in code]
    assert len(found) > 5
    for code in found:
        compose_all(shlex.split(code))


def test_a_block_that_is_only_read_still_needs_options_that_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (words,) = find_commands(f"{READ_ONLY}\n```bash\npython -m eval serve --prot 8080\n```\n")
    with pytest.raises(SystemExit):
        check_command(monkeypatch, words)
    assert "--prot" in capsys.readouterr().err


def test_a_block_that_fails_and_a_hunk_that_does_not_fit_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    shell = Shell(tmp_path, tmp_path)
    with pytest.raises(AssertionError, match="ended with 3"):
        shell.run(Block("bash", "exit 3\n", is_run=True))
    with pytest.raises(AssertionError, match="0 times"):
        shell.run(Block("diff", "+++ b/a.py\n@@\n three\n+four\n", is_run=True))
    shell.run(Block("diff", "+++ b/a.py\n@@\n-one\n+1\n two\n", is_run=True))
    assert (tmp_path / "a.py").read_text() == "1\ntwo\n"


def test_what_is_made_and_installed_is_defined() -> None:
    lines = [line for page in PAGES for line in find_lines(page.read_text())]
    extras = {name for line in lines for name in re.findall(r'"\.\[(\w+)\]"', line)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"serve", "export"} <= extras <= set(project["optional-dependencies"])


def test_the_split_file_of_the_page_is_read(tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "datasets.md").read_text()
    (block,) = (b.text for b in find_blocks(page) if b.language == "yaml")
    (tmp_path / "mine.yaml").write_text(block)
    (tmp_path / "testlist01.txt").write_text("walk/v_walk_g01_c01.mp4\n")
    split = read_split(str(tmp_path / "mine.yaml"), [])
    assert [clip.group for clip in split.test] == ["g01"]


def test_the_job_scripts_of_the_page_make_a_store(tmp_path: Path) -> None:
    blocks = find_blocks((DOCS / "how-to" / "machines.md").read_text())
    (array,) = (b.text for b in blocks if "#SBATCH" in b.text)
    (submission,) = (b.text for b in blocks if "sbatch" in b.text)
    (job,) = (yaml.safe_load(b.text)["spec"] for b in blocks if b.language == "yaml")
    write_clips(tmp_path / "videos", QUICK)
    words = "--weights random --limit 2"

    def run(command: str) -> str:
        text = command.replace("srun ", "").replace(" extract ", f" extract {words} ")
        return Shell(tmp_path, ROOT).run(Block("bash", text, is_run=True))

    assert "--array=1-16" in array
    assert "part 1/16, 1 shards, 2 clips, done" in run(f"SLURM_ARRAY_TASK_ID=1\n{array}")
    (container,) = job["template"]["spec"]["containers"]
    pod = shlex.join(container["command"])
    assert job["completionMode"] == "Indexed"
    last = job["completions"] - 1
    assert "part 16/16, 0 shards" in run(f"export JOB_COMPLETION_INDEX={last}\n{pod}")
    (finish,) = re.findall(r'--wrap "(.*)"', submission)
    assert "2 clips, complete" in run(finish)


def test_the_shell_program_lists_the_real_clips_it_promises(
    data_root: Path, tmp_path: Path
) -> None:
    page = (DOCS / "how-to" / "datasets.md").read_text()
    (block,) = (b for b in find_blocks(page) if "clips.csv" in b.text)
    (tmp_path / "ucf101").symlink_to(data_root / "ucf101")
    program = block.text[: block.text.index("python -m")]
    Shell(tmp_path, ROOT).run(replace(block, text=program))
    promised = re.search(r"# (\d+) clips", block.text)
    assert promised is not None
    clips = find_clips(tmp_path / "clips.csv").clips
    assert len(clips) == int(promised[1])
    assert {clip.path.split("/")[-2] for clip in clips} == {clip.label for clip in clips}
