"""Videos to CNN features of their frames, and speech to filter banks: `python -m extract`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from extract.limit import spread
from extract.options import EXTRACT, FINISH, INSPECT, SPEECH, VERIFY, parse_words
from pipeline.allocation import keep_freed_memory
from pipeline.clips import find_clips, is_clip_list
from pipeline.console import OK, SOME_FAILED, run_command

# What takes long to import is imported where it is called: --help and mistakes answer at once.
# ruff: noqa: PLC0415


def extract(options: argparse.Namespace) -> int:
    """Do the extraction that the options ask for; the exit code."""
    from extract.flow import extract_features
    from extract.setup import Workload, estimate_steps, prepare_encoder
    from extract.summary import summarize, summarize_part

    found = find_clips(options.videos)
    # Of all clips, also with --limit: a trial is to be a piece of the whole extraction.
    num_steps = estimate_steps(found.clips, found.folder, stride=options.stride)
    workload = Workload(num_steps, [found.folder / clip.path for clip in found.clips])
    if options.limit:
        found = replace(found, clips=spread(found.clips, options.limit))
    out = options.out or default_out(options.videos, options.backbone)
    setup = prepare_encoder(
        options.backbone, out, weights=options.weights, features=options.features,
        stride=options.stride, device=options.device, dtype=options.dtype,
        batch_frames=options.batch_frames, num_workers=options.workers,
        workload=workload,
    )  # fmt: skip
    print(f"{len(found.clips)} clips of {options.videos} -> {out}: {setup.describe()}", flush=True)
    outcome = extract_features(
        found, found.folder, out, backbone=setup.backbone, spec=setup.spec,
        num_workers=setup.num_workers, part=options.part,
    )  # fmt: skip
    if options.part is not None:
        print(summarize_part(outcome, out, options.part))
        return OK if outcome.is_complete else SOME_FAILED
    print(summarize(outcome, out, found.num_ignored))
    return OK if outcome.is_complete and not outcome.problems else SOME_FAILED


def finish(options: argparse.Namespace) -> int:
    """Write the index of an extraction in parts, or say what is left to do; the exit code."""
    from extract.finish import Unfinished, finish_store
    from extract.summary import summarize

    found = find_clips(options.videos)
    if options.limit:
        found = replace(found, clips=spread(found.clips, options.limit))
    out = options.out or default_out(options.videos, options.backbone)
    refuse_other(out, options)
    outcome = finish_store(found, out)
    if isinstance(outcome, Unfinished):
        print(outcome.describe(options.command))
        return SOME_FAILED
    print(summarize(outcome, out, found.num_ignored))
    return SOME_FAILED if outcome.problems else OK


def refuse_other(out: Path, options: argparse.Namespace) -> None:
    """ValueError where the store is not of these options, as far as they need no backbone."""
    from pipeline.features import read_spec

    spec = read_spec(out)
    for name in ("backbone", "features", "stride"):
        made, asked = getattr(spec, name), getattr(options, name)
        if made != asked:
            raise ValueError(
                f"{out} was made with {name}={made}, not {asked}.\n"
                f"Finish it with the options of its parts: --{name} {made}"
            )


def extract_speech(options: argparse.Namespace) -> int:
    """Do the extraction of speech that the options ask for; the exit code."""
    from extract.speech import flow
    from extract.speech.banks import make_spec
    from extract.speech.corpus import find_utterances
    from extract.summary import summarize
    from pipeline.features import SPEECH as BANKS

    found = find_utterances(options.speech)
    if options.limit:
        clips = spread(found.clips.clips, options.limit)
        found = replace(found, clips=replace(found.clips, clips=clips))
    out = options.out or default_out(options.speech, BANKS)
    was_there = out.exists()
    spec = make_spec(has_energy=not options.without_energy)
    num = len(found.clips.clips)
    print(f"{num} utterances of {options.speech} -> {out}: {spec.dim} numbers a frame", flush=True)
    outcome = flow.extract_speech(found, out, spec=spec, label_rate=options.label_rate)
    if outcome.is_complete and not outcome.num_stored:
        if not was_there:
            shutil.rmtree(out)
        first = outcome.problems[0]
        raise ValueError(
            f"{options.speech}: none of {num} utterances can be taken, such as {first.path}: "
            f"{first.reason}."
        )
    print(summarize(outcome, out, 0))
    if outcome.is_complete:
        print("\n".join(flow.describe_speech(found, out)))
    return OK if outcome.is_complete and not outcome.problems else SOME_FAILED


def default_out(videos: Path, backbone: str) -> Path:
    """features/<folder or list>-<backbone>."""
    name = videos.stem if is_clip_list(videos) else videos.resolve().name
    return Path("features") / f"{name}-{backbone.replace('/', '-')}"


def inspect(options: argparse.Namespace) -> int:
    """Print what the store holds; the exit code."""
    from extract.inspect import describe_store

    print(describe_store(options.store))
    return OK


def verify(options: argparse.Namespace) -> int:
    """Print whether the store is what was written; the exit code."""
    from extract.verify import verify_store

    found = verify_store(options.store)
    print(found)
    return SOME_FAILED if found.damages else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    words = sys.argv[1:] if arguments is None else arguments

    def command() -> int:
        options = parse_words(words)
        commands = {
            INSPECT: inspect, VERIFY: verify, EXTRACT: extract, FINISH: finish,
            SPEECH: extract_speech,
        }  # fmt: skip
        return commands[options.verb](options)

    return run_command(
        command, how_to_go_on="Run the same command again: it goes on where it stopped."
    )


if __name__ == "__main__":
    keep_freed_memory()  # of the whole process, so not for a caller of main
    sys.exit(main())
