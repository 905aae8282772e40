"""Files of a store and a run that decay: found, mended or refused, and never believed."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.campaign.counts import (
    HANG,
    ONE_MESSAGE,
    RIGHT,
    SILENT,
    TRACEBACK,
    UNCLEAR,
    Counts,
    Try,
)
from tests.tiny_clips import write_clip
from tests.tiny_runs import make_clips, write_run

_NUM_TRIES = 200
_LIMIT_SECONDS = 120


def _flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    changed = content[place] ^ 1 << rng.randrange(8)
    return content[:place] + bytes([changed]) + content[place + 1 :]


def _zero(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    length = min(rng.choice((1, 8, 64, 512, 4096)), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


DAMAGES: Mapping[str, Callable[[bytes, random.Random], bytes] | None] = {
    "flip": _flip, "zero": _zero, "truncate": _truncate, "delete": None,
}  # fmt: skip
"""What is done to a file's bytes; None: the file is deleted."""
_SHARES = {"flip": 4, "zero": 3, "truncate": 2, "delete": 1}


@dataclass(frozen=True)
class Seen:
    """What the commands said and gave: `told` by command, "" for success, and the answers."""

    told: Mapping[str, str]
    answers: Mapping[str, Any]


def try_corruptions(seed: int) -> Counts:
    """Each damage on a fresh copy of a small store with its videos, a run and its answers."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        _make(whole)
        expected = _answer(whole)
        assert not any(expected.told.values()), expected.told
        rng = random.Random(seed)
        tries = tuple(_try_damage(Path(folder), expected, rng) for _ in range(_NUM_TRIES))
    return Counts("corruptions", tries)


def _make(folder: Path) -> None:
    for seed, clip in enumerate(make_clips()):
        write_clip(folder / "videos" / clip.label / f"{clip.id}.avi", num_frames=3, seed=seed)
    _extract(folder)
    write_run(folder / "run", folder / "store")
    _evaluate(folder, folder / "run" / "eval" / "test")


class _MeanColour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def _extract(folder: Path) -> Any:
    from extract.flow import extract_features  # noqa: PLC0415
    from pipeline.backbones import Backbone  # noqa: PLC0415
    from pipeline.backbones.preprocessing import Preprocessing  # noqa: PLC0415
    from pipeline.clips import find_clips  # noqa: PLC0415
    from pipeline.features import FeatureSpec  # noqa: PLC0415

    steps = Preprocessing("squash", (48, 64), (48, 64), "bilinear", (0.0,) * 3, (255.0,) * 3)
    backbone = Backbone("mean colour", _MeanColour(), 3, "", "", steps)
    videos = folder / "videos"
    return extract_features(
        find_clips(videos), videos, folder / "store", backbone=backbone,
        spec=FeatureSpec("mean colour", 3, dtype="float32"), num_workers=1,
    )  # fmt: skip


def _try_damage(root: Path, expected: Seen, rng: random.Random) -> Try:
    folder = root / "whole"
    file = rng.choice(_list_files(folder))
    damage = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    content = file.read_bytes()
    change = DAMAGES[damage]
    what = f"{damage} {file.relative_to(folder)}"
    path = root / "try" / file.relative_to(folder)
    shutil.copytree(folder, root / "try")
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(content, rng))
    try:
        seen = _answer_apart(root / "try")
    finally:
        shutil.rmtree(root / "try")
    if seen is None:
        return Try(what, HANG)
    ending = judge(seen, expected, is_of_store=file.parent.name == "store")
    return Try(what, ending, "\n".join(f"{name}: {told}" for name, told in seen.told.items()))


def _list_files(folder: Path) -> list[Path]:
    """The files that commands read again: no videos, pages or locks."""
    of_run = (
        "config.yaml", "weights.safetensors", "provenance.json", "calibration.json",
        "eval/test/predictions.csv",
    )  # fmt: skip
    of_store = sorted((folder / "store").glob("*.h5"))
    named = ("spec.json", "plan.json")
    return [
        *(folder / "run" / name for name in of_run), *of_store,
        *(folder / "store" / name for name in named),
    ]  # fmt: skip


def judge(seen: Seen, expected: Seen, *, is_of_store: bool) -> str:
    """How a try ended that gave these answers, where the undamaged files give the expected."""
    if any(_TRACEBACK in told for told in seen.told.values()):
        return TRACEBACK
    if any(answer != expected.answers[name] for name, answer in seen.answers.items()):
        return SILENT
    is_mended = not seen.told["extract"]
    if is_of_store and is_mended and seen.told["eval again"]:
        return UNCLEAR
    return ONE_MESSAGE if any(seen.told.values()) else RIGHT


def _answer_apart(folder: Path) -> Seen | None:
    """What `_answer` gives in a process of its own, None where that takes too long."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_answer, args=(folder, sender))
    process.start()
    is_there = receiver.poll(_LIMIT_SECONDS)
    try:
        return receiver.recv() if is_there else None
    except EOFError:
        return Seen({"process": f"{_TRACEBACK}: it ended before its answers"}, {})
    finally:
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it began a group of its own
        process.join()


def _send_answer(folder: Path, sender: Any) -> None:
    os.setsid()
    torch.set_num_threads(1)
    sender.send(_answer(folder))


def _answer(folder: Path) -> Seen:
    """What each command says of the store and the run in `folder`, one after the other."""
    told, answers = {}, {}
    for name, command in _COMMANDS.items():
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown), contextlib.redirect_stdout(shown):
            try:
                told[name], answers[name] = command(folder)
            except (ValueError, OSError) as error:
                told[name] = str(error)
            except Exception:  # noqa: BLE001 - what a user would see as a traceback is counted
                told[name] = f"{_TRACEBACK}: {traceback.format_exc()}"
        if "Traceback" in shown.getvalue():
            told[name] = f"{_TRACEBACK}: {shown.getvalue()}"
        if told[name]:
            answers.pop(name, None)
    return Seen(told, answers)


def _evaluate(folder: Path, out: Path | None = None) -> tuple[str, Any]:
    from eval.report.evaluate import evaluate_runs  # noqa: PLC0415

    out = out or folder / "scores"
    evaluation = evaluate_runs([folder / "run"], out=out, device="cpu")
    if without := [row.state for row in evaluation.rows if not row.scores]:
        return f"no score, {without[0]}", None
    predictions = (out / "predictions.csv").read_text()
    return "", (str(evaluation).replace(str(folder), ""), predictions)


def _read_predictions(folder: Path) -> tuple[str, Any]:
    from eval.predictions.predictions import read_predictions  # noqa: PLC0415

    found = read_predictions(folder / "run" / "eval" / "test" / "predictions.csv")
    return "", (found.outputs.tolist(), found.targets.tolist(), found.labels, found.use)


def _calibrate(folder: Path) -> tuple[str, Any]:
    from eval.predictions.calibration import calibrate  # noqa: PLC0415
    from pipeline.runs import load_run  # noqa: PLC0415

    calibration = calibrate(load_run(folder / "run"))
    return calibration.reason, calibration.temperature


def _verify(folder: Path) -> tuple[str, Any]:
    from extract.verify import verify_store  # noqa: PLC0415

    found = verify_store(folder / "store")
    return str(found) if found.damages else "", found.num_clips


def _extract_again(folder: Path) -> tuple[str, Any]:
    from pipeline.features import FeatureStore  # noqa: PLC0415

    outcome = _extract(folder)
    if not outcome.is_complete:
        return "not complete", None
    store = FeatureStore(folder / "store")
    return "", {clip_id: (r, store.read(clip_id).tolist()) for clip_id, r in store.records.items()}


_TRACEBACK = "traceback"
_COMMANDS: Mapping[str, Callable[[Path], tuple[str, Any]]] = {
    "predictions": _read_predictions,
    "calibrate": _calibrate,
    "eval": lambda folder: _evaluate(folder, folder / "scores"),
    "verify": _verify,
    "extract": _extract_again,
    "eval again": _evaluate,
}
