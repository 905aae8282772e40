"""The words of `python -m extract`: options and verbs."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from extract.parts import Part, read_part
from pipeline.choices import check_choice
from pipeline.devices import DEVICES, read_device

EXTRACT, INSPECT, VERIFY = "", "inspect", "verify"
SPEECH, FINISH = "--speech", "--finish"
"""What is done in place of EXTRACT where one of these options is given."""
_FOR_VIDEOS = (
    "backbone", "weights", "features", "stride", "device", "dtype", "batch_frames", "workers",
    "part", "finish",
)  # fmt: skip
_FOR_SPEECH = ("without_energy", "label_rate")
_OLD_INSPECT = "--inspect"
_EXAMPLES = """\
examples:
  python -m extract --videos UCF101/
      features of every frame of every clip, in features/UCF101-googlenet
  python -m extract --videos UCF101/ --limit 20
      the first 20 clips, to try
  python -m extract --videos UCF101/ --backbone bvlc-googlenet --weights bvlc_googlenet.npz
      the GoogLeNet of 2014, from a file
  python -m extract --videos clips.csv
      the videos of a list: path,label and, if wanted, group and split
  python -m extract --videos my_clips/ --backbone timm/convnext_tiny --stride 5
      every fifth frame through a timm model
  python -m extract --speech TIMIT/
      filter banks of a corpus in TIMIT's layout, with the phone of every frame
  python -m extract --videos UCF101/ --part 2/16
      the second of 16 parts, each a process on any host that shares the folder
  python -m extract --videos UCF101/ --finish
      when all parts are done: the index
  python -m extract inspect features/UCF101-googlenet
      what a store holds
  python -m extract verify features/UCF101-googlenet
      whether it is what was written; extracting again mends it

Run the same command again after a stop of any kind: it goes on where it stopped. Several processes
may run it at the same time, also on several hosts: each takes shards that no other has.
"""


_INSPECT_EXAMPLES = """\
examples:
  python -m extract inspect features/UCF101-googlenet
      spec, clips of each class, frames, and what is wrong with the videos
"""
_VERIFY_EXAMPLES = """\
examples:
  python -m extract verify features/UCF101-googlenet
      read every byte and compare the checksums: is it what was written?

Ends with 0 (whole), 1 (something is damaged or missing: it says what) or 2 (no store). Run the
same `python -m extract --videos VIDEOS` again to do just the clips of damaged files anew.
"""


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """The options of the verb that the first word names, as its `verb`; "" for an extraction.

    Those of an extraction have its `command` in them, without --finish.
    Raises ValueError for a verb that is none, and for a spelling of before the verbs.
    """
    _refuse_old_spelling(words)
    if not words or words[0].startswith("-"):
        options = _choose_kind(make_parser().parse_args(words, argparse.Namespace(verb=EXTRACT)))
        options.command = _write_command(*(word for word in words if not _is_finish(word)))
        return options
    if Path(words[0]).exists():
        raise ValueError(
            f"python -m extract: expected {INSPECT}, {VERIFY} or an option, found {words[0]!r}.\n"
            f"The command is: {_write_command('--videos', *words)}"
        )
    check_choice("python -m extract", words[0], (INSPECT, VERIFY))
    make = {INSPECT: make_inspect_parser, VERIFY: make_verify_parser}[words[0]]
    return make().parse_args(words[1:], argparse.Namespace(verb=words[0]))


def _choose_kind(options: argparse.Namespace) -> argparse.Namespace:
    """The options with the verb SPEECH where speech was asked for; ValueError for those without
    effect on what was."""
    kind, without = ("--videos", _FOR_SPEECH) if options.speech is None else (SPEECH, _FOR_VIDEOS)
    defaults = vars(make_parser().parse_args([kind, "."]))
    for name in without:
        if getattr(options, name) != defaults[name]:
            raise ValueError(f"--{name.replace('_', '-')} has no effect with {kind}: leave it out.")
    if kind == SPEECH:
        options.verb = SPEECH
    elif options.finish:
        options.verb = FINISH
    return options


def _is_finish(word: str) -> bool:
    return FINISH.startswith(word) and word.startswith("--fi")  # as argparse lets it be cut


def _refuse_old_spelling(words: Sequence[str]) -> None:
    parts = [part for word in words for part in word.split("=", 1)]
    if _OLD_INSPECT not in parts:
        return
    stores = parts[parts.index(_OLD_INSPECT) + 1 :][:1] or ["STORE"]
    raise ValueError(
        f"{_OLD_INSPECT} is a verb now.\nThe command is: {_write_command(INSPECT, *stores)}"
    )


def _write_command(*words: str) -> str:
    return f"python -m extract {shlex.join(words)}"


def make_inspect_parser() -> argparse.ArgumentParser:
    """The options of `inspect`."""
    return _make_store_parser(INSPECT, "Print what a feature store holds.", _INSPECT_EXAMPLES)


def make_verify_parser() -> argparse.ArgumentParser:
    """The options of `verify`."""
    description = (
        "Read every clip of every shard, and compare checksums, shards, plan and index: name each "
        "damaged clip."
    )
    return _make_store_parser(VERIFY, description, _VERIFY_EXAMPLES)


def _make_store_parser(verb: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m extract {verb}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="its folder")
    return parser


def make_parser() -> argparse.ArgumentParser:
    """The options of an extraction."""
    parser = argparse.ArgumentParser(
        prog="python -m extract",
        description="Decode videos and write the CNN features of their frames into HDF5, or speech "
        "and its filter banks.\n\n"
        "verbs, with options of their own (python -m extract VERB --help):\n"
        f"  {INSPECT}  what a store holds\n"
        f"  {VERIFY}   whether it is what was written",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--videos",
        type=Path,
        metavar="DIR|CSV",
        help="videos in one folder per class, or a list path,label[,group][,split]",
    )
    source.add_argument(
        SPEECH,
        type=Path,
        metavar="DIR",
        help="speech in TIMIT's layout: TRAIN|TEST/DRx/SPEAKER/UTT.WAV (NIST SPHERE or RIFF) with "
        "UTT.PHN",
    )
    add("--out", type=Path, metavar="DIR", help="default: features/<folder>-<backbone>")
    _add_encoder_options(parser)
    _add_speech_options(parser)
    add(
        "--workers",
        type=_positive,
        default=None,
        metavar="N",
        help="decoding processes; default: a quarter of the cores, on a GPU all but one",
    )
    add(
        "--limit",
        type=_positive,
        metavar="N",
        help="only N clips of all classes, or of speakers, to try",
    )
    _add_part_options(parser)
    return parser


def _add_part_options(parser: argparse.ArgumentParser) -> None:
    share = parser.add_mutually_exclusive_group()
    share.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="of the clips' shards only those of the K-th of N parts, to be run on as many hosts "
        "as wanted; it writes no index",
    )
    share.add_argument(
        FINISH,
        action="store_true",
        help="decode nothing: check that all shards of all parts are there and whole, and write "
        "the index; else say which are missing",
    )


def _add_encoder_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--backbone",
        default="googlenet",
        metavar="NAME",
        help="googlenet (default), bvlc-googlenet, or timm/<name>",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="WEIGHTS",
        help="imagenet (default; downloaded once), random, or a file",
    )
    add(
        "--features",
        choices=("pool", "logits"),
        default="pool",
        help="before the classifier (default), or its output",
    )
    add("--stride", type=_positive, default=1, metavar="N", help="take every N-th frame; default 1")
    add(
        "--device", type=read_device, default="auto", metavar="DEVICE",
        help=f"{', '.join(DEVICES)}; default: auto",
    )  # fmt: skip
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "int8"),
        default="auto",
        help="arithmetic of the backbone; auto: bfloat16 where the processor has it; int8: 8 bits, "
        "the fastest on a CPU, with the extra openvino",
    )
    add(
        "--batch-frames",
        type=_positive,
        default=None,
        metavar="N",
        help="frames encoded at a time; default 16 on a CPU, 128 on a GPU",
    )


def _add_speech_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--without-energy",
        action="store_true",
        help="of speech 120 numbers a frame, 40 filter banks with their differences; default: 123, "
        "the energy with its own beside them",
    )
    add(
        "--label-rate",
        type=_positive,
        metavar="HZ",
        help="what .PHN files count samples at; default: each sound's own rate",
    )


def _part(text: str) -> Part:
    try:
        return read_part(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number
