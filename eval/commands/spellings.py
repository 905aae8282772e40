"""Commands as they were written when every option was one of `python -m eval`, and as they are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from eval.commands.verb import PROGRAM
from pipeline.clips import VIDEO_SUFFIXES, is_clip_list

# A word that scores do not take: its verb, and what stands in its place, "" for nothing. Of two
# words with different verbs, the one further up decides.
_NOW = {
    "--export": ("export", ""),
    "--with-backbone": ("export", "--with-backbone"),
    "--serve": ("serve", ""),
    "--host": ("serve", "--host"),
    "--port": ("serve", "--port"),
    "--camera": ("watch", "--camera"),
    "--stream": ("watch", "--stream"),
    "--segments": ("predict", "--segments"),
    "--window": ("predict", "--window"),
    "--carry": ("predict", "--carry"),
    "--page": ("predict", "--page"),
    "--top": ("predict", "--top"),
    "--json": ("predict", "--json"),
    "--csv": ("predict", "--csv"),
    "--weights": ("predict", "--weights"),
    "--study": ("study", ""),
    "--dynamics": ("dynamics", ""),
}
_VIDEOS = "--videos"
# What verbs take without a word, as the newest run is.
_LEFT_OUT = (_VIDEOS, "--latest")
_FORMAT = ("--export", "onnx")


def refuse_old_spelling(words: Sequence[str]) -> None:
    """Raise ValueError with the command of today, if these words were one before the verbs."""
    words = [part for word in words for part in _part(word)]
    verbs = [verb for old, (verb, _) in _NOW.items() if old in words]
    if not verbs and not _names_own_videos(words):
        return
    verb = verbs[0] if verbs else "predict"
    kept = [
        _NOW.get(word, ("", word))[1]
        for before, word in pairwise(["", *words])
        if word not in _LEFT_OUT and (before, word) != _FORMAT
    ]
    command = [*PROGRAM.split(), verb, *filter(None, kept)]
    old = next((word for word in words if word in _NOW), _VIDEOS)
    raise ValueError(
        f"{old}: expected an option of scores, found one of the verb {verb}.\n"
        f"The command is: {shlex.join(command)}"
    )


def _part(word: str) -> tuple[str, ...]:
    """`--run=a` in two words, as its option and its value."""
    option, equals, value = word.partition("=")
    return (option, value) if equals and option.startswith("--") else (word,)


def _names_own_videos(words: Sequence[str]) -> bool:
    """Whether `--videos` is followed by videos to classify, not by the folder of a run's clips."""
    found = [Path(word) for word in _find_videos(words)]
    return len(found) > 1 or any(
        path.suffix.lower() in VIDEO_SUFFIXES or (path.is_file() and not is_clip_list(path))
        for path in found
    )


def _find_videos(words: Sequence[str]) -> Iterator[str]:
    option = ""
    for word in words:
        if word.startswith("--"):
            option = word
        elif option == _VIDEOS:
            yield word
