"""The utterances of a corpus in TIMIT's layout: `TRAIN|TEST/DRx/SPEAKER/UTT.WAV` and `UTT.PHN`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.clips import Clip, FoundClips, Problem, list_files, refuse_unfit

_SOUND, _LABELS = ".wav", ".phn"
# Two sentences that all speakers of TIMIT read: train and test would share their phones.
_SA = re.compile(r"sa\d+")
_PARTS = ("train", "test")


@dataclass(frozen=True)
class FoundSpeech:
    """The utterances as clips, whose class is their part and whose group is their speaker.

    `labels` names the .PHN of each clip by its path; `num_sa` sentences were left out.
    """

    clips: FoundClips
    labels: Mapping[str, str]
    num_sa: int


def find_utterances(root: Path) -> FoundSpeech:
    """The utterances below a folder, in the order of their paths; case of names plays no part.

    Sounds without labels and labels without sound are problems. Raises ValueError where the folder
    is no corpus: a part of it is missing, or it holds no utterance.
    """
    folders = _find_parts(root)
    clips, problems, num_sa, labels = [], [], 0, {}
    for part, folder in folders.items():
        paths = [f"{folder}/{path}" for path in list_files(root / folder)]
        for path, sounds, phones in _pair(paths):
            if _SA.fullmatch(path.name.lower()):
                num_sa += 1
            elif reason := _find_fault(path, sounds, phones):
                found = (*sounds, *phones)[0]
                problems.append(Problem(found, path.name, part, reason))
            else:
                speaker = path.parent.name
                clips.append(Clip(f"{speaker}-{path.name}", part, speaker, sounds[0]))
                labels[sounds[0]] = phones[0]
    if not clips:
        where = " and ".join(f"{folder}/DRx/SPEAKER" for folder in folders.values())
        raise ValueError(
            f"{root}: expected UTT.WAV beside UTT.PHN in {where}, found no such pair and "
            f"{len(problems)} files without the other."
        )
    fit = refuse_unfit(root, clips, num_ignored=0)
    return FoundSpeech(replace(fit, problems=(*fit.problems, *problems)), labels, num_sa)


def _find_parts(root: Path) -> dict[str, str]:
    """The folders of train and test, as they are written."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing there"
        raise ValueError(f"--speech {root}: expected a folder of speech, found {found}.")
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    written = {part: [name for name in folders if name.lower() == part] for part in _PARTS}
    for part, names in written.items():
        if len(names) != 1:
            what = f"both {' and '.join(names)}" if names else f"no {part.upper()}"
            raise ValueError(
                f"--speech {root}: expected the folders TRAIN and TEST, found {what} among "
                f"{', '.join(folders[:8]) or 'no folders'}.{_suggest(root, folders)}"
            )
    return {part: names[0] for part, names in written.items()}


def _suggest(root: Path, folders: Sequence[str]) -> str:
    """Where the corpus may lie, one folder below."""
    for name in folders:
        below = {path.name.lower() for path in (root / name).iterdir()}
        if set(_PARTS) <= below:
            return f"\nPass --speech {root / name}."
    return ""


def _pair(paths: Sequence[str]) -> Iterator[tuple[PurePosixPath, list[str], list[str]]]:
    """Each utterance's path without an ending, its sounds and its labels; `UTT.WAV.wav`, another
    form of UTT.WAV, counts where that is not there."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        ending = PurePosixPath(path).suffix.lower()
        if ending in (_SOUND, _LABELS):
            stem = path.lower().removesuffix(ending).removesuffix(_SOUND)
            found[stem][ending].append(path)
    for stem, files in found.items():
        sounds = [p for p in files[_SOUND] if p.lower() == stem + _SOUND] or files[_SOUND]
        named = (*sounds, *files[_LABELS])[0]
        yield PurePosixPath(named[: len(stem)]), sounds, files[_LABELS]


def _find_fault(path: PurePosixPath, sounds: Sequence[str], phones: Sequence[str]) -> str:
    """Why these files are no utterance, or ""."""
    if len(path.parts) < 3:
        return "it lies in no speaker's folder"
    if not phones:
        return "a sound without labels: no .PHN beside it"
    if not sounds:
        return "labels without a sound: no .WAV beside them"
    if len(sounds) > 1 or len(phones) > 1:
        return f"expected one sound and one .PHN, found {', '.join((*sounds, *phones))}"
    return ""
